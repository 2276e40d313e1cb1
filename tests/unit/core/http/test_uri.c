/* SPDX-License-Identifier: Apache-2.0 */
/* Targets, paths and hosts: what becomes of each, what is refused, and that nothing is copied without need. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/random.h"
#include "core/http/uri.h"
#include "support/http_check.h"

/* In memory of its own size, so that a sanitizer sees a read past it. */
static struct vx_slice exact(const char *text) {
    return vx_arena_copy(&vx_test_memory.arena, vx_slice_of(text));
}

static void check_path(const char *in, bool merge_slashes, const char *want) {
    struct vx_slice out, path = exact(in);
    enum vx_error_code code = vx_path_normalise(path, merge_slashes, &vx_test_memory.arena, &out);
    if (!want) {
        if (code != VX_ERR_BAD_PATH)
            fail_msg("%s: taken as %.*s", in, VX_SLICE_ARG(out));
        return;
    }
    if (code || !vx_slice_eq(out, vx_slice_of(want)))
        fail_msg("%s: got %d %.*s, want %s", in, code, VX_SLICE_ARG(out), want);
    struct vx_slice again;
    assert_int_equal(vx_path_normalise(out, merge_slashes, &vx_test_memory.arena, &again), VX_ERR_NONE);
    if (!vx_slice_eq(out, again))
        fail_msg("%s: %.*s, and again %.*s", in, VX_SLICE_ARG(out), VX_SLICE_ARG(again));
}

static void paths(void **state) {
    (void)state;
    static const struct {
        const char *in, *want;
    } samples[] = {
        {"/", "/"},
        {"/a", "/a"},
        {"/a/", "/a/"},
        {"/a/b/c", "/a/b/c"},
        {"/.", "/"},
        {"/./", "/"},
        {"/a/.", "/a/"},
        {"/a/./b", "/a/b"},
        {"/a/..", "/"},
        {"/a/../", "/"},
        {"/a/../b", "/b"},
        {"/a/b/../../c", "/c"},
        {"/a/b/c/./../../g", "/a/g"},
        {"/a/b/..", "/a/"},
        {"/...", "/..."},
        {"/.a", "/.a"},
        {"/..a", "/..a"},
        {"/a..", "/a.."},
        {"/a./b.", "/a./b."},
        {"/.well-known/x", "/.well-known/x"},
        {"/%2e", "/"},
        {"/a/%2E%2e/b", "/b"},
        {"/a/.%2e/b", "/b"},
        {"/%2e%2e%2e", "/..."},
        {"/%41%7a%30%2D%5f%7E", "/Az0-_~"},
        {"/a%2fb", "/a%2fb"},
        {"/a%2Fb/../c", "/c"},
        {"/a/..%2fb", "/a/..%2fb"},
        {"/%20%25%3f%ff", "/%20%25%3f%ff"},
        {"/%252e%252e", "/%252e%252e"},
        {"/a;b=c/../d", "/d"},
        {"/0123456789abcdef/0123456789abcdef/../x", "/0123456789abcdef/x"},
        {"/..", NULL},
        {"/../a", NULL},
        {"/a/../..", NULL},
        {"/a/../../b", NULL},
        {"/%2e%2e", NULL},
        {"/.%2E/x", NULL},
        {"/%", NULL},
        {"/%4", NULL},
        {"/%zz", NULL},
        {"/%4z", NULL},
        {"/a%", NULL},
        {"/%%34%31", NULL},
        {"/%00", NULL},
        {"/a%00b", NULL},
        {"/0123456789abcdef%", NULL},
        {"/0123456789abcde%", NULL},
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        check_path(samples[i].in, true, samples[i].want);
        check_path(samples[i].in, false, samples[i].want);
    }
}

static void slashes(void **state) {
    (void)state;
    static const struct {
        const char *in, *merged, *kept;
    } samples[] = {
        {"//", "/", "//"},          {"///", "/", "///"},          {"//a", "/a", "//a"},
        {"/a//", "/a/", "/a//"},    {"/a//b", "/a/b", "/a//b"},   {"/a///b//c", "/a/b/c", "/a///b//c"},
        {"/a//../b", "/b", "/a/b"}, {"/a/.//b", "/a/b", "/a//b"}, {"/a/..//b", "/b", "//b"},
        {"//..", NULL, "/"},        {"//../a", NULL, "/a"},       {"/%2f/", "/%2f/", "/%2f/"},
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        check_path(samples[i].in, true, samples[i].merged);
        check_path(samples[i].in, false, samples[i].kept);
    }
}

