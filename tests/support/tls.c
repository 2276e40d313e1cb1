/* SPDX-License-Identifier: Apache-2.0 */
/* See tls.h. */
#include "support/tls.h"

#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* FOLDER/NAME, kept until _end. */
static struct vx_slice path_of(struct vx_test_certs *c, const char *name) {
    VX_CHECK(c->path_count < sizeof c->paths / sizeof *c->paths);
    char path[sizeof *c->paths];
    int len = snprintf(path, sizeof path, "%s/%s", c->folder, name);
    VX_CHECK(len > 0 && (size_t)len < sizeof path);
    char *kept = memcpy(c->paths[c->path_count++], path, (size_t)len + 1);
    return vx_slice(kept, (size_t)len);
}

static FILE *create(struct vx_test_certs *c, const char *name) {
    FILE *f = fopen(path_of(c, name).ptr, "w");
    VX_CHECK(f);
    return f;
}

void vx_test_write(struct vx_test_certs *c, const char *name, const char *text) {
    FILE *f = create(c, name);
    VX_CHECK(fputs(text, f) >= 0);
    VX_CHECK(fclose(f) == 0);
}

static EVP_PKEY *make_key(bool rsa) {
    EVP_PKEY *key = EVP_PKEY_new();
    VX_CHECK(key);
    if (rsa) {
        RSA *r = RSA_new();
        BIGNUM *e = BN_new();
        VX_CHECK(r && e && BN_set_word(e, RSA_F4) && RSA_generate_key_ex(r, 2048, e, NULL));
        VX_CHECK(EVP_PKEY_assign_RSA(key, r));
        BN_free(e);
    } else {
        EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
        VX_CHECK(ec && EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(key, ec));
    }
    return key;
}

static void add_extension(X509 *x, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    VX_CHECK(e);
    VX_CHECK(X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static X509 *make_certificate(EVP_PKEY *key, const char *name, const X509 *issuer) {
    static long serial = 1;
    X509 *x = X509_new();
    VX_CHECK(x);
    VX_CHECK(X509_set_version(x, X509_VERSION_3) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 24 * 3600);
    X509_NAME *subject = X509_get_subject_name(x);
    VX_CHECK(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0) == 1);
    X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject);
    X509_set_pubkey(x, key);
    add_extension(x, NID_basic_constraints, issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    return x;
}

static void write_certificate(struct vx_test_certs *c, const char *file, X509 *x) {
    FILE *f = create(c, file);
    VX_CHECK(PEM_write_X509(f, x) == 1);
    VX_CHECK(fclose(f) == 0);
}

void vx_test_certs_start(struct vx_test_certs *c, const char *ca_name) {
    *c = (struct vx_test_certs){.folder = "/tmp/vx_certs_XXXXXX"};
    VX_CHECK(mkdtemp(c->folder));
    c->ca_key = make_key(false);
    c->ca = make_certificate(c->ca_key, ca_name, NULL);
    VX_CHECK(X509_sign(c->ca, c->ca_key, EVP_sha256()) > 0);
    write_certificate(c, "ca.pem", c->ca);
}

void vx_test_certs_end(struct vx_test_certs *c) {
    for (unsigned i = 0; i < c->path_count; i++)
        unlink(c->paths[i]);
    rmdir(c->folder);
    X509_free(c->ca);
    EVP_PKEY_free(c->ca_key);
}

/* "a.example 10.0.0.1 a://b" to "DNS:a.example,IP:10.0.0.1,URI:a://b". */
static void alternative_names(const char *names, char *to, size_t room) {
    size_t len = 0;
    to[0] = '\0';
    while (*names) {
        size_t n = strcspn(names, " ");
        struct vx_address ip;
        bool is_ip = vx_address_parse_ip(vx_slice(names, n), &ip);
        const char *colon = memchr(names, ':', n);
        const char *kind = is_ip ? "IP" : colon && colon[1] == '/' ? "URI" : "DNS";
        len += (size_t)snprintf(to + len, room - len, "%s%s:%.*s", len ? "," : "", kind, (int)n, names);
        VX_CHECK(len < room);
        names += n;
        names += strspn(names, " ");
    }
}

struct vx_config_certificate vx_test_cert(struct vx_test_certs *c, const char *name, const char *names) {
    char file[64], text[1024];
    EVP_PKEY *key = make_key(c->rsa);
    X509 *x = make_certificate(key, name, c->ca);
    alternative_names(names, text, sizeof text);
    if (*text)
        add_extension(x, NID_subject_alt_name, text);
    VX_CHECK(X509_sign(x, c->ca_key, EVP_sha256()) > 0);
    struct vx_config_certificate result = {.place = {1, 1}};
    snprintf(file, sizeof file, "%s.pem", name);
    write_certificate(c, file, x);
    result.cert_path = vx_slice_of(c->paths[c->path_count - 1]);
    snprintf(file, sizeof file, "%s.key", name);
    FILE *f = create(c, file);
    result.key_path = vx_slice_of(c->paths[c->path_count - 1]);
    VX_CHECK(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
    VX_CHECK(fclose(f) == 0);
    X509_free(x);
    EVP_PKEY_free(key);
    return result;
}
