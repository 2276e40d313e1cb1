/* SPDX-License-Identifier: Apache-2.0 */
/* The network port (core/ports/network.h) over a worker's dialer: TCP or TLS, names by c-ares. */
#ifndef VX_PROXY_NET_NETWORK_H
#define VX_PROXY_NET_NETWORK_H

#include "core/base/list.h"
#include "core/ports/network.h"
#include "proxy/net/loop.h"
#include "proxy/net/transport.h"

struct vx_resolver;

struct vx_network_dialer {
    struct vx_network net; /* what the store gets */
    struct vx_runtime *rt;
    struct vx_loop *loop;
    const struct vx_tls_client *tls; /* NULL: plain */
    struct vx_slice server_name;     /* empty: the host that is dialed */
    struct vx_resolver *resolver;    /* NULL until a name is dialed */
    struct vx_list names;            /* that were dialed; the one dialed last is the last */
    uint32_t name_count;
};

/* `tls` and the text of `server_name` outlive it. */
void vx_network_dialer_init(struct vx_network_dialer *d, struct vx_runtime *rt, struct vx_loop *loop,
                            const struct vx_tls_client *tls, struct vx_slice server_name);

/* Every link is closed, and the tasks of this round have run or are about to. */
void vx_network_dialer_destroy(struct vx_network_dialer *d);

#endif
