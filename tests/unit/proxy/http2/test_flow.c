/* SPDX-License-Identifier: Apache-2.0 */
/* Windows grow with what the path holds, for those who are read, within the bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "proxy/http2/flow.h"

#define MS(n) ((uint64_t)(n)*1000000)

static const struct vx_h2_windows windows = {
    .stream_bytes = 1000, .stream_max_bytes = 8000, .growth_bytes = 10000};

/* A sample that says `bytes` arrived in `ms`. */
static void sample(struct vx_h2_flow *f, uint32_t bytes, uint64_t from_ms, uint64_t ms) {
    assert_true(vx_h2_flow_arrived(f, 1, 1000, MS(from_ms)));
    assert_false(vx_h2_flow_arrived(f, bytes, 1000, MS(from_ms)));
    vx_h2_flow_answered(f, MS(from_ms + ms));
}

static void test_small_bodies_measure_nothing(void **state) {
    (void)state;
    struct vx_h2_flow f;
    vx_h2_flow_init(&f, &windows);
    assert_false(vx_h2_flow_arrived(&f, 400, 400, MS(1)));
    assert_int_equal(vx_h2_flow_grow(&f, 1000), 0);
}

static void test_a_full_path_gets_twice_what_it_held(void **state) {
    (void)state;
    struct vx_h2_flow f;
    vx_h2_flow_init(&f, &windows);
    sample(&f, 900, 0, 10);
    assert_int_equal(vx_h2_flow_grow(&f, 1000), 800);
    assert_int_equal(vx_h2_flow_grow(&f, 1800), 0);
    /* No new sample at once. */
    assert_false(vx_h2_flow_arrived(&f, 1, 1000, MS(15)));
    sample(&f, 1700, 100, 10);
    assert_int_equal(vx_h2_flow_grow(&f, 1800), 1600);
    sample(&f, 100000, 200, 10);
    assert_int_equal(vx_h2_flow_grow(&f, 3400), 4600);       /* the largest one */
    assert_false(vx_h2_flow_arrived(&f, 1, 1000, MS(5000))); /* and nothing more to learn */
}

static void test_a_path_with_room_left_stays(void **state) {
    (void)state;
    struct vx_h2_flow f;
    vx_h2_flow_init(&f, &windows);
    sample(&f, 500, 0, 1);
    assert_int_equal(vx_h2_flow_grow(&f, 1000), 0);
    /* More bytes in more time is no faster path. */
    sample(&f, 900, 100, 1);
    uint32_t target = f.target_bytes;
    sample(&f, 1700, 200, 1000);
    assert_int_equal(f.target_bytes, target);
}

static void test_growth_is_shared_and_given_back(void **state) {
    (void)state;
    struct vx_h2_flow f;
    vx_h2_flow_init(&f, &windows);
    sample(&f, 100000, 0, 10);
    assert_int_equal(vx_h2_flow_grow(&f, 1000), 7000);
    assert_int_equal(vx_h2_flow_grow(&f, 1000), 3000);
    assert_int_equal(vx_h2_flow_grow(&f, 1000), 0);
    vx_h2_flow_stream_over(&f, 8000);
    vx_h2_flow_stream_over(&f, 1000);
    assert_int_equal(vx_h2_flow_grow(&f, 1000), 7000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_bodies_measure_nothing),
        cmocka_unit_test(test_a_full_path_gets_twice_what_it_held),
        cmocka_unit_test(test_a_path_with_room_left_stays),
        cmocka_unit_test(test_growth_is_shared_and_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
