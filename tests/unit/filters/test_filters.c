/* SPDX-License-Identifier: Apache-2.0 */
/* What is loaded, as the control thread tends it. */
#include "filters/filters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "filters/proxy_wasm/plugin.h"
#include "support/guest.h"

static bool post(const struct vx_filter_worker *self, void (*run)(void *, uint64_t), void *arg) {
    (void)self, (void)run, (void)arg;
    return false;
}

static uint64_t wall_ns(void) {
    return 1;
}

static struct vx_filter *load(struct vx_filter_engine *engine, const char *name) {
    const struct vx_config_filter config = {
        .name = vx_slice_of(name),
        .limits = {
            .memory_bytes = 8 << 20, .time_ns = 50000000, .start_time_ns = 10000000000, .body_bytes = 1000}};
    struct vx_config_error error;
    struct vx_slice binary = vx_guest_load("probe");
    struct vx_filter *filter = engine->load(engine, &config, binary, &error);
    vx_guest_free(binary);
    assert_non_null(filter);
    return filter;
}

static struct vx_pwasm_seat *seat_of(struct vx_filter *f) {
    return &VX_CONTAINER_OF(f, struct vx_pwasm_plugin, filter)->seats[0];
}

/* As a worker whose instance has died. */
static void want(struct vx_filter *f) {
    atomic_store(&seat_of(f)->shared.wanted, true);
}

/* Has all instances started that are wanted. Returns when this filter's was, in an order of all. */
static uint64_t start(struct vx_filter_engine *engine, struct vx_filter *f) {
    while (!atomic_load(&seat_of(f)->shared.delivered))
        engine->tend(engine);
    struct vx_pwasm_vm *vm = atomic_exchange(&seat_of(f)->shared.delivered, NULL);
    uint64_t serial = vm->serial;
    vx_pwasm_vm_end(vm);
    return serial;
}

/* Each start may take all the time of one look, so who is looked at first is who had none for longer. */
static void test_filters_take_turns_in_starting(void **state) {
    (void)state;
    static const struct vx_config_wasm wasm = {.instances = 16, .cache_path = {"off", 3}};
    struct vx_filter_worker worker = {.post = post, .wall_ns = wall_ns};
    struct vx_timer_wheel wheel;
    vx_timer_wheel_init(&wheel, 0);
    worker.wheel = &wheel;
    struct vx_filter_engine *engine = vx_filters_new(NULL);
    assert_non_null(engine);
    engine->attach(engine, 0, &worker);
    engine->configure(engine, &wasm);
    struct vx_filter *a = load(engine, "a"), *b = load(engine, "b");
    for (unsigned i = 0; i < 3; i++) {
        want(a);
        start(engine, a);
        want(a);
        want(b);
        uint64_t at_a = start(engine, a), at_b = start(engine, b);
        assert_true(at_b < at_a);
    }
    engine->detach(engine, 0);
    engine->drop(engine, a);
    engine->drop(engine, b);
    vx_filters_free(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters_take_turns_in_starting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
