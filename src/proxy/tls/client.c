/* SPDX-License-Identifier: Apache-2.0 */
/* See client.h. */
#include "proxy/tls/client.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "core/base/hash.h"
#include "proxy/tls/files.h"
#include "proxy/tls/sessions.h"
#include "proxy/tls/transport.h"

enum { SERVER_NAME_MAX = 253 };

struct vx_tls_client {
    atomic_uint holders;
    SSL_CTX *ctx;
    struct vx_tls_certificate *certificate; /* ours, NULL: none */
    struct vx_hash_key hash_key;
    struct vx_tls_sessions sessions;
};

/* Where systems keep the certificates they trust: Debian, Red Hat, Alpine. */
static struct vx_slice system_bundle(void) {
    static const char *const paths[] = {"/etc/ssl/certs/ca-certificates.crt",
                                        "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};
    for (unsigned i = 1; i < sizeof paths / sizeof *paths; i++)
        if (access(paths[0], R_OK) != 0 && access(paths[i], R_OK) == 0)
            return vx_slice_of(paths[i]);
    return vx_slice_of(paths[0]);
}

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct vx_tls *t = vx_tls_of(ssl);
    struct vx_tls_client *c = t->context;
    vx_tls_sessions_put(&c->sessions, t->session_key, session);
    return 1;
}

static bool use_certificate(struct vx_tls_client *c, const struct vx_config_backend_tls *config,
                            struct vx_tls_problem *problem) {
    const X509 *leaf = vx_tls_use_files(c->ctx, config->cert_path, config->key_path, problem);
    c->certificate = leaf ? vx_tls_certificate_read(leaf) : NULL;
    if (leaf && !c->certificate)
        vx_tls_explain(problem, "cannot set up TLS: out of memory");
    return c->certificate != NULL;
}

static bool configure(struct vx_tls_client *c, const struct vx_config_backend_tls *config,
                      const struct vx_slice *alpn, uint32_t alpn_count, struct vx_tls_problem *problem) {
    uint8_t wire[256];
    size_t wire_len = vx_tls_alpn_wire(alpn, alpn_count, wire);
    SSL_CTX *ctx = c->ctx;
    /* SSL_CTX_set_alpn_protos is 0 when all is well. */
    if (!SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) ||
        !SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") ||
        SSL_CTX_set_alpn_protos(ctx, wire, wire_len) != 0) {
        vx_tls_explain(problem, "cannot set up TLS: out of memory");
        return false;
    }
    struct vx_slice ca = config->ca_path.len ? config->ca_path : system_bundle();
    X509_STORE *store = vx_tls_load_store(ca, NULL, NULL, problem);
    if (!store)
        return false;
    SSL_CTX_set_cert_store(ctx, store);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    return !config->cert_path.len || use_certificate(c, config, problem);
}

static void free_client(struct vx_tls_client *c) {
    SSL_CTX_free(c->ctx);
    free(c->certificate);
    vx_tls_sessions_free(&c->sessions);
    free(c);
}

struct vx_tls_client *vx_tls_client_new(const struct vx_config_backend_tls *config,
                                        const struct vx_slice *alpn, uint32_t alpn_count,
                                        struct vx_tls_problem *problem) {
    *problem = (struct vx_tls_problem){0};
    struct vx_tls_client *c = calloc(1, sizeof *c);
    if (!c || !vx_tls_sessions_init(&c->sessions)) {
        free(c);
        vx_tls_explain(problem, "cannot set up TLS: out of memory");
        return NULL;
    }
    atomic_init(&c->holders, 1);
    RAND_bytes((uint8_t *)&c->hash_key, sizeof c->hash_key);
    c->ctx = SSL_CTX_new(TLS_method());
    if (!c->ctx)
        vx_tls_explain(problem, "cannot set up TLS: out of memory");
    if (!c->ctx || !configure(c, config, alpn, alpn_count, problem)) {
        free_client(c);
        return NULL;
    }
    ERR_clear_error();
    return c;
}

