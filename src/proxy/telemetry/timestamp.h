/* SPDX-License-Identifier: Apache-2.0 */
/* Wall-clock times as text, always in UTC. The calendar part is kept from call to call and computed once a
 * second. */
#ifndef VX_PROXY_TELEMETRY_TIMESTAMP_H
#define VX_PROXY_TELEMETRY_TIMESTAMP_H

#include <stdint.h>

enum {
    VX_TIMESTAMP_RFC3339_BYTES = 24, /* 2026-11-23T02:05:52.123Z (RFC 3339) */
    VX_TIMESTAMP_CLF_BYTES = 26,     /* 23/Nov/2026:02:05:52 +0000 (common log format) */
    VX_TIMESTAMP_HTTP_BYTES = 29,    /* Mon, 23 Nov 2026 02:05:52 GMT (RFC 9110 §5.6.7) */
};

/* All zero to begin with. One thread at a time. */
struct vx_timestamp {
    uint64_t second; /* that the texts are for, once there are any */
    char rfc3339[VX_TIMESTAMP_RFC3339_BYTES];
    char clf[VX_TIMESTAMP_CLF_BYTES];
    char http[VX_TIMESTAMP_HTTP_BYTES];
};

/* Brings all texts to `wall_ns` (since 1970-01-01, UTC). */
void vx_timestamp_set(struct vx_timestamp *t, uint64_t wall_ns);

#endif
