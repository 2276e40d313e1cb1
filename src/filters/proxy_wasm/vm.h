/* SPDX-License-Identifier: Apache-2.0 */
/* A VM: one instance of a plugin on one worker, its root context, and a context for each stream it takes part in. Started
 * on the control thread, then used by its worker only; it is never entered twice. */
#ifndef VX_FILTERS_PROXY_WASM_VM_H
#define VX_FILTERS_PROXY_WASM_VM_H

#include "core/base/list.h"
#include "core/ports/filter.h"
#include "core/ports/log.h"
#include "filters/proxy_wasm/code.h"
#include "filters/proxy_wasm/output.h"
#include "filters/proxy_wasm/series.h"
#include "filters/proxy_wasm/shared.h"
#include "filters/proxy_wasm/turns.h"
#include "filters/wasm/instance.h"

struct vx_pwasm_hub; /* hub.h */
struct vx_pwasm_vm;

/* What all VMs of one plugin have in common. Immutable; outlives them. */
struct vx_pwasm_plan {
    struct vx_pwasm_code code;
    struct vx_slice name, config, vm_config, root_id;
    struct vx_slice vm_id; /* whose data and queues it shares; empty: the name */
    uint64_t memory_bytes, time_ns, start_time_ns, end_time_ns;
    uint32_t body_bytes;
    struct vx_pwasm_hub *hub;
    struct vx_pwasm_scope *scope; /* of its shared data and queues; NULL: it has none (`execute`) */
};

#define VX_PWASM_CONTEXT_PHASES(X)                                                                           \
    X(LIVE)                                                                                                  \
    X(WAITS) /* the guest has been told that it is done, and has asked for time */                           \
    X(DONE)  /* and has said proxy_done, or has not asked */                                                 \
    X(GONE)  /* and has been told that it is deleted */

enum vx_pwasm_context_phase {
#define X(name) VX_PWASM_CONTEXT_##name,
    VX_PWASM_CONTEXT_PHASES(X)
#undef X
};

struct vx_pwasm_context {
    struct vx_list link;           /* in the VM's list of open streams, or of those that wait */
    struct vx_pwasm_context *next; /* in the VM's table by id, or in its list of free ones */
    struct vx_pwasm_vm *vm;
    struct vx_filter_stream *stream; /* NULL: the root context, or one whose stream has gone */
    uint32_t id;
    enum vx_pwasm_context_phase phase;
    uint64_t end_ns; /* when it has waited long enough */
};

/* What a guest can read only while it is told of an answer to a call of its own. */
struct vx_pwasm_arrival {
    struct vx_field_map *maps[VX_PWASM_MAP_COUNT]; /* NULL: not there now */
    struct vx_slice body, message;                 /* ptr NULL: not there now */
};

enum { VX_PWASM_ROOT_ID = 1, VX_PWASM_TABLE_SIZE = 1024, VX_PWASM_LOG_TEXT_MAX = 1800 };

struct vx_pwasm_vm {
    struct vx_wasm_instance sandbox;
    const struct vx_pwasm_plan *plan;
    const struct vx_filter_worker *worker; /* NULL: none, as where a configuration is only checked */
    uint32_t worker_index;
    /* Whose routes and backends its calls may go to, while it takes part; its owner keeps it. */
    struct vx_snapshot *home;
    uint64_t serial; /* no other VM of the process has it */
    wasmtime_func_t functions[VX_PWASM_EXPORT_COUNT];
    wasmtime_func_t allocator;
    struct vx_pwasm_context root;
    struct vx_pwasm_context *current; /* whom host calls act on; NULL: no callback is running */
    struct vx_pwasm_context *free;
    struct vx_list streams; /* contexts whose streams are open */
    struct vx_list waiting; /* contexts whose streams have gone, see done.h */
    uint32_t waiting_count;
    struct vx_pwasm_context *table[VX_PWASM_TABLE_SIZE];
    struct vx_pwasm_arrival arrival;
    struct vx_list link;                      /* in the worker's list of the hub while the VM takes part */
    struct vx_timer tick;                     /* armed while it takes part and has a period */
    struct vx_timer end_timer;                /* for contexts that wait */
    struct vx_pwasm_turn tick_turn, end_turn; /* what the two lead to */
    struct vx_list calls;                     /* struct vx_pwasm_call, under way */
    uint64_t now_ns;                          /* of the running callback */
    uint64_t log_refill_ns;                   /* when lines for the log were last granted */
    uint32_t log_tokens, log_held_back;
    struct vx_pwasm_output output;
    uint32_t last_id; /* of a context */
    uint32_t last_call_id;
    uint32_t tick_ms;     /* 0: none */
    uint32_t queues;      /* that it is told of */
    uint32_t grpc_status; /* of the stream that closed last, with its message */
    char grpc_message[256];
    uint32_t grpc_message_len;
    bool configuring;  /* inside proxy_on_configure */
    bool logging;      /* inside proxy_on_log */
    bool taking_part;  /* its worker has entered */
    bool dead;         /* it has trapped: it is never called again */
    bool nested_fault; /* the allocator failed inside a host call, which must not return to the guest */
    struct vx_wasm_fault fault; /* why it is dead */
    /* Told once when it dies, by the call that killed it, which then returns false. NULL: nobody. */
    void (*died)(struct vx_pwasm_vm *vm, uint64_t now_ns);
    /* Told once when it need not wait any longer (vx_pwasm_done_root); the VM may be gone afterwards. */
    void (*through)(struct vx_pwasm_vm *vm, uint64_t now_ns);
    void *owner;
};

