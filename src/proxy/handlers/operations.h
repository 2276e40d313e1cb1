/* SPDX-License-Identifier: Apache-2.0 */
/* What the metrics listener serves: /metrics, /healthz and /readyz. Runs on the control thread's loop, so a
 * page of many megabytes never delays a request of the proxy. */
#ifndef VX_PROXY_HANDLERS_OPERATIONS_H
#define VX_PROXY_HANDLERS_OPERATIONS_H

#include "core/ports/handler.h"
#include "proxy/telemetry/text.h"

enum vx_readiness { VX_STARTING, VX_READY, VX_DRAINING };

/* `starting`, `ready` or `draining`; static. */
struct vx_slice vx_readiness_name(enum vx_readiness readiness);

/* Where the answers come from. Both are called on the handler's thread. */
struct vx_operations_source {
    void *user;
    bool (*metrics)(void *user, struct vx_text *page); /* appends the page; false: no memory */
    enum vx_readiness (*readiness)(void *user);
};

/* At most this many metrics pages are held at a time; a further scrape gets 503. Scrapers that do not read
 * could otherwise hold a page each. */
enum { VX_OPERATIONS_PAGES_MAX = 4 };

/* Plain memory of the owner; outlives all its downstreams. */
struct vx_operations {
    struct vx_handler handler; /* what the HTTP server gets */
    struct vx_operations_source source;
    unsigned pages; /* held now */
};

/* Never fails; nothing to free. */
void vx_operations_init(struct vx_operations *o, const struct vx_operations_source *source);

#endif
