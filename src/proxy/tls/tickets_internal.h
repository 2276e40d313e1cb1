/* SPDX-License-Identifier: Apache-2.0 */
/* How ticket keys reach BoringSSL. For server.c. */
#ifndef VX_PROXY_TLS_TICKETS_INTERNAL_H
#define VX_PROXY_TLS_TICKETS_INTERNAL_H

#include <openssl/cipher.h>
#include <openssl/hmac.h>

#include "proxy/tls/tickets.h"

enum { VX_TLS_TICKET_SECONDS = 24 * 3600 };

/* Does what the callback of SSL_CTX_set_tlsext_ticket_key_cb is to do, with its arguments and results. Any thread. */
int vx_tls_tickets_seal(struct vx_tls_tickets *k, uint8_t *key_name, uint8_t *iv, EVP_CIPHER_CTX *cipher,
                        HMAC_CTX *mac, int encrypt);

#endif
