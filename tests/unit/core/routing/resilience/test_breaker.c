/* SPDX-License-Identifier: Apache-2.0 */
/* The circuit breaker: each row of its transition table, the window of its failure rate, its limits, and four threads
 * on one breaker. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/base/random.h"
#include "core/routing/resilience/breaker.h"

static const uint64_t second_ns = 1000000000;
static const uint64_t start_ns = 5000000000000;
/* The time of the breaker's word has steps of 2^20 ns, and an open time is rounded up. */
static const uint64_t step_ns = 1 << 20;

static const struct vx_config_breaker in_a_row = {
    .failures = 3, .open_for_ns = 10000000000, .half_open_requests = 2};
static const struct vx_config_breaker by_rate = {
    .failure_rate_percent = 50, .open_for_ns = 10000000000, .half_open_requests = 1};

static const struct vx_config_breaker once = {
    .failures = 1, .open_for_ns = 10000000000, .half_open_requests = 1};

static void fail_times(struct vx_breaker *b, int n, uint64_t now_ns) {
    for (int i = 0; i < n; i++)
        vx_breaker_failure(b, &in_a_row, false, 0, now_ns);
}

static struct vx_breaker opened_at(uint64_t now_ns) {
    struct vx_breaker b = {0};
    fail_times(&b, 3, now_ns);
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_OPEN);
    return b;
}

static uint64_t after_open(uint64_t opened_ns) {
    return opened_ns + 10 * second_ns + 2 * step_ns;
}

static uint8_t take_trial(struct vx_breaker *b, uint64_t now_ns) {
    uint8_t epoch = 0;
    assert_true(vx_breaker_ready(b, &in_a_row, now_ns));
    assert_int_equal(vx_breaker_admit(b, &in_a_row, now_ns, &epoch), VX_BREAKER_TRIAL);
    return epoch;
}

static void assert_denied(struct vx_breaker *b, uint64_t now_ns) {
    uint8_t epoch = 0;
    assert_false(vx_breaker_ready(b, &in_a_row, now_ns));
    assert_int_equal(vx_breaker_admit(b, &in_a_row, now_ns, &epoch), VX_BREAKER_DENY);
}

static void names(void **state) {
    (void)state;
    assert_string_equal(vx_breaker_state_name(VX_BREAKER_CLOSED), "closed");
    assert_string_equal(vx_breaker_state_name(VX_BREAKER_OPEN), "open");
    assert_string_equal(vx_breaker_state_name(VX_BREAKER_HALF_OPEN), "half_open");
}

static void closed_lets_everything_through(void **state) {
    struct vx_breaker b = {0};
    uint8_t epoch = 7;
    (void)state;
    fail_times(&b, 2, start_ns);
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_CLOSED);
    assert_true(vx_breaker_ready(&b, &in_a_row, start_ns));
    assert_int_equal(vx_breaker_admit(&b, &in_a_row, start_ns, &epoch), VX_BREAKER_PASS);
}

static void closed_success_ends_the_row(void **state) {
    struct vx_breaker b = {0};
    (void)state;
    fail_times(&b, 2, start_ns);
    assert_false(vx_breaker_success(&b, &in_a_row, false, 0, start_ns));
    fail_times(&b, 2, start_ns);
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_CLOSED);
    assert_true(vx_breaker_failure(&b, &in_a_row, false, 0, start_ns));
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_OPEN);
}

static void open_denies_until_its_time_is_over(void **state) {
    struct vx_breaker b = opened_at(start_ns);
    (void)state;
    assert_denied(&b, start_ns);
    assert_denied(&b, start_ns + 10 * second_ns);
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_OPEN);
    take_trial(&b, after_open(start_ns));
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_HALF_OPEN);
}

static void open_ignores_late_results(void **state) {
    struct vx_breaker b = opened_at(start_ns);
    (void)state;
    assert_false(vx_breaker_success(&b, &in_a_row, false, 0, start_ns));
    assert_false(vx_breaker_failure(&b, &in_a_row, false, 0, start_ns + 9 * second_ns));
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_OPEN);
    take_trial(&b, after_open(start_ns)); /* the late failure did not make it longer */
}

static void half_open_gives_so_many_permits(void **state) {
    struct vx_breaker b = opened_at(start_ns);
    uint64_t now = after_open(start_ns);
    (void)state;
    uint8_t epoch = take_trial(&b, now);
    assert_int_equal(take_trial(&b, now), epoch);
    assert_denied(&b, now);
    /* One has passed, one is under way: two together are all that was allowed. */
    assert_false(vx_breaker_success(&b, &in_a_row, true, epoch, now));
    assert_denied(&b, now);
    assert_true(vx_breaker_success(&b, &in_a_row, true, epoch, now));
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_CLOSED);
    /* And the row starts from nothing. */
    fail_times(&b, 2, now);
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_CLOSED);
}

