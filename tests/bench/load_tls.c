/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of the load generator, on OpenSSL: TLS 1.3 with one cipher and no resumption, so that every peer does
 * the same work for a handshake and for a record. The certificate is not verified: the client is not what is
 * measured.
 */
#include "load.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

/* The library's own objects, under the names load.h gives them. */
static SSL_CTX *context_of(struct load_tls_context *context) {
    return (SSL_CTX *)context;
}
static SSL *ssl_of(struct load_tls *tls) {
    return (SSL *)tls;
}

struct load_tls_context *load_tls_context_create(void) {
    static const unsigned char alpn[] = "\x08http/1.1";
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") ||
        !SSL_CTX_set1_groups_list(context, "X25519") ||
        SSL_CTX_set_alpn_protos(context, alpn, sizeof alpn - 1)) {
        ERR_print_errors_fp(stderr);
        return NULL;
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return (struct load_tls_context *)context;
}

struct load_tls *load_tls_begin(struct load_tls_context *context, int fd) {
    SSL *ssl = SSL_new(context_of(context));
    if (!ssl)
        return NULL;
    if (!SSL_set_fd(ssl, fd) || !SSL_set_tlsext_host_name(ssl, "localhost")) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    return (struct load_tls *)ssl;
}

static bool wants_more(SSL *ssl, int n) {
    int error = SSL_get_error(ssl, n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

int load_tls_handshake(struct load_tls *tls) {
    ERR_clear_error();
    int n = SSL_do_handshake(ssl_of(tls));
    if (n == 1)
        return 1;
    return wants_more(ssl_of(tls), n) ? 0 : -1;
}

static ptrdiff_t as_errno(SSL *ssl, int n) {
    if (n > 0)
        return n;
    if (SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = wants_more(ssl, n) ? EAGAIN : EPROTO;
    return -1;
}

ptrdiff_t load_tls_read(struct load_tls *tls, void *bytes, size_t n) {
    ERR_clear_error();
    return as_errno(ssl_of(tls), SSL_read(ssl_of(tls), bytes, (int)n));
}

ptrdiff_t load_tls_write(struct load_tls *tls, const void *bytes, size_t n) {
    ERR_clear_error();
    return as_errno(ssl_of(tls), SSL_write(ssl_of(tls), bytes, (int)n));
}

void load_tls_end(struct load_tls *tls) {
    SSL_set_quiet_shutdown(ssl_of(tls), 1);
    SSL_free(ssl_of(tls));
}
