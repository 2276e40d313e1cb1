/* SPDX-License-Identifier: Apache-2.0 */
/* The retry budget: its floor, its percentage, and that the past is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/routing/resilience/retry_budget.h"

static const uint64_t bucket_ns = (uint64_t)1 << VX_RETRY_BUCKET_SHIFT;
static const uint64_t start_ns = (uint64_t)1000 << VX_RETRY_BUCKET_SHIFT;

/* How many retries are granted in a row. */
static uint32_t drain(struct vx_retry_budget *b, uint32_t percent, uint64_t requests, uint64_t now_ns) {
    uint32_t granted = 0;
    while (granted < 100000 && vx_retry_budget_take(b, percent, requests, now_ns))
        granted++;
    return granted;
}

static void floor_without_traffic(void **state) {
    struct vx_retry_budget b = {0};
    (void)state;
    assert_int_equal(drain(&b, 20, 0, start_ns), VX_RETRY_FLOOR);
    assert_int_equal(drain(&b, 0, 0, start_ns + bucket_ns), 0);
    /* A window later the floor is there again. */
    assert_int_equal(drain(&b, 0, 0, start_ns + VX_RETRY_BUCKETS * bucket_ns), VX_RETRY_FLOOR);
}

static void percentage_of_requests(void **state) {
    struct vx_retry_budget b = {0};
    (void)state;
    vx_retry_budget_count(&b, 0, start_ns);
    assert_int_equal(drain(&b, 20, 1000, start_ns + 1000), VX_RETRY_FLOOR + 200);
    /* What was spent stays spent while the requests still count. */
    assert_int_equal(drain(&b, 20, 1000, start_ns + bucket_ns), 0);
    assert_int_equal(drain(&b, 20, 1500, start_ns + bucket_ns + 1), 100);
    assert_int_equal(drain(&b, 50, 1500, start_ns + bucket_ns + 2), 450);
}

static void old_requests_are_forgotten(void **state) {
    struct vx_retry_budget b = {0};
    (void)state;
    vx_retry_budget_count(&b, 0, start_ns);
    vx_retry_budget_count(&b, 1000, start_ns + 1);
    assert_int_equal(drain(&b, 20, 1000, start_ns + VX_RETRY_BUCKETS * bucket_ns), VX_RETRY_FLOOR);
}

/* Requests told late are spread over the time since they were told last, so that long ago counts little. */
static void late_counts_are_spread(void **state) {
    struct vx_retry_budget b = {0};
    (void)state;
    vx_retry_budget_count(&b, 0, start_ns);
    /* 100 requests a bucket for 80 buckets, of which the window holds 8 at most. */
    uint32_t granted = drain(&b, 10, 8000, start_ns + 80 * bucket_ns);
    assert_in_range(granted, VX_RETRY_FLOOR + 70, VX_RETRY_FLOOR + 80);
    assert_int_equal(b.requests, 8000);
}

/* Told often or told once makes no difference for an even rate. */
static void spread_agrees_with_counting(void **state) {
    struct vx_retry_budget often = {0}, once = {0};
    (void)state;
    vx_retry_budget_count(&often, 0, start_ns);
    vx_retry_budget_count(&once, 0, start_ns);
    for (uint64_t i = 1; i <= 600; i++)
        vx_retry_budget_count(&often, i * 10, start_ns + i * bucket_ns / 100);
    uint32_t a = drain(&often, 20, 6000, start_ns + 6 * bucket_ns);
    uint32_t b = drain(&once, 20, 6000, start_ns + 6 * bucket_ns);
    assert_in_range(a, VX_RETRY_FLOOR + 1190, VX_RETRY_FLOOR + 1200);
    assert_in_range(b, VX_RETRY_FLOOR + 1190, VX_RETRY_FLOOR + 1200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floor_without_traffic),       cmocka_unit_test(percentage_of_requests),
        cmocka_unit_test(old_requests_are_forgotten),  cmocka_unit_test(late_counts_are_spread),
        cmocka_unit_test(spread_agrees_with_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