static void half_open_failure_opens_again(void **state) {
    struct vx_breaker b = opened_at(start_ns);
    uint64_t now = after_open(start_ns);
    (void)state;
    uint8_t first = take_trial(&b, now);
    uint8_t second = take_trial(&b, now);
    assert_true(vx_breaker_failure(&b, &in_a_row, true, first, now));
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_OPEN);
    assert_denied(&b, now + 10 * second_ns);
    /* The other trial belongs to an epoch that is over. */
    assert_false(vx_breaker_success(&b, &in_a_row, true, second, now));
    uint64_t later = after_open(now);
    uint8_t third = take_trial(&b, later);
    assert_int_not_equal(third, first);
    vx_breaker_cancel(&b, second);
    assert_false(vx_breaker_failure(&b, &in_a_row, true, second, later));
    take_trial(&b, later);
    assert_denied(&b, later); /* the stale cancel freed no permit */
}

static void half_open_ignores_who_was_no_trial(void **state) {
    struct vx_breaker b = opened_at(start_ns);
    uint64_t now = after_open(start_ns);
    (void)state;
    uint8_t epoch = take_trial(&b, now);
    assert_false(vx_breaker_failure(&b, &in_a_row, false, 0, now));
    assert_false(vx_breaker_success(&b, &in_a_row, false, epoch, now));
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_HALF_OPEN);
    take_trial(&b, now);
    assert_denied(&b, now);
}

static void half_open_cancel_frees_the_permit(void **state) {
    struct vx_breaker b = opened_at(start_ns);
    uint64_t now = after_open(start_ns);
    (void)state;
    uint8_t epoch = take_trial(&b, now);
    take_trial(&b, now);
    assert_denied(&b, now);
    vx_breaker_cancel(&b, epoch);
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_HALF_OPEN);
    take_trial(&b, now);
    assert_denied(&b, now);
}

static void half_open_begins_anew_when_trials_hang(void **state) {
    struct vx_breaker b = opened_at(start_ns);
    uint64_t now = after_open(start_ns);
    (void)state;
    uint8_t hangs = take_trial(&b, now);
    take_trial(&b, now);
    assert_denied(&b, now + 10 * second_ns);
    uint64_t later = after_open(now);
    uint8_t epoch = take_trial(&b, later);
    assert_int_not_equal(epoch, hangs);
    take_trial(&b, later);
    assert_denied(&b, later);
    /* What hung says nothing any more, not even that it failed. */
    assert_false(vx_breaker_failure(&b, &in_a_row, true, hangs, later));
    vx_breaker_success(&b, &in_a_row, true, epoch, later);
    assert_true(vx_breaker_success(&b, &in_a_row, true, epoch, later));
}

/* Until its epoch has come again. What it then takes back nobody has. */
static void half_open_forgets_who_takes_for_ever(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct vx_breaker b = {0};
        uint64_t now_ns = start_ns;
        uint8_t old, epoch;
        vx_breaker_failure(&b, &once, false, 0, now_ns);
        now_ns += 2 * once.open_for_ns;
        assert_int_equal(vx_breaker_admit(&b, &once, now_ns, &old), VX_BREAKER_TRIAL);
        do {
            now_ns += 2 * once.open_for_ns;
            assert_int_equal(vx_breaker_admit(&b, &once, now_ns, &epoch), VX_BREAKER_TRIAL);
        } while (epoch != old);
        vx_breaker_cancel(&b, epoch);
        uint64_t word = atomic_load(&b.word);
        if (how == 0)
            assert_false(vx_breaker_success(&b, &once, true, old, now_ns));
        else if (how == 1)
            assert_false(vx_breaker_failure(&b, &once, true, old, now_ns));
        else
            vx_breaker_cancel(&b, old);
        assert_true(atomic_load(&b.word) == word);
    }
}

static void reset_closes(void **state) {
    struct vx_breaker b = opened_at(start_ns);
    (void)state;
    vx_breaker_reset(&b);
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_CLOSED);
    fail_times(&b, 2, start_ns);
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_CLOSED);
}

static void off_never_opens(void **state) {
    static const struct vx_config_breaker off = {.open_for_ns = 1, .half_open_requests = 1};
    struct vx_breaker b = {0};
    (void)state;
    for (int i = 0; i < 5000; i++)
        assert_false(vx_breaker_failure(&b, &off, false, 0, start_ns));
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_CLOSED);
}

