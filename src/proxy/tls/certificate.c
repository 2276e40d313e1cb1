/* SPDX-License-Identifier: Apache-2.0 */
/* See certificate.h. */
#include "proxy/tls/certificate.h"

#include <openssl/bio.h>
#include <openssl/digest.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>

enum { HEX_BYTES = 2 * SHA256_DIGEST_LENGTH };

/* The first name of this kind. A name with a NUL inside is a forgery, an empty one says nothing. */
static struct vx_slice first_name(const GENERAL_NAMES *names, int type) {
    for (size_t i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != type)
            continue;
        const ASN1_STRING *s = name->d.ia5;
        struct vx_slice text =
            vx_slice((const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
        if (text.len && !memchr(text.ptr, '\0', text.len))
            return text;
    }
    return VX_SLICE_NONE;
}

static struct vx_slice subject(BIO *memory, const X509 *x) {
    const uint8_t *bytes;
    size_t len;
    if (X509_NAME_print_ex(memory, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) < 0 ||
        !BIO_mem_contents(memory, &bytes, &len))
        return VX_SLICE_NONE;
    return vx_slice((const char *)bytes, len);
}

static struct vx_slice digest(const X509 *x, char hex[HEX_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[SHA256_DIGEST_LENGTH];
    if (!X509_digest(x, EVP_sha256(), bytes, NULL))
        return VX_SLICE_NONE;
    for (size_t i = 0; i < sizeof bytes; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    return vx_slice(hex, HEX_BYTES);
}

static struct vx_tls_certificate *copy(const struct vx_slice facts[VX_CERTIFICATE_FACTS]) {
    size_t bytes = 0;
    for (unsigned i = 0; i < VX_CERTIFICATE_FACTS; i++)
        bytes += facts[i].len;
    struct vx_tls_certificate *c = malloc(sizeof *c + bytes);
    char *at = (char *)(c + 1);
    for (unsigned i = 0; c && i < VX_CERTIFICATE_FACTS; i++) {
        c->facts[i] = vx_slice(facts[i].ptr ? at : NULL, facts[i].len);
        if (facts[i].len)
            memcpy(at, facts[i].ptr, facts[i].len);
        at += facts[i].len;
    }
    return c;
}

struct vx_tls_certificate *vx_tls_certificate_read(const X509 *x) {
    char hex[HEX_BYTES];
    BIO *memory = BIO_new(BIO_s_mem());
    if (!memory)
        return NULL;
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    const struct vx_slice facts[VX_CERTIFICATE_FACTS] = {
        [VX_CERTIFICATE_SUBJECT] = subject(memory, x),
        [VX_CERTIFICATE_DNS_NAME] = first_name(names, GEN_DNS),
        [VX_CERTIFICATE_URI] = first_name(names, GEN_URI),
        [VX_CERTIFICATE_SHA256] = digest(x, hex),
    };
    struct vx_tls_certificate *c = copy(facts);
    GENERAL_NAMES_free(names);
    BIO_free(memory);
    return c;
}
