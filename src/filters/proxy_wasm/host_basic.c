/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions without a subject of their own: log, time, ticks, contexts, foreign functions, properties. */
#include "filters/proxy_wasm/done.h"
#include "filters/proxy_wasm/host.h"
#include "filters/proxy_wasm/hub.h"
#include "filters/proxy_wasm/properties.h"

enum vx_pwasm_status vx_pwasm_host_log(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice text;
    if (a[0] >= VX_PWASM_LEVEL_COUNT)
        return VX_PWASM_BAD_ARGUMENT;
    if (!vx_pwasm_read(vm, a[1], a[2], &text))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    vx_pwasm_vm_log(vm, a[0], text);
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_host_get_log_level(struct vx_pwasm_vm *vm, const uint32_t *a) {
    static const uint32_t theirs[VX_LOG_LEVEL_COUNT] = {VX_PWASM_LEVEL_TRACE, VX_PWASM_LEVEL_INFO,
                                                        VX_PWASM_LEVEL_WARN, VX_PWASM_LEVEL_ERROR};
    const struct vx_log_port *log = vm->plan->hub->log;
    uint32_t level = log ? theirs[log->least] : VX_PWASM_LEVEL_CRITICAL;
    return vx_pwasm_write(vm, a[0], level, 4) ? VX_PWASM_OK : VX_PWASM_INVALID_MEMORY_ACCESS;
}

enum vx_pwasm_status vx_pwasm_host_get_current_time_nanoseconds(struct vx_pwasm_vm *vm, const uint32_t *a) {
    return vx_pwasm_write(vm, a[0], vx_pwasm_vm_wall_ns(vm), 8) ? VX_PWASM_OK
                                                                : VX_PWASM_INVALID_MEMORY_ACCESS;
}

enum vx_pwasm_status vx_pwasm_host_set_tick_period_milliseconds(struct vx_pwasm_vm *vm, const uint32_t *a) {
    vx_pwasm_vm_set_tick(vm, a[0]);
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_host_set_effective_context(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_pwasm_context *c = vx_pwasm_vm_find(vm, a[0]);
    if (!c || !vm->current)
        return VX_PWASM_BAD_ARGUMENT;
    vm->current = c;
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_host_done(struct vx_pwasm_vm *vm, const uint32_t *a) {
    (void)a;
    return vm->current && vx_pwasm_done_say(vm->current) ? VX_PWASM_OK : VX_PWASM_NOT_FOUND;
}

/* There are none, but for the one that 0.2 uses in the place of a host function of 0.1.0. */
enum vx_pwasm_status vx_pwasm_host_call_foreign_function(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice name, arguments;
    if (!vx_pwasm_read(vm, a[0], a[1], &name) || !vx_pwasm_read(vm, a[2], a[3], &arguments))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    if (!vx_slice_eq(name, VX_SLICE("clear_route_cache")))
        return VX_PWASM_NOT_FOUND;
    /* Addresses of 0 say that no result is wanted. */
    if ((a[4] && !vx_pwasm_write(vm, a[4], 0, 4)) || (a[5] && !vx_pwasm_write(vm, a[5], 0, 4)))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    return vx_pwasm_host_clear_route_cache(vm, a);
}

enum vx_pwasm_status vx_pwasm_host_get_property(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice path;
    struct vx_pwasm_property value;
    if (!vx_pwasm_read(vm, a[0], a[1], &path))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    enum vx_pwasm_status status = vx_pwasm_property_find(vm, path, &value);
    if (status != VX_PWASM_OK)
        return status;
    return value.map ? vx_pwasm_give_map(vm, value.map, a[2], a[3])
                     : vx_pwasm_give(vm, value.bytes, a[2], a[3]);
}

enum vx_pwasm_status vx_pwasm_host_set_property(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice path, value;
    if (!vx_pwasm_read(vm, a[0], a[1], &path) || !vx_pwasm_read(vm, a[2], a[3], &value))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    return vx_pwasm_property_set(vm, path, value);
}
