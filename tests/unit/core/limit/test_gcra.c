/* SPDX-License-Identifier: Apache-2.0 */
/* The integer arithmetic against a plain model: a bucket that holds `burst` coins, gets one each interval, and is looked
 * at in steps of a nanosecond's exactness by counting what it lacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/random.h"
#include "core/limit/gcra.h"

/* Nanoseconds of earning that the bucket lacks, brought up to date at each look. */
struct model {
    unsigned __int128 lacks;
    uint64_t at_ns;
};

static void catch_up(struct model *m, uint64_t now_ns) {
    uint64_t earned = now_ns - m->at_ns;
    m->lacks = m->lacks > earned ? m->lacks - earned : 0;
    m->at_ns = now_ns;
}

static bool model_take(struct model *m, const struct vx_gcra *g, uint64_t now_ns, uint32_t cost) {
    unsigned __int128 whole = (unsigned __int128)g->interval_ns * g->burst;
    unsigned __int128 price = (unsigned __int128)g->interval_ns * cost;
    catch_up(m, now_ns);
    if (m->lacks + price > whole)
        return false;
    m->lacks += price;
    return true;
}

static void the_interval_never_lets_more_through(void **state) {
    (void)state;
    struct vx_random random = {1};
    for (int i = 0; i < 100000; i++) {
        uint64_t requests = 1 + vx_random_next(&random) % 1000000000;
        uint64_t per_ns = 1000000 + vx_random_next(&random) % 2592000000000000u;
        struct vx_gcra g = vx_gcra(requests, per_ns, 1);
        unsigned __int128 span = (unsigned __int128)g.interval_ns * requests;
        assert_true(span >= per_ns && span - per_ns < requests);
    }
    assert_int_equal(vx_gcra(1000, 1000000000, 5).interval_ns, 1000000);
    assert_int_equal(vx_gcra(1000000000, 1000000, 5).interval_ns, 1);
}

static void from_rest_a_burst_then_one_an_interval(void **state) {
    (void)state;
    struct vx_gcra g = vx_gcra(100, 1000000000, 50);
    uint64_t paid_off = 0, now = 7;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(vx_gcra_remaining(&g, vx_gcra_debt_ns(paid_off, now)), 50 - i);
        assert_true(vx_gcra_take(&g, &paid_off, now, 1));
    }
    for (int i = 0; i < 1000; i++) {
        assert_false(vx_gcra_take(&g, &paid_off, now, 1));
        assert_false(vx_gcra_take(&g, &paid_off, now + 9999999, 1));
        now += 10000000;
        assert_true(vx_gcra_take(&g, &paid_off, now, 1));
    }
    now += 500000000; /* rested: the burst is whole, and no more than whole */
    for (int i = 0; i < 50; i++)
        assert_true(vx_gcra_take(&g, &paid_off, now, 1));
    assert_false(vx_gcra_take(&g, &paid_off, now, 1));
}

static uint32_t random_cost(struct vx_random *random, uint32_t burst) {
    switch (vx_random_below(random, 8)) {
    case 0:
        return burst;
    case 1:
        return burst + 1;
    case 2:
        return UINT32_MAX;
    case 3:
        return 1 + vx_random_below(random, burst);
    default:
        return 1;
    }
}

/* A refusal tells the exact time: one nanosecond before it the same request is refused, at it it passes. */
static void check_wait(const struct vx_gcra *g, const struct model *m, uint64_t paid_off, uint64_t now,
                       uint32_t cost) {
    uint64_t wait = vx_gcra_wait_ns(g, vx_gcra_debt_ns(paid_off, now), cost);
    struct model early = *m, due = *m;
    assert_true(wait > 0);
    if (cost > g->burst) {
        assert_false(model_take(&due, g, now + wait + vx_gcra_capacity_ns(g), cost));
        return;
    }
    assert_false(model_take(&early, g, now + wait - 1, cost));
    assert_true(model_take(&due, g, now + wait, cost));
}

static void as_the_model(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct vx_random random = {seed};
        uint64_t per_ns = 1000000 + vx_random_next(&random) % (seed % 2 ? 1000000000u : 86400000000000u);
        struct vx_gcra g =
            vx_gcra(1 + vx_random_below(&random, 5000), per_ns, 1 + vx_random_below(&random, 100));
        struct model m = {0};
        uint64_t paid_off = 0, now = vx_random_next(&random) >> 4;
        m.at_ns = now;
        for (int i = 0; i < 500; i++) {
            uint32_t step = vx_random_below(&random, 6);
            now += step == 0 ? 0 : vx_random_next(&random) % (g.interval_ns * step);
            uint32_t cost = random_cost(&random, g.burst);
            bool passes = model_take(&m, &g, now, cost);
            assert_int_equal(vx_gcra_take(&g, &paid_off, now, cost), passes);
            assert_true(vx_gcra_debt_ns(paid_off, now) == m.lacks);
            struct model left = m;
            uint32_t remaining = 0;
            while (model_take(&left, &g, now, 1))
                remaining++;
            assert_int_equal(vx_gcra_remaining(&g, vx_gcra_debt_ns(paid_off, now)), remaining);
            if (!passes)
                check_wait(&g, &m, paid_off, now, cost);
        }
    }
}

static void a_debt_from_a_wider_limit_is_worked_off(void **state) {
    (void)state;
    struct vx_gcra wide = vx_gcra(1, 1000000000, 100), narrow = vx_gcra(1, 1000000000, 5);
    uint64_t paid_off = 0;
    assert_true(vx_gcra_take(&wide, &paid_off, 1, 100));
    assert_false(vx_gcra_take(&narrow, &paid_off, 1, 1));
    assert_int_equal(vx_gcra_remaining(&narrow, vx_gcra_debt_ns(paid_off, 1)), 0);
    assert_int_equal(vx_gcra_wait_ns(&narrow, vx_gcra_debt_ns(paid_off, 1), 1), UINT64_C(96000000000));
}

static void the_largest_capacity_does_not_overflow(void **state) {
    (void)state;
    struct vx_gcra g = {VX_GCRA_CAPACITY_MAX_NS, 1};
    uint64_t paid_off = 0, now = UINT64_MAX / 4;
    assert_true(vx_gcra_take(&g, &paid_off, now, 1));
    assert_false(vx_gcra_take(&g, &paid_off, now, UINT32_MAX));
    assert_int_equal(vx_gcra_wait_ns(&g, vx_gcra_debt_ns(paid_off, now), 1), VX_GCRA_CAPACITY_MAX_NS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_interval_never_lets_more_through),
        cmocka_unit_test(from_rest_a_burst_then_one_an_interval),
        cmocka_unit_test(as_the_model),
        cmocka_unit_test(a_debt_from_a_wider_limit_is_worked_off),
        cmocka_unit_test(the_largest_capacity_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
