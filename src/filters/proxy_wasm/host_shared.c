/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions over what reaches beyond one VM: shared data, queues, metrics. */
#include <stdlib.h>

#include "filters/proxy_wasm/host.h"
#include "filters/proxy_wasm/hub.h"

/* Shared data */

enum vx_pwasm_status vx_pwasm_host_set_shared_data(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice key, value;
    if (!vx_pwasm_read(vm, a[0], a[1], &key) || !vx_pwasm_read(vm, a[2], a[3], &value))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    return vm->plan->scope ? vx_pwasm_shared_set(vm->plan->scope, key, value, a[4]) : VX_PWASM_UNIMPLEMENTED;
}

enum vx_pwasm_status vx_pwasm_host_get_shared_data(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice key;
    struct vx_pwasm_value value;
    if (!vx_pwasm_read(vm, a[0], a[1], &key) || !vx_wasm_instance_bytes(&vm->sandbox, a[4], 4))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    enum vx_pwasm_status status =
        vm->plan->scope ? vx_pwasm_shared_get(vm->plan->scope, key, &value) : VX_PWASM_NOT_FOUND;
    if (status != VX_PWASM_OK)
        return status;
    status = vx_pwasm_give(vm, vx_slice(value.data, value.len), a[2], a[3]);
    free(value.data);
    if (status == VX_PWASM_OK && !vx_pwasm_write(vm, a[4], value.cas, 4))
        status = VX_PWASM_INVALID_MEMORY_ACCESS;
    return status;
}

/* Queues */

enum vx_pwasm_status vx_pwasm_host_register_shared_queue(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice name;
    uint32_t id;
    if (!vx_pwasm_read(vm, a[0], a[1], &name) || !vx_wasm_instance_bytes(&vm->sandbox, a[2], 4))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    struct vx_pwasm_listener listener = {.vm = vm->serial, .worker = vm->worker_index};
    if (!vm->plan->scope || !vx_pwasm_queue_register(vm->plan->scope, name, listener, &id))
        return VX_PWASM_INTERNAL_FAILURE;
    vm->queues++;
    vx_pwasm_write(vm, a[2], id, 4);
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_host_resolve_shared_queue(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice scope, name;
    uint32_t id;
    if (!vx_pwasm_read(vm, a[0], a[1], &scope) || !vx_pwasm_read(vm, a[2], a[3], &name) ||
        !vx_wasm_instance_bytes(&vm->sandbox, a[4], 4))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    if (!scope.len)
        scope = vx_pwasm_plan_vm_id(vm->plan);
    if (!vx_pwasm_queue_find(vm->plan->hub->shared, scope, name, &id))
        return VX_PWASM_NOT_FOUND;
    vx_pwasm_write(vm, a[4], id, 4);
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_host_enqueue_shared_queue(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice item;
    if (!vx_pwasm_read(vm, a[1], a[2], &item))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    return vx_pwasm_hub_enqueue(vm->plan->hub, a[0], item);
}

enum vx_pwasm_status vx_pwasm_host_dequeue_shared_queue(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_pwasm_shared *shared = vm->plan->hub->shared;
    struct vx_pwasm_item *item;
    enum vx_pwasm_status status = vx_pwasm_queue_pop(shared, a[0], &item);
    if (status != VX_PWASM_OK)
        return status;
    status = vx_pwasm_give(vm, vx_slice(item->data, item->len), a[1], a[2]);
    if (status == VX_PWASM_OK)
        free(item);
    else
        vx_pwasm_queue_unpop(shared, a[0],
                             item); /* the guest has no memory, or has died of asking it for some */
    return status;
}

/* Metrics */

enum vx_pwasm_status vx_pwasm_host_define_metric(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice name;
    uint32_t id;
    if (!vx_pwasm_read(vm, a[1], a[2], &name) || !vx_wasm_instance_bytes(&vm->sandbox, a[3], 4))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    enum vx_pwasm_status status = vx_pwasm_series_define(vm->plan->hub->series, a[0], name, &id);
    if (status == VX_PWASM_OK)
        vx_pwasm_write(vm, a[3], id, 4);
    return status;
}

static uint64_t wide(const uint32_t *halves) {
    return halves[0] | (uint64_t)halves[1] << 32;
}

enum vx_pwasm_status vx_pwasm_host_increment_metric(struct vx_pwasm_vm *vm, const uint32_t *a) {
    return vx_pwasm_series_increment(vm->plan->hub->series, a[0], (int64_t)wide(a + 1));
}

enum vx_pwasm_status vx_pwasm_host_record_metric(struct vx_pwasm_vm *vm, const uint32_t *a) {
    return vx_pwasm_series_record(vm->plan->hub->series, a[0], wide(a + 1));
}

enum vx_pwasm_status vx_pwasm_host_get_metric(struct vx_pwasm_vm *vm, const uint32_t *a) {
    uint64_t value;
    enum vx_pwasm_status status = vx_pwasm_series_get(vm->plan->hub->series, a[0], &value);
    if (status == VX_PWASM_OK && !vx_pwasm_write(vm, a[1], value, 8))
        status = VX_PWASM_INVALID_MEMORY_ACCESS;
    return status;
}
