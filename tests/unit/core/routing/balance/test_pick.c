/* SPDX-License-Identifier: Apache-2.0 */
/* Picking by score: the formula seen from outside, tickets, failures, the way back of a slow backend, trials, gentle
 * starts. All randomness is seeded, so every run is the same. */
#include <math.h>

#include "unit/core/routing/balance/fixture.h"

static const uint64_t second_ns = 1000000000;
static const uint64_t ms_ns = 1000000;

static jmp_buf panic_jump;
static bool panic_expected;

_Noreturn void vx_panic(const char *file, int line, const char *condition) {
    if (panic_expected)
        longjmp(panic_jump, 1);
    print_error("%s:%d: %s\n", file, line, condition);
    abort();
}

#define assert_panics(statement)                                                                             \
    do {                                                                                                     \
        panic_expected = true;                                                                               \
        if (setjmp(panic_jump) == 0) {                                                                       \
            statement;                                                                                       \
            fail_msg("did not panic: %s", #statement);                                                       \
        }                                                                                                    \
        panic_expected = false;                                                                              \
    } while (0)

static void assert_nothing_active(const struct fixture *f) {
    for (uint32_t i = 0; i < f->count; i++)
        assert_int_equal(fixture_active(f->set, i), 0);
}

static void lowest_score_wins(void **state) {
    struct fixture *f = fixture_new(12, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    for (uint32_t i = 0; i < 12; i++)
        fixture_set_ewma(f->set, i, 1000);
    fixture_set_ewma(f->set, 9, 299);
    struct vx_backend_ticket open[3];
    /* 300, 600, 900 are below 1001, 1200 is not. */
    for (int i = 0; i < 3; i++) {
        open[i] = fixture_pick(f);
        assert_int_equal(open[i].index, 9);
    }
    assert_int_equal(fixture_active(f->set, 9), 3);
    struct vx_backend_ticket other = fixture_pick(f);
    assert_int_not_equal(other.index, 9);
    for (int i = 0; i < 3; i++)
        vx_backend_ticket_end(&open[i], VX_OUTCOME_NEUTRAL, f->now_ns);
    vx_backend_ticket_end(&other, VX_OUTCOME_NEUTRAL, f->now_ns);
    assert_nothing_active(f);
    fixture_free(f);
}

static void weight_divides_the_score(void **state) {
    struct fixture *f = fixture_new(2, VX_BALANCE_PEAK_EWMA);
    (void)state;
    f->backends[1].weight = 4;
    fixture_build(f, 0);
    fixture_set_ewma(f->set, 0, 999);
    fixture_set_ewma(f->set, 1, 1499);
    /* 1000 against 1500/4, then 3000/4; 4500/4 is more. */
    assert_int_equal(fixture_pick(f).index, 1);
    assert_int_equal(fixture_pick(f).index, 1);
    assert_int_equal(fixture_pick(f).index, 0);
    for (uint32_t i = 0; i < 2; i++)
        atomic_store(&f->set->places[i].line->active[f->set->places[i].lane], 0);
    fixture_free(f);
}

static void equals_get_equal_shares(void **state) {
    struct fixture *f = fixture_new(7, VX_BALANCE_PEAK_EWMA);
    uint32_t picked[7] = {0};
    (void)state;
    fixture_build(f, 0);
    for (uint32_t i = 0; i < 7; i++)
        fixture_set_ewma(f->set, i, 500);
    for (int i = 0; i < 14000; i++) {
        struct vx_backend_ticket ticket = fixture_pick(f);
        picked[ticket.index]++;
        vx_backend_ticket_end(&ticket, VX_OUTCOME_NEUTRAL, f->now_ns);
    }
    for (uint32_t i = 0; i < 7; i++)
        assert_in_range(picked[i], 1790, 2210);
    fixture_free(f);
}

static void samples_follow_the_formula(void **state) {
    struct fixture *f = fixture_new(1, VX_BALANCE_PEAK_EWMA);
    (void)state;
    f->route.ewma_decay = 0.25;
    fixture_build(f, 0);
    fixture_request(f, 4 * ms_ns, VX_OUTCOME_SUCCESS);
    assert_float_equal(fixture_ewma(f->set, 0), 4000, 0.01);
    fixture_request(f, 2 * ms_ns, VX_OUTCOME_SUCCESS);
    assert_float_equal(fixture_ewma(f->set, 0), 2500, 0.01);
    fixture_request(f, 9 * ms_ns, VX_OUTCOME_SUCCESS);
    assert_float_equal(fixture_ewma(f->set, 0), 9000, 0.01);
    fixture_request(f, 0, VX_OUTCOME_NEUTRAL);
    assert_float_equal(fixture_ewma(f->set, 0), 9000, 0.01);
    fixture_free(f);
}

static void old_averages_weigh_less(void **state) {
    struct fixture *f = fixture_new(1, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    fixture_request(f, 100 * ms_ns, VX_OUTCOME_SUCCESS);
    /* Left alone for two whole seconds: alpha 1/2 becomes 1/8. */
    f->now_ns += 23 * second_ns / 10;
    fixture_request(f, 20 * ms_ns, VX_OUTCOME_SUCCESS);
    assert_float_equal(fixture_ewma(f->set, 0), 20000 * 0.875 + 100000 * 0.125, 0.1);
    f->now_ns += 60 * second_ns;
    fixture_request(f, 1 * ms_ns, VX_OUTCOME_SUCCESS);
    assert_float_equal(fixture_ewma(f->set, 0), 1000, 0.01);
    fixture_free(f);
}

static void first_sample_stands_in_for_the_unmeasured(void **state) {
    struct fixture *f = fixture_new(20, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    uint32_t first = fixture_request(f, 3 * ms_ns, VX_OUTCOME_SUCCESS);
    for (uint32_t i = 0; i < 20; i++)
        assert_float_equal(fixture_ewma(f->set, i), 3000, 0.01);
    /* Later samples are each backend's own. */
    uint32_t second;
    do
        second = fixture_request(f, 5 * ms_ns, VX_OUTCOME_SUCCESS);
    while (second == first);
    for (uint32_t i = 0; i < 20; i++)
        if (i != first && i != second)
            assert_float_equal(fixture_ewma(f->set, i), 3000, 0.01);
    fixture_free(f);
}

static void ticket_lives_once(void **state) {
    struct fixture *f = fixture_new(2, VX_BALANCE_PEAK_EWMA);
    struct vx_backend_ticket none = {0};
    (void)state;
    fixture_build(f, 0);
    struct vx_backend_ticket ticket = fixture_pick(f);
    assert_int_equal(fixture_active(f->set, ticket.index), 1);
    vx_backend_ticket_sample(&ticket, ms_ns, f->now_ns);
    assert_panics(vx_backend_ticket_sample(&ticket, ms_ns, f->now_ns));
    vx_backend_ticket_settle(&ticket, VX_OUTCOME_SUCCESS, f->now_ns);
    assert_panics(vx_backend_ticket_settle(&ticket, VX_OUTCOME_SUCCESS, f->now_ns));
    struct vx_backend_ticket moved = ticket;
    vx_backend_ticket_end(&moved, VX_OUTCOME_SUCCESS, f->now_ns);
    assert_false(vx_backend_ticket_open(&moved));
    assert_panics(vx_backend_ticket_end(&moved, VX_OUTCOME_SUCCESS, f->now_ns));
    /* Even a copy cannot take the count below zero. */
    assert_panics(vx_backend_ticket_end(&ticket, VX_OUTCOME_SUCCESS, f->now_ns));
    assert_panics(vx_backend_ticket_end(&none, VX_OUTCOME_NEUTRAL, f->now_ns));
    assert_panics(vx_backend_ticket_detach(&none));
    atomic_store(&f->set->places[ticket.index].line->active[f->set->places[ticket.index].lane], 0);
    fixture_free(f);
}

static void detached_ticket_only_counts(void **state) {
    struct fixture *f = fixture_new(1, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    struct vx_backend_ticket ticket = fixture_pick(f);
    vx_backend_ticket_detach(&ticket);
    assert_int_equal(fixture_active(f->set, 0), 1);
    assert_panics(vx_backend_ticket_sample(&ticket, ms_ns, f->now_ns));
    assert_panics(vx_backend_ticket_settle(&ticket, VX_OUTCOME_FAILURE, f->now_ns));
    vx_backend_ticket_end(&ticket, VX_OUTCOME_FAILURE, f->now_ns);
    assert_int_equal(fixture_active(f->set, 0), 0);
    assert_float_equal(fixture_ewma(f->set, 0), 0, 0);
    fixture_free(f);
}

static void failures_count_as_slow(void **state) {
    struct fixture *f = fixture_new(3, VX_BALANCE_PEAK_EWMA);
    (void)state;
    f->route.breaker.failures = 0;
    fixture_build(f, 0);
    fixture_set_ewma(f->set, 0, 10);
    fixture_set_ewma(f->set, 1, 3999);
    fixture_set_ewma(f->set, 2, 9999);
    assert_int_equal(fixture_request(f, 0, VX_OUTCOME_FAILURE), 0);
    assert_float_equal(fixture_ewma(f->set, 0), 40000, 0.1); /* four times the worst peer's score */
    /* The queue of the peers counts, too. */
    struct vx_backend_ticket waiting = fixture_pick(f);
    assert_int_equal(waiting.index, 1);
    fixture_set_ewma(f->set, 0, 10);
    assert_int_equal(fixture_request(f, 0, VX_OUTCOME_FAILURE), 0);
    assert_float_equal(fixture_ewma(f->set, 0), 40000, 0.1);
    vx_backend_ticket_end(&waiting, VX_OUTCOME_NEUTRAL, f->now_ns);
    /* At least ten milliseconds among fast peers, and at least as long as it took. */
    fixture_set_ewma(f->set, 0, 10);
    fixture_set_ewma(f->set, 1, 20);
    fixture_set_ewma(f->set, 2, 20);
    assert_int_equal(fixture_request(f, 0, VX_OUTCOME_FAILURE), 0);
    assert_float_equal(fixture_ewma(f->set, 0), 10000, 0.1);
    fixture_set_ewma(f->set, 0, 10);
    struct vx_backend_ticket late = fixture_pick(f);
    vx_backend_ticket_end(&late, VX_OUTCOME_FAILURE, f->now_ns + 2 * second_ns);
    assert_float_equal(fixture_ewma(f->set, 0), 2000000, 1);
    fixture_free(f);
}

static void failing_never_helps(void **state) {
    struct fixture *f = fixture_new(1, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    fixture_set_ewma(f->set, 0, 5e6f);
    f->now_ns += 30 * second_ns;
    fixture_request(f, 0, VX_OUTCOME_FAILURE);
    assert_float_equal(fixture_ewma(f->set, 0), 5e6f, 0);
    fixture_free(f);
}

/* One of four fails at once while the others take ten milliseconds with a queue: it must draw next to nothing, even
 * without a breaker. */
static void fast_failures_attract_nothing(void **state) {
    enum { OPEN = 40 };
    struct fixture *f = fixture_new(4, VX_BALANCE_PEAK_EWMA);
    struct vx_backend_ticket open[OPEN] = {0};
    uint32_t failed = 0;
    (void)state;
    f->route.breaker.failures = 0;
    fixture_build(f, 0);
    for (int i = 0; i < 20000; i++) {
        struct vx_backend_ticket *slot = &open[i % OPEN];
        f->now_ns += ms_ns / 4;
        if (vx_backend_ticket_open(slot)) {
            vx_backend_ticket_sample(slot, 10 * ms_ns, f->now_ns);
            vx_backend_ticket_end(slot, VX_OUTCOME_SUCCESS, f->now_ns);
        }
        *slot = fixture_pick(f);
        if (slot->index == 2) {
            failed++;
            vx_backend_ticket_end(slot, VX_OUTCOME_FAILURE, f->now_ns);
        }
    }
    assert_in_range(failed, 1, 40); /* of 20,000 */
    for (int i = 0; i < OPEN; i++)
        if (vx_backend_ticket_open(&open[i]))
            vx_backend_ticket_end(&open[i], VX_OUTCOME_NEUTRAL, f->now_ns);
    assert_nothing_active(f);
    fixture_free(f);
}

/* A backend fifty times slower than its peers is left alone but for probes, at most one in a thousand requests, and
 * is back soon after it has recovered. */
static void slow_backend_finds_its_way_back(void **state) {
    struct fixture *f = fixture_new(4, VX_BALANCE_PEAK_EWMA);
    uint32_t slow = 0, back = 0;
    (void)state;
    fixture_build(f, 0);
    for (uint32_t i = 0; i < 4; i++)
        fixture_set_ewma(f->set, i, i == 3 ? 50000 : 1000);
    for (int i = 0; i < 100000; i++) {
        f->now_ns += ms_ns / 2;
        struct vx_backend_ticket ticket = fixture_pick(f);
        slow += ticket.index == 3;
        vx_backend_ticket_sample(&ticket, ticket.index == 3 ? 50 * ms_ns : ms_ns, f->now_ns);
        vx_backend_ticket_end(&ticket, VX_OUTCOME_SUCCESS, f->now_ns);
    }
    assert_in_range(slow, 20, 100);
    for (int i = 0; i < 20000; i++) {
        f->now_ns += ms_ns / 2;
        struct vx_backend_ticket ticket = fixture_pick(f);
        back += ticket.index == 3;
        /* A little below the others, as each needs to be ahead at times. */
        vx_backend_ticket_sample(&ticket, ms_ns - vx_random_below(&f->random, 100000), f->now_ns);
        vx_backend_ticket_end(&ticket, VX_OUTCOME_SUCCESS, f->now_ns);
    }
    assert_true(back > 1000);
    assert_true(fixture_ewma(f->set, 3) < 2000);
    fixture_free(f);
}

static void probes_wait_a_second_and_for_idleness(void **state) {
    struct fixture *f = fixture_new(2, VX_BALANCE_PEAK_EWMA);
    uint32_t slow = 0;
    (void)state;
    fixture_build(f, 0);
    fixture_set_ewma(f->set, 0, 1000);
    fixture_set_ewma(f->set, 1, 90000);
    /* All in less than a second: no probe, however many requests. */
    for (int i = 0; i < 20000; i++)
        slow += fixture_request(f, ms_ns, VX_OUTCOME_SUCCESS);
    assert_int_equal(slow, 0);
    /* Two seconds later one probe is under way, and no other goes there before it has ended. */
    f->now_ns += 2 * second_ns;
    struct vx_backend_ticket probe;
    for (uint32_t i = 0;; i++) {
        assert_true(i < 2 * VX_PICKS_PER_PROBE);
        probe = fixture_pick(f);
        if (probe.index == 1)
            break;
        vx_backend_ticket_end(&probe, VX_OUTCOME_SUCCESS, f->now_ns);
    }
    for (int i = 0; i < 20000; i++) {
        f->now_ns += ms_ns;
        slow += fixture_request(f, ms_ns, VX_OUTCOME_SUCCESS);
    }
    assert_int_equal(slow, 0);
    vx_backend_ticket_end(&probe, VX_OUTCOME_SUCCESS, f->now_ns);
    fixture_free(f);
}

/* Four workers together spend no more on probes than one alone. */
static void probes_are_counted_over_all_workers(void **state) {
    struct fixture *f = fixture_new(8, VX_BALANCE_PEAK_EWMA);
    uint32_t probes = 0;
    (void)state;
    fixture_build(f, 0);
    for (uint32_t i = 0; i < 8; i++)
        fixture_set_ewma(f->set, i, i ? 1e6f : 10);
    for (uint32_t i = 0; i < 400 * VX_PICKS_PER_PROBE; i++) {
        struct vx_pick_request request = {
            .worker = i % 4, .random = &f->random, .now_ns = f->now_ns += ms_ns};
        struct vx_backend_ticket ticket;
        assert_int_equal(vx_backend_pick(f->set, &request, &ticket), VX_PICKED);
        probes += ticket.index != 0;
        vx_backend_ticket_end(&ticket, VX_OUTCOME_NEUTRAL, f->now_ns);
    }
    assert_in_range(probes, 300, 400);
    fixture_free(f);
}

static void retries_go_elsewhere_if_they_can(void **state) {
    struct fixture *f = fixture_new(3, VX_BALANCE_PEAK_EWMA);
    struct vx_backend_ticket ticket;
    (void)state;
    fixture_build(f, 0);
    fixture_set_ewma(f->set, 0, 10);
    fixture_set_ewma(f->set, 1, 20);
    fixture_set_ewma(f->set, 2, 30);
    const uint32_t tried[] = {0, 1, 2};
    for (uint32_t n = 0; n < 4; n++) {
        struct vx_pick_request request = {
            .tried = tried, .tried_count = n, .random = &f->random, .now_ns = f->now_ns};
        assert_int_equal(vx_backend_pick(f->set, &request, &ticket), VX_PICKED);
        assert_int_equal(ticket.index, n % 3);
        vx_backend_ticket_end(&ticket, VX_OUTCOME_NEUTRAL, f->now_ns);
    }
    fixture_free(f);
}

static void open_breaker(struct fixture *f, uint32_t index) {
    const struct vx_backend_ticket *p = &f->set->places[index];
    while (vx_breaker_state(&p->slot->breaker) != VX_BREAKER_OPEN)
        vx_breaker_failure(&p->slot->breaker, &f->route.breaker, false, 0, f->now_ns);
    vx_backend_mark(p->line, p->lane);
}

static void failures_open_the_breaker(void **state) {
    struct fixture *f = fixture_new(1, VX_BALANCE_PEAK_EWMA);
    struct vx_backend_ticket ticket;
    (void)state;
    fixture_build(f, 0);
    for (int i = 0; i < 5; i++)
        fixture_request(f, 0, VX_OUTCOME_FAILURE);
    assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_OPEN);
    assert_int_equal(fixture_try(f, &ticket), VX_PICK_BREAKER_OPEN);
    assert_false(vx_backend_ticket_open(&ticket));
    f->now_ns += 9 * second_ns;
    assert_int_equal(fixture_try(f, &ticket), VX_PICK_BREAKER_OPEN);
    f->now_ns += 2 * second_ns;
    struct vx_backend_ticket trials[3];
    for (int i = 0; i < 3; i++)
        trials[i] = fixture_pick(f);
    assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_HALF_OPEN);
    assert_int_equal(fixture_try(f, &ticket), VX_PICK_BREAKER_OPEN);
    for (int i = 0; i < 3; i++)
        vx_backend_ticket_end(&trials[i], VX_OUTCOME_SUCCESS, f->now_ns);
    assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_CLOSED);
    assert_true(fixture_marked(f->set, 0)); /* it starts gently now */
    f->now_ns += 11 * second_ns;
    fixture_request(f, ms_ns, VX_OUTCOME_SUCCESS);
    assert_false(fixture_marked(f->set, 0));
    assert_nothing_active(f);
    fixture_free(f);
}

static void trials_come_first_but_not_for_retries(void **state) {
    struct fixture *f = fixture_new(3, VX_BALANCE_PEAK_EWMA);
    struct vx_backend_ticket ticket;
    (void)state;
    fixture_build(f, 0);
    for (uint32_t i = 0; i < 3; i++)
        fixture_set_ewma(f->set, i, i == 1 ? 1e6f : 100);
    open_breaker(f, 1);
    for (int i = 0; i < 100; i++)
        assert_int_not_equal(fixture_request(f, ms_ns / 10, VX_OUTCOME_NEUTRAL), 1);
    f->now_ns += 11 * second_ns;
    const uint32_t tried[] = {0};
    struct vx_pick_request retry = {
        .tried = tried, .tried_count = 1, .random = &f->random, .now_ns = f->now_ns};
    assert_int_equal(vx_backend_pick(f->set, &retry, &ticket), VX_PICKED);
    assert_int_equal(ticket.index, 2);
    vx_backend_ticket_end(&ticket, VX_OUTCOME_NEUTRAL, f->now_ns);
    /* Its average is far worse, but a first pick tries it; a neutral end gives the permit back. */
    for (int i = 0; i < 10; i++)
        assert_int_equal(fixture_request(f, 0, VX_OUTCOME_NEUTRAL), 1);
    /* A retry takes a trial when nothing else is left. */
    const uint32_t others[] = {0, 2};
    retry = (struct vx_pick_request){
        .tried = others, .tried_count = 2, .random = &f->random, .now_ns = f->now_ns};
    assert_int_equal(vx_backend_pick(f->set, &retry, &ticket), VX_PICKED);
    assert_int_equal(ticket.index, 1);
    vx_backend_ticket_detach(&ticket);
    vx_backend_ticket_end(&ticket, VX_OUTCOME_NEUTRAL, f->now_ns);
    assert_int_equal(fixture_request(f, 0, VX_OUTCOME_FAILURE), 1);
    assert_int_equal(vx_backend_set_stats(f->set, 1).breaker, VX_BREAKER_OPEN);
    assert_int_not_equal(fixture_request(f, ms_ns / 10, VX_OUTCOME_NEUTRAL), 1);
    fixture_free(f);
}

static void settled_early_counts_once(void **state) {
    struct fixture *f = fixture_new(1, VX_BALANCE_PEAK_EWMA);
    (void)state;
    f->route.breaker.failures = 2;
    fixture_build(f, 0);
    /* A failure settled and ended as one is one failure. */
    struct vx_backend_ticket ticket = fixture_pick(f);
    vx_backend_ticket_settle(&ticket, VX_OUTCOME_FAILURE, f->now_ns);
    vx_backend_ticket_end(&ticket, VX_OUTCOME_FAILURE, f->now_ns);
    assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_CLOSED);
    /* A settled success whose body broke is the second in a row. */
    ticket = fixture_pick(f);
    vx_backend_ticket_settle(&ticket, VX_OUTCOME_SUCCESS, f->now_ns);
    vx_backend_ticket_end(&ticket, VX_OUTCOME_FAILURE, f->now_ns);
    assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_OPEN);
    fixture_free(f);
}

/* What one event does to many requests: each is slow, one counts. */
static void shared_failure_counts_as_slow_only(void **state) {
    struct fixture *f = fixture_new(1, VX_BALANCE_PEAK_EWMA);
    (void)state;
    f->route.breaker.failures = 2;
    fixture_build(f, 0);
    fixture_request(f, 0, VX_OUTCOME_FAILURE);
    for (int i = 0; i < 5; i++) {
        struct vx_backend_ticket ticket = fixture_pick(f);
        if (i % 2)
            vx_backend_ticket_settle(&ticket, VX_OUTCOME_SUCCESS, f->now_ns);
        assert_true(vx_backend_ticket_may_fail(&ticket));
        vx_backend_ticket_end(&ticket, VX_OUTCOME_SHARED_FAILURE, f->now_ns + 90 * ms_ns);
        assert_false(vx_backend_ticket_may_fail(&ticket));
    }
    assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_CLOSED);
    assert_int_equal(vx_backend_set_stats(f->set, 0).ewma_us, 90000);
    fixture_request(f, 0, VX_OUTCOME_FAILURE); /* the row was not ended by any of them */
    assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_OPEN);
    fixture_free(f);
}

