/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests count together, and what they cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/config/rate_limit.h"
#include "core/limit/key.h"

static char memory[16384];
static struct vx_arena arena;

static int setup(void **state) {
    (void)state;
    vx_arena_init(&arena, memory, sizeof memory, NULL);
    return 0;
}

/* A limit by the parts in `texts`, which ends with NULL. */
static struct vx_config_rate_limit limit_by(const char *scope, const char *const *texts) {
    struct vx_config_rate_limit limit = {.enabled = true, .requests = 1, .per_ns = 1000000000};
    limit.key_texts = vx_arena_alloc(&arena, VX_LIMIT_PARTS_MAX * sizeof *limit.key_texts);
    for (; texts[limit.key_count]; limit.key_count++)
        limit.key_texts[limit.key_count] = vx_slice_of(texts[limit.key_count]);
    assert_true(vx_config_complete_limit(&limit, vx_slice_of(scope), &arena));
    return limit;
}

struct asked {
    struct vx_headers headers;
    struct vx_address client;
    struct vx_limit_subject subject;
};

static struct asked ask(const char *client, const char *route) {
    struct asked a = {0};
    if (client)
        assert_true(vx_address_parse_ip(vx_slice_of(client), &a.client));
    else
        a.client.kind = VX_ADDRESS_UNIX;
    a.subject.route = vx_slice_of(route);
    return a;
}

static void with(struct asked *a, const char *name, const char *value) {
    assert_true(vx_headers_add(&a->headers, &arena, VX_HEADER_OTHER, vx_slice_of(name), vx_slice_of(value)));
}

static struct vx_slice key_of(const struct vx_config_rate_limit *limit, struct asked *a) {
    a->subject.client = &a->client;
    a->subject.headers = &a->headers;
    struct vx_slice key = vx_limit_key(limit, &a->subject, &arena);
    assert_non_null(key.ptr);
    return key;
}

static bool together(const struct vx_config_rate_limit *limit, struct asked a, struct asked b) {
    return vx_slice_eq(key_of(limit, &a), key_of(limit, &b));
}

static void by_client(void **state) {
    (void)state;
    struct vx_config_rate_limit limit = limit_by("", (const char *[]){"client_ip", NULL});
    assert_true(together(&limit, ask("192.0.2.1", "a"), ask("192.0.2.1", "b")));
    assert_true(together(&limit, ask("::ffff:192.0.2.1", "a"), ask("192.0.2.1", "a")));
    assert_false(together(&limit, ask("192.0.2.1", "a"), ask("192.0.2.2", "a")));
    assert_true(together(&limit, ask("2001:db8::1", "a"), ask("2001:db8::ffff:1", "a")));
    assert_false(together(&limit, ask("2001:db8:0:1::1", "a"), ask("2001:db8::1", "a")));
    assert_true(together(&limit, ask(NULL, "a"), ask(NULL, "a")));
    assert_false(together(&limit, ask(NULL, "a"), ask("0.0.0.0", "a")));
    struct asked a = ask("192.0.2.1", "a"), b = a;
    a.client.port = 1;
    assert_true(together(&limit, a, b));
}

static void by_header(void **state) {
    (void)state;
    struct vx_config_rate_limit limit = limit_by("", (const char *[]){"header:X-Api-Key", NULL});
    struct asked none = ask("192.0.2.1", "a"), one = none, same = ask("192.0.2.9", "b"), other = none;
    with(&one, "x-api-key", "k1");
    with(&one, "x-api-key", "k2"); /* only the first counts */
    with(&same, "X-API-KEY", "k1");
    with(&other, "x-api-key", "K1");
    assert_true(together(&limit, one, same));
    assert_false(together(&limit, one, other));
    assert_false(together(&limit, one, none));
    assert_true(together(&limit, none, ask("192.0.2.7", "c")));
}

static void by_route(void **state) {
    (void)state;
    struct vx_config_rate_limit limit = limit_by("", (const char *[]){"route", NULL});
    assert_true(together(&limit, ask("192.0.2.1", "a"), ask("192.0.2.2", "a")));
    assert_false(together(&limit, ask("192.0.2.1", "a"), ask("192.0.2.1", "b")));
}

static void by_several(void **state) {
    (void)state;
    const char *const parts[] = {"header:a", "header:b", "client_ip", "route", NULL};
    struct vx_config_rate_limit limit = limit_by("", parts);
    struct asked one = ask("192.0.2.1", "r"), two = one, same = one;
    with(&one, "a", "xy");
    with(&one, "b", "z");
    with(&two, "a", "x");
    with(&two, "b", "yz"); /* the same letters, cut elsewhere */
    with(&same, "b", "z");
    with(&same, "a", "xy");
    assert_false(together(&limit, one, two));
    assert_true(together(&limit, one, same));
    same.client.ip[3]++;
    assert_false(together(&limit, one, same));
    same.client.ip[3]--;
    same.subject.route = VX_SLICE("s");
    assert_false(together(&limit, one, same));
}

static void scopes_do_not_mix(void **state) {
    (void)state;
    const char *const parts[] = {"client_ip", NULL};
    struct vx_config_rate_limit all = limit_by("", parts), own = limit_by("r", parts);
    struct asked a = ask("192.0.2.1", "r");
    assert_false(vx_slice_eq(key_of(&all, &a), key_of(&own, &a)));
}

static void no_memory(void **state) {
    (void)state;
    struct vx_config_rate_limit limit = limit_by("", (const char *[]){"client_ip", NULL});
    struct asked a = ask("192.0.2.1", "r");
    a.subject.client = &a.client;
    a.subject.headers = &a.headers;
    vx_arena_init(&arena, memory, 8, NULL);
    assert_null(vx_limit_key(&limit, &a.subject, &arena).ptr);
}

static void costs(void **state) {
    (void)state;
    static const struct {
        const char *value;
        uint32_t cost;
    } known[] = {{"1", 1},  {"250", 250}, {"0", 1},  {"", 1},
                 {"-5", 1}, {"1.5", 1},   {"7 ", 1}, {"4294967295", UINT32_MAX},
                 {"x", 1},  {"007", 7},   {"+7", 1}, {"99999999999999999999999999", UINT32_MAX}};
    struct vx_config_rate_limit limit = {.cost_text = VX_SLICE("header:X-AI-Estimated-Tokens")};
    assert_true(vx_config_complete_limit(&limit, VX_SLICE_NONE, &arena));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct asked a = ask("192.0.2.1", "r");
        with(&a, "x-ai-estimated-tokens", known[i].value);
        assert_int_equal(vx_limit_cost(&limit, &a.headers), known[i].cost);
    }
    struct asked none = ask("192.0.2.1", "r"), some = none;
    with(&some, "x-ai-estimated-tokens", "9");
    assert_int_equal(vx_limit_cost(&limit, &none.headers), 1);
    limit.cost_header = VX_SLICE_NONE;
    assert_int_equal(vx_limit_cost(&limit, &some.headers), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(by_client, setup),
        cmocka_unit_test_setup(by_header, setup),
        cmocka_unit_test_setup(by_route, setup),
        cmocka_unit_test_setup(by_several, setup),
        cmocka_unit_test_setup(scopes_do_not_mix, setup),
        cmocka_unit_test_setup(no_memory, setup),
        cmocka_unit_test_setup(costs, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
