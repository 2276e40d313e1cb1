/* SPDX-License-Identifier: Apache-2.0 */
/* A compiled module, linked with the host functions it may import: ready to be instantiated on any thread. */
#ifndef VX_FILTERS_WASM_MODULE_H
#define VX_FILTERS_WASM_MODULE_H

#include "filters/wasm/engine.h"

/* A type of a function in short: parameters, a colon, results; `i` is i32, `I` is i64. "iI:i", ":". */
enum { VX_WASM_TYPE_MAX = 24 };

/* A function that guests may import. It gets its arguments in `values` and leaves its result in values[0]; what is
 * returned is a trap, or NULL. `data` is that of the row. wasmtime_context_get_data() of the caller's context is the
 * `host` of vx_wasm_instance_open(). */
struct vx_wasm_import {
    const char *module, *name, *type;
    wasmtime_func_unchecked_callback_t call;
    const void *data;
};

struct vx_wasm_imports {
    const struct vx_wasm_import *rows;
    size_t count;
};

/* A message for a person, NUL-terminated. */
struct vx_wasm_text {
    char text[448];
};

struct vx_wasm_module {
    struct vx_wasm_engine *engine;
    wasmtime_module_t *module;
    wasmtime_instance_pre_t *linked;
    bool cached;     /* its compiled form came from disk */
    bool has_memory; /* that the host can reach: an export called `memory` */
};

/* Compiles `binary`, or takes its compiled form from the cache, and links it. An import that is none of `imports` is an
 * error that names it. False: *why says what is wrong. Control thread: it may take seconds. */
bool vx_wasm_module_load(struct vx_wasm_module *m, struct vx_wasm_engine *engine, struct vx_slice binary,
                         const struct vx_wasm_imports *imports, struct vx_wasm_text *why);

/* Compiles `binary`, or takes it from the cache, for each vx_wasm_module_load() of it to come; not while one runs. Any
 * thread. */
void vx_wasm_module_compile(struct vx_wasm_engine *engine, struct vx_slice binary);
/* Forgets what was compiled so; who has loaded it keeps it. Control thread. */
void vx_wasm_module_forget(struct vx_wasm_engine *engine);

/* Every instance is closed before. */
void vx_wasm_module_unload(struct vx_wasm_module *m);

/* Whether there is an exported function of this name; its type is then at `type` (empty: one that has no short form). */
bool vx_wasm_module_exports(const struct vx_wasm_module *m, struct vx_slice name,
                            char type[VX_WASM_TYPE_MAX]);

/* Whether the module imports the function. */
bool vx_wasm_module_wants(const struct vx_wasm_module *m, struct vx_slice module, struct vx_slice name);

#endif
