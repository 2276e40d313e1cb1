/* SPDX-License-Identifier: Apache-2.0 */
/* round_robin, random and least_request: their shares, weights, and what they do about backends that are out. */
#include <math.h>

#include "unit/core/routing/balance/fixture.h"

static const uint64_t second_ns = 1000000000;

static void round_robin_takes_turns(void **state) {
    struct fixture *f = fixture_new(5, VX_BALANCE_ROUND_ROBIN);
    uint32_t order[5];
    (void)state;
    fixture_build(f, 0);
    for (int i = 0; i < 5; i++) {
        order[i] = fixture_request(f, 0, VX_OUTCOME_NEUTRAL);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(order[i], order[j]);
    }
    for (int i = 5; i < 100; i++)
        assert_int_equal(fixture_request(f, 0, VX_OUTCOME_NEUTRAL), order[i % 5]);
    fixture_free(f);
}

static void round_robin_is_weighted_and_smooth(void **state) {
    static const uint32_t weights[] = {5, 1, 1, 3};
    struct fixture *f = fixture_new(4, VX_BALANCE_ROUND_ROBIN);
    uint32_t picked[4] = {0}, longest_row = 0, row = 0, last = UINT32_MAX;
    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        f->backends[i].weight = weights[i];
    fixture_build(f, 0);
    for (int i = 0; i < 10000; i++) {
        uint32_t index = fixture_request(f, 0, VX_OUTCOME_NEUTRAL);
        picked[index]++;
        row = index == last ? row + 1 : 1;
        longest_row = row > longest_row ? row : longest_row;
        last = index;
    }
    for (uint32_t i = 0; i < 4; i++)
        assert_in_range(picked[i], weights[i] * 1000 - 20, weights[i] * 1000 + 20);
    /* Half of the turns are the first one's: never more than a few of them in a row. */
    assert_in_range(longest_row, 1, 3);
    fixture_free(f);
}

/* Views have cursors of their own: requests for two models in turn must not keep each to one backend. */
static void round_robin_by_model(void **state) {
    static const struct vx_slice a[] = {{"a", 1}}, b[] = {{"b", 1}};
    struct fixture *f = fixture_new(4, VX_BALANCE_ROUND_ROBIN);
    uint32_t picked[4] = {0};
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        f->backends[i].ai_models = (struct vx_slice *)(i < 2 ? a : b);
        f->backends[i].ai_model_count = 1;
    }
    fixture_build(f, 0);
    for (int i = 0; i < 400; i++) {
        struct vx_pick_request request = {
            .view = vx_backend_set_model(f->set, i % 2 ? VX_SLICE("b") : VX_SLICE("a")),
            .worker = 3,
            .random = &f->random,
            .now_ns = f->now_ns,
        };
        struct vx_backend_ticket ticket;
        assert_int_equal(vx_backend_pick(f->set, &request, &ticket), VX_PICKED);
        picked[ticket.index]++;
        vx_backend_ticket_end(&ticket, VX_OUTCOME_NEUTRAL, f->now_ns);
    }
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(picked[i], 100);
    fixture_free(f);
}

/* The heavy backend is down and the light ones would wait for many generations: they are still used, all of them. */
static void round_robin_without_the_heaviest(void **state) {
    struct fixture *f = fixture_new(3, VX_BALANCE_ROUND_ROBIN);
    uint32_t picked[3] = {0};
    (void)state;
    f->route.health_check = (struct vx_config_health_check){.enabled = true, .healthy = 1, .unhealthy = 1};
    f->backends[0].weight = 1000000;
    fixture_build(f, 0);
    vx_backend_set_checked(f->set, 0, false, f->now_ns);
    for (int i = 0; i < 300; i++)
        picked[fixture_request(f, 0, VX_OUTCOME_NEUTRAL)]++;
    assert_int_equal(picked[0], 0);
    assert_true(picked[1] > 50 && picked[2] > 50);
    fixture_free(f);
}

static void random_is_weighted(void **state) {
    static const uint32_t weights[] = {1, 2, 3, 4, 10};
    struct fixture *f = fixture_new(5, VX_BALANCE_RANDOM);
    uint32_t picked[5] = {0};
    (void)state;
    for (uint32_t i = 0; i < 5; i++)
        f->backends[i].weight = weights[i];
    fixture_build(f, 0);
    for (int i = 0; i < 20000; i++)
        picked[fixture_request(f, 0, VX_OUTCOME_NEUTRAL)]++;
    /* The seed is fixed; the bounds are five standard deviations. */
    for (uint32_t i = 0; i < 5; i++)
        assert_true(fabs(picked[i] - weights[i] * 1000.0) < 5 * sqrt(weights[i] * 1000.0));
    fixture_free(f);
}

static void random_of_equals(void **state) {
    struct fixture *f = fixture_new(20, VX_BALANCE_RANDOM);
    uint32_t picked[20] = {0};
    (void)state;
    fixture_build(f, 0);
    for (int i = 0; i < 20000; i++)
        picked[fixture_request(f, 0, VX_OUTCOME_NEUTRAL)]++;
    for (uint32_t i = 0; i < 20; i++)
        assert_in_range(picked[i], 840, 1160);
    fixture_free(f);
}

