/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes: calls both ways, limits, and every way a guest can end. */
#include "filters/wasm/instance.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "support/guest.h"

enum { MIB = 1024 * 1024, PAGE = 65536 };
static const uint64_t second_ns = 1000000000u;

static long pause_ms; /* of `add`: the guest's time goes by, and the processor does something else */

static wasm_trap_t *add(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)n;
    const int *extra = env;
    int *count = wasmtime_context_get_data(wasmtime_caller_context(caller));
    ++*count;
    nanosleep(&(struct timespec){.tv_nsec = pause_ms * 1000000}, NULL);
    v[0].i32 = v[0].i32 + v[1].i32 + *extra;
    return NULL;
}

static wasm_trap_t *add64(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)caller;
    (void)n;
    if (v[0].i32 == 7)
        return vx_wasm_exit_trap(7);
    v[0].i64 = v[0].i32 + v[1].i64;
    return NULL;
}

static const int extra = 1000;
static const struct vx_wasm_import rows[] = {
    {"env", "add", "ii:i", add, &extra},
    {"env", "add64", "iI:I", add64, NULL},
};
static const struct vx_wasm_imports imports = {rows, sizeof rows / sizeof rows[0]};

struct world {
    struct vx_wasm_engine *engine;
    struct vx_wasm_module module;
    int host_calls;
};

static int setup(void **state) {
    static struct world w;
    struct vx_wasm_settings settings = {.instances = 20};
    w.engine = vx_wasm_engine_new(&settings);
    struct vx_slice binary = vx_guest_load("sandbox");
    struct vx_wasm_text why;
    if (!w.engine || !vx_wasm_module_load(&w.module, w.engine, binary, &imports, &why))
        return -1;
    vx_guest_free(binary);
    *state = &w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    vx_wasm_module_unload(&w->module);
    vx_wasm_engine_free(w->engine);
    return 0;
}

static void open_guest(struct world *w, struct vx_wasm_instance *i) {
    struct vx_wasm_fault fault;
    assert_true(vx_wasm_instance_open(i, &w->module, &w->host_calls, 2 * MIB, second_ns, &fault));
}

static bool call(struct vx_wasm_instance *i, const char *name, wasmtime_val_raw_t v[2],
                 struct vx_wasm_fault *fault) {
    wasmtime_func_t f;
    assert_true(vx_wasm_instance_function(i, vx_slice_of(name), &f));
    return vx_wasm_instance_call(i, &f, v, 2, 40000000, fault);
}

static void test_calls_go_both_ways(void **state) {
    struct world *w = *state;
    struct vx_wasm_instance i;
    struct vx_wasm_fault fault;
    open_guest(w, &i);
    wasmtime_val_raw_t v[2] = {{0}};
    assert_true(call(&i, "answer", v, &fault));
    assert_int_equal(v[0].i32, 42);
    w->host_calls = 0;
    v[0].i32 = 3;
    v[1].i32 = 4;
    assert_true(call(&i, "call_host", v, &fault));
    assert_int_equal(v[0].i32, 1007);
    assert_int_equal(w->host_calls, 1);
    v[0].i32 = 1;
    v[1].i64 = INT64_C(1) << 40;
    assert_true(call(&i, "call_host64", v, &fault));
    assert_true(v[0].i64 == (INT64_C(1) << 40) + 1);
    wasmtime_func_t f;
    assert_false(vx_wasm_instance_function(&i, VX_SLICE("nothing"), &f));
    assert_false(vx_wasm_instance_function(&i, VX_SLICE("memory"), &f));
    vx_wasm_instance_close(&i);
}

static void expect_fault(struct world *w, const char *name, enum vx_wasm_fault_kind kind, const char *text) {
    struct vx_wasm_instance i;
    struct vx_wasm_fault fault;
    open_guest(w, &i);
    wasmtime_val_raw_t v[2] = {{.i32 = 7}, {.i64 = 7}};
    assert_false(call(&i, name, v, &fault));
    assert_string_equal(vx_wasm_fault_word(fault.kind), vx_wasm_fault_word(kind));
    assert_non_null(strstr(fault.text, text));
    assert_null(strchr(fault.text, '\n'));
    vx_wasm_instance_close(&i);
}

