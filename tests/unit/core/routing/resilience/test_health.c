/* SPDX-License-Identifier: Apache-2.0 */
/* The judgement over active health checks, row by row of the table in health.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/routing/resilience/health.h"

static const struct vx_config_health_check policy = {.enabled = true, .healthy = 2, .unhealthy = 3};

static void names(void **state) {
    (void)state;
    assert_string_equal(vx_health_state_name(VX_HEALTH_UNKNOWN), "unknown");
    assert_string_equal(vx_health_state_name(VX_HEALTH_HEALTHY), "healthy");
    assert_string_equal(vx_health_state_name(VX_HEALTH_UNHEALTHY), "unhealthy");
}

static void first_result_decides(void **state) {
    struct vx_health h = {0};
    (void)state;
    assert_int_equal(vx_health_state(&h), VX_HEALTH_UNKNOWN);
    assert_true(vx_health_checked(&h, &policy, true));
    assert_int_equal(vx_health_state(&h), VX_HEALTH_HEALTHY);
    vx_health_reset(&h);
    assert_int_equal(vx_health_state(&h), VX_HEALTH_UNKNOWN);
    assert_true(vx_health_checked(&h, &policy, false));
    assert_int_equal(vx_health_state(&h), VX_HEALTH_UNHEALTHY);
}

static void results_in_a_row(void **state) {
    struct vx_health h = {0};
    (void)state;
    vx_health_checked(&h, &policy, true);
    /* Two failures, a success, two failures: never three in a row. */
    const bool broken_row[] = {false, false, true, false, false};
    for (size_t i = 0; i < sizeof broken_row; i++)
        assert_false(vx_health_checked(&h, &policy, broken_row[i]));
    assert_int_equal(vx_health_state(&h), VX_HEALTH_HEALTHY);
    assert_true(vx_health_checked(&h, &policy, false));
    assert_int_equal(vx_health_state(&h), VX_HEALTH_UNHEALTHY);

    assert_false(vx_health_checked(&h, &policy, true));
    assert_false(vx_health_checked(&h, &policy, false));
    assert_false(vx_health_checked(&h, &policy, true));
    assert_true(vx_health_checked(&h, &policy, true));
    assert_int_equal(vx_health_state(&h), VX_HEALTH_HEALTHY);
    assert_false(vx_health_checked(&h, &policy, true));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(first_result_decides),
        cmocka_unit_test(results_in_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
