/* SPDX-License-Identifier: Apache-2.0 */
/* See host.h: how the guest gets to the functions, and how bytes get to the guest. */
#include "filters/proxy_wasm/host.h"

#include "filters/proxy_wasm/wasi.h"

struct function {
    enum vx_pwasm_status (*run)(struct vx_pwasm_vm *vm, const uint32_t *a);
    uint32_t arguments;
};

/* While the guest's start function runs, the instance that the memory is looked up in is not there yet. */
static void find_memory(struct vx_pwasm_vm *vm, wasmtime_caller_t *caller) {
    wasmtime_extern_t found;
    if (wasmtime_caller_export_get(caller, "memory", 6, &found))
        vx_wasm_instance_set_memory(&vm->sandbox, &found);
}

struct vx_pwasm_vm *vx_pwasm_caller(wasmtime_caller_t *caller) {
    struct vx_pwasm_vm *vm = wasmtime_context_get_data(wasmtime_caller_context(caller));
    if (VX_UNLIKELY(!vm->sandbox.has_memory))
        find_memory(vm, caller);
    return vm;
}

/* Its own allocator has failed under a host call: the guest does not get back from that. */
static wasm_trap_t *fail_nested(struct vx_pwasm_vm *vm) {
    return wasmtime_trap_new(vm->fault.text, strlen(vm->fault.text));
}

static wasm_trap_t *call(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)n;
    const struct function *f = env;
    struct vx_pwasm_vm *vm = vx_pwasm_caller(caller);
    uint32_t a[VX_PWASM_ARGUMENTS_MAX];
    for (uint32_t i = 0; i < f->arguments; i++)
        a[i] = (uint32_t)v[i].i32;
    v[0].i64 = (int64_t)f->run(vm, a);
    return VX_UNLIKELY(vm->nested_fault) ? fail_nested(vm) : NULL;
}

/* The two that take an i64 get its halves as their second and third argument. */
static wasm_trap_t *call_i64(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)n;
    const struct function *f = env;
    uint64_t wide = (uint64_t)v[1].i64;
    const uint32_t a[3] = {(uint32_t)v[0].i32, (uint32_t)wide, (uint32_t)(wide >> 32)};
    v[0].i64 = (int64_t)f->run(vx_pwasm_caller(caller), a);
    return NULL;
}

#define X(name, type)                                                                                        \
    static const struct function name##_function = {vx_pwasm_host_##name, sizeof(type) - sizeof ":i"};
VX_PWASM_FUNCTION_LIST(X)
#undef X

static wasm_trap_t *do_nothing(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)caller;
    (void)v;
    (void)n;
    return NULL;
}

static wasm_trap_t *compare(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)caller;
    (void)n;
    v[0].i64 = v[0].i32 == v[1].i32;
    return NULL;
}

static const struct vx_wasm_import rows[] = {
#define X(name, type) {"env", "proxy_" #name, type, (type)[1] == 'I' ? call_i64 : call, &name##_function},
    VX_PWASM_FUNCTION_LIST(X)
#undef X
#define X(name, type, function, answer)                                                                      \
    {"wasi_snapshot_preview1", #name, type, function, answer},                                               \
        {"wasi_unstable", #name, type, function, answer},
        VX_WASI_FUNCTION_LIST(X)
#undef X
    /* What emscripten's output wants beside. */
    {"env", "emscripten_notify_memory_growth", "i:", do_nothing, NULL},
    {"env", "pthread_equal", "ii:i", compare, NULL},
};

const struct vx_wasm_imports *vx_pwasm_imports(void) {
    static const struct vx_wasm_imports imports = {rows, sizeof rows / sizeof rows[0]};
    return &imports;
}

enum vx_pwasm_status vx_pwasm_reserve(struct vx_pwasm_vm *vm, size_t n, uint32_t address_at, uint32_t size_at,
                                      uint8_t **out) {
    *out = NULL;
    uint32_t address = 0;
    /* Where it is announced is checked first, so that nothing is taken in vain; once the guest has run, again. */
    if (n > UINT32_MAX || !vx_wasm_instance_bytes(&vm->sandbox, address_at, 4) ||
        !vx_wasm_instance_bytes(&vm->sandbox, size_at, 4))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    if (n) {
        *out = vx_pwasm_vm_allocate(vm, (uint32_t)n, &address);
        if (!*out)
            return VX_PWASM_INVALID_MEMORY_ACCESS;
    }
    return vx_pwasm_write(vm, address_at, address, 4) && vx_pwasm_write(vm, size_at, n, 4)
               ? VX_PWASM_OK
               : VX_PWASM_INVALID_MEMORY_ACCESS;
}

enum vx_pwasm_status vx_pwasm_give(struct vx_pwasm_vm *vm, struct vx_slice bytes, uint32_t address_at,
                                   uint32_t size_at) {
    uint8_t *p;
    enum vx_pwasm_status status = vx_pwasm_reserve(vm, bytes.len, address_at, size_at, &p);
    if (p && status == VX_PWASM_OK)
        memcpy(p, bytes.ptr, bytes.len);
    return status;
}
