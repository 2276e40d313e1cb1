/* SPDX-License-Identifier: Apache-2.0 */
/* The table in memory, seen by one caller and by several at once. What several are let through is counted against the
 * limit exactly: the table must behave as if they had asked one after the other. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/random.h"
#include "filters/limit/memory.h"

enum { BUCKET_BYTES = 128, BUCKET_KEYS = 8 };

static const struct vx_hash_key seed = {1, 2};

static enum vx_rate_verdict ask(struct vx_rate_memory *m, uint64_t key, struct vx_gcra limit, uint32_t cost,
                                uint64_t now_ns, uint64_t *debt_ns) {
    struct vx_rate_store *store = vx_rate_memory_store(m);
    struct vx_rate_request r = {
        .limit = limit, .key = vx_slice((const char *)&key, sizeof key), .cost = cost};
    store->prepare(store, &r);
    enum vx_rate_verdict verdict = store->take(store, &r, now_ns);
    assert_true(verdict == VX_RATE_PASS || verdict == VX_RATE_REFUSE);
    if (debt_ns)
        *debt_ns = r.debt_ns;
    return verdict;
}

static bool passes(struct vx_rate_memory *m, uint64_t key, struct vx_gcra limit, uint64_t now_ns) {
    return ask(m, key, limit, 1, now_ns, NULL) == VX_RATE_PASS;
}

static void keys_do_not_mix(void **state) {
    (void)state;
    struct vx_rate_memory *m = vx_rate_memory_new(1 << 20, seed);
    struct vx_gcra limit = {1000, 3};
    for (uint64_t round = 0; round < 4; round++)
        for (uint64_t key = 0; key < 1000; key++)
            assert_int_equal(passes(m, key, limit, 5), round < 3);
    assert_int_equal(vx_rate_memory_evictions(m), 0);
    vx_rate_memory_free(m);
}

static void how_full_it_is(void **state) {
    (void)state;
    struct vx_rate_memory *m = vx_rate_memory_new(1 << 20, seed);
    struct vx_gcra limit = {1000, 3};
    for (uint64_t key = 0; key < 1000; key++)
        assert_true(passes(m, key, limit, key < 400 ? 0 : 5000));
    struct vx_rate_memory_stats s = vx_rate_memory_stats(m, 5000); /* the first ones are paid off by then */
    assert_int_equal(s.places, (1 << 20) / 16);
    assert_int_equal(s.looked_at, 4096 * 8);
    assert_in_range(s.in_debt, 200, 400); /* half of the table was looked at, and 600 keys are in it */
    assert_in_range(s.placed, 1000, 1100);
    vx_rate_memory_free(m);
    m = vx_rate_memory_new(BUCKET_BYTES, seed);
    assert_true(passes(m, 1, limit, 5000));
    assert_int_equal(vx_rate_memory_stats(m, 5000).in_debt, 1);
    assert_int_equal(vx_rate_memory_stats(m, 5000).looked_at, 8);
    assert_int_equal(vx_rate_memory_stats(m, 9000).in_debt, 0);
    vx_rate_memory_free(m);
}

/* Each answer and each debt is the arithmetic's, whatever the order of keys, times, costs and limits. */
static void as_the_arithmetic_says(void **state) {
    (void)state;
    enum { KEYS = 6 };
    struct vx_rate_memory *m = vx_rate_memory_new(BUCKET_BYTES, seed);
    struct vx_random random = {3};
    uint64_t paid_off[KEYS] = {0}, now = 1000000;
    for (int i = 0; i < 200000; i++) {
        uint64_t key = vx_random_below(&random, KEYS), debt;
        struct vx_gcra limit = {100 + key * 10, 1 + (uint32_t)key * 4};
        uint32_t cost = vx_random_below(&random, 4) ? 1 : 1 + vx_random_below(&random, limit.burst + 2);
        now += vx_random_below(&random, 60);
        bool pass = vx_gcra_take(&limit, &paid_off[key], now, cost);
        assert_int_equal(ask(m, key, limit, cost, now, &debt), pass ? VX_RATE_PASS : VX_RATE_REFUSE);
        assert_int_equal(debt, vx_gcra_debt_ns(paid_off[key], now));
    }
    assert_int_equal(vx_rate_memory_evictions(m), 0);
    vx_rate_memory_free(m);
}

