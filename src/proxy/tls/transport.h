/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS transport itself, server and client side alike; server.c and client.c make them. For the files of this
 * folder only. */
#ifndef VX_PROXY_TLS_TRANSPORT_H
#define VX_PROXY_TLS_TRANSPORT_H

#include <openssl/base.h>

#include "core/base/block.h"
#include "proxy/net/transport.h"
#include "proxy/runtime/runtime.h"
#include "proxy/tls/certificate.h"
#include "proxy/tls/worker.h"

struct vx_tls {
    struct vx_transport base;
    struct vx_transport *lower;
    struct vx_tls_worker *worker;
    SSL *ssl;
    struct vx_tls_info info;
    char *texts; /* what info's slices point to, where it is not static or the SSL's */
    const struct vx_tls_certificate *local; /* the context's; NULL: none */
    struct vx_tls_certificate *peer;        /* NULL: none, or nobody has asked */
    struct vx_buffer in;                    /* received, not yet taken by SSL */
    struct vx_buffer out;                   /* sealed, not yet sent; base.pending_bytes is its length */
    struct vx_task start, reap;
    void *context; /* the server or client context; one reference, given back by drop_context */
    void (*drop_context)(void *context);
    uint64_t session_key; /* client: whose sessions may be resumed */
    uint32_t holders;     /* the transport itself until it is reaped, and who else holds info.session */
    uint8_t state;        /* enum tls_state */
    uint8_t shut_step;    /* enum shut_step */
    bool client, ended, lower_ended, lower_failed, broken, write_broken, out_of_memory;
};

/* Over `lower`, with one reference on `context`: both are the transport's from here on, also when it fails. `ctx` is
 * what SSL_new takes. NULL: no memory. */
struct vx_tls *vx_tls_new(SSL_CTX *ctx, struct vx_tls_worker *worker, struct vx_transport *lower, bool client,
                          void *context, void (*drop_context)(void *context));

/* The transport that an SSL belongs to. */
struct vx_tls *vx_tls_of(const SSL *ssl);

/* Lets go of one hold; the last one frees it. */
void vx_tls_drop(struct vx_tls *t);

/* Of session.c: fills t->info in once the handshake is done. False: no memory. */
bool vx_tls_describe(struct vx_tls *t);

/* NULL when `t` is not a TLS transport. */
struct vx_tls *vx_tls_from(const struct vx_transport *t);

#endif