/* Who counts for all may be a request from before the breaker opened, which it does not listen to. */
static void shared_failure_ends_a_trial(void **state) {
    struct fixture *f = fixture_new(1, VX_BALANCE_PEAK_EWMA);
    (void)state;
    f->route.breaker.failures = 1;
    f->route.breaker.half_open_requests = 2;
    fixture_build(f, 0);
    struct vx_backend_ticket old = fixture_pick(f), trials[2];
    fixture_request(f, 0, VX_OUTCOME_FAILURE);
    f->now_ns += 11 * second_ns;
    for (int i = 0; i < 2; i++)
        trials[i] = fixture_pick(f);
    vx_backend_ticket_end(&old, VX_OUTCOME_FAILURE, f->now_ns);
    assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_HALF_OPEN);
    for (int i = 0; i < 2; i++) {
        vx_backend_ticket_end(&trials[i], VX_OUTCOME_SHARED_FAILURE, f->now_ns);
        assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_OPEN);
    }
    fixture_free(f);
}

static void settled_success_ends_the_row(void **state) {
    struct fixture *f = fixture_new(1, VX_BALANCE_PEAK_EWMA);
    (void)state;
    f->route.breaker.failures = 2;
    fixture_build(f, 0);
    for (int i = 0; i < 12; i++) {
        fixture_request(f, 0, VX_OUTCOME_FAILURE);
        struct vx_backend_ticket ticket = fixture_pick(f);
        vx_backend_ticket_settle(&ticket, VX_OUTCOME_SUCCESS, f->now_ns);
        if (i % 3 == 0)
            vx_backend_ticket_detach(&ticket);
        vx_backend_ticket_end(&ticket, i % 3 == 1 ? VX_OUTCOME_NEUTRAL : VX_OUTCOME_SUCCESS, f->now_ns);
    }
    assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_CLOSED);
    fixture_free(f);
}