static void paid_off_cells_are_used_again(void **state) {
    (void)state;
    struct vx_rate_memory *m = vx_rate_memory_new(BUCKET_BYTES, seed);
    struct vx_gcra limit = {1000, 1};
    for (uint64_t i = 0; i < 1000; i++)
        for (uint64_t key = 0; key < BUCKET_KEYS; key++)
            assert_true(passes(m, i * BUCKET_KEYS + key, limit, i * 1000));
    assert_int_equal(vx_rate_memory_evictions(m), 0);
    vx_rate_memory_free(m);
}

static void a_full_bucket_forgets_who_is_nearest_to_rest(void **state) {
    (void)state;
    struct vx_rate_memory *m = vx_rate_memory_new(BUCKET_BYTES, seed);
    for (uint64_t key = 0; key < BUCKET_KEYS; key++)
        assert_true(passes(m, key, (struct vx_gcra){1000 + key, 1}, 1));
    assert_true(passes(m, 100, (struct vx_gcra){9000, 1}, 1));
    assert_int_equal(vx_rate_memory_evictions(m), 1);
    for (uint64_t key = BUCKET_KEYS - 1; key > 0; key--)
        assert_false(passes(m, key, (struct vx_gcra){1000 + key, 1}, 1));
    assert_false(passes(m, 100, (struct vx_gcra){9000, 1}, 1));
    assert_true(passes(m, 0, (struct vx_gcra){1000, 1}, 1)); /* the one that was forgotten */
    assert_int_equal(vx_rate_memory_evictions(m), 2);
    vx_rate_memory_free(m);
}

/* A request that can never pass takes nobody's place. */
static void what_never_passes_is_not_remembered(void **state) {
    (void)state;
    struct vx_rate_memory *m = vx_rate_memory_new(1, seed);
    struct vx_gcra limit = {1000, 2};
    for (uint64_t key = 0; key < 50; key++)
        assert_int_equal(ask(m, key, limit, 3, 1, NULL), VX_RATE_REFUSE);
    for (uint64_t key = 0; key < BUCKET_KEYS; key++)
        assert_true(passes(m, key, limit, 1));
    assert_int_equal(vx_rate_memory_evictions(m), 0);
    vx_rate_memory_free(m);
    vx_rate_memory_free(NULL);
}

/* --- Several at once ---------------------------------------------------------------------------------------------- */

enum { CALLERS = 4 };

struct race {
    struct vx_rate_memory *m;
    struct vx_gcra limit;
    uint64_t keys, rounds; /* asked by every caller */
    _Atomic uint64_t clock_ns;
    uint64_t tick_ns;         /* each question moves the clock on; 0: it stands */
    _Atomic uint64_t *passed; /* by key */
    pthread_barrier_t start;
};

static void *call(void *arg) {
    struct race *race = arg;
    pthread_barrier_wait(&race->start);
    for (uint64_t round = 0; round < race->rounds; round++)
        for (uint64_t key = 0; key < race->keys; key++) {
            uint64_t now_ns = atomic_fetch_add(&race->clock_ns, race->tick_ns);
            if (passes(race->m, key, race->limit, now_ns))
                atomic_fetch_add(&race->passed[key], 1);
        }
    return NULL;
}

static void run(struct race *race) {
    pthread_t threads[CALLERS];
    race->passed = calloc(race->keys, sizeof *race->passed);
    assert_non_null(race->passed);
    pthread_barrier_init(&race->start, NULL, CALLERS);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call, race), 0);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&race->start);
}

/* All callers come upon each key at the same time, and it is new: it must not get two bursts. */
static void together_on_new_keys(void **state) {
    (void)state;
    for (uint64_t turn = 0; turn < 40; turn++) {
        struct race race = {.limit = {UINT64_C(1) << 40, 3}, .keys = 500, .rounds = 2, .clock_ns = 1};
        race.m = vx_rate_memory_new(1 << 17, (struct vx_hash_key){turn, 3});
        run(&race);
        for (uint64_t key = 0; key < race.keys; key++)
            assert_int_equal(race.passed[key], 3);
        assert_int_equal(vx_rate_memory_evictions(race.m), 0);
        vx_rate_memory_free(race.m);
        free(race.passed);
    }
}

