/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of a rate limit. What requests are counted together is tested with core/limit/key.h. */
#include "core/config/rate_limit.h"

#include "config_test.h"

static void keys(void **state) {
    (void)state;
    static const char *const good[] = {"client_ip", "route", "header:x-api-key", "header:A"};
    static const char *const bad[] = {"", "ip", "Client_IP", "header:", "header:a b", "header", "route:x"};
    const char *must;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(vx_config_check_limit_key(vx_slice_of(good[i]), &must));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(vx_config_check_limit_key(vx_slice_of(bad[i]), &must));
        assert_non_null(strstr(must, "header:x-api-key"));
    }
    assert_true(vx_config_check_limit_cost(VX_SLICE("header:x"), &must));
    assert_false(vx_config_check_limit_cost(VX_SLICE("x"), &must));
    assert_false(vx_config_check_limit_cost(VX_SLICE("client_ip"), &must));
}

static void completion(void **state) {
    (void)state;
    static struct sample s;
    fill_sample(&s);
    struct vx_config_rate_limit *l = &s.routes[0].rate_limit;
    l->burst = 0;
    l->cost_text = VX_SLICE("header:X-Tokens");
    assert_true(vx_config_complete_limit(l, VX_SLICE("main"), &s.scratch));
    assert_int_equal(l->burst, 10);
    assert_true(vx_slice_eq(l->scope, VX_SLICE("main")));
    assert_true(vx_slice_eq(l->cost_header, VX_SLICE("x-tokens")));
    assert_int_equal(l->parts[0].kind, VX_LIMIT_BY_CLIENT);
    assert_int_equal(l->parts[1].kind, VX_LIMIT_BY_HEADER);
    assert_true(vx_slice_eq(l->parts[1].header, VX_SLICE("x-api-key")));
    for (size_t room = 0; room < 96; room += 8) {
        vx_arena_init(&s.scratch, s.memory, room, NULL);
        assert_false(vx_config_complete_limit(l, VX_SLICE("main"), &s.scratch));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys),
        cmocka_unit_test(completion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
