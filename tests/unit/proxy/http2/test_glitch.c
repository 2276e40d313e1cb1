/* SPDX-License-Identifier: Apache-2.0 */
/* The bucket of glitches: a minute's worth at once, refilled evenly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "proxy/http2/glitch.h"

#define S(n) ((uint64_t)(n)*1000000000)

static void test_a_minutes_worth_at_once(void **state) {
    (void)state;
    struct vx_h2_glitches g;
    vx_h2_glitches_init(&g, 60, S(100));
    for (unsigned i = 0; i < 60; i++)
        assert_true(vx_h2_glitches_take(&g, S(100)));
    assert_false(vx_h2_glitches_take(&g, S(100)));
    assert_true(vx_h2_glitches_take(&g, S(101))); /* one a second comes back */
    assert_false(vx_h2_glitches_take(&g, S(101)));
    for (unsigned i = 0; i < 60; i++)
        assert_true(vx_h2_glitches_take(&g, S(10000))); /* and never more than a minute's */
    assert_false(vx_h2_glitches_take(&g, S(10000)));
}

static void test_no_limit(void **state) {
    (void)state;
    struct vx_h2_glitches g;
    vx_h2_glitches_init(&g, 0, 0);
    for (unsigned i = 0; i < 100000; i++)
        assert_true(vx_h2_glitches_take(&g, 0));
}

static void test_control_frames_come_free_with_work(void **state) {
    (void)state;
    struct vx_h2_glitches g;
    vx_h2_glitches_init(&g, 10, 0);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 16; i++)
            assert_false(vx_h2_glitches_control(&g));
        vx_h2_glitches_work(&g);
    }
    for (unsigned i = 0; i < 16; i++)
        assert_false(vx_h2_glitches_control(&g));
    assert_true(vx_h2_glitches_control(&g));
    assert_true(vx_h2_glitches_control(&g));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_minutes_worth_at_once),
        cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_control_frames_come_free_with_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
