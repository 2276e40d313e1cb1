/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates for tests, made when they run: an authority, and leaves of it, as PEM files in a folder of their own. */
#ifndef VX_TESTS_SUPPORT_TLS_H
#define VX_TESTS_SUPPORT_TLS_H

#include <openssl/base.h>

#include "core/base/assert.h"
#include "core/config/model.h"

struct vx_test_certs {
    char folder[64];
    char paths[64][96];
    unsigned path_count;
    bool rsa; /* keys made from now on are RSA of 2048 bits instead of P-256 */
    X509 *ca;
    EVP_PKEY *ca_key;
};

/* Makes the folder and ca.pem in it. */
void vx_test_certs_start(struct vx_test_certs *c, const char *ca_name);
/* Removes all of it. */
void vx_test_certs_end(struct vx_test_certs *c);

/* NAME.pem and NAME.key for the DNS names, IP addresses and URIs in `names` (separated by spaces; "": none, then the
 * CN is all there is). Returns what a listener's configuration says of them. */
struct vx_config_certificate vx_test_cert(struct vx_test_certs *c, const char *name, const char *names);

/* Writes a file into the folder. */
void vx_test_write(struct vx_test_certs *c, const char *name, const char *text);

#endif
