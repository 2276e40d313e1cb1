/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that pick, sample, settle, detach and end on the same backends while the control thread reloads and health
 * checks come in. Nothing depends on timing: what is checked is that every count is back at zero and all memory is
 * given back. ThreadSanitizer watches the rest. */
#include <pthread.h>

#include "unit/core/routing/balance/fixture.h"

enum { REQUESTS = 30000, HELD = 16, RELOADS = 60 };

/* What the control thread publishes; counted like a snapshot, in the simplest way. */
struct published {
    struct fixture *f;
    pthread_mutex_t lock;
    int current;
    uint32_t users[FIXTURE_SETS];
    _Atomic uint64_t now_ns;
    _Atomic int working;
};

struct worker {
    struct published *published;
    uint32_t number;
};

static int hold(struct published *p) {
    pthread_mutex_lock(&p->lock);
    int set = p->current;
    p->users[set]++;
    pthread_mutex_unlock(&p->lock);
    return set;
}

static void let_go(struct published *p, int set) {
    pthread_mutex_lock(&p->lock);
    p->users[set]--;
    pthread_mutex_unlock(&p->lock);
}

struct held {
    struct vx_backend_ticket ticket;
    int set; /* -1: detached from it */
};

static void finish(struct published *p, struct held *h, struct vx_random *random, uint64_t now_ns) {
    static const enum vx_backend_outcome outcomes[] = {VX_OUTCOME_SUCCESS, VX_OUTCOME_SUCCESS,
                                                       VX_OUTCOME_FAILURE, VX_OUTCOME_NEUTRAL};
    if (!vx_backend_ticket_open(&h->ticket))
        return;
    uint32_t what = vx_random_below(random, 16);
    if (h->set >= 0) {
        if (what & 1)
            vx_backend_ticket_sample(&h->ticket, vx_random_below(random, 5000000), now_ns);
        if (what & 2)
            vx_backend_ticket_settle(&h->ticket, outcomes[vx_random_below(random, 4)], now_ns);
    }
    vx_backend_ticket_end(&h->ticket, outcomes[what >> 2], now_ns);
    if (h->set >= 0)
        let_go(p, h->set);
}

static void begin(struct published *p, struct held *h, struct vx_random *random, uint32_t worker,
                  uint64_t now_ns) {
    static const uint32_t tried[] = {1, 2};
    h->set = hold(p);
    struct vx_pick_request request = {.tried = tried,
                                      .tried_count = vx_random_below(random, 8) ? 0 : 2,
                                      .worker = worker,
                                      .random = random,
                                      .now_ns = now_ns};
    if (vx_backend_pick(p->f->sets[h->set], &request, &h->ticket) != VX_PICKED) {
        let_go(p, h->set);
        return;
    }
    if (vx_random_below(random, 32))
        return;
    vx_backend_ticket_detach(&h->ticket);
    let_go(p, h->set);
    h->set = -1;
}

static void *work(void *argument) {
    struct worker *w = argument;
    struct published *p = w->published;
    struct vx_random random = {w->number + 1};
    struct held held[HELD] = {0};
    for (uint32_t i = 0; i < REQUESTS; i++) {
        uint64_t now_ns = atomic_fetch_add(&p->now_ns, 1000000);
        struct held *h = &held[i % HELD];
        finish(p, h, &random, now_ns);
        begin(p, h, &random, w->number, now_ns);
    }
    for (uint32_t i = 0; i < HELD; i++)
        finish(p, &held[i], &random, atomic_load(&p->now_ns));
    atomic_fetch_sub(&p->working, 1);
    return NULL;
}

/* Builds the next set where no worker is any more, publishes it and drops what is unused. */
static void reload(struct published *p, struct vx_random *random) {
    struct fixture *f = p->f;
    int next = -1;
    for (int i = 0; i < FIXTURE_SETS; i++) {
        pthread_mutex_lock(&p->lock);
        bool unused = i != p->current && p->users[i] == 0;
        pthread_mutex_unlock(&p->lock);
        if (!unused)
            continue;
        fixture_drop(f, i);
        next = i;
    }
    vx_backend_registry_collect(&f->registry);
    if (next < 0)
        return;
    f->count = 3 + vx_random_below(random, 15);
    f->now_ns = atomic_load(&p->now_ns);
    fixture_build(f, next);
    pthread_mutex_lock(&p->lock);
    p->current = next;
    pthread_mutex_unlock(&p->lock);
}

static void run(enum vx_balance_kind kind) {
    struct fixture *f = fixture_new(18, kind);
    struct published p = {.f = f, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct vx_random random = {77};
    struct worker workers[FIXTURE_WORKERS];
    pthread_t threads[FIXTURE_WORKERS];
    f->route.health_check = (struct vx_config_health_check){.enabled = true, .healthy = 1, .unhealthy = 1};
    f->route.breaker = (struct vx_config_breaker){
        .failures = 3, .failure_rate_percent = 60, .open_for_ns = 200000000, .half_open_requests = 2};
    fixture_build(f, 0);
    atomic_store(&p.now_ns, f->now_ns);
    atomic_store(&p.working, FIXTURE_WORKERS);
    for (uint32_t i = 0; i < FIXTURE_WORKERS; i++) {
        workers[i] = (struct worker){&p, i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < RELOADS || atomic_load(&p.working) > 0; i++) {
        reload(&p, &random);
        const struct vx_backend_set *set = f->sets[p.current];
        uint32_t index = vx_random_below(&random, vx_backend_set_count(set));
        vx_backend_set_checked(set, index, vx_random_below(&random, 3) > 0, atomic_load(&p.now_ns));
        vx_backend_set_stats(set, index);
    }
    for (uint32_t i = 0; i < FIXTURE_WORKERS; i++)
        pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i < vx_backend_set_count(f->sets[p.current]); i++)
        assert_int_equal(fixture_active(f->sets[p.current], i), 0);
    fixture_free(f);
}

static void peak_ewma(void **state) {
    (void)state;
    run(VX_BALANCE_PEAK_EWMA);
}

static void round_robin(void **state) {
    (void)state;
    run(VX_BALANCE_ROUND_ROBIN);
}

static void least_request(void **state) {
    (void)state;
    run(VX_BALANCE_LEAST_REQUEST);
}

static void at_random(void **state) {
    (void)state;
    run(VX_BALANCE_RANDOM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peak_ewma),
        cmocka_unit_test(round_robin),
        cmocka_unit_test(least_request),
        cmocka_unit_test(at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
