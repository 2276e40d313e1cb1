/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and keys from PEM files, with words for what is wrong with them. Control thread. */
#ifndef VX_PROXY_TLS_FILES_H
#define VX_PROXY_TLS_FILES_H

#include <openssl/x509.h>

#include "core/base/slice.h"
#include "proxy/tls/server.h"

/* The leaf, its chain and its key from two files into `ctx`. NULL: *problem->text says what is wrong. The leaf is
 * borrowed from `ctx`. */
X509 *vx_tls_use_files(SSL_CTX *ctx, struct vx_slice cert_path, struct vx_slice key_path,
                       struct vx_tls_problem *problem);

/* All certificates of a file as a store of trusted ones; `names` (may be NULL) receives their subjects, for the list
 * that a server sends with its wish for a client certificate; `digest` (32 bytes, may be NULL) the SHA-256 of the
 * file. The caller frees both. NULL: *problem->text says what is wrong. */
X509_STORE *vx_tls_load_store(struct vx_slice path, STACK_OF(X509_NAME) * *names, uint8_t *digest,
                              struct vx_tls_problem *problem);

/* Writes problem->text. */
void vx_tls_explain(struct vx_tls_problem *problem, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A list of protocol names in wire form (RFC 7301 §3.1) into `out` of 256 bytes; returns its length. */
size_t vx_tls_alpn_wire(const struct vx_slice *alpn, uint32_t count, uint8_t *out);

#endif
