/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange as one line of the access log. The fields and their order are part of the public face; see
 * docs/operations.md. */
#ifndef VX_PROXY_TELEMETRY_LOG_LINE_H
#define VX_PROXY_TELEMETRY_LOG_LINE_H

#include "core/ports/recorder.h"
#include "proxy/telemetry/timestamp.h"

/* Longer values are cut there and end in `...`, so that a line has a bound. Bytes as received. */
enum {
    VX_LOG_IP_MAX = 64,
    VX_LOG_METHOD_MAX = 32,
    VX_LOG_HOST_MAX = 256,
    VX_LOG_PATH_MAX = 4096, /* with the query */
    VX_LOG_NAME_MAX = 256,  /* route, backend, detail */
    VX_LOG_AGENT_MAX = 512,
    VX_LOG_REFERER_MAX = 1024,
    VX_LOG_TLS_MAX = 32,
    VX_LOG_LINE_MAX = 44 * 1024,
};

/* Both write the line with its line feed to `out`, which has VX_LOG_LINE_MAX bytes, and return its length. `at` is the
 * time the exchange ended. Any thread. */
size_t vx_log_line_json(char *out, const struct vx_exchange_record *record, const struct vx_timestamp *at);
size_t vx_log_line_combined(char *out, const struct vx_exchange_record *record,
                            const struct vx_timestamp *at);

#endif
