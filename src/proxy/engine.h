/* SPDX-License-Identifier: Apache-2.0 */
/* Everything one thread needs to speak HTTP both ways: clock, memory, event loop, sockets, TLS, the HTTP client. Workers,
 * the control thread and the echo backend each have one. */
#ifndef VX_PROXY_ENGINE_H
#define VX_PROXY_ENGINE_H

#include "proxy/http/clients.h"
#include "proxy/http/server.h"
#include "proxy/net/listener.h"
#include "proxy/net/loop.h"
#include "proxy/net/tcp.h"
#include "proxy/runtime/slab.h"
#include "proxy/telemetry/timestamp.h"
#include "proxy/tls/client.h"
#include "proxy/tls/server.h"
#include "proxy/tls/worker.h"

struct vx_engine {
    struct vx_runtime rt;
    struct vx_slab arenas, blocks;
    struct vx_loop *loop;
    struct vx_tcp tcp;
    struct vx_tls_worker *tls;
    struct vx_tls_dialer dialer;
    struct vx_http_clients clients;
    struct vx_timestamp date; /* what rt.date shows */
    struct vx_timer next_second;
};

/* Makes the adapters of one thread; `worker` is its number. False: no memory or no descriptors (errno), nothing is left
 * behind. May run on another thread than the one that uses it afterwards. */
bool vx_engine_init(struct vx_engine *e, uint32_t worker);

/* Every connection, listener and upstream is closed before. */
void vx_engine_free(struct vx_engine *e);

/* One listening socket of a thread and the HTTP server behind it. */
struct vx_site {
    struct vx_http_server server;
    struct vx_engine *engine;
    struct vx_listener *listener; /* NULL: not accepting (any more) */
    struct vx_tls_server *tls;    /* the caller's, while it accepts; NULL: plain */
    /* A limit on connections, as struct vx_listener_options has it; NULL: none. */
    bool (*admit)(struct vx_site *site);
    void (*admitted)(struct vx_site *site);
    /* Whether this peer may come in; whom it refuses is cut at once. NULL: everybody may. */
    bool (*allows)(struct vx_site *site, const struct vx_address *remote, uint64_t now_ns);
};

/* Begins to accept on `fd`, which is the site's from here on. The server's settings are the caller's to fill in before.
 * False with errno: the kernel refused, `fd` is closed. */
bool vx_site_start(struct vx_site *site, struct vx_engine *engine, int fd, const struct vx_address *address,
                   bool proxy_protocol);

/* Accepts what waits, then closes the listening socket; connections go on. */
void vx_site_stop(struct vx_site *site);

#endif
