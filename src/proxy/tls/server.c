/* SPDX-License-Identifier: Apache-2.0 */
/* See server.h. One SSL_CTX for each certificate, alike but for it. A connection begins with the first and is given
 * another in the callback for the server's name. Of two certificates with the same names, one RSA and one not, both
 * show the context of the first kind, which knows the other one too (pairs.h). */
#include "proxy/tls/server.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/assert.h"
#include "proxy/tls/files.h"
#include "proxy/tls/names.h"
#include "proxy/tls/pairs.h"
#include "proxy/tls/tickets_internal.h"
#include "proxy/tls/transport.h"

struct vx_tls_server {
    atomic_uint holders;
    struct vx_tls_tickets *tickets;
    struct vx_tls_names names;
    uint8_t alpn[256];
    size_t alpn_len;
    uint32_t count;
    struct {
        SSL_CTX *own, *shown; /* `shown` is some certificate's own */
        struct vx_tls_certificate *certificate;
    } contexts[]; /* one for each certificate */
};

/* TLS 1.2: forward secrecy and AEAD only, in the order of Mozilla's intermediate list; what clients prefer between
 * ciphers of equal strength decides ([a|b]). TLS 1.3's ciphers are fixed in BoringSSL. */
static const char ciphers[] = "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:"
                              "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"
                              "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
static const char groups[] = "X25519:P-256:P-384";

static int select_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *offered,
                       unsigned offered_len, void *arg) {
    const struct vx_tls_server *s = arg;
    (void)ssl;
    uint8_t *chosen;
    int found = SSL_select_next_proto(&chosen, out_len, s->alpn, (unsigned)s->alpn_len, offered, offered_len);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static int use_ticket_key(SSL *ssl, uint8_t *key_name, uint8_t *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *mac,
                          int encrypt) {
    const struct vx_tls_server *s = vx_tls_of(ssl)->context;
    return vx_tls_tickets_seal(s->tickets, key_name, iv, cipher, mac, encrypt);
}

static int select_certificate(SSL *ssl, int *alert, void *arg) {
    const struct vx_tls_server *s = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    char host[TLSEXT_MAXLEN_host_name];
    size_t len = name ? strlen(name) : 0;
    (void)alert;
    if (len == 0 || len > sizeof host)
        return SSL_TLSEXT_ERR_NOACK;
    for (size_t i = 0; i < len; i++)
        host[i] = vx_lower(name[i]);
    int64_t found = vx_tls_names_find(&s->names, vx_slice(host, len));
    /* A name that no certificate has gets the first one: who asked will see that it does not fit. */
    if (found > 0) {
        SSL_set_SSL_CTX(ssl, s->contexts[found].shown);
        vx_tls_of(ssl)->info.certificate = (uint32_t)found;
        vx_tls_of(ssl)->local = s->contexts[found].certificate;
    }
    return SSL_TLSEXT_ERR_OK;
}

static bool configure(struct vx_tls_server *s, SSL_CTX *ctx) {
    bool ok = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) &&
              SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) &&
              SSL_CTX_set_strict_cipher_list(ctx, ciphers) && SSL_CTX_set1_groups_list(ctx, groups) &&
              SSL_CTX_set_tlsext_ticket_key_cb(ctx, use_ticket_key) &&
              SSL_CTX_set_tlsext_servername_callback(ctx, select_certificate) &&
              SSL_CTX_set_tlsext_servername_arg(ctx, s);
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* Sessions live in tickets only: nothing to share between workers, nothing to grow. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, VX_TLS_TICKET_SECONDS);
    SSL_CTX_set_session_psk_dhe_timeout(ctx, VX_TLS_TICKET_SECONDS);
    if (s->alpn_len)
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, s);
    return ok;
}

/* What all contexts ask of clients. */
struct client_ca {
    X509_STORE *store;
    STACK_OF(X509_NAME) * names;
    uint8_t digest[SHA256_DIGEST_LENGTH];
};

/* A session may be resumed only where the same demands were made of the client, so the demands are the context of its
 * ID (a ticket of a listener without client certificates must not open one that wants them). */
static bool demand_client(SSL_CTX *ctx, const struct client_ca *ca) {
    if (!SSL_CTX_set_session_id_context(ctx, ca->digest, sizeof ca->digest))
        return false;
    if (!ca->store)
        return true;
    STACK_OF(X509_NAME) *names =
        sk_X509_NAME_deep_copy(ca->names, (sk_X509_NAME_copy_func)X509_NAME_dup, X509_NAME_free);
    if (!names)
        return false;
    SSL_CTX_set_client_CA_list(ctx, names);
    X509_STORE_up_ref(ca->store);
    SSL_CTX_set_cert_store(ctx, ca->store);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return true;
}

