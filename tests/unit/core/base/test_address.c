/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: what is accepted, what is refused, and that libc reads and writes IP addresses the same way. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/base/address.h"

static struct vx_address must_parse(const char *text) {
    struct vx_address a;
    const char *why = "";
    if (!vx_address_parse(vx_slice_of(text), &a, &why))
        fail_msg("%s refused: must be %s", text, why);
    return a;
}

static struct vx_address must_parse_ip(const char *text) {
    struct vx_address a;
    if (!vx_address_parse_ip(vx_slice_of(text), &a))
        fail_msg("%s refused", text);
    return a;
}

static void assert_formats(const struct vx_address *a, const char *with_port, const char *without) {
    char out[VX_ADDRESS_TEXT_MAX];
    assert_int_equal(vx_address_format(a, out), strlen(with_port));
    assert_string_equal(out, with_port);
    assert_int_equal(vx_address_format_ip(a, out), strlen(without));
    assert_string_equal(out, without);
}

static void ip4_with_port(void **state) {
    (void)state;
    struct vx_address a = must_parse("192.0.2.255:65535");
    assert_int_equal(a.kind, VX_ADDRESS_IP4);
    assert_int_equal(a.port, 65535);
    assert_memory_equal(a.ip, "\xc0\x00\x02\xff", 4);
    assert_int_equal(a.text.len, 0);
    assert_formats(&a, "192.0.2.255:65535", "192.0.2.255");
}

static void ip6_with_port(void **state) {
    (void)state;
    struct vx_address a = must_parse("[2001:DB8::1]:443");
    assert_int_equal(a.kind, VX_ADDRESS_IP6);
    assert_int_equal(a.port, 443);
    assert_formats(&a, "[2001:db8::1]:443", "2001:db8::1");
    a = must_parse("[::ffff:10.1.2.3]:80");
    assert_int_equal(a.kind, VX_ADDRESS_IP4);
    assert_formats(&a, "10.1.2.3:80", "10.1.2.3");
}

static void unix_paths(void **state) {
    (void)state;
    struct vx_address a = must_parse("unix:/run/app.sock");
    assert_int_equal(a.kind, VX_ADDRESS_UNIX);
    assert_int_equal(a.port, 0);
    assert_true(vx_slice_eq(a.text, VX_SLICE("/run/app.sock")));
    assert_formats(&a, "unix:/run/app.sock", "unix:/run/app.sock");
    a = must_parse("unix:@abstract:1");
    assert_true(vx_slice_eq(a.text, VX_SLICE("@abstract:1")));
}

static void names(void **state) {
    (void)state;
    static const char *good[] = {"localhost:1",     "a.example.org:80", "xn--bcher-kva.example:80",
                                 "3com.example:80", "my_service:80",    "api.example.org.:80",
                                 "1.2.3.4a:80",     "a-b--c:80"};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        struct vx_address a = must_parse(good[i]);
        assert_int_equal(a.kind, VX_ADDRESS_NAME);
        assert_int_equal(a.text.len, strchr(good[i], ':') - good[i]);
        assert_ptr_equal(a.text.ptr, good[i]);
    }
    struct vx_address a = must_parse("localhost:8080");
    assert_formats(&a, "localhost:8080", "localhost");
}

static void refusals(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "an address such as"},
        {"127.0.0.1", "ends in a port"},
        {"localhost", "ends in a port"},
        {"127.0.0.1:", "ends in a port"},
        {"127.0.0.1:0", "ends in a port"},
        {"127.0.0.1:65536", "ends in a port"},
        {"127.0.0.1:080", "ends in a port"},
        {"127.0.0.1:+80", "ends in a port"},
        {"127.0.0.1:80 ", "ends in a port"},
        {"127.0.0.1:99999999999999999999", "ends in a port"},
        {":8080", "0.0.0.0:8080"},
        {"*:8080", "0.0.0.0:8080"},
        {"::1:80", "in brackets"},
        {"[::1]", "in brackets"},
        {"[::1]80", "in brackets"},
        {"[::1", "in brackets"},
        {"[]:80", "in brackets"},
        {"[127.0.0.1]:80", "in brackets"},
        {"[fe80::1%eth0]:80", "in brackets"},
        {"[::1]:0", "ends in a port"},
        {"127.0.0.256:80", "four numbers"},
        {"127.0.0:80", "four numbers"},
        {"127.0.0.01:80", "four numbers"},
        {"2130706433:80", "four numbers"},
        {"1.2.3.4.5:80", "four numbers"},
        {"a..b:80", "host name"},
        {".a:80", "host name"},
        {"-a:80", "host name"},
        {"a-:80", "host name"},
        {"a b:80", "host name"},
        {"http://a:80", "without a scheme"},
        {"https://a", "without a scheme"},
        {"unix:", "a UNIX socket"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct vx_address a;
        const char *why = "";
        if (vx_address_parse(vx_slice_of(rows[i].text), &a, &why))
            fail_msg("%s accepted", rows[i].text);
        if (!strstr(why, rows[i].why))
            fail_msg("%s: `%s` does not say `%s`", rows[i].text, why, rows[i].why);
    }
}

