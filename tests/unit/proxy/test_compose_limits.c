/* SPDX-License-Identifier: Apache-2.0 */
/* Which store a worker uses as configurations come and go. What the stores do is tested with them. */
#include "proxy/compose_limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/config/rate_store.h"
#include "proxy/engine.h"
#include "proxy/telemetry/metrics.h"

struct world {
    struct vx_engine engine;
    struct vx_rate_memory *memory;
    struct vx_metrics *metrics;
    struct vx_rates *rates;
    char bytes[8192];
    struct vx_arena arena;
};

static struct world *start(void) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_true(vx_engine_init(&w->engine, 0));
    w->memory = vx_compose_rate_memory(0);
    w->metrics = vx_metrics_new(1);
    w->rates = vx_rates_new(&w->engine, w->memory, w->metrics, 0);
    vx_arena_init(&w->arena, w->bytes, sizeof w->bytes, NULL);
    assert_true(w->memory && w->metrics && w->rates);
    return w;
}

static void end(struct world *w) {
    vx_rates_free(w->rates);
    vx_rates_free(NULL);
    while (vx_runtime_run_tasks(&w->engine.rt))
        ;
    vx_engine_free(&w->engine);
    vx_metrics_free(w->metrics);
    vx_compose_rate_memory_free(w->memory);
    free(w);
}

/* A Redis at a port where nobody listens. */
static struct vx_config_rate_store redis(struct world *w, const char *url) {
    struct vx_config_rate_store config = {
        .url = vx_slice_of(url), .on_failure = VX_STORE_FAILURE_ALLOW, .timeout_ns = 1000000000};
    assert_true(vx_config_complete_store(&config, &w->arena));
    return config;
}

static void the_table_is_one_for_all(void **state) {
    (void)state;
    struct world *w = start();
    struct vx_rates *other = vx_rates_new(&w->engine, w->memory, w->metrics, 0);
    struct vx_config_rate_store config = {.kind = VX_RATE_STORE_MEMORY};
    assert_ptr_equal(vx_rates_adopt(w->rates, &config, 0, NULL), vx_rates_adopt(other, &config, 0, NULL));
    vx_rates_publish(w->rates);
    assert_int_equal(vx_metrics_total(w->metrics, VX_WORKER_RATE_STORE_UP), 0);
    vx_rates_free(other);
    end(w);
}

static void a_store_stays_while_its_identity_does(void **state) {
    (void)state;
    struct world *w = start();
    struct vx_config_rate_store memory = {.kind = VX_RATE_STORE_MEMORY};
    struct vx_config_rate_store one = redis(w, "redis://127.0.0.1:1"), two = redis(w, "redis://localhost:1");
    struct vx_rate_store *first = vx_rates_adopt(w->rates, &one, 1, NULL);
    assert_ptr_equal(vx_rates_adopt(w->rates, &one, 1, NULL), first);
    assert_ptr_not_equal(first, vx_rates_adopt(w->rates, &memory, 0, NULL));
    struct vx_rate_store *second = vx_rates_adopt(w->rates, &two, 2, NULL);
    assert_ptr_not_equal(second, vx_rates_adopt(w->rates, &memory, 0, NULL));
    end(w);
}

static void decided(struct vx_rate_request *r, uint64_t now_ns) {
    (void)now_ns;
    assert_int_equal(r->verdict, VX_RATE_PASS_BLIND);
    r->cost++;
}

/* What the old store had been asked is decided, and what was counted is not lost. */
static void a_change_decides_what_is_pending(void **state) {
    (void)state;
    struct world *w = start();
    struct vx_config_rate_store memory = {.kind = VX_RATE_STORE_MEMORY};
    struct vx_config_rate_store one = redis(w, "redis://127.0.0.1:1");
    struct vx_rate_store *store = vx_rates_adopt(w->rates, &one, 1, NULL);
    struct vx_rate_request r = {.limit = {1000, 1}, .key = VX_SLICE("k"), .cost = 1, .decided = decided};
    store->prepare(store, &r);
    assert_int_equal(store->take(store, &r, w->engine.rt.now_ns), VX_RATE_PENDING);
    vx_rates_adopt(w->rates, &memory, 0, NULL);
    assert_int_equal(r.cost, 2);
    vx_rates_publish(w->rates);
    assert_int_equal(vx_metrics_total(w->metrics, VX_WORKER_RATE_STORE_ASKED), 1);
    assert_int_equal(vx_metrics_total(w->metrics, VX_WORKER_RATE_STORE_LOST), 1);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_one_for_all),
        cmocka_unit_test(a_store_stays_while_its_identity_does),
        cmocka_unit_test(a_change_decides_what_is_pending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