static void limits_are_capped(void **state) {
    static const struct vx_config_breaker large = {
        .failures = 1000000, .open_for_ns = 1000, .half_open_requests = 1000000};
    struct vx_breaker b = {0};
    uint8_t epoch = 0;
    (void)state;
    for (int i = 1; i < VX_BREAKER_COUNT_MAX; i++)
        assert_false(vx_breaker_failure(&b, &large, false, 0, start_ns));
    assert_true(vx_breaker_failure(&b, &large, false, 0, start_ns));
    for (int i = 0; i < VX_BREAKER_COUNT_MAX; i++)
        assert_int_equal(vx_breaker_admit(&b, &large, start_ns + 2 * step_ns, &epoch), VX_BREAKER_TRIAL);
    for (int i = 1; i < VX_BREAKER_COUNT_MAX; i++)
        assert_false(vx_breaker_success(&b, &large, true, epoch, start_ns + 2 * step_ns));
    assert_true(vx_breaker_success(&b, &large, true, epoch, start_ns + 2 * step_ns));
}

/* The 34 bits of the deadline wrap around at 2^54 ns. */
static void deadline_survives_the_wrap(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 12; i++) {
        uint64_t now = ((uint64_t)1 << 54) - i * second_ns;
        struct vx_breaker b = opened_at(now);
        assert_denied(&b, now + 10 * second_ns);
        take_trial(&b, after_open(now));
    }
}

static void rate_opens_with_enough_requests(void **state) {
    struct vx_breaker b = {0};
    (void)state;
    for (int i = 0; i < VX_BREAKER_RATE_MINIMUM / 2 - 1; i++) {
        assert_false(vx_breaker_failure(&b, &by_rate, false, 0, start_ns));
        assert_false(vx_breaker_success(&b, &by_rate, false, 0, start_ns));
    }
    assert_false(vx_breaker_success(&b, &by_rate, false, 0, start_ns));
    assert_true(
        vx_breaker_failure(&b, &by_rate, false, 0, start_ns)); /* the 20th request, the 10th failure */
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_OPEN);
}

static void rate_below_the_limit_stays_closed(void **state) {
    struct vx_breaker b = {0};
    (void)state;
    for (int i = 0; i < 1000; i++) {
        vx_breaker_success(&b, &by_rate, false, 0, start_ns + (uint64_t)i * 50000000);
        if (i % 3 == 0)
            assert_false(vx_breaker_failure(&b, &by_rate, false, 0, start_ns + (uint64_t)i * 50000000));
    }
}

static void rate_forgets_what_left_the_window(void **state) {
    struct vx_breaker b = {0};
    uint64_t bucket_ns = (uint64_t)1 << VX_BREAKER_BUCKET_SHIFT;
    (void)state;
    for (int i = 0; i < VX_BREAKER_RATE_MINIMUM - 1; i++)
        assert_false(vx_breaker_failure(&b, &by_rate, false, 0, start_ns));
    uint64_t later = start_ns + VX_BREAKER_BUCKETS * bucket_ns;
    assert_false(vx_breaker_failure(&b, &by_rate, false, 0, later));
    /* One bucket earlier they would still have counted. */
    struct vx_breaker c = {0};
    for (int i = 0; i < VX_BREAKER_RATE_MINIMUM - 1; i++)
        vx_breaker_failure(&c, &by_rate, false, 0, start_ns);
    assert_true(vx_breaker_failure(&c, &by_rate, false, 0, later - bucket_ns));
}

/* Counting stops when the window has passed without a failure, and nothing old is left when it starts again. */
static void rate_window_disarms(void **state) {
    struct vx_breaker b = {0};
    uint64_t bucket_ns = (uint64_t)1 << VX_BREAKER_BUCKET_SHIFT;
    (void)state;
    assert_int_equal(atomic_load(&b.armed), 0);
    vx_breaker_failure(&b, &by_rate, false, 0, start_ns);
    assert_int_not_equal(atomic_load(&b.armed), 0);
    vx_breaker_success(&b, &by_rate, false, 0, start_ns + 20 * bucket_ns);
    assert_int_equal(atomic_load(&b.armed), 0);
}

static void closing_clears_the_window(void **state) {
    struct vx_breaker b = {0};
    uint8_t epoch = 0;
    (void)state;
    for (int i = 0; i < VX_BREAKER_RATE_MINIMUM; i++)
        vx_breaker_failure(&b, &by_rate, false, 0, start_ns);
    assert_int_equal(vx_breaker_state(&b), VX_BREAKER_OPEN);
    static const struct vx_config_breaker brief = {
        .failure_rate_percent = 50, .open_for_ns = 1, .half_open_requests = 1};
    uint64_t now = after_open(start_ns);
    assert_int_equal(vx_breaker_admit(&b, &brief, now, &epoch), VX_BREAKER_TRIAL);
    assert_true(vx_breaker_success(&b, &brief, true, epoch, now));
    assert_false(vx_breaker_failure(&b, &by_rate, false, 0, now));
}