static inline struct vx_slice vx_pwasm_plan_vm_id(const struct vx_pwasm_plan *plan) {
    return plan->vm_id.len ? plan->vm_id : plan->name;
}

/* Instantiates and starts: initialisation, root context, vm_start, configure. NULL with *why. Control thread; takes up to
 * a few times plan->start_time_ns. */
struct vx_pwasm_vm *vx_pwasm_vm_start(const struct vx_pwasm_plan *plan, const struct vx_filter_worker *worker,
                                      uint32_t worker_index, struct vx_wasm_text *why);

/* For guests that are no plugins and use the host functions all the same (`execute`): makes `vm`, memory of the caller's,
 * fit to be the `host` of instances that the caller opens in vm->sandbox, one after the other. Host calls act on
 * vm->root.stream, which the caller sets. The plan needs no code but `version` and `allocator`. */
void vx_pwasm_vm_lend(struct vx_pwasm_vm *vm, const struct vx_pwasm_plan *plan,
                      const struct vx_filter_worker *worker, uint32_t worker_index);

/* Ends the contexts that are left with the calls due to them (unless the VM is dead) and gives everything back; no stream is open and
 * the VM takes no part. The worker's thread, or the control thread's where the worker knows nothing of it. */
void vx_pwasm_vm_end(struct vx_pwasm_vm *vm);

/* Gives a dead VM's memory back at once; the contexts of streams that are open stay until these close. */
void vx_pwasm_vm_bury(struct vx_pwasm_vm *vm);

/* Calls an export that is there, for `context`: `values` are the arguments and then the result. False: the VM is dead or
 * has died of it. */
bool vx_pwasm_vm_call(struct vx_pwasm_vm *vm, enum vx_pwasm_export e, struct vx_pwasm_context *context,
                      wasmtime_val_raw_t *values, size_t count, uint64_t now_ns);

static inline bool vx_pwasm_vm_has(const struct vx_pwasm_vm *vm, enum vx_pwasm_export e) {
    return vx_pwasm_code_has(&vm->plan->code, e);
}

/* A context for a stream, known to the guest. NULL: no memory, or the VM is dead or has died of it. */
struct vx_pwasm_context *vx_pwasm_context_open(struct vx_pwasm_vm *vm, struct vx_filter_stream *stream,
                                               uint64_t now_ns);

/* Its stream has gone: ends it, with the calls due to it; it may wait a while for that (done.h). */
void vx_pwasm_context_close(struct vx_pwasm_context *c, uint64_t now_ns);

/* The guest knows it no longer, and it is in no list. */
void vx_pwasm_context_forget(struct vx_pwasm_context *c);

/* The context with this id, NULL: none. */
struct vx_pwasm_context *vx_pwasm_vm_find(struct vx_pwasm_vm *vm, uint32_t id);

/* Whether anything may yet call the guest that could resume a paused stream. */
bool vx_pwasm_vm_may_resume(const struct vx_pwasm_vm *vm);

/* Its answer may have turned to no: the streams that wait are looked at again. */
void vx_pwasm_vm_review(struct vx_pwasm_vm *vm);

/* `n` bytes of the guest's memory from its own allocator, in the course of a host call. NULL: it gives none. */
uint8_t *vx_pwasm_vm_allocate(struct vx_pwasm_vm *vm, uint32_t n, uint32_t *address);

/* A line of the guest's for the log; `level` is the ABI's. Lines beyond a rate are counted instead. */
void vx_pwasm_vm_log(struct vx_pwasm_vm *vm, uint32_t level, struct vx_slice text);

/* The time of day, in ns since 1970. */
uint64_t vx_pwasm_vm_wall_ns(const struct vx_pwasm_vm *vm);

/* Sets the period of ticks, 0: none. */
void vx_pwasm_vm_set_tick(struct vx_pwasm_vm *vm, uint32_t period_ms);

#endif
