/* SPDX-License-Identifier: Apache-2.0 */
/* Wasmtime as Vortex uses it: one engine for all modules, a pool of instances reserved at its start, and a thread that
 * ticks the epoch by which calls into guests are bounded. Made when the first filter is loaded, so that a proxy without
 * filters pays nothing. */
#ifndef VX_FILTERS_WASM_ENGINE_H
#define VX_FILTERS_WASM_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <wasmtime.h>

#include "core/base/assert.h"
#include "core/base/slice.h"
#include "core/ports/text_sink.h"

enum {
    VX_WASM_TICK_MIN_NS = 1000000, /* between two ticks of the epoch */
    VX_WASM_TICK_MAX_NS = 10000000,
    VX_WASM_STACK_BYTES = 512 * 1024, /* of one guest's call */
    VX_WASM_TABLE_ELEMENTS = 100000,  /* of one table */
    VX_WASM_INSTANCES_DEFAULT = 1000,
};

struct vx_wasm_settings {
    uint32_t instances;        /* that can be alive at once; address space is reserved for all of them */
    struct vx_slice cache_dir; /* for compiled modules; empty: they are compiled anew at each start */
};

struct vx_wasm_ahead; /* module.c: a module that was compiled before it was asked for */

struct vx_wasm_engine {
    wasm_engine_t *engine;
    char *cache_dir; /* NULL: none */
    int cache_error; /* errno of the last compiled module that could not be kept there; 0: none. As for `ahead` */
    struct vx_wasm_ahead *ahead;
    uint32_t instances;
    pthread_t ticker;
    _Atomic uint64_t tick_ns; /* between two ticks; it only ever gets shorter */
    _Atomic bool ending;
};

/* NULL: no memory, no thread could be started, or there is no address space for so many instances. `settings` is copied. Control thread. */
struct vx_wasm_engine *vx_wasm_engine_new(const struct vx_wasm_settings *settings);

/* Calls that may take `time_ns` are to come: the epoch ticks four times in that, so that they end within half as much again.
 * More often would be of no use, and each tick is a switch away from a worker. Control thread. */
void vx_wasm_engine_expect(struct vx_wasm_engine *e, uint64_t time_ns);

/* A line about what never changes. Any thread. */
void vx_wasm_engine_dump(const struct vx_wasm_engine *e, struct vx_text_sink *sink);

/* Every module is freed before. NULL is allowed. Control thread. */
void vx_wasm_engine_free(struct vx_wasm_engine *e);

#endif
