/* SPDX-License-Identifier: Apache-2.0 */
/* When a client that takes nothing is over its time limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/http/write_limit.h"

static void a_client_that_takes_nothing(void **state) {
    (void)state;
    struct vx_write_limit limit = {0};
    assert_false(vx_write_limit_is_over(&limit, UINT64_MAX));
    assert_true(vx_write_limit_watch(&limit, true, 7, 100));
    assert_false(vx_write_limit_watch(&limit, true, 7, 150)); /* nothing went: the first deadline stands */
    assert_false(vx_write_limit_is_over(&limit, 99));
    assert_true(vx_write_limit_is_over(&limit, 100));
}

static void a_client_that_takes_something(void **state) {
    (void)state;
    struct vx_write_limit limit = {0};
    vx_write_limit_watch(&limit, true, 7, 100);
    assert_true(vx_write_limit_watch(&limit, true, 8, 150));
    assert_false(vx_write_limit_is_over(&limit, 149));
    assert_true(vx_write_limit_watch(&limit, false, 20, 200));
    assert_false(vx_write_limit_is_over(&limit, UINT64_MAX));
    assert_false(vx_write_limit_watch(&limit, false, 20, 300));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_takes_nothing),
        cmocka_unit_test(a_client_that_takes_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
