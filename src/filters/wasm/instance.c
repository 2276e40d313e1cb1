/* SPDX-License-Identifier: Apache-2.0 */
/* See instance.h. */
#include "filters/wasm/instance.h"

#include <stdio.h>
#include <string.h>

#include "filters/clock.h"

static const char deadline_text[] = "deadline exceeded";
static const char exit_text[] = "proc_exit(";

/* Wasmtime is not instrumented. TSan sees how it clears a place of the pool, each word of it, but not the locks between one
 * user of a place and the next: the same words on another thread would be a race each, and to look at them all takes seconds.
 * So it is told that the users of one memory come one after another, and looks away while Wasmtime clears it. */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>

void __tsan_ignore_thread_begin(void);
void __tsan_ignore_thread_end(void);

static void tell_of_taking(const struct vx_wasm_instance *i) {
    __tsan_acquire(wasmtime_memory_data(i->context, &i->memory));
}

static void delete_store(const struct vx_wasm_instance *i) {
    if (i->has_memory)
        __tsan_release(wasmtime_memory_data(i->context, &i->memory));
    __tsan_ignore_thread_begin();
    wasmtime_store_delete(i->store);
    __tsan_ignore_thread_end();
}
#else
static void tell_of_taking(const struct vx_wasm_instance *i) {
    (void)i;
}

static void delete_store(const struct vx_wasm_instance *i) {
    wasmtime_store_delete(i->store);
}
#endif

const char *vx_wasm_fault_word(enum vx_wasm_fault_kind kind) {
    static const char *const words[] = {
#define X(name, word) word,
        VX_WASM_FAULT_LIST(X)
#undef X
    };
    return words[kind];
}

/* Faults */

/* Appends a part of the message on one line: runs of white space, line ends among them, become one blank. */
static void put_text(struct vx_wasm_fault *fault, struct vx_slice part) {
    size_t n = strlen(fault->text);
    for (size_t i = 0; i < part.len && n + 1 < sizeof fault->text; i++) {
        char c = (unsigned char)part.ptr[i] <= ' ' ? ' ' : part.ptr[i];
        if (c != ' ' || (n && fault->text[n - 1] != ' '))
            fault->text[n++] = c;
    }
    fault->text[n] = '\0';
}

static void trim(struct vx_wasm_fault *fault) {
    size_t n = strlen(fault->text);
    while (n && fault->text[n - 1] == ' ')
        n--;
    fault->text[n] = '\0';
}

static bool contains(struct vx_slice s, const char *what) {
    return s.len && memmem(s.ptr, s.len, what, strlen(what));
}

static enum vx_wasm_fault_kind kind_of(const wasm_trap_t *trap, struct vx_slice message) {
    wasmtime_trap_code_t code;
    if (trap && wasmtime_trap_code(trap, &code)) {
        if (code == WASMTIME_TRAP_CODE_STACK_OVERFLOW)
            return VX_WASM_STACK;
        return code == WASMTIME_TRAP_CODE_INTERRUPT ? VX_WASM_DEADLINE : VX_WASM_TRAP;
    }
    if (contains(message, deadline_text))
        return VX_WASM_DEADLINE;
    if (contains(message, exit_text))
        return VX_WASM_EXIT;
    return contains(message, "limit of") ? VX_WASM_NO_ROOM : VX_WASM_TRAP;
}

/* The cause, which the engine tells last, then what it tells before: the backtrace, which may be cut. */
static void put_message(struct vx_wasm_fault *fault, struct vx_slice message) {
    static const char mark[] = "Caused by:";
    const char *cause = message.len ? memmem(message.ptr, message.len, mark, sizeof mark - 1) : NULL;
    size_t before = cause ? (size_t)(cause - message.ptr) : message.len;
    fault->text[0] = '\0';
    if (cause) {
        put_text(fault, vx_slice_skip(message, before + sizeof mark - 1));
        trim(fault);
        put_text(fault, VX_SLICE("; "));
    }
    put_text(fault, vx_slice(message.ptr, before));
    trim(fault);
}

/* Takes both over. What ends a guest is a trap, or an error where a host function has ended it. */
static bool describe(wasmtime_error_t *error, wasm_trap_t *trap, struct vx_wasm_fault *fault) {
    wasm_name_t bytes;
    if (error)
        wasmtime_error_message(error, &bytes);
    else
        wasm_trap_message(trap, &bytes);
    struct vx_slice message = vx_slice(bytes.data, bytes.size);
    fault->kind = kind_of(trap, message);
    put_message(fault, message);
    wasm_byte_vec_delete(&bytes);
    if (error)
        wasmtime_error_delete(error);
    if (trap)
        wasm_trap_delete(trap);
    return false;
}

wasm_trap_t *vx_wasm_exit_trap(uint32_t code) {
    char text[48];
    int n = snprintf(text, sizeof text, "%s%u)", exit_text, code);
    return wasmtime_trap_new(text, (size_t)n);
}

/* Deadlines */

/* How many ticks take at least that long: the first one may come at once. */
static uint64_t ticks(const struct vx_wasm_instance *i, uint64_t ns) {
    uint64_t tick_ns = atomic_load_explicit(&i->engine->tick_ns, memory_order_relaxed);
    return (ns + tick_ns - 1) / tick_ns + 1;
}

