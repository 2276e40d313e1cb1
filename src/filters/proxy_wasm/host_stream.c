/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions over a stream: its bodies and the other buffers, going on after a pause, ending it, answering it. */
#include "filters/proxy_wasm/host.h"
#include "filters/proxy_wasm/pairs.h"

/* Buffers */

static struct vx_slice body_of(struct vx_filter_stream *stream, enum vx_filter_direction d) {
    struct vx_slice bytes;
    return stream && vx_filter_body(stream, d, &bytes) ? bytes : VX_SLICE_NONE;
}

/* What is there to be read: of bodies perhaps nothing, as in Envoy. NOT_FOUND: not at this moment. */
static enum vx_pwasm_status read_buffer(const struct vx_pwasm_vm *vm, uint32_t type, struct vx_slice *bytes) {
    struct vx_filter_stream *stream = vx_pwasm_stream(vm);
    *bytes = VX_SLICE_NONE;
    switch (type) {
    case VX_PWASM_REQUEST_BODY:
        *bytes = body_of(stream, VX_FILTER_REQUEST);
        return VX_PWASM_OK;
    case VX_PWASM_RESPONSE_BODY:
        *bytes = body_of(stream, VX_FILTER_RESPONSE);
        return VX_PWASM_OK;
    case VX_PWASM_DOWNSTREAM_DATA:
    case VX_PWASM_UPSTREAM_DATA:
        return VX_PWASM_OK;
    case VX_PWASM_CALL_BODY:
        *bytes = vm->arrival.body;
        return bytes->ptr ? VX_PWASM_OK : VX_PWASM_NOT_FOUND;
    case VX_PWASM_GRPC_MESSAGE:
        *bytes = vm->arrival.message;
        return bytes->ptr ? VX_PWASM_OK : VX_PWASM_NOT_FOUND;
    case VX_PWASM_VM_CONFIGURATION:
        *bytes = vm->plan->vm_config;
        return VX_PWASM_OK;
    case VX_PWASM_PLUGIN_CONFIGURATION:
        *bytes = vm->plan->config;
        return vm->configuring ? VX_PWASM_OK : VX_PWASM_NOT_FOUND;
    default:
        return type < VX_PWASM_BUFFER_COUNT ? VX_PWASM_NOT_FOUND : VX_PWASM_BAD_ARGUMENT;
    }
}

/* 0.1.0: the plugin's configuration while it is configured, else the VM's. */
enum vx_pwasm_status vx_pwasm_host_get_configuration(struct vx_pwasm_vm *vm, const uint32_t *a) {
    return vx_pwasm_give(vm, vm->configuring ? vm->plan->config : vm->plan->vm_config, a[0], a[1]);
}

enum vx_pwasm_status vx_pwasm_host_get_buffer_bytes(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice bytes;
    uint32_t start = a[1], most = a[2];
    enum vx_pwasm_status status = read_buffer(vm, a[0], &bytes);
    if (status != VX_PWASM_OK)
        return status;
    if ((uint64_t)start + most > UINT32_MAX && most != UINT32_MAX)
        return VX_PWASM_BAD_ARGUMENT;
    bytes = start < bytes.len ? vx_slice_skip(bytes, start) : VX_SLICE_NONE;
    if (bytes.len > most)
        bytes.len = most;
    return vx_pwasm_give(vm, bytes, a[3], a[4]);
}

enum vx_pwasm_status vx_pwasm_host_get_buffer_status(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice bytes;
    enum vx_pwasm_status status = read_buffer(vm, a[0], &bytes);
    if (status != VX_PWASM_OK)
        return status;
    return vx_pwasm_write(vm, a[1], bytes.len, 4) && vx_pwasm_write(vm, a[2], 0, 4)
               ? VX_PWASM_OK
               : VX_PWASM_INVALID_MEMORY_ACCESS;
}