static void lengths(void **state) {
    (void)state;
    char text[400];
    struct vx_address a;
    const char *why;
    memset(text, 'a', sizeof(text));
    memcpy(text, "unix:", 5);
    assert_true(vx_address_parse(vx_slice(text, 5 + 107), &a, &why));
    assert_false(vx_address_parse(vx_slice(text, 5 + 108), &a, &why));
    text[20] = '\0';
    assert_false(vx_address_parse(vx_slice(text, 5 + 100), &a, &why));

    memset(text, 'a', sizeof(text));
    assert_true(vx_address_name_valid(vx_slice(text, 63)));
    assert_false(vx_address_name_valid(vx_slice(text, 64)));
    for (size_t i = 50; i < sizeof(text); i += 51)
        text[i] = '.';
    assert_true(vx_address_name_valid(vx_slice(text, 253)));
    assert_false(vx_address_name_valid(vx_slice(text, 254)));

    memcpy(text + 253, ":80", 3);
    assert_true(vx_address_parse(vx_slice(text, 256), &a, &why));
    char out[VX_ADDRESS_TEXT_MAX];
    assert_int_equal(vx_address_format(&a, out), VX_ADDRESS_TEXT_MAX - 1);
    assert_int_equal(strlen(out), VX_ADDRESS_TEXT_MAX - 1);
}

static void ip6_text_forms(void **state) {
    (void)state;
    static const struct {
        const char *text, *canonical; /* canonical NULL: refused */
    } rows[] = {
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"}, /* RFC 5952 §4.2.2: one group is not shortened */
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
        {"2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"}, /* §4.2.3: the first of equal runs */
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},        /* the longest run */
        {"2001:DB8::ABCD", "2001:db8::abcd"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
        {"::ffff:0:1.2.3.4", "::ffff:0:102:304"},
        {"::ffff:1.2.3.4", "1.2.3.4"},
        {"::FFFF:102:304", "1.2.3.4"},
        {"", NULL},
        {":", NULL},
        {":::", NULL},
        {"1:::2", NULL},
        {"1::2::3", NULL},
        {":1", NULL},
        {"1:", NULL},
        {"1:2:3:4:5:6:7", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
        {"1:2:3:4:5:6:7:8::", NULL},
        {"::1:2:3:4:5:6:7:8", NULL},
        {"12345::", NULL},
        {"g::", NULL},
        {"::1%lo", NULL},
        {"[::1]", NULL},
        {"::1.2.3", NULL},
        {"::1.2.3.4:5", NULL},
        {"1:2:3:4:5:6:7:1.2.3.4", NULL},
        {"1.2.3.4::", NULL},
        {"1.2.3", NULL},
        {"1.2.3.4.", NULL},
        {"1.2.3.04", NULL},
        {"0x1.2.3.4", NULL},
        {" 1.2.3.4", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct vx_address a;
        bool read = vx_address_parse_ip(vx_slice_of(rows[i].text), &a);
        if (read != (rows[i].canonical != NULL))
            fail_msg("%s %s", rows[i].text, read ? "accepted" : "refused");
        if (!read)
            continue;
        char out[VX_ADDRESS_TEXT_MAX];
        vx_address_format_ip(&a, out);
        assert_string_equal(out, rows[i].canonical);
    }
}

/* Without unmapping, the mapped form keeps its dots (RFC 5952 §5). */
static void mapped_text(void **state) {
    (void)state;
    struct vx_address a = {.kind = VX_ADDRESS_IP6, .port = 80};
    memcpy(a.ip + 10, "\xff\xff\x0a\x00\x00\x01", 6);
    assert_formats(&a, "[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1");
    vx_address_unmap(&a);
    assert_int_equal(a.kind, VX_ADDRESS_IP4);
    assert_formats(&a, "10.0.0.1:80", "10.0.0.1");
    for (int i = 4; i < 16; i++)
        assert_int_equal(a.ip[i], 0);
    a = must_parse_ip("::fffe:1.2.3.4");
    vx_address_unmap(&a);
    assert_int_equal(a.kind, VX_ADDRESS_IP6);
}

static uint64_t next_random(uint64_t *seed) {
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 33;
}

/* libc as the second opinion, both ways, over addresses with many zero groups. */
static void libc_agrees(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 200000; i++) {
        struct vx_address a = {.kind = VX_ADDRESS_IP6};
        for (int g = 0; g < 8; g++) {
            uint64_t r = next_random(&seed);
            uint16_t group = (uint16_t)(r & 1 ? 0 : r >> 1 >> (r % 4 * 4));
            a.ip[2 * g] = (uint8_t)(group >> 8);
            a.ip[2 * g + 1] = (uint8_t)group;
        }
        char ours[VX_ADDRESS_TEXT_MAX], theirs[INET6_ADDRSTRLEN];
        uint8_t back[16];
        vx_address_format_ip(&a, ours);
        assert_int_equal(inet_pton(AF_INET6, ours, back), 1);
        assert_memory_equal(back, a.ip, 16);
        inet_ntop(AF_INET6, a.ip, theirs, sizeof(theirs));
        struct vx_address b;
        assert_true(vx_address_parse_ip(vx_slice_of(theirs), &b));
        vx_address_unmap(&a);
        assert_true(vx_address_eq(&a, &b));
        /* glibc writes IPv4-compatible addresses (::a.b.c.d) with dots; RFC 5952 §5 asks for that only of
         * known prefixes. */
        if (!strchr(theirs, '.'))
            assert_string_equal(ours, theirs);
    }
}

/* Random text made of the bytes that matter: both readers say yes to the same. */
static void libc_accepts_the_same(void **state) {
    (void)state;
    static const char bytes[] = "::::..0123afFg%";
    uint64_t seed = 7;
    int accepted = 0;
    for (int i = 0; i < 400000; i++) {
        char text[24];
        size_t n = next_random(&seed) % 18;
        for (size_t k = 0; k < n; k++)
            text[k] = bytes[next_random(&seed) % (sizeof(bytes) - 1)];
        text[n] = '\0';
        struct vx_address a;
        uint8_t ip[16];
        int theirs = inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, ip);
        bool ours = vx_address_parse_ip(vx_slice_of(text), &a);
        if (ours != (theirs == 1))
            fail_msg("%s: %d by us, %d by libc", text, ours, theirs);
        accepted += ours;
    }
    assert_true(accepted > 500);
}