enum { THREADS = 4, STEPS = 40000, LIMIT = 3 };

struct crowd {
    struct vx_breaker breaker;
    _Atomic uint64_t now_ns;
    _Atomic int trials[256]; /* under way, by epoch */
    _Atomic int most;
};

static const struct vx_config_breaker crowd_policy = {
    .failures = 4, .failure_rate_percent = 60, .open_for_ns = 50000000, .half_open_requests = LIMIT};

static void note_most(struct crowd *c, int n) {
    int most = atomic_load(&c->most);
    while (n > most && !atomic_compare_exchange_weak(&c->most, &most, n))
        continue;
}

static void *crowd_member(void *argument) {
    struct crowd *c = argument;
    struct vx_random random = {(uint64_t)(uintptr_t)&random};
    for (int i = 0; i < STEPS; i++) {
        uint8_t epoch = 0;
        uint64_t now_ns = atomic_fetch_add(&c->now_ns, 1000000);
        enum vx_breaker_verdict verdict = vx_breaker_admit(&c->breaker, &crowd_policy, now_ns, &epoch);
        if (verdict == VX_BREAKER_DENY)
            continue;
        bool trial = verdict == VX_BREAKER_TRIAL;
        if (trial)
            note_most(c, atomic_fetch_add(&c->trials[epoch], 1) + 1);
        uint32_t what = vx_random_below(&random, 10);
        if (trial)
            atomic_fetch_sub(&c->trials[epoch], 1);
        if (what < 5)
            vx_breaker_success(&c->breaker, &crowd_policy, trial, epoch, now_ns);
        else if (what < 9)
            vx_breaker_failure(&c->breaker, &crowd_policy, trial, epoch, now_ns);
        else if (trial)
            vx_breaker_cancel(&c->breaker, epoch);
    }
    return NULL;
}

static void threads_never_exceed_the_permits(void **state) {
    static struct crowd c;
    pthread_t threads[THREADS];
    (void)state;
    atomic_store(&c.now_ns, start_ns);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_member, &c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_in_range(atomic_load(&c.most), 1, LIMIT);
    /* No permit is lost: opened once more, it lets that many trials through and they close it. */
    uint64_t now_ns = atomic_load(&c.now_ns) + second_ns;
    uint8_t epoch = 0;
    while (vx_breaker_state(&c.breaker) != VX_BREAKER_OPEN) {
        bool trial = vx_breaker_admit(&c.breaker, &crowd_policy, now_ns, &epoch) == VX_BREAKER_TRIAL;
        vx_breaker_failure(&c.breaker, &crowd_policy, trial, epoch, now_ns);
    }
    now_ns += second_ns;
    for (int i = 0; i < LIMIT; i++)
        assert_int_equal(vx_breaker_admit(&c.breaker, &crowd_policy, now_ns, &epoch), VX_BREAKER_TRIAL);
    for (int i = 0; i < LIMIT; i++)
        vx_breaker_success(&c.breaker, &crowd_policy, true, epoch, now_ns);
    assert_int_equal(vx_breaker_state(&c.breaker), VX_BREAKER_CLOSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(closed_lets_everything_through),
        cmocka_unit_test(closed_success_ends_the_row),
        cmocka_unit_test(open_denies_until_its_time_is_over),
        cmocka_unit_test(open_ignores_late_results),
        cmocka_unit_test(half_open_gives_so_many_permits),
        cmocka_unit_test(half_open_failure_opens_again),
        cmocka_unit_test(half_open_ignores_who_was_no_trial),
        cmocka_unit_test(half_open_cancel_frees_the_permit),
        cmocka_unit_test(half_open_begins_anew_when_trials_hang),
        cmocka_unit_test(half_open_forgets_who_takes_for_ever),
        cmocka_unit_test(reset_closes),
        cmocka_unit_test(off_never_opens),
        cmocka_unit_test(limits_are_capped),
        cmocka_unit_test(deadline_survives_the_wrap),
        cmocka_unit_test(rate_opens_with_enough_requests),
        cmocka_unit_test(rate_below_the_limit_stays_closed),
        cmocka_unit_test(rate_forgets_what_left_the_window),
        cmocka_unit_test(rate_window_disarms),
        cmocka_unit_test(closing_clears_the_window),
        cmocka_unit_test(threads_never_exceed_the_permits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