/* The deadline that was set has come. */
static wasmtime_error_t *on_deadline(wasmtime_context_t *context, void *data, uint64_t *delta,
                                     wasmtime_update_deadline_kind_t *update) {
    (void)context;
    struct vx_wasm_instance *i = data;
    uint64_t now_ns = vx_clock_ns(CLOCK_THREAD_CPUTIME_ID), rest_ns = i->budget_ns - i->budget_ns / 2;
    if (!i->overdue) {
        i->overdue = true;
        i->cpu_ns = now_ns;
    }
    uint64_t used_ns = now_ns - i->cpu_ns;
    if (used_ns >= rest_ns)
        return wasmtime_error_new(deadline_text);
    *delta = ticks(i, rest_ns - used_ns);
    *update = WASMTIME_UPDATE_DEADLINE_CONTINUE;
    return NULL;
}

static void set_deadline(struct vx_wasm_instance *i, uint64_t budget_ns) {
    i->overdue = false;
    i->budget_ns = budget_ns;
    wasmtime_context_set_epoch_deadline(i->context, ticks(i, budget_ns / 2));
}

/* Life */

void vx_wasm_instance_set_memory(struct vx_wasm_instance *i, wasmtime_extern_t *found) {
    i->has_memory = found->kind == WASMTIME_EXTERN_MEMORY;
    if (!i->has_memory) {
        wasmtime_extern_delete(found);
        return;
    }
    i->memory = found->of.memory;
    tell_of_taking(i);
}

static void find_memory(struct vx_wasm_instance *i) {
    wasmtime_extern_t found;
    i->has_memory = false;
    if (wasmtime_instance_export_get(i->context, &i->instance, "memory", 6, &found))
        vx_wasm_instance_set_memory(i, &found);
}

/* A store for so many instances, one after another, each of which may have so many memories and tables. */
static void open_store(struct vx_wasm_instance *i, const struct vx_wasm_module *m, void *host,
                       uint64_t memory_bytes, uint32_t instances, uint32_t slots) {
    *i = (struct vx_wasm_instance){.engine = m->engine, .room = instances};
    i->store = wasmtime_store_new(m->engine->engine, host, NULL);
    i->context = wasmtime_store_context(i->store);
    wasmtime_store_limiter(i->store, (int64_t)memory_bytes, VX_WASM_TABLE_ELEMENTS, instances, slots, slots);
    wasmtime_store_epoch_deadline_callback(i->store, on_deadline, i, NULL);
}

static bool instantiate(struct vx_wasm_instance *i, const struct vx_wasm_module *m, uint64_t budget_ns,
                        struct vx_wasm_fault *fault) {
    VX_ASSERT(i->room);
    i->room--;
    set_deadline(i, budget_ns);
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = wasmtime_instance_pre_instantiate(m->linked, i->context, &i->instance, &trap);
    if (VX_UNLIKELY(error || trap)) {
        describe(error, trap, fault);
        vx_wasm_instance_close(i);
        return false;
    }
    return true;
}

bool vx_wasm_instance_open(struct vx_wasm_instance *i, const struct vx_wasm_module *m, void *host,
                           uint64_t memory_bytes, uint64_t budget_ns, struct vx_wasm_fault *fault) {
    open_store(i, m, host, memory_bytes, 1, 1);
    if (!instantiate(i, m, budget_ns, fault))
        return false;
    if (m->has_memory)
        find_memory(i);
    return true;
}

bool vx_wasm_instance_open_slim(struct vx_wasm_instance *i, const struct vx_wasm_module *m, void *host,
                                uint64_t budget_ns, struct vx_wasm_fault *fault) {
    open_store(i, m, host, 0, VX_WASM_SLIM_SERIES, 0);
    return instantiate(i, m, budget_ns, fault);
}

bool vx_wasm_instance_renew(struct vx_wasm_instance *i, const struct vx_wasm_module *m, uint64_t budget_ns,
                            struct vx_wasm_fault *fault) {
    return instantiate(i, m, budget_ns, fault);
}

void vx_wasm_instance_close(struct vx_wasm_instance *i) {
    if (i->store)
        delete_store(i);
    *i = (struct vx_wasm_instance){0};
}

bool vx_wasm_instance_function(struct vx_wasm_instance *i, struct vx_slice name, wasmtime_func_t *function) {
    wasmtime_extern_t found;
    if (!wasmtime_instance_export_get(i->context, &i->instance, name.ptr, name.len, &found))
        return false;
    bool is_function = found.kind == WASMTIME_EXTERN_FUNC;
    if (is_function)
        *function = found.of.func;
    wasmtime_extern_delete(&found);
    return is_function;
}

bool vx_wasm_instance_call(struct vx_wasm_instance *i, const wasmtime_func_t *function,
                           wasmtime_val_raw_t *values, size_t count, uint64_t budget_ns,
                           struct vx_wasm_fault *fault) {
    if (budget_ns)
        set_deadline(i, budget_ns);
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = wasmtime_func_call_unchecked(i->context, function, values, count, &trap);
    if (VX_LIKELY(!error && !trap))
        return true;
    return describe(error, trap, fault);
}