static void prefixes(void **state) {
    (void)state;
    static const struct {
        const char *prefix, *inside, *outside;
    } rows[] = {
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"10.1.2.3/8", "10.0.0.1", "9.255.255.255"},
        {"192.0.2.128/25", "192.0.2.128", "192.0.2.127"},
        {"192.0.2.1", "192.0.2.1", "192.0.2.2"},
        {"192.0.2.1/32", "::ffff:192.0.2.1", "192.0.2.0"},
        {"0.0.0.0/0", "255.255.255.255", "::1"},
        {"::/0", "::1", "127.0.0.1"},
        {"fd00::/8", "fdff::1", "fc00::1"},
        {"2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"},
        {"::1", "::1", "::2"},
        {"::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"},
        {"::ffff:0:0/96", "8.8.8.8", "::1"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct vx_prefix p;
        if (!vx_prefix_parse(vx_slice_of(rows[i].prefix), &p))
            fail_msg("%s refused", rows[i].prefix);
        struct vx_address inside = must_parse_ip(rows[i].inside), outside = must_parse_ip(rows[i].outside);
        if (!vx_prefix_contains(&p, &inside) || vx_prefix_contains(&p, &outside))
            fail_msg("%s misjudges %s or %s", rows[i].prefix, rows[i].inside, rows[i].outside);
    }
}

static void prefix_sees_mapped_peers(void **state) {
    (void)state;
    struct vx_prefix p;
    assert_true(vx_prefix_parse(VX_SLICE("10.0.0.0/8"), &p));
    struct vx_address a = {.kind = VX_ADDRESS_IP6};
    memcpy(a.ip + 10, "\xff\xff\x0a\x00\x00\x01", 6);
    assert_true(vx_prefix_contains(&p, &a));
    struct vx_address socket = must_parse("unix:/run/x");
    assert_false(vx_prefix_contains(&p, &socket));
}

static void prefix_refusals(void **state) {
    (void)state;
    static const char *bad[] = {"",     "10.0.0.0/33", "10.0.0.0/",    "10.0.0.0/-1", "10.0.0.0/08", "::/129",
                                "10/8", "localhost/8", "10.0.0.0/8/8", "/8",          "10.0.0.0 /8"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct vx_prefix p;
        if (vx_prefix_parse(vx_slice_of(bad[i]), &p))
            fail_msg("%s accepted", bad[i]);
    }
}

static void equality(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"127.0.0.1:80", "127.0.0.1:80", true},
        {"127.0.0.1:80", "127.0.0.1:81", false},
        {"127.0.0.1:80", "127.0.0.2:80", false},
        {"[::1]:80", "[0:0:0:0:0:0:0:1]:80", true},
        {"[::1]:80", "[::2]:80", false},
        {"[::]:80", "0.0.0.0:80", false},
        {"a.B:80", "A.b:80", true},
        {"a:80", "b:80", false},
        {"unix:/a", "unix:/a", true},
        {"unix:/a", "unix:/A", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct vx_address a = must_parse(rows[i].a), b = must_parse(rows[i].b);
        assert_int_equal(vx_address_eq(&a, &b), rows[i].same);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ip4_with_port),   cmocka_unit_test(ip6_with_port),
        cmocka_unit_test(unix_paths),      cmocka_unit_test(names),
        cmocka_unit_test(refusals),        cmocka_unit_test(lengths),
        cmocka_unit_test(ip6_text_forms),  cmocka_unit_test(mapped_text),
        cmocka_unit_test(libc_agrees),     cmocka_unit_test(libc_accepts_the_same),
        cmocka_unit_test(prefixes),        cmocka_unit_test(prefix_sees_mapped_peers),
        cmocka_unit_test(prefix_refusals), cmocka_unit_test(equality),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
