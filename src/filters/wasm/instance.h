/* SPDX-License-Identifier: Apache-2.0 */
/* One sandbox: an instance of a module in a store of its own, with its limits. One thread at a time; it may be opened on
 * one thread and used on another. */
#ifndef VX_FILTERS_WASM_INSTANCE_H
#define VX_FILTERS_WASM_INSTANCE_H

#include "filters/wasm/module.h"

/* How a call into a guest can end, other than well. */
#define VX_WASM_FAULT_LIST(X)                                                                                \
    X(TRAP, "trap")         /* an instruction of the guest's, a host function's refusal, its own abort() */  \
    X(DEADLINE, "deadline") /* it ran longer than it may */                                                  \
    X(STACK, "stack")       /* its calls nested too deep */                                                  \
    X(EXIT, "exit")         /* it ended itself: proc_exit */                                                 \
    X(NO_ROOM, "no_room")   /* not begun: the pool of instances is full */

enum vx_wasm_fault_kind {
#define X(name, word) VX_WASM_##name,
    VX_WASM_FAULT_LIST(X)
#undef X
};

struct vx_wasm_fault {
    enum vx_wasm_fault_kind kind;
    char text[1024]; /* for the log: what happened, then the guest's backtrace; one line, NUL-terminated */
};

/* The stable word of a kind. */
const char *vx_wasm_fault_word(enum vx_wasm_fault_kind kind);

/* Instances that a slim sandbox's store gets before it is thrown away. More would save nothing and keep more of them. */
enum { VX_WASM_SLIM_SERIES = 64 };

struct vx_wasm_instance {
    const struct vx_wasm_engine *engine;
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
    wasmtime_memory_t memory;
    bool has_memory;
    uint32_t room;      /* instances that the store may still get */
    bool overdue;       /* the running call has used half of its time by the wall's clock */
    uint64_t budget_ns; /* of the running call */
    uint64_t cpu_ns;    /* of this thread, when it became overdue */
};

/* Instantiates the module; a `start` function of the guest runs here, for `budget_ns` at most. `host` is what host
 * functions find; memory grows up to `memory_bytes`. The instance does not move until it is closed. False: *fault is
 * filled and nothing is left to close. Any thread. */
bool vx_wasm_instance_open(struct vx_wasm_instance *i, const struct vx_wasm_module *m, void *host,
                           uint64_t memory_bytes, uint64_t budget_ns, struct vx_wasm_fault *fault);

/* The same for a module that defines neither a memory nor a table; for any other it is false. Such an instance takes no
 * place in the pool, only some hundred bytes of the heap, so that several can be made in one store, one after another:
 * Wasmtime frees an instance with its store, and making a store costs more than an instance. */
bool vx_wasm_instance_open_slim(struct vx_wasm_instance *i, const struct vx_wasm_module *m, void *host,
                                uint64_t budget_ns, struct vx_wasm_fault *fault);

/* Another fresh sandbox in the place of one that was opened slim, as long as `room` is not 0. The one before it is not
 * called any more. False: as above. */
bool vx_wasm_instance_renew(struct vx_wasm_instance *i, const struct vx_wasm_module *m, uint64_t budget_ns,
                            struct vx_wasm_fault *fault);

/* Gives the instance's place and memory back. */
void vx_wasm_instance_close(struct vx_wasm_instance *i);

/* What the guest exports as its memory, for host functions that its start function calls: there is no instance yet that it
 * could be looked up in. Takes `found` over. */
void vx_wasm_instance_set_memory(struct vx_wasm_instance *i, wasmtime_extern_t *found);

/* The exported function of this name, whose type the caller knows (vx_wasm_module_exports). Look it up once. */
bool vx_wasm_instance_function(struct vx_wasm_instance *i, struct vx_slice name, wasmtime_func_t *function);

/* Calls the guest: `values` holds the arguments and then the result; `count` is how many there are at most of either.
 * A call that is still running after `budget_ns` is ended. That is measured half by the clock and half in CPU time of
 * the thread, so that a guest does not pay for a machine that had no time for it. 0, for a call from inside a host
 * function: until the deadline of the call that is under way. False: *fault is filled, and the instance must not be
 * called again. */
bool vx_wasm_instance_call(struct vx_wasm_instance *i, const wasmtime_func_t *function,
                           wasmtime_val_raw_t *values, size_t count, uint64_t budget_ns,
                           struct vx_wasm_fault *fault);

/* The `len` bytes at the guest's `address`; NULL: not all of them are in its memory. Good until the guest runs again:
 * its memory does not move, but what lies there is the guest's. */
static inline uint8_t *vx_wasm_instance_bytes(const struct vx_wasm_instance *i, uint32_t address,
                                              uint64_t len) {
    if (!i->has_memory || (uint64_t)address + len > wasmtime_memory_data_size(i->context, &i->memory))
        return NULL;
    return wasmtime_memory_data(i->context, &i->memory) + address;
}

/* What a host function returns to end the guest with proc_exit(code). */
wasm_trap_t *vx_wasm_exit_trap(uint32_t code);

#endif