/* A trial that was answered closes the breaker without waiting for a long body; the body's failure counts then. */
static void settled_trial_counts_at_once(void **state) {
    struct fixture *f = fixture_new(1, VX_BALANCE_PEAK_EWMA);
    (void)state;
    f->route.breaker.failures = 1;
    f->route.breaker.half_open_requests = 1;
    fixture_build(f, 0);
    fixture_request(f, 0, VX_OUTCOME_FAILURE);
    f->now_ns += 11 * second_ns;
    struct vx_backend_ticket ticket = fixture_pick(f);
    vx_backend_ticket_settle(&ticket, VX_OUTCOME_SUCCESS, f->now_ns);
    assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_CLOSED);
    vx_backend_ticket_end(&ticket, VX_OUTCOME_FAILURE, f->now_ns);
    assert_int_equal(vx_backend_set_stats(f->set, 0).breaker, VX_BREAKER_OPEN);
    fixture_free(f);
}

static void why_nothing_was_picked(void **state) {
    struct fixture *f = fixture_new(2, VX_BALANCE_PEAK_EWMA);
    struct vx_backend_ticket ticket;
    (void)state;
    f->route.health_check = (struct vx_config_health_check){.enabled = true, .healthy = 1, .unhealthy = 1};
    fixture_build(f, 0);
    vx_backend_set_checked(f->set, 0, false, f->now_ns);
    vx_backend_set_checked(f->set, 1, false, f->now_ns);
    assert_int_equal(fixture_try(f, &ticket), VX_PICK_NONE_HEALTHY);
    vx_backend_set_checked(f->set, 1, true, f->now_ns);
    open_breaker(f, 1);
    assert_int_equal(fixture_try(f, &ticket), VX_PICK_BREAKER_OPEN);
    /* An unhealthy backend with an open breaker is down, not broken. */
    vx_backend_set_checked(f->set, 1, false, f->now_ns);
    assert_int_equal(fixture_try(f, &ticket), VX_PICK_NONE_HEALTHY);
    const uint32_t tried[] = {0, 1};
    struct vx_pick_request retry = {
        .tried = tried, .tried_count = 2, .random = &f->random, .now_ns = f->now_ns};
    assert_int_equal(vx_backend_pick(f->set, &retry, &ticket), VX_PICK_NONE_HEALTHY);
    assert_nothing_active(f);
    fixture_free(f);
}

