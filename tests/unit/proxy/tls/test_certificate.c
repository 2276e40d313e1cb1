/* SPDX-License-Identifier: Apache-2.0 */
/* What certificates say of their holders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/tls/certificate.h"
#include "support/tls.h"

static struct vx_test_certs certs;

static int set_up(void **state) {
    (void)state;
    vx_test_certs_start(&certs, "Test CA");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    vx_test_certs_end(&certs);
    return 0;
}

static X509 *load(const struct vx_config_certificate *c) {
    FILE *f = fopen(c->cert_path.ptr, "r");
    assert_non_null(f);
    X509 *x = PEM_read_X509(f, NULL, NULL, NULL);
    assert_non_null(x);
    fclose(f);
    return x;
}

static void expect(const struct vx_tls_certificate *c, enum vx_certificate_fact fact, const char *text) {
    if (text)
        assert_true(vx_slice_eq(c->facts[fact], vx_slice_of(text)));
    else
        assert_null(c->facts[fact].ptr);
}

static void the_first_name_of_each_kind(void **state) {
    (void)state;
    struct vx_config_certificate made =
        vx_test_cert(&certs, "many", "10.0.0.1 a.test spiffe://a/b b.test spiffe://c/d");
    X509 *x = load(&made);
    struct vx_tls_certificate *c = vx_tls_certificate_read(x);
    assert_non_null(c);
    expect(c, VX_CERTIFICATE_SUBJECT, "CN=many");
    expect(c, VX_CERTIFICATE_DNS_NAME, "a.test");
    expect(c, VX_CERTIFICATE_URI, "spiffe://a/b");
    X509_free(x); /* nothing of it is needed any more */
    expect(c, VX_CERTIFICATE_URI, "spiffe://a/b");
    free(c);
}

static void what_it_does_not_say_is_not_there(void **state) {
    (void)state;
    struct vx_config_certificate made = vx_test_cert(&certs, "bare, with \\ in it", "");
    X509 *x = load(&made);
    struct vx_tls_certificate *c = vx_tls_certificate_read(x);
    assert_non_null(c);
    expect(c, VX_CERTIFICATE_SUBJECT, "CN=bare\\, with \\\\ in it");
    expect(c, VX_CERTIFICATE_DNS_NAME, NULL);
    expect(c, VX_CERTIFICATE_URI, NULL);
    free(c);
    X509_free(x);
}

static void the_digest_is_that_of_the_certificate(void **state) {
    (void)state;
    struct vx_config_certificate made = vx_test_cert(&certs, "digested", "a.test");
    X509 *x = load(&made);
    struct vx_tls_certificate *c = vx_tls_certificate_read(x);
    assert_non_null(c);
    uint8_t *der = NULL, digest[SHA256_DIGEST_LENGTH];
    int len = i2d_X509(x, &der);
    assert_true(len > 0);
    SHA256(der, (size_t)len, digest);
    char hex[2 * SHA256_DIGEST_LENGTH + 1];
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    expect(c, VX_CERTIFICATE_SHA256, hex);
    OPENSSL_free(der);
    free(c);
    X509_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_name_of_each_kind),
        cmocka_unit_test(what_it_does_not_say_is_not_there),
        cmocka_unit_test(the_digest_is_that_of_the_certificate),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
