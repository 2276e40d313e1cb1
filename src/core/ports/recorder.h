/* SPDX-License-Identifier: Apache-2.0 */
/* Where the end of each exchange is told: metrics, access log, later the span. Called once per exchange, on the
 * worker's thread, never blocking. */
#ifndef VX_CORE_PORTS_RECORDER_H
#define VX_CORE_PORTS_RECORDER_H

#include "core/ports/stream.h"

struct vx_route;  /* exchange/snapshot.h */
struct vx_target; /* http_client.h */

/* A tunnel may live for days, longer than the snapshot with its counters: it is counted when it begins and written to
 * the log when it ends. */
enum vx_record_part {
    VX_RECORD_WHOLE,        /* count it and log it */
    VX_RECORD_TUNNEL_BEGUN, /* count it */
    VX_RECORD_TUNNEL_ENDED, /* log it; route holds only the name, target is NULL */
};

/* Everything is borrowed and ends with the call. */
struct vx_exchange_record {
    const struct vx_request *request; /* as received; fields may be missing when the head was refused */
    const struct vx_client_info *client;
    struct vx_slice client_ip;      /* after trusted proxies */
    const struct vx_route *route;   /* NULL: none matched */
    struct vx_slice backend;        /* address text of the last one tried; empty: none */
    const struct vx_target *target; /* the same one, for its counters; NULL: none */
    enum vx_error_code error;       /* VX_ERR_NONE: the backend's answer was passed on whole */
    const char *error_detail;       /* static text or NULL */
    uint16_t status;                /* sent to the client; 0: none could be sent */
    uint16_t attempts;              /* backends tried; 0: answered by the proxy itself */
    enum vx_record_part part;
    bool tunnel;
    bool grpc;                     /* a gRPC call, which ended with */
    uint8_t grpc_status;           /* this */
    uint64_t started_ns, ended_ns; /* monotonic */
    uint64_t backend_ns;           /* head sent to head received, of the last attempt; 0: none */
    uint64_t request_bytes;        /* body */
    uint64_t response_bytes;       /* on the wire, head and body */
};

struct vx_recorder {
    void (*record)(struct vx_recorder *self, const struct vx_exchange_record *record);
    /* The attempt at `target` came to nothing and another one begins. (The last attempt is told by record().) */
    void (*retried)(struct vx_recorder *self, const struct vx_route *route, const struct vx_target *target);
};

#endif