static void copies_no_normal_path(void **state) {
    (void)state;
    static const char *const normal[] = {"/", "/a/b.c/d..e", "/a.b/0123456789/0123456789/0123456789"};
    struct vx_arena none;
    vx_arena_init(&none, NULL, 0, NULL);
    for (size_t i = 0; i < sizeof normal / sizeof *normal; i++) {
        struct vx_slice out, path = exact(normal[i]);
        assert_int_equal(vx_path_normalise(path, true, &none, &out), VX_ERR_NONE);
        assert_ptr_equal(out.ptr, path.ptr);
        assert_int_equal(out.len, path.len);
    }
    struct vx_slice out;
    assert_int_equal(vx_path_normalise(VX_SLICE("/a//b"), false, &none, &out), VX_ERR_NONE);
    assert_int_equal(vx_path_normalise(VX_SLICE("/a//b"), true, &none, &out), VX_ERR_OUT_OF_MEMORY);
    assert_int_equal(vx_host_normalise(VX_SLICE("a.b"), &none, &out, NULL), VX_ERR_NONE);
    assert_int_equal(vx_host_normalise(VX_SLICE("A.b"), &none, &out, NULL), VX_ERR_OUT_OF_MEMORY);
}

/* RFC 3986 §5.2.4 as it is written there, on a string. True when it climbs above the root, which is not an error there. */
static bool remove_dot_segments(const char *in, char *out) {
    size_t n = 0;
    bool climbed = false;
    while (*in) {
        if (strncmp(in, "/./", 3) == 0 || strcmp(in, "/.") == 0) {
            in += 2;
            if (!*in)
                in = "/";
        } else if (strncmp(in, "/../", 4) == 0 || strcmp(in, "/..") == 0) {
            in += 3;
            if (!*in)
                in = "/";
            climbed |= n == 0;
            while (n && out[--n] != '/')
                ;
        } else {
            do
                out[n++] = *in++;
            while (*in && *in != '/');
        }
    }
    out[n] = '\0';
    return climbed;
}

static void agrees_with_rfc_3986(void **state) {
    (void)state;
    static const char alphabet[] = "//../a.b/.";
    struct vx_random random = {3};
    for (int i = 0; i < 50000; i++) {
        char in[48] = "/", want[64];
        uint32_t len = 1 + vx_random_below(&random, 40);
        for (uint32_t k = 1; k < len; k++)
            in[k] = alphabet[vx_random_below(&random, sizeof alphabet - 1)];
        bool climbs = remove_dot_segments(in, want);
        vx_arena_reset(&vx_test_memory.arena);
        check_path(in, false, climbs ? NULL : want);
    }
}

static void check_host(const char *in, const char *want, const char *want_port) {
    struct vx_slice out, port;
    enum vx_error_code code = vx_host_normalise(exact(in), &vx_test_memory.arena, &out, &port);
    if (!want) {
        if (code != VX_ERR_BAD_HOST)
            fail_msg("%s: taken as %.*s", in, VX_SLICE_ARG(out));
        return;
    }
    if (code || !vx_slice_eq(out, vx_slice_of(want)) || !vx_slice_eq(port, vx_slice_of(want_port)))
        fail_msg("%s: got %d %.*s : %.*s", in, code, VX_SLICE_ARG(out), VX_SLICE_ARG(port));
}