/* Requests with a queue of `open` are kept up for a while; how many of `rounds` went to `index`. */
static uint32_t share_of(struct fixture *f, uint32_t index, uint32_t open, uint32_t rounds) {
    struct vx_backend_ticket queue[64] = {0};
    uint32_t picked = 0;
    assert_true(open <= 64);
    for (uint32_t i = 0; i < rounds; i++) {
        struct vx_backend_ticket *t = &queue[i % open];
        if (vx_backend_ticket_open(t))
            vx_backend_ticket_end(t, VX_OUTCOME_NEUTRAL, f->now_ns);
        *t = fixture_pick(f);
        picked += t->index == index;
    }
    for (uint32_t i = 0; i < open; i++)
        if (vx_backend_ticket_open(&queue[i]))
            vx_backend_ticket_end(&queue[i], VX_OUTCOME_NEUTRAL, f->now_ns);
    return picked;
}

static void new_backend_starts_gently(void **state) {
    struct fixture *f = fixture_new(3, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    for (uint32_t i = 0; i < 3; i++)
        fixture_set_ewma(f->set, i, 1000);
    fixture_add_backends(f, 1);
    f->set = fixture_build(f, 1);
    f->set = f->sets[1];
    /* A tenth of its weight against three whole ones, then half, then like all others. */
    uint32_t early = share_of(f, 3, 40, 8000);
    f->now_ns += 5 * second_ns;
    uint32_t half = share_of(f, 3, 40, 8000);
    assert_true(fixture_marked(f->set, 3));
    f->now_ns += 5 * second_ns + ms_ns;
    uint32_t whole = share_of(f, 3, 40, 8000);
    assert_false(fixture_marked(f->set, 3));
    assert_in_range(early, 50, 500);
    assert_in_range(half, 800, 1600);
    assert_in_range(whole, 1800, 2200);
    fixture_free(f);
}

static void views_limit_the_choice(void **state) {
    static const struct vx_slice a[] = {{"a", 1}};
    struct fixture *f = fixture_new(30, VX_BALANCE_PEAK_EWMA);
    (void)state;
    for (uint32_t i = 0; i < 30; i += 11) {
        f->backends[i].ai_models = (struct vx_slice *)a;
        f->backends[i].ai_model_count = 1;
    }
    fixture_build(f, 0);
    open_breaker(f, 11);
    open_breaker(f, 12);
    struct vx_pick_request request = {
        .view = vx_backend_set_model(f->set, VX_SLICE("a")), .random = &f->random, .now_ns = f->now_ns};
    for (int i = 0; i < 200; i++) {
        struct vx_backend_ticket ticket;
        assert_int_equal(vx_backend_pick(f->set, &request, &ticket), VX_PICKED);
        assert_true(ticket.index == 0 || ticket.index == 22);
        vx_backend_ticket_end(&ticket, VX_OUTCOME_NEUTRAL, f->now_ns);
    }
    fixture_free(f);
}

/* A mark that stands for nothing is taken off by the next pick. */
static void stale_marks_go(void **state) {
    struct fixture *f = fixture_new(9, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    for (uint32_t i = 0; i < 9; i++)
        vx_backend_mark(f->set->places[i].line, f->set->places[i].lane);
    fixture_request(f, ms_ns, VX_OUTCOME_SUCCESS);
    for (uint32_t i = 0; i < 9; i++)
        assert_false(fixture_marked(f->set, i));
    assert_nothing_active(f);
    fixture_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lowest_score_wins),
        cmocka_unit_test(weight_divides_the_score),
        cmocka_unit_test(equals_get_equal_shares),
        cmocka_unit_test(samples_follow_the_formula),
        cmocka_unit_test(old_averages_weigh_less),
        cmocka_unit_test(first_sample_stands_in_for_the_unmeasured),
        cmocka_unit_test(ticket_lives_once),
        cmocka_unit_test(detached_ticket_only_counts),
        cmocka_unit_test(failures_count_as_slow),
        cmocka_unit_test(failing_never_helps),
        cmocka_unit_test(fast_failures_attract_nothing),
        cmocka_unit_test(slow_backend_finds_its_way_back),
        cmocka_unit_test(probes_wait_a_second_and_for_idleness),
        cmocka_unit_test(probes_are_counted_over_all_workers),
        cmocka_unit_test(retries_go_elsewhere_if_they_can),
        cmocka_unit_test(failures_open_the_breaker),
        cmocka_unit_test(trials_come_first_but_not_for_retries),
        cmocka_unit_test(settled_early_counts_once),
        cmocka_unit_test(shared_failure_counts_as_slow_only),
        cmocka_unit_test(shared_failure_ends_a_trial),
        cmocka_unit_test(settled_success_ends_the_row),
        cmocka_unit_test(settled_trial_counts_at_once),
        cmocka_unit_test(why_nothing_was_picked),
        cmocka_unit_test(new_backend_starts_gently),
        cmocka_unit_test(views_limit_the_choice),
        cmocka_unit_test(stale_marks_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
