/* SPDX-License-Identifier: Apache-2.0 */
/* What a certificate says of its holder, as texts. */
#ifndef VX_PROXY_TLS_CERTIFICATE_H
#define VX_PROXY_TLS_CERTIFICATE_H

#include <openssl/base.h>

#include "core/ports/tls_session.h"

/* Immutable once read. */
struct vx_tls_certificate {
    /* They lie behind the struct; ptr NULL: it does not say that. */
    struct vx_slice facts[VX_CERTIFICATE_FACTS];
};

/* In one block, to be given back with free(). NULL: no memory. */
struct vx_tls_certificate *vx_tls_certificate_read(const X509 *x);

#endif
