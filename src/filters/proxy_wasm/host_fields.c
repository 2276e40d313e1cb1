/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions over maps of header and trailer fields: those of the stream, and those of answers to the guest's own
 * calls. A field that HTTP cannot carry is refused with BAD_ARGUMENT, which ends most guests: what they meant to set may
 * stand for a decision, so going on without it would be worse. */
#include "filters/proxy_wasm/host.h"
#include "filters/proxy_wasm/pairs.h"

static struct vx_field_map *map_of(const struct vx_pwasm_vm *vm, uint32_t type, bool *writable) {
    *writable = false;
    if (type >= VX_PWASM_GRPC_INITIAL_METADATA)
        return type < VX_PWASM_MAP_COUNT ? vm->arrival.maps[type] : NULL;
    struct vx_filter_stream *stream = vx_pwasm_stream(vm);
    return stream ? vx_filter_map(stream, (enum vx_filter_map)type, writable) : NULL;
}

static struct vx_field_map *writable_map(const struct vx_pwasm_vm *vm, uint32_t type) {
    bool writable;
    struct vx_field_map *map = map_of(vm, type, &writable);
    return writable ? map : NULL;
}

static enum vx_pwasm_status status_of(enum vx_field_result result) {
    return result == VX_FIELD_DONE  ? VX_PWASM_OK
           : result == VX_FIELD_BAD ? VX_PWASM_BAD_ARGUMENT
                                    : VX_PWASM_INTERNAL_FAILURE;
}

/* How many pairs, and the size of their list. */
static size_t measure(struct vx_field_map *map, uint32_t *count) {
    struct vx_field field;
    size_t bytes = 0;
    *count = 0;
    for (uint32_t at = 0; vx_field_map_next(map, &at, &field); ++*count)
        bytes += field.name.len + field.value.len;
    return vx_pwasm_pairs_bytes(*count, bytes);
}

enum vx_pwasm_status vx_pwasm_give_map(struct vx_pwasm_vm *vm, struct vx_field_map *map, uint32_t address_at,
                                       uint32_t size_at) {
    uint32_t count = 0;
    size_t bytes = map ? measure(map, &count) : 0;
    uint8_t *out;
    enum vx_pwasm_status status = vx_pwasm_reserve(vm, bytes, address_at, size_at, &out);
    if (status != VX_PWASM_OK || !out)
        return status;
    struct vx_pwasm_pairs pairs = vx_pwasm_pairs_begin(out, count, bytes);
    struct vx_field field;
    bool fits = true;
    for (uint32_t at = 0; fits && vx_field_map_next(map, &at, &field);)
        fits = vx_pwasm_pairs_put(&pairs, field.name, field.value, true);
    /* The guest's allocator has run, and may have edited what was measured. */
    return fits && vx_pwasm_pairs_full(&pairs) ? VX_PWASM_OK : VX_PWASM_INTERNAL_FAILURE;
}

enum vx_pwasm_status vx_pwasm_host_get_header_map_pairs(struct vx_pwasm_vm *vm, const uint32_t *a) {
    bool writable;
    if (a[0] >= VX_PWASM_MAP_COUNT)
        return VX_PWASM_BAD_ARGUMENT;
    return vx_pwasm_give_map(vm, map_of(vm, a[0], &writable), a[1], a[2]);
}

enum vx_pwasm_status vx_pwasm_host_set_header_map_pairs(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_field fields[VX_FIELD_MAP_PAIRS_MAX];
    struct vx_slice bytes;
    uint32_t count;
    struct vx_field_map *map = writable_map(vm, a[0]);
    if (!vx_pwasm_read(vm, a[1], a[2], &bytes))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    if (!map || !vx_pwasm_pairs_read(bytes, fields, &count))
        return VX_PWASM_BAD_ARGUMENT;
    return status_of(vx_field_map_assign(map, fields, count));
}

enum vx_pwasm_status vx_pwasm_host_get_header_map_value(struct vx_pwasm_vm *vm, const uint32_t *a) {
    bool writable;
    struct vx_slice name, value = VX_SLICE_NONE;
    struct vx_field_map *map = map_of(vm, a[0], &writable);
    if (!vx_pwasm_read(vm, a[1], a[2], &name))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    /* What has not come to be is no mistake of who logs it. */
    if (!map && !(vm->logging && a[0] < VX_PWASM_MAP_COUNT))
        return VX_PWASM_BAD_ARGUMENT;
    bool found = map && vx_field_map_find(map, name, &value);
    if (!found && vm->plan->code.version != VX_PWASM_0_1_0)
        return VX_PWASM_NOT_FOUND;
    return vx_pwasm_give(vm, value, a[3], a[4]);
}

/* The map, name and value of an edit. */
static enum vx_pwasm_status read_edit(const struct vx_pwasm_vm *vm, const uint32_t *a,
                                      struct vx_field_map **map, struct vx_field *field) {
    if (!vx_pwasm_read(vm, a[1], a[2], &field->name) || !vx_pwasm_read(vm, a[3], a[4], &field->value))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    *map = writable_map(vm, a[0]);
    return *map ? VX_PWASM_OK : VX_PWASM_BAD_ARGUMENT;
}

enum vx_pwasm_status vx_pwasm_host_add_header_map_value(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_field_map *map;
    struct vx_field field;
    enum vx_pwasm_status status = read_edit(vm, a, &map, &field);
    return status == VX_PWASM_OK ? status_of(vx_field_map_add(map, field.name, field.value)) : status;
}

enum vx_pwasm_status vx_pwasm_host_replace_header_map_value(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_field_map *map;
    struct vx_field field;
    enum vx_pwasm_status status = read_edit(vm, a, &map, &field);
    return status == VX_PWASM_OK ? status_of(vx_field_map_replace(map, field.name, field.value)) : status;
}

enum vx_pwasm_status vx_pwasm_host_remove_header_map_value(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice name;
    if (!vx_pwasm_read(vm, a[1], a[2], &name))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    struct vx_field_map *map = writable_map(vm, a[0]);
    return map ? status_of(vx_field_map_remove(map, name)) : VX_PWASM_BAD_ARGUMENT;
}

enum vx_pwasm_status vx_pwasm_host_get_header_map_size(struct vx_pwasm_vm *vm, const uint32_t *a) {
    bool writable;
    uint32_t count;
    struct vx_field_map *map = map_of(vm, a[0], &writable);
    if (!map)
        return VX_PWASM_BAD_ARGUMENT;
    return vx_pwasm_write(vm, a[1], measure(map, &count), 4) ? VX_PWASM_OK : VX_PWASM_INVALID_MEMORY_ACCESS;
}
