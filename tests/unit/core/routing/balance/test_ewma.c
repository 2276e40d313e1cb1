/* SPDX-License-Identifier: Apache-2.0 */
/* The formulas of Peak EWMA, number by number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/routing/balance/ewma.h"

static void first_sample_is_taken_as_it_is(void **state) {
    (void)state;
    assert_float_equal(vx_ewma_next(0, 123, 0.9f), 123, 0);
}

static void rises_at_once(void **state) {
    (void)state;
    assert_float_equal(vx_ewma_next(100, 100.5f, 0.5f), 100.5f, 0);
    assert_float_equal(vx_ewma_next(100, 9000, 0.99f), 9000, 0);
}

static void falls_by_the_decay(void **state) {
    (void)state;
    /* EWMA = R * (1 - alpha) + old * alpha */
    assert_float_equal(vx_ewma_next(100, 50, 0.5f), 75, 0);
    assert_float_equal(vx_ewma_next(100, 0, 0.25f), 25, 0);
    assert_float_equal(vx_ewma_next(1000, 500, 0.9f), 950, 0.01);
    assert_float_equal(vx_ewma_next(1000, 500, 0), 500, 0);
    assert_float_equal(vx_ewma_next(100, 50, 1), 100, 0);
}

static void ages_by_halves(void **state) {
    (void)state;
    assert_float_equal(vx_ewma_aged(0.5f, 0), 0.5f, 0);
    assert_float_equal(vx_ewma_aged(0.5f, 1), 0.25f, 0);
    assert_float_equal(vx_ewma_aged(0.8f, 3), 0.1f, 1e-7);
    assert_float_equal(vx_ewma_aged(0.5f, 255), 0, 0);
}

static void score(void **state) {
    (void)state;
    assert_float_equal(vx_ewma_score(0, 0, 1), 1, 0);
    assert_float_equal(vx_ewma_score(999, 0, 1), 1000, 0);
    assert_float_equal(vx_ewma_score(999, 4, 1), 5000, 0);
    assert_float_equal(vx_ewma_score(999, 4, 0.25f), 1250, 0);
}

static void samples_are_microseconds_and_never_zero(void **state) {
    (void)state;
    assert_float_equal(vx_ewma_sample_us(1000), 1, 1e-6);
    assert_float_equal(vx_ewma_sample_us(2500000), 2500, 1e-3);
    assert_true(vx_ewma_sample_us(0) > 0);
}

static void bits_come_back(void **state) {
    (void)state;
    assert_float_equal(vx_float_of_bits(vx_bits_of_float(1234.5f)), 1234.5f, 0);
    assert_int_equal(vx_bits_of_float(0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_sample_is_taken_as_it_is),
        cmocka_unit_test(rises_at_once),
        cmocka_unit_test(falls_by_the_decay),
        cmocka_unit_test(ages_by_halves),
        cmocka_unit_test(score),
        cmocka_unit_test(samples_are_microseconds_and_never_zero),
        cmocka_unit_test(bits_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
