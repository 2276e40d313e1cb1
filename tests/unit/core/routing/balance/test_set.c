/* SPDX-License-Identifier: Apache-2.0 */
/* What a set is made of: endpoints, models, the start of new and recovered backends, what a reload forgets. */
#include <math.h>

#include "unit/core/routing/balance/fixture.h"

static void endpoints_keep_their_order(void **state) {
    struct fixture *f = fixture_new(20, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    assert_int_equal(vx_backend_set_count(f->set), 20);
    for (uint32_t i = 0; i < 20; i++) {
        const struct vx_backend_endpoint *e = vx_backend_set_endpoint(f->set, i);
        assert_ptr_equal(e->backend, &f->backends[i]);
        assert_int_equal(e->address.ip[3], i);
        struct vx_backend_stats s = vx_backend_set_stats(f->set, i);
        assert_int_equal(s.active, 0);
        assert_int_equal(s.breaker, VX_BREAKER_CLOSED);
        assert_int_equal(s.health, VX_HEALTH_UNKNOWN);
        assert_float_equal(s.ewma_us, 0, 0);
    }
    fixture_free(f);
}

static void no_backends(void **state) {
    struct fixture *f = fixture_new(0, VX_BALANCE_ROUND_ROBIN);
    struct vx_backend_ticket ticket;
    (void)state;
    fixture_build(f, 0);
    assert_int_equal(vx_backend_set_count(f->set), 0);
    assert_int_equal(fixture_try(f, &ticket), VX_PICK_NONE_HEALTHY);
    assert_false(vx_backend_ticket_open(&ticket));
    fixture_free(f);
}

static bool view_has(const struct vx_backend_set *set, const struct vx_backend_view *view, uint32_t index) {
    for (uint32_t i = 0; i < view->member_count; i++) {
        uint32_t position = view->members[i];
        if (view->places[position].index != index)
            continue;
        assert_ptr_equal(view->lines[position / VX_LANES], set->places[index].line);
        assert_ptr_equal(view->places[position].slot, set->places[index].slot);
        assert_int_equal(position % VX_LANES, set->places[index].lane);
        assert_false(isinf(view->inverse_weight[position]));
        return true;
    }
    return false;
}

static void models(void **state) {
    static const struct vx_slice gpt[] = {{"gpt-4", 5}, {"gpt-3.5-turbo", 13}};
    static const struct vx_slice claude[] = {{"claude-3-opus", 13}, {"gpt-4", 5}};
    struct fixture *f = fixture_new(40, VX_BALANCE_PEAK_EWMA);
    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        f->backends[i].ai_models = (struct vx_slice *)(i % 4 == 0 ? gpt : claude);
        f->backends[i].ai_model_count = i % 4 < 2 ? 2 : 0;
    }
    fixture_build(f, 0);
    assert_true(vx_backend_set_has_models(f->set));
    const struct vx_backend_view *gpt_4 = vx_backend_set_model(f->set, VX_SLICE("gpt-4"));
    const struct vx_backend_view *turbo = vx_backend_set_model(f->set, VX_SLICE("gpt-3.5-turbo"));
    const struct vx_backend_view *opus = vx_backend_set_model(f->set, VX_SLICE("claude-3-opus"));
    assert_non_null(gpt_4);
    assert_int_equal(gpt_4->member_count, 20);
    assert_int_equal(turbo->member_count, 10);
    assert_int_equal(opus->member_count, 10);
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(view_has(f->set, gpt_4, i), i % 4 < 2);
        assert_int_equal(view_has(f->set, turbo, i), i % 4 == 0);
        assert_int_equal(view_has(f->set, opus, i), i % 4 == 1);
        assert_true(view_has(f->set, &f->set->all, i));
    }
    assert_null(vx_backend_set_model(f->set, VX_SLICE("gpt-5")));
    assert_null(vx_backend_set_model(f->set, VX_SLICE("GPT-4")));
    assert_null(vx_backend_set_model(f->set, VX_SLICE("")));
    fixture_free(f);
}

