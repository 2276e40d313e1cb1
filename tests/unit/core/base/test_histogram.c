/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets, sums and quantiles of the histogram; and that its bounds are Prometheus' round numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/histogram.h"
#include "core/base/random.h"

enum { LAST = VX_HISTOGRAM_BUCKETS - 1 };

static void bounds_are_round(void **state) {
    (void)state;
    uint64_t power = 1000;
    unsigned i = 0;
    assert_int_equal(vx_histogram_bound_ns(i++), 1000);
    for (int decade = 0; decade < VX_HISTOGRAM_DECADES; decade++, power *= 10)
        for (uint64_t digit = 2; digit <= 10; digit++)
            assert_int_equal(vx_histogram_bound_ns(i++), digit * power);
    assert_int_equal(i, LAST);
    assert_int_equal(vx_histogram_bound_ns(LAST - 1), UINT64_C(1000000000000));
    assert_int_equal(vx_histogram_bound_ns(LAST), UINT64_MAX);
}

static unsigned searched_index(uint64_t value) {
    unsigned i = 0;
    while (value > vx_histogram_bound_ns(i))
        i++;
    return i;
}

static void finds_the_bucket(void **state) {
    (void)state;
    for (unsigned i = 0; i < LAST; i++) {
        uint64_t bound = vx_histogram_bound_ns(i);
        assert_int_equal(vx_histogram_index(bound - 1), i);
        assert_int_equal(vx_histogram_index(bound), i); /* le: a bound belongs to its bucket */
        assert_int_equal(vx_histogram_index(bound + 1), i + 1);
    }
    assert_int_equal(vx_histogram_index(0), 0);
    assert_int_equal(vx_histogram_index(UINT64_MAX), LAST);
    struct vx_random random = {9};
    for (int i = 0; i < 200000; i++) {
        uint64_t value = vx_random_next(&random) >> vx_random_below(&random, 64);
        assert_int_equal(vx_histogram_index(value), searched_index(value));
    }
}

static void adds_up(void **state) {
    (void)state;
    static struct vx_histogram a, b;
    struct vx_histogram_sum sum = {0};
    vx_histogram_record(&a, 500);
    vx_histogram_record(&a, 1500);
    vx_histogram_record(&b, 1500);
    vx_histogram_record(&b, UINT64_C(5000000000000));
    vx_histogram_add(&sum, &a);
    vx_histogram_add(&sum, &b);
    assert_int_equal(sum.count, 4);
    assert_int_equal(sum.sum_ns, 500 + 1500 + 1500 + UINT64_C(5000000000000));
    assert_int_equal(vx_histogram_at_most(&sum, 1000), 1);
    assert_int_equal(vx_histogram_at_most(&sum, 2000), 3);
    assert_int_equal(vx_histogram_at_most(&sum, UINT64_C(1000000000000)), 3);
    assert_int_equal(vx_histogram_at_most(&sum, UINT64_MAX), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_round),
        cmocka_unit_test(finds_the_bucket),
        cmocka_unit_test(adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
