/* SPDX-License-Identifier: Apache-2.0 */
/* See tls.h. */
#include "support/tls.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h wants the two above. */
#include <cmocka.h>

#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct vx_slice vx_test_path(struct vx_test_certs *c, const char *name) {
    assert_true(c->path_count < sizeof c->paths / sizeof *c->paths);
    char path[sizeof *c->paths];
    int len = snprintf(path, sizeof path, "%s/%s", c->folder, name);
    assert_true(len > 0 && (size_t)len < sizeof path);
    char *kept = memcpy(c->paths[c->path_count++], path, (size_t)len + 1);
    return vx_slice(kept, (size_t)len);
}

static FILE *create(struct vx_test_certs *c, const char *name) {
    FILE *f = fopen(vx_test_path(c, name).ptr, "w");
    assert_non_null(f);
    return f;
}

void vx_test_write(struct vx_test_certs *c, const char *name, const char *text) {
    FILE *f = create(c, name);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static EVP_PKEY *make_key(void) {
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    EVP_PKEY *key = EVP_PKEY_new();
    assert_true(ec && key && EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(key, ec));
    return key;
}

static void add_extension(X509 *x, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static X509 *make_certificate(EVP_PKEY *key, const char *name, const X509 *issuer) {
    static long serial = 1;
    X509 *x = X509_new();
    assert_non_null(x);
    assert_int_equal(X509_set_version(x, X509_VERSION_3), 1);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 24 * 3600);
    X509_NAME *subject = X509_get_subject_name(x);
    assert_int_equal(
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0), 1);
    X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject);
    X509_set_pubkey(x, key);
    add_extension(x, NID_basic_constraints, issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    return x;
}

static void write_certificate(struct vx_test_certs *c, const char *file, X509 *x) {
    FILE *f = create(c, file);
    assert_int_equal(PEM_write_X509(f, x), 1);
    assert_int_equal(fclose(f), 0);
}

void vx_test_certs_start(struct vx_test_certs *c, const char *ca_name) {
    *c = (struct vx_test_certs){.folder = "/tmp/vx_certs_XXXXXX"};
    assert_non_null(mkdtemp(c->folder));
    c->ca_key = make_key();
    c->ca = make_certificate(c->ca_key, ca_name, NULL);
    assert_true(X509_sign(c->ca, c->ca_key, EVP_sha256()) > 0);
    write_certificate(c, "ca.pem", c->ca);
}

void vx_test_certs_end(struct vx_test_certs *c) {
    for (unsigned i = 0; i < c->path_count; i++)
        unlink(c->paths[i]);
    rmdir(c->folder);
    X509_free(c->ca);
    EVP_PKEY_free(c->ca_key);
}

/* "a.example 10.0.0.1" to "DNS:a.example,IP:10.0.0.1". */
static void alternative_names(const char *names, char *to, size_t room) {
    size_t len = 0;
    to[0] = '\0';
    while (*names) {
        size_t n = strcspn(names, " ");
        struct vx_address ip;
        bool is_ip = vx_address_parse_ip(vx_slice(names, n), &ip);
        len += (size_t)snprintf(to + len, room - len, "%s%s:%.*s", len ? "," : "", is_ip ? "IP" : "DNS",
                                (int)n, names);
        assert_true(len < room);
        names += n;
        names += strspn(names, " ");
    }
}

struct vx_config_certificate vx_test_cert(struct vx_test_certs *c, const char *name, const char *names) {
    char file[64], text[1024];
    EVP_PKEY *key = make_key();
    X509 *x = make_certificate(key, name, c->ca);
    alternative_names(names, text, sizeof text);
    if (*text)
        add_extension(x, NID_subject_alt_name, text);
    assert_true(X509_sign(x, c->ca_key, EVP_sha256()) > 0);
    struct vx_config_certificate result = {.place = {1, 1}};
    snprintf(file, sizeof file, "%s.pem", name);
    write_certificate(c, file, x);
    result.cert_path = vx_slice_of(c->paths[c->path_count - 1]);
    snprintf(file, sizeof file, "%s.key", name);
    FILE *f = create(c, file);
    result.key_path = vx_slice_of(c->paths[c->path_count - 1]);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
    X509_free(x);
    EVP_PKEY_free(key);
    return result;
}
