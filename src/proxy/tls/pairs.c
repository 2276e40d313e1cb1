/* SPDX-License-Identifier: Apache-2.0 */
/* See pairs.h. BoringSSL tries the credentials that were added before the one that a context was made with, and takes
 * the first whose signature the client can check. */
#include "proxy/tls/pairs.h"

#include <openssl/mem.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

enum { CHAIN_MAX = 16 };

bool vx_tls_is_rsa(const SSL_CTX *ctx) {
    return EVP_PKEY_id(SSL_CTX_get0_privatekey(ctx)) == EVP_PKEY_RSA;
}

static CRYPTO_BUFFER *encode(X509 *x) {
    uint8_t *der = NULL;
    int len = i2d_X509(x, &der);
    CRYPTO_BUFFER *buffer = len > 0 ? CRYPTO_BUFFER_new(der, (size_t)len, NULL) : NULL;
    OPENSSL_free(der);
    return buffer;
}

/* The chain of `ctx`, leaf first; how many, 0: no memory, or longer than a peer would take. */
static size_t encode_chain(const SSL_CTX *ctx, CRYPTO_BUFFER *out[CHAIN_MAX]) {
    STACK_OF(X509) *rest = NULL;
    SSL_CTX_get0_chain_certs(ctx, &rest);
    size_t count = 1 + sk_X509_num(rest);
    if (count > CHAIN_MAX)
        return 0;
    out[0] = encode(SSL_CTX_get0_certificate(ctx));
    bool ok = out[0] != NULL;
    for (size_t i = 1; i < count; i++)
        ok = (out[i] = encode(sk_X509_value(rest, i - 1))) && ok;
    return ok ? count : 0;
}

bool vx_tls_prefer(SSL_CTX *to, const SSL_CTX *from) {
    CRYPTO_BUFFER *chain[CHAIN_MAX] = {NULL};
    size_t count = encode_chain(from, chain);
    SSL_CREDENTIAL *credential = SSL_CREDENTIAL_new_x509();
    bool ok = count && credential && SSL_CREDENTIAL_set1_cert_chain(credential, chain, count) &&
              SSL_CREDENTIAL_set1_private_key(credential, SSL_CTX_get0_privatekey(from)) &&
              SSL_CTX_add1_credential(to, credential);
    SSL_CREDENTIAL_free(credential);
    for (size_t i = 0; i < CHAIN_MAX; i++)
        CRYPTO_BUFFER_free(chain[i]);
    return ok;
}
