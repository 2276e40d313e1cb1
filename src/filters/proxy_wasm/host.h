/* SPDX-License-Identifier: Apache-2.0 */
/* The host functions: what guests may import from `env` (Proxy-WASM) and WASI. Each gets the VM that calls and the
 * guest's arguments, trusts none of them, and returns a status. host_*.c has them by subject. */
#ifndef VX_FILTERS_PROXY_WASM_HOST_H
#define VX_FILTERS_PROXY_WASM_HOST_H

#include "filters/proxy_wasm/vm.h"

/* Name without its prefix, type. All of them are there for modules of every version. */
#define VX_PWASM_FUNCTION_LIST(X)                                                                            \
    /* host_basic.c */                                                                                       \
    X(log, "iii:i")                                                                                          \
    X(get_log_level, "i:i")                                                                                  \
    X(get_current_time_nanoseconds, "i:i")                                                                   \
    X(set_tick_period_milliseconds, "i:i")                                                                   \
    X(set_effective_context, "i:i")                                                                          \
    X(done, ":i")                                                                                            \
    X(call_foreign_function, "iiiiii:i")                                                                     \
    X(get_property, "iiii:i")                                                                                \
    X(set_property, "iiii:i")                                                                                \
    /* host_fields.c */                                                                                      \
    X(get_header_map_pairs, "iii:i")                                                                         \
    X(set_header_map_pairs, "iii:i")                                                                         \
    X(get_header_map_value, "iiiii:i")                                                                       \
    X(add_header_map_value, "iiiii:i")                                                                       \
    X(replace_header_map_value, "iiiii:i")                                                                   \
    X(remove_header_map_value, "iii:i")                                                                      \
    X(get_header_map_size, "ii:i")                                                                           \
    /* host_stream.c */                                                                                      \
    X(get_configuration, "ii:i")                                                                             \
    X(get_buffer_bytes, "iiiii:i")                                                                           \
    X(get_buffer_status, "iii:i")                                                                            \
    X(set_buffer_bytes, "iiiii:i")                                                                           \
    X(continue_stream, "i:i")                                                                                \
    X(close_stream, "i:i")                                                                                   \
    X(continue_request, ":i")                                                                                \
    X(continue_response, ":i")                                                                               \
    X(clear_route_cache, ":i")                                                                               \
    X(send_local_response, "iiiiiiii:i")                                                                     \
    /* host_shared.c */                                                                                      \
    X(set_shared_data, "iiiii:i")                                                                            \
    X(get_shared_data, "iiiii:i")                                                                            \
    X(register_shared_queue, "iii:i")                                                                        \
    X(resolve_shared_queue, "iiiii:i")                                                                       \
    X(enqueue_shared_queue, "iii:i")                                                                         \
    X(dequeue_shared_queue, "iii:i")                                                                         \
    X(define_metric, "iiii:i")                                                                               \
    X(increment_metric, "iI:i")                                                                              \
    X(record_metric, "iI:i")                                                                                 \
    X(get_metric, "ii:i")                                                                                    \
    /* host_calls.c */                                                                                       \
    X(http_call, "iiiiiiiiii:i")                                                                             \
    X(grpc_call, "iiiiiiiiiiii:i")                                                                           \
    X(grpc_stream, "iiiiiiiii:i")                                                                            \
    X(grpc_send, "iiii:i")                                                                                   \
    X(grpc_cancel, "i:i")                                                                                    \
    X(grpc_close, "i:i")                                                                                     \
    X(get_status, "iii:i")

#define X(name, type) enum vx_pwasm_status vx_pwasm_host_##name(struct vx_pwasm_vm *vm, const uint32_t *a);
VX_PWASM_FUNCTION_LIST(X)
#undef X

enum { VX_PWASM_ARGUMENTS_MAX = 12 };

/* All that a module may import; vx_wasm_instance_open()'s `host` is then a struct vx_pwasm_vm. */
const struct vx_wasm_imports *vx_pwasm_imports(void);

/* Memory of the guest */

/* The bytes that an argument pair names; false: not all of them are in its memory. */
static inline bool vx_pwasm_read(const struct vx_pwasm_vm *vm, uint32_t address, uint32_t len,
                                 struct vx_slice *out) {
    const uint8_t *p = vx_wasm_instance_bytes(&vm->sandbox, address, len);
    *out = vx_slice((const char *)p, len);
    return p != NULL;
}

/* Writes the low `bytes` (4 or 8) of `n`, little-endian as the machines we run on. */
static inline bool vx_pwasm_write(const struct vx_pwasm_vm *vm, uint32_t address, uint64_t n,
                                  uint32_t bytes) {
    uint8_t *p = vx_wasm_instance_bytes(&vm->sandbox, address, bytes);
    if (p)
        memcpy(p, &n, bytes);
    return p != NULL;
}

/* Memory for a value of `n` bytes that goes to the guest, announced at the two addresses. `*out` is NULL for the empty
 * value, which has address 0 and takes no memory. */
enum vx_pwasm_status vx_pwasm_reserve(struct vx_pwasm_vm *vm, size_t n, uint32_t address_at, uint32_t size_at,
                                      uint8_t **out);

/* A copy of `bytes` for the guest. */
enum vx_pwasm_status vx_pwasm_give(struct vx_pwasm_vm *vm, struct vx_slice bytes, uint32_t address_at,
                                   uint32_t size_at);

/* The map as a list of pairs, its names in lower case; NULL is the empty one. */
enum vx_pwasm_status vx_pwasm_give_map(struct vx_pwasm_vm *vm, struct vx_field_map *map, uint32_t address_at,
                                       uint32_t size_at);

/* The stream that a host call acts on, NULL: it is in the root context, or none. */
static inline struct vx_filter_stream *vx_pwasm_stream(const struct vx_pwasm_vm *vm) {
    return vm->current ? vm->current->stream : NULL;
}

#endif
