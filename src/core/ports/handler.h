/* SPDX-License-Identifier: Apache-2.0 */
/* What answers requests: the proxy itself, the metrics page, the echo backend. The same HTTP server serves them all. */
#ifndef VX_CORE_PORTS_HANDLER_H
#define VX_CORE_PORTS_HANDLER_H

#include "core/ports/stream.h"

/* A request that was refused before it became one: bad head, timeout, too large. Borrowed for the call. */
struct vx_refusal {
    const struct vx_client_info *client;
    const struct vx_request *request; /* may be half filled */
    struct vx_error error;
    uint64_t started_ns;
    uint64_t response_bytes; /* of the answer that the connection gives; 0: none could be given */
};

struct vx_handler {
    /* A request head has arrived. The handler sets d->stream.events and .user before it returns, and calls
     * d->stream.ops->release exactly once, now or later. d->request and d->arena are its to change. */
    void (*begin)(struct vx_handler *self, struct vx_downstream *d, uint64_t now_ns);
    /* The connection answers a refused request itself; this is for the record. NULL: nobody cares. */
    void (*refused)(struct vx_handler *self, const struct vx_refusal *refusal, uint64_t now_ns);
};

#endif
