/* SPDX-License-Identifier: Apache-2.0 */
/* Clients as words: which addresses are one client, and the way back to text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/limit/client.h"

static uint64_t client(const char *text) {
    struct vx_address a;
    assert_true(vx_address_parse_ip(vx_slice_of(text), &a));
    return vx_client_of(&a);
}

static bool within(const char *who, const char *prefix) {
    struct vx_prefix p;
    assert_true(vx_prefix_parse(vx_slice_of(prefix), &p));
    return vx_client_in_prefix(client(who), &p);
}

static void words(void **state) {
    (void)state;
    assert_true(client("192.0.2.1") == UINT64_C(0xffffffffc0000201));
    assert_true(client("::ffff:192.0.2.1") == client("192.0.2.1"));
    assert_true(client("2001:db8:1:2:3:4:5:6") == UINT64_C(0x20010db800010002));
    assert_true(client("2001:db8:1:2::") == client("2001:db8:1:2:ffff::9"));
    assert_true(client("2001:db8:1:3::") != client("2001:db8:1:2::"));
    assert_true(client("::1") == 0);
    struct vx_address local = {.kind = VX_ADDRESS_UNIX}, mapped = {.kind = VX_ADDRESS_IP6};
    assert_true(vx_client_of(&local) == 0);
    /* As a socket gives it: not turned into IPv4 yet. */
    memcpy(mapped.ip, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1", 16);
    assert_true(vx_client_of(&mapped) == client("192.0.2.1"));
}

static void text(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"192.0.2.1", "192.0.2.1"}, {"255.255.255.255", "255.255.255.255"}, {"2001:db8::7", "2001:db8::/64"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[VX_ADDRESS_TEXT_MAX];
        size_t n = vx_client_format(client(cases[i][0]), out);
        assert_int_equal(n, strlen(cases[i][1]));
        assert_memory_equal(out, cases[i][1], n);
        struct vx_address back = vx_client_address(client(cases[i][0]));
        assert_true(vx_client_of(&back) == client(cases[i][0]));
    }
    assert_int_equal(vx_client_address(0).kind, VX_ADDRESS_NONE);
}

static void prefixes(void **state) {
    (void)state;
    assert_true(within("192.0.2.1", "192.0.2.0/24"));
    assert_false(within("192.0.3.1", "192.0.2.0/24"));
    assert_true(within("192.0.2.1", "0.0.0.0/0"));
    assert_false(within("192.0.2.1", "::/0"));
    assert_true(within("2001:db8:1:2::9", "2001:db8::/32"));
    /* A single address stands for its client. */
    assert_true(within("2001:db8:1:2::9", "2001:db8:1:2::1"));
    assert_false(within("2001:db8:1:3::9", "2001:db8:1:2::1"));
    assert_false(within("::1", "::/0"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(text),
        cmocka_unit_test(prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