struct vx_tls_client *vx_tls_client_hold(struct vx_tls_client *c) {
    atomic_fetch_add_explicit(&c->holders, 1, memory_order_relaxed);
    return c;
}

void vx_tls_client_drop(struct vx_tls_client *c) {
    if (c && atomic_fetch_sub_explicit(&c->holders, 1, memory_order_acq_rel) == 1)
        free_client(c);
}

static void drop_client(void *context) {
    vx_tls_client_drop(context);
}

/* Whose certificate it has to be. RFC 6066 §3: an IP address is no server name and is not sent as one. */
static bool expect_server(SSL *ssl, struct vx_slice name) {
    struct vx_address ip;
    char text[SERVER_NAME_MAX + 1];
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (vx_address_parse_ip(name, &ip))
        return X509_VERIFY_PARAM_set1_ip(param, ip.ip, ip.kind == VX_ADDRESS_IP4 ? 4 : 16) == 1;
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    return SSL_set_tlsext_host_name(ssl, text) == 1 &&
           X509_VERIFY_PARAM_set1_host(param, text, name.len) == 1;
}

/* A session is only ever offered to the server name and address that it came from: the name is not checked again when
 * it is resumed. */
static uint64_t session_key(const struct vx_tls_client *c, struct vx_slice name,
                            const struct vx_address *to) {
    struct {
        uint64_t name_hash;
        uint8_t ip[16];
        uint16_t port, kind;
        uint32_t zero;
    } key = {vx_hash_sip(&c->hash_key, name), {0}, to->port, to->kind, 0};
    memcpy(key.ip, to->ip, sizeof key.ip);
    return vx_hash_sip(&c->hash_key, vx_slice((const char *)&key, sizeof key));
}

struct vx_transport *vx_tls_client_wrap(const struct vx_tls_client *client, struct vx_tls_worker *worker,
                                        struct vx_transport *lower, struct vx_slice server_name) {
    /* What changes behind the const are its count of holders and its cache, which are made for it. */
    struct vx_tls_client *c = (struct vx_tls_client *)(uintptr_t)client;
    if (server_name.len && server_name.ptr[server_name.len - 1] == '.')
        server_name.len--;
    if (server_name.len == 0 || server_name.len > SERVER_NAME_MAX ||
        memchr(server_name.ptr, '\0', server_name.len)) {
        lower->ops->close(lower, true);
        return NULL;
    }
    struct vx_tls *t = vx_tls_new(c->ctx, worker, lower, true, vx_tls_client_hold(c), drop_client);
    if (!t)
        return NULL;
    t->local = c->certificate;
    if (!expect_server(t->ssl, server_name)) {
        t->base.ops->close(&t->base, true);
        return NULL;
    }
    t->session_key = session_key(c, server_name, &lower->remote);
    SSL_SESSION *session = vx_tls_sessions_get(&c->sessions, t->session_key);
    if (session) {
        SSL_set_session(t->ssl, session);
        SSL_SESSION_free(session);
    }
    return &t->base;
}

static struct vx_transport *dial(struct vx_dialer *self, const struct vx_dial *to, struct vx_error *error) {
    struct vx_tls_dialer *d = VX_CONTAINER_OF(self, struct vx_tls_dialer, dialer);
    struct vx_transport *lower = d->lower->dial(d->lower, to, error);
    if (!lower || !to->tls)
        return lower;
    struct vx_transport *t = vx_tls_client_wrap(to->tls, d->worker, lower, to->server_name);
    if (!t)
        *error = vx_error(VX_ERR_TLS_FAILED, true, "no memory for TLS, or no usable server name");
    return t;
}

void vx_tls_dialer_init(struct vx_tls_dialer *d, struct vx_dialer *lower, struct vx_tls_worker *worker) {
    *d = (struct vx_tls_dialer){{dial}, lower, worker};
}
