/* SPDX-License-Identifier: Apache-2.0 */
/* See engine.h. */
#include "filters/wasm/engine.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "filters/print.h"

/* Sanitizers keep SIGSEGV and much of the address space for themselves, so there bounds are checked by instructions
 * instead of by guard pages. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GUARD_PAGES false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GUARD_PAGES false
#endif
#endif
#ifndef GUARD_PAGES
#define GUARD_PAGES true
#endif

static const uint64_t largest_memory_bytes = UINT64_C(4) << 30;
/* Without guard pages a slot is as large as its memory may become. */
static const uint64_t checked_memory_bytes = UINT64_C(256) << 20;

/* What a slot keeps resident when its instance goes: touching these pages again is then free. */
enum { KEEP_MEMORY_BYTES = 256 * 1024, KEEP_TABLE_BYTES = 16 * 1024, INSTANCE_BYTES = 1024 * 1024 };

static void set_pool(wasm_config_t *config, uint32_t instances) {
    wasmtime_pooling_allocation_config_t *pool = wasmtime_pooling_allocation_config_new();
    /* What makes a place are memory and table; an instance itself lies on the heap. */
    wasmtime_pooling_allocation_config_total_core_instances_set(pool, UINT32_MAX);
    wasmtime_pooling_allocation_config_total_memories_set(pool, instances);
    wasmtime_pooling_allocation_config_total_tables_set(pool, instances);
    wasmtime_pooling_allocation_config_max_memories_per_module_set(pool, 1);
    wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, 1);
    wasmtime_pooling_allocation_config_table_elements_set(pool, VX_WASM_TABLE_ELEMENTS);
    wasmtime_pooling_allocation_config_max_core_instance_size_set(pool, INSTANCE_BYTES);
    wasmtime_pooling_allocation_config_max_memory_size_set(pool, GUARD_PAGES ? largest_memory_bytes
                                                                             : checked_memory_bytes);
    wasmtime_pooling_allocation_config_max_unused_warm_slots_set(pool, instances);
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, KEEP_MEMORY_BYTES);
    wasmtime_pooling_allocation_config_table_keep_resident_set(pool, KEEP_TABLE_BYTES);
    wasmtime_pooling_allocation_strategy_set(config, pool);
    wasmtime_pooling_allocation_config_delete(pool);
}

/* Whether the pool's address space can be had. Wasmtime ends the program when it cannot (a limit on address space, as by
 * ulimit -v), so it is asked for and given back before. */
static bool has_address_space(uint32_t instances) {
    const uint64_t guard_bytes = UINT64_C(64) << 20, table_bytes = UINT64_C(16) * VX_WASM_TABLE_ELEMENTS;
    uint64_t memory_bytes = GUARD_PAGES ? largest_memory_bytes + guard_bytes : checked_memory_bytes;
    uint64_t bytes = instances * (memory_bytes + table_bytes + INSTANCE_BYTES);
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    munmap(p, bytes);
    return true;
}

/* Whatever changes compiled code here is noticed by Wasmtime when it reads a cached module, which is compiled anew then. */
static wasm_engine_t *start(uint32_t instances) {
    wasm_config_t *config = wasm_config_new();
    wasmtime_config_epoch_interruption_set(config, true);
    wasmtime_config_max_wasm_stack_set(config, VX_WASM_STACK_BYTES);
    wasmtime_config_cranelift_opt_level_set(config, WASMTIME_OPT_LEVEL_SPEED);
    /* Compiling is the control thread's work; threads of the compiler's own would take the workers' cores. */
    wasmtime_config_parallel_compilation_set(config, false);
    wasmtime_config_memory_may_move_set(config, false);
    if (!GUARD_PAGES) {
        wasmtime_config_signals_based_traps_set(config, false);
        wasmtime_config_memory_reservation_set(config, checked_memory_bytes);
        wasmtime_config_memory_guard_size_set(config, 0);
    }
    set_pool(config, instances);
    return wasm_engine_new_with_config(config);
}

static void *tick(void *user) {
    struct vx_wasm_engine *e = user;
    while (!atomic_load_explicit(&e->ending, memory_order_relaxed)) {
        const struct timespec pause = {.tv_nsec =
                                           (long)atomic_load_explicit(&e->tick_ns, memory_order_relaxed)};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        wasmtime_engine_increment_epoch(e->engine);
    }
    return NULL;
}

/* Signals are the control thread's to take. */
static bool start_ticker(struct vx_wasm_engine *e) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&e->ticker, NULL, tick, e) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

struct vx_wasm_engine *vx_wasm_engine_new(const struct vx_wasm_settings *settings) {
    struct vx_wasm_engine *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    atomic_init(&e->tick_ns, VX_WASM_TICK_MAX_NS);
    e->instances = settings->instances ? settings->instances : VX_WASM_INSTANCES_DEFAULT;
    if (settings->cache_dir.len)
        e->cache_dir = strndup(settings->cache_dir.ptr, settings->cache_dir.len);
    e->engine = has_address_space(e->instances) ? start(e->instances) : NULL;
    if (e->engine && start_ticker(e))
        return e;
    if (e->engine)
        wasm_engine_delete(e->engine);
    free(e->cache_dir);
    free(e);
    return NULL;
}

void vx_wasm_engine_expect(struct vx_wasm_engine *e, uint64_t time_ns) {
    uint64_t tick_ns = time_ns / 4;
    if (tick_ns < VX_WASM_TICK_MIN_NS)
        tick_ns = VX_WASM_TICK_MIN_NS;
    if (tick_ns < atomic_load_explicit(&e->tick_ns, memory_order_relaxed))
        atomic_store_explicit(&e->tick_ns, tick_ns, memory_order_relaxed);
}

void vx_wasm_engine_dump(const struct vx_wasm_engine *e, struct vx_text_sink *sink) {
    vx_print(sink, "wasm: room for %u instances of plugins and sandboxes, compiled modules are kept in %s\n",
             e->instances, e->cache_dir ? e->cache_dir : "memory only");
}

void vx_wasm_engine_free(struct vx_wasm_engine *e) {
    if (!e)
        return;
    atomic_store_explicit(&e->ending, true, memory_order_relaxed);
    pthread_join(e->ticker, NULL);
    wasm_engine_delete(e->engine);
    free(e->cache_dir);
    free(e);
}
