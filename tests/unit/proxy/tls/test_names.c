/* SPDX-License-Identifier: Apache-2.0 */
/* Which certificate is for which host: exact before wildcard before the first, and what 421 is decided by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "proxy/tls/names.h"
#include "proxy/tls/server.h"
#include "support/tls.h"

enum { COUNT = 5 };

static struct vx_test_certs certs;
static struct vx_config_certificate list[COUNT];
static struct vx_tls_tickets *tickets;
static struct vx_tls_server *server;

static int set_up(void **state) {
    (void)state;
    struct vx_tls_problem problem;
    vx_test_certs_start(&certs, "Test CA");
    list[0] = vx_test_cert(&certs, "first", "first.test");
    list[1] = vx_test_cert(&certs, "wild", "*.example.test *.sub.example.test");
    list[2] = vx_test_cert(&certs, "exact", "A.example.test b.example.test 10.0.0.1 2001:db8::1");
    list[3] = vx_test_cert(&certs, "common.test", "");
    list[4] = vx_test_cert(&certs, "again", "a.example.test *.example.test first.test foo*.test *");
    struct vx_config_listener l = {.tls = true, .certificates = list, .certificate_count = COUNT};
    tickets = vx_tls_tickets_new(0);
    server = vx_tls_server_new(&l, NULL, 0, tickets, &problem);
    if (!server)
        fail_msg("%s", problem.text);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    vx_tls_server_drop(server);
    vx_tls_tickets_drop(tickets);
    vx_test_certs_end(&certs);
    return 0;
}

/* Who may answer for `host`: a bit for each certificate. */
static unsigned covering(const char *host) {
    unsigned bits = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        bits |= (unsigned)vx_tls_server_covers(server, i, vx_slice_of(host)) << i;
    return bits;
}

static void who_may_answer(void **state) {
    (void)state;
    assert_int_equal(covering("first.test"), 1 << 0 | 1 << 4);
    assert_int_equal(covering("a.example.test"), 1 << 1 | 1 << 2 | 1 << 4);
    assert_int_equal(covering("b.example.test"), 1 << 1 | 1 << 2 | 1 << 4);
    assert_int_equal(covering("c.example.test"), 1 << 1 | 1 << 4);
    /* One label only. */
    assert_int_equal(covering("x.c.example.test"), 1 << 0);
    assert_int_equal(covering("x.sub.example.test"), 1 << 1);
    assert_int_equal(covering("example.test"), 1 << 0);
    assert_int_equal(covering(".example.test"), 1 << 0);
    /* Without subjectAltName the CN names it. */
    assert_int_equal(covering("common.test"), 1 << 3);
    assert_int_equal(covering("10.0.0.1"), 1 << 2);
    assert_int_equal(covering("[2001:db8::1]"), 1 << 2);
    assert_int_equal(covering("[2001:db8::2]"), 1 << 0);
    /* Partial wildcards and a bare star are nobody's. */
    assert_int_equal(covering("foobar.test"), 1 << 0);
    assert_int_equal(covering("test"), 1 << 0);
    assert_int_equal(covering(""), 1 << 0);
}

static void one_certificate_answers_for_all(void **state) {
    (void)state;
    struct vx_tls_problem problem;
    struct vx_config_listener l = {.tls = true, .certificates = list, .certificate_count = 1};
    struct vx_tls_server *s = vx_tls_server_new(&l, NULL, 0, tickets, &problem);
    assert_non_null(s);
    assert_true(vx_tls_server_covers(s, 0, VX_SLICE("whatever.test")));
    vx_tls_server_drop(s);
}

static void same_names_in_any_order(void **state) {
    (void)state;
    struct vx_tls_name entries[] = {
        {VX_SLICE("a.x"), 0, false}, {VX_SLICE("b.x"), 0, true},  {VX_SLICE("b.x"), 1, true},
        {VX_SLICE("a.x"), 1, false}, {VX_SLICE("a.x"), 2, false}, {VX_SLICE("b.x"), 3, false},
        {VX_SLICE("a.x"), 3, false},
    };
    struct vx_tls_names n = {entries, sizeof entries / sizeof *entries, 0};
    vx_tls_names_sort(&n);
    for (uint32_t a = 0; a < 4; a++)
        for (uint32_t b = 0; b < 4; b++)
            assert_int_equal(vx_tls_names_same(&n, a, b), a == b || (a < 2 && b < 2));
}

static void finds_among_many(void **state) {
    (void)state;
    static struct vx_tls_name entries[2000];
    static char texts[2000][16];
    struct vx_tls_names n = {entries, 0, 2000};
    for (uint32_t i = 0; i < 2000; i++) {
        size_t len = 0;
        for (uint32_t v = i * 7919 % 2000 + 1; v; v /= 26)
            texts[i][len++] = (char)('a' + v % 26);
        memcpy(texts[i] + len, ".x", 2);
        entries[n.count++] = (struct vx_tls_name){{texts[i], len + 2}, i, false};
    }
    vx_tls_names_sort(&n);
    for (uint32_t i = 0; i < 2000; i++) {
        int64_t found = vx_tls_names_find(&n, vx_slice(texts[i], strlen(texts[i])));
        assert_int_equal(found, i);
    }
    assert_int_equal(vx_tls_names_find(&n, VX_SLICE("nobody.x")), -1);
    assert_int_equal(vx_tls_names_find(&n, VX_SLICE("a")), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_may_answer),
        cmocka_unit_test(one_certificate_answers_for_all),
        cmocka_unit_test(same_names_in_any_order),
        cmocka_unit_test(finds_among_many),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
