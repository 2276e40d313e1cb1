/* SPDX-License-Identifier: Apache-2.0 */
/* TLS towards clients: what a listener's certificates make, built by the control thread, immutable, shared by
 * the workers. The certificate is chosen by SNI (exact name, then wildcard, then the first), TLS 1.2 and 1.3.
 */
#ifndef VX_PROXY_TLS_SERVER_H
#define VX_PROXY_TLS_SERVER_H

#include "core/config/model.h"
#include "proxy/net/transport.h"
#include "proxy/runtime/runtime.h"
#include "proxy/tls/tickets.h"

struct vx_tls_server;
struct vx_tls_worker;

enum { VX_TLS_WHY_MAX = 512 };

/* What is wrong with the files. */
struct vx_tls_problem {
    uint32_t certificate;      /* index in the listener's certificates; its places point at the lines */
    bool key;                  /* it is its key, not its certificate */
    char text[VX_TLS_WHY_MAX]; /* names the file */
};

/* From the certificates and client_ca_path of `listener`, which need not live on. `alpn`: in our order of
 * preference; a client that offers ALPN but none of these goes on without. Control thread. NULL: *problem
 * says what and where. */
struct vx_tls_server *vx_tls_server_new(const struct vx_config_listener *listener,
                                        const struct vx_slice *alpn, uint32_t alpn_count,
                                        struct vx_tls_tickets *tickets, struct vx_tls_problem *problem);

/* Reference-counted; any thread. Each transport holds its own reference. */
struct vx_tls_server *vx_tls_server_hold(struct vx_tls_server *s);
void vx_tls_server_drop(struct vx_tls_server *s);

/* A TLS transport over `lower` (an accepted plain one), which it owns from here on, also when it fails (then
 * `lower` was closed). The handshake runs by itself; VX_WRITABLE comes once when it is done (t->tls is set
 * then), VX_FAILED when it broke. Its time limit is the owner's. NULL: no memory. */
struct vx_transport *vx_tls_server_wrap(struct vx_tls_server *s, struct vx_tls_worker *worker,
                                        struct vx_transport *lower);

/* May a request for `host` (lower case, no port) be answered on a connection that shows `certificate`? True
 * when that certificate names it, or is the one that would be chosen for it. False: 421 (RFC 9110 §7.4). */
bool vx_tls_server_covers(const struct vx_tls_server *s, uint32_t certificate, struct vx_slice host);

/* The context that `t` was made with; NULL when `t` is not a server-side TLS transport. Lives as long as `t`.
 */
const struct vx_tls_server *vx_tls_server_of(const struct vx_transport *t);

#endif
