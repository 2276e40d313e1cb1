/* SPDX-License-Identifier: Apache-2.0 */
/* Who is told of a free place, and that nobody is missed whatever many threads do at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/runtime/places.h"

static uint32_t told_last;

static void tell(struct vx_places *self, uint32_t worker) {
    assert_int_not_equal(worker, self->worker);
    told_last = worker;
}

static void test_the_next_in_the_ring_is_told(void **state) {
    (void)state;
    static const uint32_t waiting[] = {3, 63, 64, 200, 1023};
    struct vx_target_shared shared = {0};
    for (unsigned i = 0; i < 5; i++) {
        struct vx_places p = {.worker = waiting[i]};
        assert_int_equal(vx_places_wait(&p, &shared, true), i == 0);
        assert_false(vx_places_wait(&p, &shared, false));
    }
    static const struct {
        uint32_t from, next;
    } cases[] = {{0, 3}, {3, 63}, {4, 63}, {63, 64}, {64, 200}, {201, 1023}, {1023, 3}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vx_places p = {.worker = cases[i].from, .tell = tell};
        assert_true(vx_places_tell_next(&p, &shared));
        assert_int_equal(told_last, cases[i].next);
        assert_int_equal(p.told, 1);
    }
}

static void test_nobody_is_told_where_only_the_own_worker_waits(void **state) {
    (void)state;
    struct vx_target_shared shared = {0};
    struct vx_target target = {.shared = &shared, .max_connections = 1};
    struct vx_places p = {.worker = 70, .tell = tell}, other = {.worker = 6};
    assert_true(vx_places_wait(&p, &shared, true));
    assert_true(vx_places_wanted(&shared));
    assert_false(vx_places_wanted_elsewhere(&p, &shared));
    assert_true(vx_places_wanted_elsewhere(&other, &shared));
    assert_false(vx_places_tell_next(&p, &shared));
    assert_false(vx_places_wait_over(&p, &target, true));
    assert_false(vx_places_wanted_elsewhere(&other, &shared));
}

static void test_who_stops_waiting_learns_of_a_place_that_others_want(void **state) {
    (void)state;
    struct vx_target_shared shared = {0};
    struct vx_target target = {.shared = &shared, .max_connections = 1};
    struct vx_places a = {.worker = 0}, b = {.worker = 1};
    assert_true(vx_target_take_place(&target));
    assert_false(vx_target_take_place(&target));
    assert_int_equal(atomic_load(&shared.connections),
                     1); /* a vain attempt leaves no trace, not even for a moment */
    vx_places_wait(&a, &shared, true);
    vx_places_wait(&b, &shared, true);
    assert_false(vx_places_wait_over(&a, &target, true)); /* no place is free */
    vx_places_wait(&a, &shared, true);
    vx_target_give_place(&shared);
    assert_true(vx_places_wait_over(&a, &target, true));
    assert_false(vx_places_wait_over(&b, &target, true)); /* nobody else waits */
}

/* Threads take, wait, are told and give by the protocol alone, without ever looking by themselves: if one is missed, it
 * waits for ever. */
enum { THREADS = 4, TURNS = 20000, PLACES = 2 };

struct thread_worker {
    struct vx_places places; /* first, so that it is found from them */
    pthread_t thread;
    atomic_bool told;
    struct vx_target *target;
};

static struct thread_worker threads[THREADS];
static _Atomic uint32_t most;

static void tell_thread(struct vx_places *self, uint32_t worker) {
    (void)self;
    atomic_store(&threads[worker].told, true);
}

static void *take_and_give(void *arg) {
    struct thread_worker *w = arg;
    struct vx_target_shared *shared = w->target->shared;
    for (int i = 0; i < TURNS; i++) {
        if (vx_places_wanted(shared) || !vx_target_take_place(w->target)) {
            bool look = vx_places_wait(&w->places, shared, true);
            while (!look || !vx_target_take_place(w->target)) {
                while (!atomic_exchange(&w->told, false))
                    sched_yield();
                look = true;
            }
            if (vx_places_wait_over(&w->places, w->target, true))
                vx_places_tell_next(&w->places, shared);
        }
        uint32_t open = atomic_load(&shared->connections);
        if (open > atomic_load(&most))
            atomic_store(&most, open);
        vx_target_give_place(shared);
        if (vx_places_wanted(shared))
            vx_places_tell_next(&w->places, shared);
    }
    return NULL;
}

static void test_nobody_is_missed_among_threads(void **state) {
    (void)state;
    struct vx_target_shared shared = {0};
    struct vx_target target = {.shared = &shared, .max_connections = PLACES};
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i] = (struct thread_worker){.places = {.worker = i, .tell = tell_thread}, .target = &target};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, take_and_give, &threads[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i].thread, NULL), 0);
    assert_int_equal(atomic_load(&shared.connections), 0);
    assert_int_equal(atomic_load(&shared.waiting), 0);
    assert_int_equal(atomic_load(&shared.waiting_workers[0]), 0);
    assert_true(atomic_load(&most) <= PLACES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_next_in_the_ring_is_told),
        cmocka_unit_test(test_nobody_is_told_where_only_the_own_worker_waits),
        cmocka_unit_test(test_who_stops_waiting_learns_of_a_place_that_others_want),
        cmocka_unit_test(test_nobody_is_missed_among_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
