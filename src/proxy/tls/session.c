/* SPDX-License-Identifier: Apache-2.0 */
/* What a TLS transport tells of its session (core/ports/tls_session.h). The peer's certificate is read when somebody asks
 * for the first time, so that connections that nobody asks about pay and keep nothing for it. */
#include <openssl/ssl.h>
#include <stdlib.h>

#include "proxy/tls/transport.h"

static struct vx_tls *of(const struct vx_tls_session *s) {
    return (struct vx_tls *)((uintptr_t)s - offsetof(struct vx_tls, info.session));
}

static const struct vx_tls_certificate *peer_of(struct vx_tls *t) {
    X509 *x = t->peer ? NULL : SSL_get_peer_certificate(t->ssl);
    if (x)
        t->peer = vx_tls_certificate_read(x);
    X509_free(x);
    return t->peer;
}

static bool tell(const struct vx_tls_session *s, enum vx_certificate whose, enum vx_certificate_fact fact,
                 struct vx_slice *text) {
    struct vx_tls *t = of(s);
    const struct vx_tls_certificate *c = whose == VX_CERTIFICATE_LOCAL ? t->local : peer_of(t);
    if (!c || !c->facts[fact].ptr)
        return false;
    *text = c->facts[fact];
    return true;
}

static void hold(const struct vx_tls_session *s) {
    of(s)->holders++;
}

static void drop(const struct vx_tls_session *s) {
    vx_tls_drop(of(s));
}

static const struct vx_tls_session_ops ops = {.tell = tell, .hold = hold, .drop = drop};

bool vx_tls_describe(struct vx_tls *t) {
    const char *name = t->client ? NULL : SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
    size_t name_len = name ? strlen(name) : 0;
    const uint8_t *alpn;
    unsigned alpn_len;
    t->texts = name_len ? malloc(name_len) : NULL;
    if (name_len && !t->texts)
        return false;
    for (size_t i = 0; i < name_len; i++)
        t->texts[i] = vx_lower(name[i]);
    t->info.server_name = vx_slice(t->texts, name_len);
    SSL_get0_alpn_selected(t->ssl, &alpn, &alpn_len);
    t->info.alpn = vx_slice((const char *)alpn, alpn_len);
    t->info.session = (struct vx_tls_session){
        .ops = &ops,
        .version = vx_slice_of(SSL_get_version(t->ssl)),
        .peer_certified = SSL_get0_peer_certificates(t->ssl) != NULL,
    };
    t->info.resumed = SSL_session_reused(t->ssl) != 0;
    return true;
}
