/* SPDX-License-Identifier: Apache-2.0 */
/* What clients are told of a limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/limit/limit.h"

static char memory[4096];
static struct vx_arena arena;

static int setup(void **state) {
    (void)state;
    vx_arena_init(&arena, memory, sizeof memory, NULL);
    return 0;
}

static void assert_text(struct vx_slice s, const char *text) {
    if (!vx_slice_eq(s, vx_slice_of(text)))
        fail_msg("`%.*s` is not `%s`", VX_SLICE_ARG(s), text);
}

static void policies(void **state) {
    (void)state;
    static const struct {
        uint64_t requests, per_ns;
        const char *policy;
    } known[] = {
        {1000, 1000000000, "\"default\";q=1000;w=1"},
        {100, 60000000000, "\"default\";q=100;w=60"},
        {5, 250000000, "\"default\";q=20;w=1"},
        {3, 1500000000, "\"default\";q=4;w=2"},
        {1000000000, 2592000000000000, "\"default\";q=1000000000;w=2592000"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct vx_config_rate_limit config = {
            .requests = known[i].requests, .per_ns = known[i].per_ns, .burst = 7};
        const struct vx_limit *limit = vx_limit_build(&config, &arena);
        assert_text(limit->policy, known[i].policy);
        assert_int_equal(limit->gcra.burst, 7);
    }
    struct vx_config_rate_limit own = {
        .requests = 1, .per_ns = 1000000000, .burst = 1, .scope = VX_SLICE("a \"name\"")};
    assert_text(vx_limit_build(&own, &arena)->policy, "\"route\";q=1;w=1");
}

static void states(void **state) {
    (void)state;
    struct vx_config_rate_limit config = {.requests = 10, .per_ns = 1000000000, .burst = 5};
    const struct vx_limit *limit = vx_limit_build(&config, &arena);
    assert_text(vx_limit_state(limit, 0, 0, &arena), "\"default\";r=5;t=0");
    assert_text(vx_limit_state(limit, 100000000, 100000000, &arena), "\"default\";r=4;t=1");
    assert_text(vx_limit_state(limit, 100000001, 1000000001, &arena), "\"default\";r=3;t=2");
    assert_text(vx_limit_state(limit, 500000000, 1000000000, &arena), "\"default\";r=0;t=1");
    assert_text(vx_limit_state(limit, UINT64_MAX, UINT64_MAX, &arena), "\"default\";r=0;t=18446744074");
}

static void no_memory(void **state) {
    (void)state;
    struct vx_config_rate_limit config = {.requests = 10, .per_ns = 1000000000, .burst = 5};
    const struct vx_limit *limit = vx_limit_build(&config, &arena);
    vx_arena_init(&arena, memory + 2048, 8, NULL);
    assert_null(vx_limit_build(&config, &arena));
    assert_null(vx_limit_state(limit, 0, 0, &arena).ptr);
    vx_arena_init(&arena, memory + 2048, sizeof(struct vx_limit) + 8, NULL);
    assert_null(vx_limit_build(&config, &arena));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(policies, setup),
        cmocka_unit_test_setup(states, setup),
        cmocka_unit_test_setup(no_memory, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
