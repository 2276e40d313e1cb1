/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel against a plain array of deadlines: random settings, renewals, removals and leaps of the clock, also
 * from inside callbacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/random.h"
#include "core/base/timer.h"

#define MS UINT64_C(1000000)

enum { TIMERS = 200, OPERATIONS = 100000 };

struct probe {
    struct vx_timer timer;
    uint64_t want_ns; /* what it was set to; VX_TIMER_NEVER: not set */
    unsigned fired;
    uint64_t fired_at_ns;
    uint64_t again_after_ns; /* sets itself again from inside */
    struct probe *removes;   /* removes another from inside */
};

static struct vx_timer_wheel wheel;
static struct probe probes[TIMERS];

static void set(struct probe *p, uint64_t at_ns) {
    p->want_ns = at_ns;
    vx_timer_set(&wheel, &p->timer, at_ns);
}

static void fire(struct vx_timer *t, uint64_t now_ns) {
    struct probe *p = VX_CONTAINER_OF(t, struct probe, timer);
    assert_int_equal(t->at_ms, VX_TIMER_NEVER);
    assert_true(p->want_ns != VX_TIMER_NEVER); /* it was set */
    assert_true(now_ns > p->want_ns);          /* never early */
    p->fired++;
    p->fired_at_ns = now_ns;
    p->want_ns = VX_TIMER_NEVER;
    if (p->again_after_ns)
        set(p, now_ns + p->again_after_ns);
    if (p->removes) {
        p->removes->want_ns = VX_TIMER_NEVER;
        vx_timer_remove(&wheel, &p->removes->timer);
    }
}

static void begin(uint64_t now_ns) {
    vx_timer_wheel_init(&wheel, now_ns);
    for (int i = 0; i < TIMERS; i++) {
        probes[i] = (struct probe){.want_ns = VX_TIMER_NEVER};
        vx_timer_init(&probes[i].timer, fire);
    }
}

/* After a run at `now_ns` nothing is overdue by a tick or more, and the wheel does not sleep past what is next. */
static void check_all(uint64_t now_ns) {
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < TIMERS; i++) {
        uint64_t want = probes[i].want_ns;
        if (want == VX_TIMER_NEVER)
            continue;
        assert_true(want / MS + 1 > now_ns / MS);
        if (want < next)
            next = want;
    }
    uint64_t sleep = vx_timer_wheel_next_ns(&wheel, now_ns);
    if (next != UINT64_MAX)
        assert_true(sleep != UINT64_MAX && now_ns + sleep <= (next / MS + 1) * MS);
}

static uint64_t random_delay_ns(struct vx_random *random) {
    static const uint64_t spans_ns[] = {2 * MS,     100 * MS,     5000 * MS,
                                        80000 * MS, 3600000 * MS, UINT64_C(2000000000) * MS};
    uint64_t span = spans_ns[vx_random_below(random, sizeof spans_ns / sizeof *spans_ns)];
    return vx_random_next(random) % span;
}

static void agrees_with_a_list_of_deadlines(void **state) {
    (void)state;
    struct vx_random random = {7};
    uint64_t now = 123456789 * MS + 4321;
    unsigned fired = 0;
    begin(now);
    for (int i = 0; i < OPERATIONS; i++) {
        struct probe *p = &probes[vx_random_below(&random, TIMERS)];
        switch (vx_random_below(&random, 8)) {
        case 0:
            p->want_ns = VX_TIMER_NEVER;
            vx_timer_unset(&p->timer);
            break;
        case 1:
            p->want_ns = VX_TIMER_NEVER;
            vx_timer_remove(&wheel, &p->timer);
            assert_true(vx_list_empty(&p->timer.link));
            break;
        case 2:
        case 3:
            now += vx_random_below(&random, 4) ? random_delay_ns(&random) % (200 * MS)
                                               : random_delay_ns(&random) / 8;
            vx_timer_wheel_run(&wheel, now);
            check_all(now);
            break;
        case 4: /* in the past: as if it were now */
            set(p, now - random_delay_ns(&random) % (50 * MS));
            p->want_ns = now;
            break;
        default:
            set(p, now + random_delay_ns(&random));
        }
        p->again_after_ns = vx_random_below(&random, 50) ? 0 : 1 + random_delay_ns(&random);
        p->removes = vx_random_below(&random, 50) ? NULL : &probes[vx_random_below(&random, TIMERS)];
        if (p->removes == p)
            p->removes = NULL;
    }
    for (int i = 0; i < TIMERS; i++) {
        fired += probes[i].fired;
        vx_timer_remove(&wheel, &probes[i].timer);
    }
    assert_true(fired > OPERATIONS / 20);
    assert_int_equal(vx_timer_wheel_next_ns(&wheel, now), UINT64_MAX);
}

