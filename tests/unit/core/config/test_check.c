/* SPDX-License-Identifier: Apache-2.0 */
/* What single texts must look like: accepted and refused forms of each. */
#include "core/config/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

typedef bool checker(struct vx_slice text, const char **must);

static void check_all(const char *what, checker *check, const char *const *good, size_t good_count,
                      const char *const *bad, size_t bad_count) {
    const char *must = NULL;
    for (size_t i = 0; i < good_count; i++)
        if (!check(vx_slice_of(good[i]), &must))
            fail_msg("%s refuses `%s`: must be %s", what, good[i], must);
    for (size_t i = 0; i < bad_count; i++) {
        must = NULL;
        if (check(vx_slice_of(bad[i]), &must))
            fail_msg("%s accepts `%s`", what, bad[i]);
        assert_non_null(must);
    }
}
#define CHECK(check)                                                                                         \
    check_all(#check, check, good, sizeof(good) / sizeof(*good), bad, sizeof(bad) / sizeof(*bad))

/* `n` times the letter a, after `head`. */
static struct vx_slice of_length(const char *head, size_t n) {
    static char text[8192];
    size_t len = strlen(head);
    assert_true(n < sizeof(text) && len <= n);
    memset(text, 'a', n);
    memcpy(text, head, len);
    return vx_slice(text, n);
}

static void assert_longest(checker *check, const char *head, size_t most) {
    const char *must;
    assert_true(check(of_length(head, most), &must));
    assert_false(check(of_length(head, most + 1), &must));
}

static void names(void **state) {
    (void)state;
    static const char *const good[] = {"a", "main-routing-topology", "ns/name", "*/", "b\xc3\xbc"};
    static const char *const bad[] = {"", "a b", "a\n", "\t", "a\x7f"};
    CHECK(vx_config_check_name);
    assert_longest(vx_config_check_name, "", 128);
}

static void models(void **state) {
    (void)state;
    static const char *const good[] = {"gpt-4", "a b", "org/model:7b", "m\xc3\xb6"};
    static const char *const bad[] = {"", "a\nb", "\x01", "a\x7f"};
    CHECK(vx_config_check_model);
    assert_longest(vx_config_check_model, "", 256);
}

static void host_patterns(void **state) {
    (void)state;
    static const char *const good[] = {"*",         "example.org",  "*.example.org",
                                       "localhost", "EXAMPLE.org.", "127.0.0.1",
                                       "[::1]",     "my_service",   "*.a"};
    static const char *const bad[] = {
        "",        "example.org:80", "*.",   "a.*", "*a.org",     "*.*.org",     "**",
        "a b",     "http://a",       "a/b",  "::1", "[::1]:80",   "[127.0.0.1]", "*.1.2.3",
        "*.[::1]", "a..b",           "[::1", ".",   "*.127.0.0.1"};
    CHECK(vx_config_check_host_pattern);
}

static void paths(void **state) {
    (void)state;
    static const char *const good[] = {"/",       "/a",       "/a/b/",          "/a%2Fb",
                                       "/a%2fb",  "/a//b",    "/.well-known/x", "/a..b/c.",
                                       "/%C3%A4", "/a;b=c,d", "/~user/@x:1"};
    static const char *const bad[] = {"",       "a",     "a/b",  "/a?b", "/a#b", "/a b",  "/\xc3\xa4",
                                      "/a/./b", "/a/..", "/..",  "/.",   "/%41", "/%2e/", "/%7Ex",
                                      "/%",     "/%zz",  "/%00", "/a\n", "*",    "/a\x7f"};
    CHECK(vx_config_check_path);
    assert_longest(vx_config_check_path, "/", 2048);
}

static void request_targets(void **state) {
    (void)state;
    static const char *const good[] = {"/", "/healthz", "/h?a=b&c", "/?"};
    static const char *const bad[] = {"", "healthz", "/a b", "/a#b", "/\r\nX: y", "http://a/"};
    CHECK(vx_config_check_request_target);
    assert_longest(vx_config_check_request_target, "/", 2048);
}

static void methods(void **state) {
    (void)state;
    static const char *const good[] = {"GET", "M-SEARCH", "X1"};
    static const char *const bad[] = {"",      "get",        "Get",     "G T",
                                      "GET\n", "G\xc3\x84T", "GET,PUT", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    CHECK(vx_config_check_method);
}

static void header_names(void **state) {
    (void)state;
    static const char *const good[] = {"x", "X-Version", "a_b", "!#$%&'*+-.^_`|~"};
    static const char *const bad[] = {"", "a b", "a:", "a\r\n", "\xc3\xa4", "(a)", ":path"};
    CHECK(vx_config_check_header_name);
    assert_longest(vx_config_check_header_name, "", 128);
}

static void header_values(void **state) {
    (void)state;
    static const char *const good[] = {"", "a", "a b", "\xc3\xa4", "\"q\"; x=1"};
    static const char *const bad[] = {" a", "a ", "a\r\nb", "a\nb", "a\tb", "\x01", "a\x7f"};
    CHECK(vx_config_check_header_value);
    assert_longest(vx_config_check_header_value, "", 4096);
}

static void locations(void **state) {
    (void)state;
    static const char *const good[] = {"/", "/a?b#c", "https://example.org/", "http://a",
                                       "app+x://open?y=%20"};
    static const char *const bad[] = {
        "",     "a",     "a/b",  "https:/a", "://a", "https://a b", "/a\r\nX", "/\xc3\xa4",    "/a\"b",
        "/<a>", "/a\\b", "/{a}", "/a^",      "/a`",  "/a|b",        "a b://c", "example.org/x"};
    CHECK(vx_config_check_location);
    assert_longest(vx_config_check_location, "/", 4096);
}

static void authorities(void **state) {
    (void)state;
    static const char *const good[] = {
        "a", "example.org", "example.org:8080", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80"};
    static const char *const bad[] = {"", "a:0", "a:b", "a b", "::1", "unix:/x", "u@a", "a/b", "*.a"};
    CHECK(vx_config_check_authority);
}

static void server_names(void **state) {
    (void)state;
    static const char *const good[] = {"api.internal", "127.0.0.1", "::1", "a"};
    static const char *const bad[] = {"", "a:1", "[::1]", "*.a", "a b"};
    CHECK(vx_config_check_server_name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),        cmocka_unit_test(models),          cmocka_unit_test(host_patterns),
        cmocka_unit_test(paths),        cmocka_unit_test(request_targets), cmocka_unit_test(methods),
        cmocka_unit_test(header_names), cmocka_unit_test(header_values),   cmocka_unit_test(locations),
        cmocka_unit_test(authorities),  cmocka_unit_test(server_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