static void without_models_all_take_any(void **state) {
    struct fixture *f = fixture_new(3, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    assert_false(vx_backend_set_has_models(f->set));
    assert_ptr_equal(vx_backend_set_model(f->set, VX_SLICE("gpt-4")), &f->set->all);
    fixture_free(f);
}

static void first_backends_start_unmeasured_and_whole(void **state) {
    struct fixture *f = fixture_new(3, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_float_equal(fixture_ewma(f->set, i), 0, 0);
        assert_false(fixture_marked(f->set, i));
    }
    fixture_free(f);
}

static void new_backends_start_at_the_median(void **state) {
    struct fixture *f = fixture_new(5, VX_BALANCE_PEAK_EWMA);
    static const float measured[] = {9000, 100, 500, 0, 300};
    (void)state;
    fixture_build(f, 0);
    for (uint32_t i = 0; i < 5; i++)
        fixture_set_ewma(f->set, i, measured[i]);
    fixture_add_backends(f, 1);
    const struct vx_backend_set *fresh = fixture_build(f, 1);
    /* Of 100, 300, 500 and 9000; the unmeasured one does not count and stays as it is. */
    assert_float_equal(fixture_ewma(fresh, 5), 400, 0.01);
    assert_float_equal(fixture_ewma(fresh, 3), 0, 0);
    assert_true(fixture_marked(fresh, 5));
    assert_false(fixture_marked(fresh, 0));
    fixture_set_ewma(fresh, 3, 200);
    fixture_set_ewma(fresh, 5, 50);
    fixture_add_backends(f, 1);
    /* Of 50, 100, 200, 300, 500 and 9000 the two in the middle are 200 and 300. */
    assert_float_equal(fixture_ewma(fixture_build(f, 2), 6), 250, 0.01);
    fixture_free(f);
}

static void median_of_many(void **state) {
    struct fixture *f = fixture_new(1001, VX_BALANCE_PEAK_EWMA);
    struct vx_random random = {4};
    (void)state;
    fixture_build(f, 0);
    for (uint32_t i = 0; i < 1001; i++)
        fixture_set_ewma(f->set, i, (float)(i + 1));
    for (uint32_t i = 0; i < 1001; i++) {
        uint32_t j = vx_random_below(&random, 1001);
        float a = fixture_ewma(f->set, i), b = fixture_ewma(f->set, j);
        fixture_set_ewma(f->set, i, b);
        fixture_set_ewma(f->set, j, a);
    }
    fixture_add_backends(f, 1);
    assert_float_equal(fixture_ewma(fixture_build(f, 1), 1001), 501, 0);
    fixture_free(f);
}

static void health_checks(void **state) {
    struct fixture *f = fixture_new(3, VX_BALANCE_PEAK_EWMA);
    (void)state;
    f->route.health_check = (struct vx_config_health_check){.enabled = true, .healthy = 2, .unhealthy = 2};
    fixture_build(f, 0);
    fixture_set_ewma(f->set, 0, 100);
    fixture_set_ewma(f->set, 1, 80000);
    fixture_set_ewma(f->set, 2, 300);
    assert_true(vx_backend_set_checked(f->set, 1, true, f->now_ns));
    assert_false(fixture_marked(f->set, 1));
    assert_false(vx_backend_set_checked(f->set, 1, false, f->now_ns));
    assert_true(vx_backend_set_checked(f->set, 1, false, f->now_ns));
    assert_int_equal(vx_backend_set_stats(f->set, 1).health, VX_HEALTH_UNHEALTHY);
    assert_true(fixture_marked(f->set, 1));
    assert_false(vx_backend_set_checked(f->set, 1, true, f->now_ns));
    assert_true(vx_backend_set_checked(f->set, 1, true, f->now_ns));
    assert_int_equal(vx_backend_set_stats(f->set, 1).health, VX_HEALTH_HEALTHY);
    /* It starts as a new one: at the median of its peers, gently. */
    assert_float_equal(fixture_ewma(f->set, 1), 200, 0.01);
    assert_true(fixture_marked(f->set, 1));
    fixture_free(f);
}

static void reload_keeps_what_is_still_judged(void **state) {
    struct fixture *f = fixture_new(2, VX_BALANCE_PEAK_EWMA);
    (void)state;
    f->route.health_check = (struct vx_config_health_check){.enabled = true, .healthy = 2, .unhealthy = 2};
    fixture_build(f, 0);
    vx_backend_set_checked(f->set, 0, false, f->now_ns);
    for (uint32_t i = 0; i < f->route.breaker.failures; i++)
        vx_breaker_failure(&f->set->places[1].slot->breaker, &f->route.breaker, false, 0, f->now_ns);
    const struct vx_backend_set *same = fixture_build(f, 1);
    assert_int_equal(vx_backend_set_stats(same, 0).health, VX_HEALTH_UNHEALTHY);
    assert_int_equal(vx_backend_set_stats(same, 1).breaker, VX_BREAKER_OPEN);
    /* Neither health checks nor a breaker any more: nothing of them may keep a backend out. */
    f->route.health_check.enabled = false;
    f->route.breaker.failures = 0;
    const struct vx_backend_set *without = fixture_build(f, 2);
    assert_int_equal(vx_backend_set_stats(without, 0).health, VX_HEALTH_UNKNOWN);
    assert_int_equal(vx_backend_set_stats(without, 1).breaker, VX_BREAKER_CLOSED);
    fixture_free(f);
}

static void retries_are_a_share_of_first_picks(void **state) {
    struct fixture *f = fixture_new(2, VX_BALANCE_LEAST_REQUEST);
    uint32_t granted = 0;
    (void)state;
    fixture_build(f, 0);
    vx_backend_set_take_retry(f->set, 0, f->now_ns);
    for (int i = 0; i < 500; i++) {
        struct vx_backend_ticket ticket = fixture_pick(f);
        vx_backend_ticket_end(&ticket, VX_OUTCOME_SUCCESS, f->now_ns);
    }
    while (vx_backend_set_take_retry(f->set, 0, f->now_ns))
        granted++;
    assert_int_equal(granted, VX_RETRY_FLOOR - 1 + 100);
    /* Another worker has its own share, and retries are not requests. */
    assert_true(vx_backend_set_take_retry(f->set, 1, f->now_ns));
    const uint32_t tried[] = {0};
    struct vx_pick_request retry = {
        .tried = tried, .tried_count = 1, .random = &f->random, .now_ns = f->now_ns};
    struct vx_backend_ticket ticket;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(vx_backend_pick(f->set, &retry, &ticket), VX_PICKED);
        vx_backend_ticket_end(&ticket, VX_OUTCOME_SUCCESS, f->now_ns);
    }
    assert_false(vx_backend_set_take_retry(f->set, 0, f->now_ns));
    fixture_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_keep_their_order),
        cmocka_unit_test(no_backends),
        cmocka_unit_test(models),
        cmocka_unit_test(without_models_all_take_any),
        cmocka_unit_test(first_backends_start_unmeasured_and_whole),
        cmocka_unit_test(new_backends_start_at_the_median),
        cmocka_unit_test(median_of_many),
        cmocka_unit_test(health_checks),
        cmocka_unit_test(reload_keeps_what_is_still_judged),
        cmocka_unit_test(retries_are_a_share_of_first_picks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
