/* SPDX-License-Identifier: Apache-2.0 */
/* TLS towards backends: verified always, against a CA file or the system's bundle; sessions are resumed. */
#ifndef VX_PROXY_TLS_CLIENT_H
#define VX_PROXY_TLS_CLIENT_H

#include "core/config/model.h"
#include "proxy/net/transport.h"
#include "proxy/runtime/runtime.h"
#include "proxy/tls/server.h"

/* struct vx_tls_client is declared in transport.h. Reading the system's bundle takes milliseconds and some
 * hundred KiB: contexts of equal settings should be shared. */

/* From a route's `tls`, which need not live on. `alpn` as for the server; none: no ALPN. Control thread.
 * NULL: *problem->text says what is wrong and names the file. */
struct vx_tls_client *vx_tls_client_new(const struct vx_config_backend_tls *config,
                                        const struct vx_slice *alpn, uint32_t alpn_count,
                                        struct vx_tls_problem *problem);

/* Reference-counted; any thread. Each transport holds its own reference. */
struct vx_tls_client *vx_tls_client_hold(struct vx_tls_client *c);
void vx_tls_client_drop(struct vx_tls_client *c);

/* A TLS transport over `lower`, connected or still connecting, which it owns from here on, also when it fails
 * (then `lower` was closed). `server_name` is checked against the certificate and sent as SNI unless it is an
 * IP address. VX_WRITABLE comes once when the handshake is done; VX_FAILED with CONNECT_FAILED or TLS_FAILED
 * when it broke. NULL: no memory, or a server_name that cannot be one. */
struct vx_transport *vx_tls_client_wrap(const struct vx_tls_client *c, struct vx_tls_worker *worker,
                                        struct vx_transport *lower, struct vx_slice server_name);

/* A dialer that puts TLS over another dialer's connections where vx_dial.tls asks for it. */
struct vx_tls_dialer {
    struct vx_dialer dialer;
    struct vx_dialer *lower;
    struct vx_tls_worker *worker;
};

void vx_tls_dialer_init(struct vx_tls_dialer *d, struct vx_dialer *lower, struct vx_tls_worker *worker);

#endif