static void least_request_fills_evenly(void **state) {
    struct fixture *f = fixture_new(10, VX_BALANCE_LEAST_REQUEST);
    struct vx_backend_ticket open[60];
    (void)state;
    f->backends[4].weight = 3;
    fixture_build(f, 0);
    /* Averages do not matter here. */
    for (uint32_t i = 0; i < 10; i++)
        fixture_set_ewma(f->set, i, (float)(i * 1000));
    for (int i = 0; i < 60; i++)
        open[i] = fixture_pick(f);
    for (uint32_t i = 0; i < 10; i++) {
        uint32_t active = fixture_active(f->set, i);
        assert_in_range(active, i == 4 ? 14 : 4, i == 4 ? 16 : 6);
    }
    for (int i = 0; i < 60; i++)
        vx_backend_ticket_end(&open[i], VX_OUTCOME_SUCCESS, f->now_ns);
    fixture_free(f);
}

/* What holds for every kind: no unhealthy one, none with an open breaker, trials when its time is over, another one
 * for a retry, and nothing active in the end. */
static void every_kind_leaves_out_who_is_out(void **state) {
    (void)state;
    for (int kind = VX_BALANCE_PEAK_EWMA; kind <= VX_BALANCE_RANDOM; kind++) {
        struct fixture *f = fixture_new(11, (enum vx_balance_kind)kind);
        uint32_t picked[11] = {0};
        f->route.health_check =
            (struct vx_config_health_check){.enabled = true, .healthy = 1, .unhealthy = 1};
        f->route.breaker.failures = 1;
        fixture_build(f, 0);
        vx_backend_set_checked(f->set, 2, false, f->now_ns);
        uint32_t broken = fixture_request(f, 0, VX_OUTCOME_FAILURE);
        assert_int_not_equal(broken, 2);
        for (int i = 0; i < 2000; i++)
            picked[fixture_request(f, 0, VX_OUTCOME_NEUTRAL)]++;
        for (uint32_t i = 0; i < 11; i++)
            assert_int_equal(picked[i] > 0, i != 2 && i != broken);
        f->now_ns += 11 * second_ns;
        int trials = 0;
        for (int i = 0; i < 2000 && trials < 3; i++)
            trials += fixture_request(f, 1000, VX_OUTCOME_SUCCESS) == broken;
        assert_int_equal(trials, 3);
        assert_int_equal(vx_backend_set_stats(f->set, broken).breaker, VX_BREAKER_CLOSED);
        const uint32_t tried[] = {0, 1, 3, 4, 5, 6, 7, 8, 10};
        struct vx_pick_request retry = {
            .tried = tried, .tried_count = 9, .random = &f->random, .now_ns = f->now_ns};
        struct vx_backend_ticket ticket;
        for (int i = 0; i < 20; i++) {
            assert_int_equal(vx_backend_pick(f->set, &retry, &ticket), VX_PICKED);
            assert_int_equal(ticket.index, 9);
            vx_backend_ticket_end(&ticket, VX_OUTCOME_NEUTRAL, f->now_ns);
        }
        for (uint32_t i = 0; i < 11; i++)
            assert_int_equal(fixture_active(f->set, i), 0);
        fixture_free(f);
    }
}

/* A backend that was down gets a part of its turns at first. */
static void every_kind_starts_gently(void **state) {
    (void)state;
    for (int kind = VX_BALANCE_ROUND_ROBIN; kind <= VX_BALANCE_RANDOM; kind++) {
        if (kind == VX_BALANCE_LEAST_REQUEST)
            continue; /* the same score as Peak EWMA, see test_pick.c */
        struct fixture *f = fixture_new(4, (enum vx_balance_kind)kind);
        f->route.health_check =
            (struct vx_config_health_check){.enabled = true, .healthy = 1, .unhealthy = 1};
        fixture_build(f, 0);
        vx_backend_set_checked(f->set, 1, false, f->now_ns);
        vx_backend_set_checked(f->set, 1, true, f->now_ns);
        uint32_t early = 0, half = 0, whole = 0;
        for (int i = 0; i < 8000; i++)
            early += fixture_request(f, 0, VX_OUTCOME_NEUTRAL) == 1;
        f->now_ns += 5 * second_ns;
        for (int i = 0; i < 8000; i++)
            half += fixture_request(f, 0, VX_OUTCOME_NEUTRAL) == 1;
        f->now_ns += 6 * second_ns;
        for (int i = 0; i < 8000; i++)
            whole += fixture_request(f, 0, VX_OUTCOME_NEUTRAL) == 1;
        /* 0.1 of 3.1 shares, 0.5 of 3.5, 1 of 4. */
        assert_in_range(early, 180, 340);
        assert_in_range(half, 1000, 1290);
        assert_in_range(whole, 1850, 2150);
        fixture_free(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_takes_turns),    cmocka_unit_test(round_robin_is_weighted_and_smooth),
        cmocka_unit_test(round_robin_by_model),       cmocka_unit_test(round_robin_without_the_heaviest),
        cmocka_unit_test(random_is_weighted),         cmocka_unit_test(random_of_equals),
        cmocka_unit_test(least_request_fills_evenly), cmocka_unit_test(every_kind_leaves_out_who_is_out),
        cmocka_unit_test(every_kind_starts_gently),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