static void test_faults_are_told_apart(void **state) {
    struct world *w = *state;
    expect_fault(w, "trap", VX_WASM_TRAP, "unreachable");
    expect_fault(w, "trap", VX_WASM_TRAP, "backtrace");
    expect_fault(w, "nest", VX_WASM_STACK, "stack");
    expect_fault(w, "call_host64", VX_WASM_EXIT, "proc_exit(7)");
}

static void test_endless_loop_meets_its_deadline(void **state) {
    expect_fault(*state, "spin", VX_WASM_DEADLINE, "deadline");
}

static void test_a_guest_does_not_pay_for_time_it_did_not_get(void **state) {
    struct world *w = *state;
    struct vx_wasm_instance i;
    struct vx_wasm_fault fault;
    wasmtime_val_raw_t v[2] = {{0}};
    open_guest(w, &i);
    pause_ms = 80; /* of the 40 that a call may take */
    assert_true(call(&i, "call_host_twice", v, &fault));
    pause_ms = 0;
    assert_int_equal(v[0].i32, 2);
    vx_wasm_instance_close(&i);
}

static void test_memory_is_bounded_and_fresh(void **state) {
    struct world *w = *state;
    struct vx_wasm_fault fault;
    for (int round = 0; round < 3; round++) {
        struct vx_wasm_instance i;
        open_guest(w, &i);
        wasmtime_val_raw_t v[2] = {{.i32 = 100}, {.i32 = 77}};
        assert_true(call(&i, "load", v, &fault));
        assert_int_equal(v[0].i32, 0); /* what the instance before wrote is gone */
        v[0].i32 = 100;
        assert_true(call(&i, "store", v, &fault));
        assert_memory_equal(vx_wasm_instance_bytes(&i, 16, 11), "as compiled", 11);
        v[0].i32 = 31;
        assert_true(call(&i, "grow", v, &fault));
        assert_int_equal(v[0].i32, 1);
        v[0].i32 = 1;
        assert_true(call(&i, "grow", v, &fault));
        assert_int_equal(v[0].i32, -1);
        vx_wasm_instance_close(&i);
    }
}

static void test_bytes_are_checked_without_overflow(void **state) {
    struct vx_wasm_instance i;
    open_guest(*state, &i);
    assert_non_null(vx_wasm_instance_bytes(&i, 0, 65536));
    assert_non_null(vx_wasm_instance_bytes(&i, 65536, 0));
    assert_null(vx_wasm_instance_bytes(&i, 65537, 0));
    assert_null(vx_wasm_instance_bytes(&i, 1, 65536));
    assert_null(vx_wasm_instance_bytes(&i, UINT32_MAX, UINT32_MAX));
    assert_null(vx_wasm_instance_bytes(&i, UINT32_MAX, 1));
    vx_wasm_instance_close(&i);
}

static void test_pool_is_bounded(void **state) {
    struct world *w = *state;
    struct vx_wasm_instance list[21];
    struct vx_wasm_fault fault;
    for (int n = 0; n < 20; n++)
        open_guest(w, &list[n]);
    assert_false(vx_wasm_instance_open(&list[20], &w->module, NULL, MIB, second_ns, &fault));
    assert_int_equal(fault.kind, VX_WASM_NO_ROOM);
    vx_wasm_instance_close(&list[0]);
    open_guest(w, &list[0]);
    for (int n = 0; n < 20; n++)
        vx_wasm_instance_close(&list[n]);
}

/* Opens and closes sandboxes whose memory it writes. Returns how many of them were not fresh. */
static void *come_and_go(void *arg) {
    const struct world *w = arg;
    struct vx_wasm_instance i;
    struct vx_wasm_fault fault;
    uintptr_t stale = 0;
    for (int turn = 0; turn < 100; turn++) {
        if (!vx_wasm_instance_open(&i, &w->module, NULL, 2 * MIB, second_ns, &fault))
            return (void *)UINTPTR_MAX;
        uint8_t *bytes = vx_wasm_instance_bytes(&i, 0, PAGE);
        stale += bytes[0] != 0 || bytes[PAGE - 1] != 0;
        memset(bytes, 'x', PAGE);
        vx_wasm_instance_close(&i);
    }
    return (void *)stale;
}

/* A place of the pool that one thread has given back is the next one's, with its memory. TSan must not take that for a race,
 * nor spend seconds on finding that it is none. */
