/* SPDX-License-Identifier: Apache-2.0 */
/* Two certificates of one name, one with an RSA key for old clients and one with an elliptic curve for the others: the
 * context of the first learns to show the second. Control thread. */
#ifndef VX_PROXY_TLS_PAIRS_H
#define VX_PROXY_TLS_PAIRS_H

#include <openssl/base.h>
#include <stdbool.h>

/* Whether the key of `ctx` is an RSA one. */
bool vx_tls_is_rsa(const SSL_CTX *ctx);

/* Has `to` show the certificate of `from` to whoever can take it, and its own to the rest. False: no memory. */
bool vx_tls_prefer(SSL_CTX *to, const SSL_CTX *from);

#endif