static void hosts(void **state) {
    (void)state;
    check_host("a", "a", "");
    check_host("Example.COM", "example.com", "");
    check_host("example.com.", "example.com", "");
    check_host("example.com.:80", "example.com", "80");
    check_host("example.com:", "example.com", "");
    check_host("a:0", "a", "0");
    check_host("a:65535", "a", "65535");
    check_host("a:000080", "a", "000080");
    check_host("127.0.0.1:8080", "127.0.0.1", "8080");
    check_host("my_service-1.ns", "my_service-1.ns", "");
    check_host("a~!$&'()*+,;=b", "a~!$&'()*+,;=b", "");
    check_host("a%C3%A9", "a%c3%a9", "");
    check_host("a-very-long-host-name-of-more-than-two-vectors.example.com",
               "a-very-long-host-name-of-more-than-two-vectors.example.com", "");
    check_host("[::1]", "[::1]", "");
    check_host("[::1]:443", "[::1]", "443");
    check_host("[2001:DB8::A]", "[2001:db8::a]", "");
    check_host("[::ffff:192.0.2.1]:80", "[::ffff:192.0.2.1]", "80");
    static const char *const bad[] = {
        "",
        ".",
        ":80",
        "a b",
        "a/b",
        "a?b",
        "a#b",
        "u@a",
        "a@",
        "a:b",
        "a:80x",
        "a:65536",
        "a:-1",
        "a:80:80",
        "a::",
        "[::1",
        "::1",
        "[::1]x",
        "[]",
        "[1.2.3.4]",
        "[::g]",
        "[::1%eth0]",
        "[1:2:3:4:5:6:7]",
        "[1:2:3:4:5:6:7:8:9]",
        "[1::2::3]",
        "a\\b",
        "a%",
        "a%4",
        "a%zz",
        "a\"b",
        "a<b",
        "a\xc3\xa9",
        "a\tb",
        "a|b",
        "a^b",
        "[v1.x]",
        "0123456789abcdef/",
        "0123456789abcde@",
        "http://a",
        "[::1]]",
        "[[::1]]",
        ".:80",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_host(bad[i], NULL, NULL);
}

/* Each byte alone, at the places where the fast path hands over. */
static void judges_every_byte_of_a_host(void **state) {
    (void)state;
    static const char good[] =
        "-._~!$&'()*+,;=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (size_t len = 1; len < 40; len++) {
        for (int c = 1; c < 256; c++) {
            char host[64];
            struct vx_slice out;
            if (c == ':' || c == '%') /* these ask for more than their own place */
                continue;
            memset(host, 'a', sizeof host);
            host[len / 2] = (char)c;
            host[len] = '\0';
            bool want = strchr(good, c) && !(len == 1 && c == '.');
            vx_arena_reset(&vx_test_memory.arena);
            assert_int_equal(vx_host_normalise(exact(host), &vx_test_memory.arena, &out, NULL),
                             want ? VX_ERR_NONE : VX_ERR_BAD_HOST);
        }
    }
}

static void check_target(const char *in, enum vx_target_form form, const char *authority, const char *path,
                         const char *query) {
    struct vx_request_target target;
    assert_int_equal(vx_request_target_split(exact(in), &target), VX_ERR_NONE);
    assert_int_equal(target.form, form);
    assert_true(vx_slice_eq(target.authority, vx_slice_of(authority)));
    assert_true(vx_slice_eq(target.path, vx_slice_of(path)));
    assert_int_equal(target.query.ptr != NULL, query != NULL);
    assert_true(vx_slice_eq(target.query, vx_slice_of(query)));
}

static void targets(void **state) {
    (void)state;
    struct vx_request_target target;
    check_target("/", VX_TARGET_ORIGIN, "", "/", NULL);
    check_target("/a?", VX_TARGET_ORIGIN, "", "/a", "");
    check_target("/a?b?c=/", VX_TARGET_ORIGIN, "", "/a", "b?c=/");
    check_target("//a/b", VX_TARGET_ORIGIN, "", "//a/b", NULL);
    check_target("*", VX_TARGET_ASTERISK, "", "*", NULL);
    check_target("http://a", VX_TARGET_ABSOLUTE, "a", "", NULL);
    check_target("http://a:80/b?c", VX_TARGET_ABSOLUTE, "a:80", "/b", "c");
    check_target("HtTpS://a?c/d", VX_TARGET_ABSOLUTE, "a", "", "c/d");
    check_target("http:///", VX_TARGET_ABSOLUTE, "", "/", NULL);
    assert_int_equal(vx_request_target_split(VX_SLICE("https://a"), &target), VX_ERR_NONE);
    assert_true(target.https);
    assert_int_equal(vx_request_target_split(VX_SLICE("http://a"), &target), VX_ERR_NONE);
    assert_false(target.https);
    static const char *const bad[] = {"",
                                      "a",
                                      "**",
                                      "*/",
                                      "?",
                                      "http:",
                                      "http:/",
                                      "ftp://a",
                                      "https:a",
                                      "://",
                                      "/#",
                                      "/a#b",
                                      "/ ",
                                      "/\x7f",
                                      "/\x80",
                                      "/0123456789abcdef\xc3",
                                      "/0123456789abcde#"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(vx_request_target_split(exact(bad[i]), &target), VX_ERR_BAD_REQUEST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(slashes),
        cmocka_unit_test(copies_no_normal_path),
        cmocka_unit_test(agrees_with_rfc_3986),
        cmocka_unit_test(hosts),
        cmocka_unit_test(judges_every_byte_of_a_host),
        cmocka_unit_test(targets),
    };
    return cmocka_run_group_tests(tests, vx_test_memory_begin, vx_test_memory_end);
}
