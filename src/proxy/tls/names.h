/* SPDX-License-Identifier: Apache-2.0 */
/* Which certificate is for which host name: exact names before wildcards, and among equals the certificate that stands
 * first in the configuration. Built once, then only read. */
#ifndef VX_PROXY_TLS_NAMES_H
#define VX_PROXY_TLS_NAMES_H

#include <openssl/base.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/slice.h"

struct vx_tls_name {
    struct vx_slice text; /* lower case; of a wildcard what follows "*." */
    uint32_t certificate;
    bool wildcard;
};

struct vx_tls_names {
    struct vx_tls_name *entries; /* sorted by text, exact before wildcard, certificate */
    uint32_t count, room;
};

/* Adds the names of a certificate: its subjectAltName, or without one its CN. False: no memory. */
bool vx_tls_names_add(struct vx_tls_names *n, const X509 *x, uint32_t certificate);

/* After the last _add, before the first look-up. */
void vx_tls_names_sort(struct vx_tls_names *n);

void vx_tls_names_free(struct vx_tls_names *n);

/* The certificate for `host` (lower case, an IP address without brackets); -1: none names it. */
int64_t vx_tls_names_find(const struct vx_tls_names *n, struct vx_slice host);

/* Does this certificate name `host`? A wildcard stands for exactly one label (RFC 9525 §6.3). */
bool vx_tls_names_has(const struct vx_tls_names *n, struct vx_slice host, uint32_t certificate);

/* Do both certificates have the same names? After _sort. */
bool vx_tls_names_same(const struct vx_tls_names *n, uint32_t a, uint32_t b);

#endif