enum vx_pwasm_status vx_pwasm_host_set_buffer_bytes(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice insert;
    struct vx_filter_stream *stream = vx_pwasm_stream(vm);
    if (!vx_pwasm_read(vm, a[3], a[4], &insert))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    if (a[0] >= VX_PWASM_BUFFER_COUNT)
        return VX_PWASM_BAD_ARGUMENT;
    if (!stream || a[0] > VX_PWASM_RESPONSE_BODY)
        return VX_PWASM_NOT_FOUND;
    enum vx_filter_direction d = a[0] == VX_PWASM_REQUEST_BODY ? VX_FILTER_REQUEST : VX_FILTER_RESPONSE;
    struct vx_slice bytes;
    if (!vx_filter_body(stream, d, &bytes))
        return VX_PWASM_BAD_ARGUMENT;
    return vx_filter_splice(stream, d, a[1], a[2], insert) ? VX_PWASM_OK : VX_PWASM_INTERNAL_FAILURE;
}

/* Going on and ending */

/* Where no stream is, these do nothing and say so to nobody, as in Envoy: a callback may come later than the end of the
 * stream that it is about, and SDKs trap on anything but OK. */

static enum vx_pwasm_status go_on(struct vx_pwasm_vm *vm, enum vx_filter_direction d) {
    struct vx_filter_stream *stream = vx_pwasm_stream(vm);
    if (stream)
        vx_filter_continue(stream, d);
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_host_continue_stream(struct vx_pwasm_vm *vm, const uint32_t *a) {
    switch (a[0]) {
    case VX_PWASM_STREAM_REQUEST:
        return go_on(vm, VX_FILTER_REQUEST);
    case VX_PWASM_STREAM_RESPONSE:
        return go_on(vm, VX_FILTER_RESPONSE);
    case VX_PWASM_STREAM_DOWNSTREAM:
        return VX_PWASM_OK; /* bytes of a connection are never paused here */
    case VX_PWASM_STREAM_UPSTREAM:
        return VX_PWASM_UNIMPLEMENTED;
    default:
        return VX_PWASM_BAD_ARGUMENT;
    }
}

enum vx_pwasm_status vx_pwasm_host_close_stream(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_filter_stream *stream = vx_pwasm_stream(vm);
    if (a[0] > VX_PWASM_STREAM_UPSTREAM)
        return VX_PWASM_BAD_ARGUMENT;
    /* The other two are connections, which are not a plugin's. */
    if (stream && a[0] <= VX_PWASM_STREAM_RESPONSE)
        vx_filter_close(stream);
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_host_continue_request(struct vx_pwasm_vm *vm, const uint32_t *a) {
    (void)a;
    return go_on(vm, VX_FILTER_REQUEST);
}

enum vx_pwasm_status vx_pwasm_host_continue_response(struct vx_pwasm_vm *vm, const uint32_t *a) {
    (void)a;
    return go_on(vm, VX_FILTER_RESPONSE);
}

enum vx_pwasm_status vx_pwasm_host_clear_route_cache(struct vx_pwasm_vm *vm, const uint32_t *a) {
    (void)a;
    struct vx_filter_stream *stream = vx_pwasm_stream(vm);
    if (stream)
        vx_filter_reroute(stream);
    return VX_PWASM_OK;
}

/* Answering: code, details, body, headers, gRPC status. */
enum vx_pwasm_status vx_pwasm_host_send_local_response(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_field fields[VX_FIELD_MAP_PAIRS_MAX];
    struct vx_slice details, body, headers;
    struct vx_filter_stream *stream = vx_pwasm_stream(vm);
    if (!vx_pwasm_read(vm, a[1], a[2], &details) || !vx_pwasm_read(vm, a[3], a[4], &body) ||
        !vx_pwasm_read(vm, a[5], a[6], &headers))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    struct vx_filter_answer answer = {.body = body, .fields = fields, .grpc_status = (int32_t)a[7]};
    if (a[0] < 200 || a[0] > 599 || !vx_pwasm_pairs_read(headers, fields, &answer.field_count))
        return VX_PWASM_BAD_ARGUMENT;
    if (!stream)
        return VX_PWASM_OK;
    answer.status = (uint16_t)a[0];
    return vx_filter_answer(stream, &answer) ? VX_PWASM_OK : VX_PWASM_BAD_ARGUMENT;
}