static bool add_certificate(struct vx_tls_server *s, const struct vx_config_certificate *c,
                            const struct client_ca *ca, struct vx_tls_problem *problem) {
    problem->certificate = s->count;
    problem->key = false;
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    if (!ctx || !configure(s, ctx) || !demand_client(ctx, ca)) {
        SSL_CTX_free(ctx);
        vx_tls_explain(problem, "cannot set up TLS: out of memory");
        return false;
    }
    s->contexts[s->count].own = s->contexts[s->count].shown = ctx;
    s->count++;
    const X509 *leaf = vx_tls_use_files(ctx, c->cert_path, c->key_path, problem);
    if (!leaf)
        return false;
    s->contexts[problem->certificate].certificate = vx_tls_certificate_read(leaf);
    if (!s->contexts[problem->certificate].certificate ||
        !vx_tls_names_add(&s->names, leaf, problem->certificate)) {
        vx_tls_explain(problem, "cannot set up TLS: out of memory");
        return false;
    }
    return true;
}

/* False: no memory. */
static bool pair_certificates(struct vx_tls_server *s) {
    for (uint32_t rsa = 0; rsa < s->count; rsa++) {
        if (!vx_tls_is_rsa(s->contexts[rsa].own))
            continue;
        for (uint32_t i = 0; i < s->count; i++) {
            bool single = s->contexts[i].shown == s->contexts[i].own;
            if (vx_tls_is_rsa(s->contexts[i].own) || !single || !vx_tls_names_same(&s->names, rsa, i))
                continue;
            if (!vx_tls_prefer(s->contexts[rsa].own, s->contexts[i].own))
                return false;
            s->contexts[i].shown = s->contexts[rsa].own;
            break;
        }
    }
    return true;
}

static void free_server(struct vx_tls_server *s) {
    for (uint32_t i = 0; i < s->count; i++) {
        SSL_CTX_free(s->contexts[i].own);
        free(s->contexts[i].certificate);
    }
    vx_tls_names_free(&s->names);
    vx_tls_tickets_drop(s->tickets);
    free(s);
}

struct vx_tls_server *vx_tls_server_new(const struct vx_config_listener *listener,
                                        const struct vx_slice *alpn, uint32_t alpn_count,
                                        struct vx_tls_tickets *tickets, struct vx_tls_problem *problem) {
    VX_CHECK(listener->certificate_count > 0);
    *problem = (struct vx_tls_problem){0};
    struct vx_tls_server *s = calloc(1, sizeof *s + listener->certificate_count * sizeof *s->contexts);
    if (!s) {
        vx_tls_explain(problem, "cannot set up TLS: out of memory");
        return NULL;
    }
    atomic_init(&s->holders, 1);
    s->tickets = vx_tls_tickets_hold(tickets);
    s->alpn_len = vx_tls_alpn_wire(alpn, alpn_count, s->alpn);
    struct client_ca ca = {.store = NULL};
    bool ok = true;
    if (listener->client_ca_path.len)
        ok = (ca.store = vx_tls_load_store(listener->client_ca_path, &ca.names, ca.digest, problem)) != NULL;
    for (uint32_t i = 0; ok && i < listener->certificate_count; i++)
        ok = add_certificate(s, &listener->certificates[i], &ca, problem);
    X509_STORE_free(ca.store);
    sk_X509_NAME_pop_free(ca.names, X509_NAME_free);
    vx_tls_names_sort(&s->names);
    if (ok && !pair_certificates(s)) {
        vx_tls_explain(problem, "cannot set up TLS: out of memory");
        ok = false;
    }
    ERR_clear_error();
    if (!ok) {
        free_server(s);
        return NULL;
    }
    return s;
}

struct vx_tls_server *vx_tls_server_hold(struct vx_tls_server *s) {
    atomic_fetch_add_explicit(&s->holders, 1, memory_order_relaxed);
    return s;
}

void vx_tls_server_drop(struct vx_tls_server *s) {
    if (s && atomic_fetch_sub_explicit(&s->holders, 1, memory_order_acq_rel) == 1)
        free_server(s);
}

static void drop_server(void *context) {
    vx_tls_server_drop(context);
}

struct vx_transport *vx_tls_server_wrap(struct vx_tls_server *s, struct vx_tls_worker *worker,
                                        struct vx_transport *lower) {
    struct vx_tls *t =
        vx_tls_new(s->contexts[0].shown, worker, lower, false, vx_tls_server_hold(s), drop_server);
    if (!t)
        return NULL;
    t->local = s->contexts[0].certificate;
    return &t->base;
}

bool vx_tls_server_covers(const struct vx_tls_server *s, uint32_t certificate, struct vx_slice host) {
    if (s->count == 1)
        return true;
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = vx_slice(host.ptr + 1, host.len - 2);
    int64_t chosen = vx_tls_names_find(&s->names, host);
    return (chosen < 0 ? 0 : chosen) == certificate || vx_tls_names_has(&s->names, host, certificate);
}

const struct vx_tls_server *vx_tls_server_of(const struct vx_transport *t) {
    struct vx_tls *tls = vx_tls_from(t);
    return tls && !tls->client ? tls->context : NULL;
}