/* One key, and a clock that all share: what passes in the time that has gone by is what the limit says, no more and,
 * since there were enough questions, no less. */
static void together_on_one_key(void **state) {
    (void)state;
    struct race race = {.limit = {100, 10}, .keys = 1, .rounds = 100000, .clock_ns = 1, .tick_ns = 7};
    race.m = vx_rate_memory_new(BUCKET_BYTES, seed);
    run(&race);
    uint64_t most = race.limit.burst + (race.clock_ns - 1) / race.limit.interval_ns;
    assert_in_range(race.passed[0], most - race.limit.burst, most);
    vx_rate_memory_free(race.m);
    free(race.passed);
}

/* Few cells, keys that come to rest all the time, and others that take their cells over: still nobody gets more. */
static void together_in_a_crowded_bucket(void **state) {
    (void)state;
    struct race race = {.limit = {50, 2}, .keys = BUCKET_KEYS, .rounds = 30000, .clock_ns = 1, .tick_ns = 9};
    race.m = vx_rate_memory_new(BUCKET_BYTES, seed);
    run(&race);
    uint64_t most = race.limit.burst + (race.clock_ns - 1) / race.limit.interval_ns;
    for (uint64_t key = 0; key < race.keys; key++)
        assert_in_range(race.passed[key], 1, most);
    vx_rate_memory_free(race.m);
    free(race.passed);
}

/* Two callers whose clocks differ, so that they see different cells as free, come upon a new key at the same moment: each
 * would put it elsewhere. */
struct meeting {
    struct vx_rate_memory *m;
    _Atomic unsigned turn, ready;
    _Atomic unsigned passed;
};

enum { MEETINGS = 4000, NEW_KEY = 1000 };

static void meet(struct meeting *all, unsigned turn, uint64_t now_ns) {
    struct vx_gcra limit = {UINT64_C(1) << 40, 1};
    atomic_fetch_add(&all->ready, 1);
    while (atomic_load(&all->ready) < 2 * turn)
        ;
    if (passes(all->m, NEW_KEY, limit, now_ns))
        atomic_fetch_add(&all->passed, 1);
}

static void *second_caller(void *arg) {
    struct meeting *all = arg;
    for (unsigned turn = 1; turn <= MEETINGS; turn++) {
        while (atomic_load(&all->turn) < turn)
            sched_yield();
        meet(all, turn, 4500);
        atomic_fetch_add(&all->passed, 1 << 16); /* done */
    }
    return NULL;
}

static void together_with_clocks_that_differ(void **state) {
    (void)state;
    struct meeting all = {0};
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, second_caller, &all), 0);
    for (unsigned turn = 1; turn <= MEETINGS; turn++) {
        all.m = vx_rate_memory_new(BUCKET_BYTES, (struct vx_hash_key){turn, 1});
        for (uint64_t key = 0; key < BUCKET_KEYS; key++)
            assert_true(passes(all.m, key, (struct vx_gcra){(key + 1) * 1000, 1}, 0));
        atomic_store(&all.passed, 0);
        atomic_store(&all.turn, turn);
        meet(&all, turn, 1500);
        while (atomic_load(&all.passed) < 1 << 16)
            sched_yield();
        assert_int_equal(all.passed & 0xffff, 1);
        assert_false(passes(all.m, NEW_KEY, (struct vx_gcra){UINT64_C(1) << 40, 1}, 4500));
        vx_rate_memory_free(all.m);
    }
    pthread_join(other, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_do_not_mix),
        cmocka_unit_test(how_full_it_is),
        cmocka_unit_test(as_the_arithmetic_says),
        cmocka_unit_test(paid_off_cells_are_used_again),
        cmocka_unit_test(a_full_bucket_forgets_who_is_nearest_to_rest),
        cmocka_unit_test(what_never_passes_is_not_remembered),
        cmocka_unit_test(together_on_new_keys),
        cmocka_unit_test(together_on_one_key),
        cmocka_unit_test(together_in_a_crowded_bucket),
        cmocka_unit_test(together_with_clocks_that_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