/* Woken exactly when the wheel asks to be, each timer fires in its own tick. */
static void fires_in_its_tick(void **state) {
    (void)state;
    struct vx_random random = {8};
    uint64_t now = 1000 * MS;
    begin(now);
    for (int i = 0; i < TIMERS; i++)
        set(&probes[i], now + random_delay_ns(&random));
    uint64_t want[TIMERS];
    for (int i = 0; i < TIMERS; i++)
        want[i] = probes[i].want_ns;
    for (;;) {
        uint64_t sleep = vx_timer_wheel_next_ns(&wheel, now);
        if (sleep == UINT64_MAX)
            break;
        now += sleep;
        vx_timer_wheel_run(&wheel, now);
    }
    for (int i = 0; i < TIMERS; i++) {
        assert_int_equal(probes[i].fired, 1);
        assert_int_equal(probes[i].fired_at_ns, (want[i] / MS + 1) * MS);
    }
}

static void renewing_only_stores(void **state) {
    (void)state;
    uint64_t now = 5000 * MS;
    begin(now);
    set(&probes[0], now + 100 * MS);
    uint64_t placed = probes[0].timer.placed_ms;
    set(&probes[0], now + 75000 * MS);
    assert_int_equal(probes[0].timer.placed_ms, placed); /* it stays where it is */
    vx_timer_wheel_run(&wheel, now + 74999 * MS);
    assert_int_equal(probes[0].fired, 0);
    vx_timer_wheel_run(&wheel, now + 75001 * MS);
    assert_int_equal(probes[0].fired, 1);
    set(&probes[1], now + 200000 * MS);
    set(&probes[1], now + 80000 * MS); /* earlier: it moves */
    vx_timer_wheel_run(&wheel, now + 80001 * MS);
    assert_int_equal(probes[1].fired, 1);
}

static void runs_backwards_in_no_case(void **state) {
    (void)state;
    uint64_t now = 5000 * MS;
    begin(now);
    set(&probes[0], now + 10 * MS);
    vx_timer_wheel_run(&wheel, now - 1000 * MS);
    assert_int_equal(probes[0].fired, 0);
    vx_timer_wheel_run(&wheel, now + 11 * MS);
    assert_int_equal(probes[0].fired, 1);
    assert_int_equal(vx_timer_wheel_next_ns(&wheel, now), UINT64_MAX);
}

/* Due together: a callback may remove the ones that wait behind it. */
static void removes_from_inside(void **state) {
    (void)state;
    uint64_t now = 5000 * MS;
    begin(now);
    for (int i = 0; i < 4; i++)
        set(&probes[i], now + 10 * MS);
    probes[0].removes = &probes[1];
    probes[2].again_after_ns = 5 * MS;
    vx_timer_wheel_run(&wheel, now + 11 * MS);
    assert_int_equal(probes[0].fired, 1);
    assert_int_equal(probes[1].fired, 0);
    assert_int_equal(probes[2].fired, 1);
    assert_int_equal(probes[3].fired, 1);
    vx_timer_wheel_run(&wheel, now + 20 * MS);
    assert_int_equal(probes[2].fired, 2);
}

static void the_sooner_of_two_deadlines(void **state) {
    (void)state;
    assert_int_equal(vx_sooner_ns(0, 0), 0);
    assert_int_equal(vx_sooner_ns(0, 3), 3);
    assert_int_equal(vx_sooner_ns(3, 0), 3);
    assert_int_equal(vx_sooner_ns(3, 4), 3);
    assert_int_equal(vx_sooner_ns(4, 3), 3);
}

static void no_deadline_disarms(void **state) {
    (void)state;
    begin(1000 * MS);
    probes[0].want_ns = 1005 * MS;
    vx_timer_arm(&wheel, &probes[0].timer, 1005 * MS);
    vx_timer_arm(&wheel, &probes[1].timer, 1005 * MS);
    vx_timer_arm(&wheel, &probes[1].timer, 0);
    vx_timer_wheel_run(&wheel, 1010 * MS);
    assert_int_equal(probes[0].fired, 1);
    assert_int_equal(probes[1].fired, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_list_of_deadlines),
        cmocka_unit_test(fires_in_its_tick),
        cmocka_unit_test(renewing_only_stores),
        cmocka_unit_test(runs_backwards_in_no_case),
        cmocka_unit_test(removes_from_inside),
        cmocka_unit_test(the_sooner_of_two_deadlines),
        cmocka_unit_test(no_deadline_disarms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
