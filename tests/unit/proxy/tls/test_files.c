/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and keys from files: each way in which they can be wrong has words that name the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/tls/client.h"
#include "proxy/tls/files.h"
#include "proxy/tls/server.h"
#include "support/file.h"
#include "support/tls.h"

static struct vx_test_certs certs;
static struct vx_config_certificate one, two;
static struct vx_tls_tickets *tickets;

static int set_up(void **state) {
    (void)state;
    vx_test_certs_start(&certs, "Test CA");
    one = vx_test_cert(&certs, "one", "one.test");
    two = vx_test_cert(&certs, "two", "two.test");
    tickets = vx_tls_tickets_new(0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    vx_tls_tickets_drop(tickets);
    vx_test_certs_end(&certs);
    return 0;
}

/* The second certificate of a listener is the one in question. */
static void expect_refusal(struct vx_slice cert, struct vx_slice key, const char *words, const char *file) {
    struct vx_config_certificate both[2] = {one, {.cert_path = cert, .key_path = key}};
    struct vx_config_listener l = {.tls = true, .certificates = both, .certificate_count = 2};
    struct vx_tls_problem problem;
    assert_null(vx_tls_server_new(&l, NULL, 0, tickets, &problem));
    assert_int_equal(problem.certificate, 1);
    if (!strstr(problem.text, words) || !strstr(problem.text, file))
        fail_msg("wanted \"%s\" and \"%s\" in: %s", words, file, problem.text);
}

static struct vx_slice file_of(const char *name, const char *text) {
    vx_test_write(&certs, name, text);
    return vx_slice_of(certs.paths[certs.path_count - 1]);
}

static void what_is_wrong_is_said(void **state) {
    (void)state;
    static const char locked[] = "-----BEGIN RSA PRIVATE KEY-----\n"
                                 "Proc-Type: 4,ENCRYPTED\n"
                                 "DEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\n"
                                 "AAAAAAAAAAAAAAAAAAAAAA==\n"
                                 "-----END RSA PRIVATE KEY-----\n";
    static const char broken[] = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    struct vx_slice text = file_of("text.pem", "not PEM at all\n"), empty = file_of("empty.pem", "");
    expect_refusal(VX_SLICE("/no/such/file"), two.key_path, "cannot read the certificate", "/no/such/file");
    expect_refusal(two.cert_path, VX_SLICE("/no/such/key"), "cannot read the key", "/no/such/key");
    expect_refusal(vx_slice_of(certs.folder), two.key_path, "directory", certs.folder);
    expect_refusal(text, two.key_path, "holds no PEM certificate", "text.pem");
    expect_refusal(empty, two.key_path, "holds no PEM certificate", "empty.pem");
    expect_refusal(two.key_path, two.key_path, "holds no PEM certificate", "two.key");
    expect_refusal(file_of("broken.pem", broken), two.key_path, "malformed", "broken.pem");
    expect_refusal(two.cert_path, text, "holds no PEM private key", "text.pem");
    expect_refusal(two.cert_path, two.cert_path, "holds no PEM private key", "two.pem");
    expect_refusal(two.cert_path, file_of("locked.key", locked), "passphrase", "locked.key");
    expect_refusal(two.cert_path, one.key_path, "does not belong to the certificate", "one.key");
    expect_refusal(two.cert_path, one.key_path, "does not belong to the certificate", "two.pem");
    char path[5000];
    memset(path, 'x', sizeof path);
    expect_refusal(vx_slice(path, sizeof path), two.key_path, "too long", "certificate");
}

static void client_ca_and_backend_ca(void **state) {
    (void)state;
    struct vx_config_listener l = {
        .tls = true, .certificates = &one, .certificate_count = 1, .client_ca_path = VX_SLICE("/no/ca")};
    struct vx_tls_problem problem;
    assert_null(vx_tls_server_new(&l, NULL, 0, tickets, &problem));
    assert_non_null(strstr(problem.text, "/no/ca"));
    l.client_ca_path = one.key_path;
    assert_null(vx_tls_server_new(&l, NULL, 0, tickets, &problem));
    assert_non_null(strstr(problem.text, "holds no PEM certificate"));
    struct vx_config_backend_tls b = {.enabled = true, .ca_path = VX_SLICE("/no/ca")};
    assert_null(vx_tls_client_new(&b, NULL, 0, &problem));
    assert_non_null(strstr(problem.text, "/no/ca"));
    b.ca_path = one.cert_path;
    b.cert_path = one.cert_path;
    b.key_path = two.key_path;
    assert_null(vx_tls_client_new(&b, NULL, 0, &problem));
    assert_non_null(strstr(problem.text, "does not belong"));
    b.key_path = one.key_path;
    struct vx_tls_client *c = vx_tls_client_new(&b, NULL, 0, &problem);
    assert_non_null(c);
    vx_tls_client_drop(vx_tls_client_hold(c));
    vx_tls_client_drop(c);
}

/* The system's own bundle is what a backend is checked against when nothing else is said. */
static void the_system_bundle(void **state) {
    (void)state;
    struct vx_config_backend_tls b = {.enabled = true};
    struct vx_tls_problem problem;
    struct vx_tls_client *c = vx_tls_client_new(&b, NULL, 0, &problem);
    if (!c)
        fail_msg("%s", problem.text);
    vx_tls_client_drop(c);
}

static void a_chain_is_sent_whole(void **state) {
    (void)state;
    size_t bytes;
    char *leaf = vx_test_read_file(one.cert_path.ptr, &bytes);
    char *ca = vx_test_read_file(certs.paths[0], &bytes), chain[40000];
    snprintf(chain, sizeof chain, "some words\n%s%s", leaf, ca);
    struct vx_slice path = file_of("chain.pem", chain);
    struct vx_tls_problem problem;
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    STACK_OF(X509) * extra;
    assert_non_null(vx_tls_use_files(ctx, path, one.key_path, &problem));
    assert_int_equal(SSL_CTX_get0_chain_certs(ctx, &extra), 1);
    assert_int_equal(sk_X509_num(extra), 1);
    SSL_CTX_free(ctx);
    /* One that is broken in the middle is not cut short in silence. */
    snprintf(chain, sizeof chain, "%s-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n%s", leaf,
             ca);
    expect_refusal(file_of("cut.pem", chain), one.key_path, "malformed", "cut.pem");
    free(leaf);
    free(ca);
}

static void alpn_in_wire_form(void **state) {
    (void)state;
    uint8_t wire[256];
    struct vx_slice names[] = {VX_SLICE("h2"), VX_SLICE_NONE, VX_SLICE("http/1.1")};
    assert_int_equal(vx_tls_alpn_wire(names, 3, wire), 12);
    assert_memory_equal(wire, "\x02h2\x08http/1.1", 12);
    assert_int_equal(vx_tls_alpn_wire(NULL, 0, wire), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_said), cmocka_unit_test(client_ca_and_backend_ca),
        cmocka_unit_test(the_system_bundle),     cmocka_unit_test(a_chain_is_sent_whole),
        cmocka_unit_test(alpn_in_wire_form),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