static void test_places_go_from_thread_to_thread(void **state) {
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, come_and_go, *state), 0);
    for (int t = 0; t < THREADS; t++) {
        void *stale;
        assert_int_equal(pthread_join(threads[t], &stale), 0);
        assert_null(stale);
    }
}

static void test_start_function_has_a_deadline(void **state) {
    struct world *w = *state;
    struct vx_wasm_module m;
    struct vx_wasm_text why;
    struct vx_slice binary = vx_guest_load("spins_at_start");
    assert_true(vx_wasm_module_load(&m, w->engine, binary, &imports, &why));
    struct vx_wasm_instance i;
    struct vx_wasm_fault fault;
    assert_false(vx_wasm_instance_open(&i, &m, NULL, MIB, 20000000, &fault));
    assert_int_equal(fault.kind, VX_WASM_DEADLINE);
    vx_wasm_module_unload(&m);
    vx_guest_free(binary);
}

static int32_t execute(struct vx_wasm_instance *i) {
    struct vx_wasm_fault fault;
    wasmtime_val_raw_t v[2] = {{0}};
    assert_true(call(i, "execute", v, &fault));
    return v[0].i32;
}

static void test_slim_sandboxes_share_a_store_and_nothing_else(void **state) {
    struct world *w = *state;
    struct vx_wasm_module m;
    struct vx_wasm_text why;
    struct vx_wasm_fault fault;
    struct vx_wasm_instance i;
    struct vx_slice binary = vx_guest_load("slim");
    assert_true(vx_wasm_module_load(&m, w->engine, binary, &imports, &why));
    assert_true(vx_wasm_instance_open_slim(&i, &m, NULL, second_ns, &fault));
    assert_int_equal(execute(&i), 200);
    assert_int_equal(execute(&i), 201);
    unsigned renewed = 0;
    const wasmtime_store_t *store = i.store;
    for (; i.room; renewed++) {
        assert_true(vx_wasm_instance_renew(&i, &m, second_ns, &fault));
        assert_ptr_equal(i.store, store);
        assert_int_equal(execute(&i), 200);
    }
    assert_int_equal(renewed, VX_WASM_SLIM_SERIES - 1);
    wasmtime_val_raw_t v[2] = {{0}};
    assert_false(call(&i, "spin", v, &fault));
    assert_int_equal(fault.kind, VX_WASM_DEADLINE);
    vx_wasm_instance_close(&i);
    vx_wasm_module_unload(&m);
    vx_guest_free(binary);
}

static void test_what_has_a_memory_is_not_slim(void **state) {
    struct world *w = *state;
    struct vx_wasm_fault fault;
    struct vx_wasm_instance i;
    assert_false(vx_wasm_instance_open_slim(&i, &w->module, NULL, second_ns, &fault));
    assert_null(i.store);
}

static void test_the_epoch_ticks_as_the_shortest_time_asks(void **state) {
    struct world *w = *state;
    assert_int_equal(w->engine->tick_ns, VX_WASM_TICK_MAX_NS);
    vx_wasm_engine_expect(w->engine, second_ns);
    assert_int_equal(w->engine->tick_ns, VX_WASM_TICK_MAX_NS);
    vx_wasm_engine_expect(w->engine, 12000000);
    assert_int_equal(w->engine->tick_ns, 3000000);
    vx_wasm_engine_expect(w->engine, 16000000);
    assert_int_equal(w->engine->tick_ns, 3000000);
    vx_wasm_engine_expect(w->engine, 1);
    assert_int_equal(w->engine->tick_ns, VX_WASM_TICK_MIN_NS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_go_both_ways),
        cmocka_unit_test(test_faults_are_told_apart),
        cmocka_unit_test(test_endless_loop_meets_its_deadline),
        cmocka_unit_test(test_a_guest_does_not_pay_for_time_it_did_not_get),
        cmocka_unit_test(test_memory_is_bounded_and_fresh),
        cmocka_unit_test(test_bytes_are_checked_without_overflow),
        cmocka_unit_test(test_pool_is_bounded),
        cmocka_unit_test(test_places_go_from_thread_to_thread),
        cmocka_unit_test(test_start_function_has_a_deadline),
        cmocka_unit_test(test_slim_sandboxes_share_a_store_and_nothing_else),
        cmocka_unit_test(test_what_has_a_memory_is_not_slim),
        cmocka_unit_test(test_the_epoch_ticks_as_the_shortest_time_asks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
