/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions that send requests of the guest's own. */
#include "filters/proxy_wasm/call.h"
#include "filters/proxy_wasm/host.h"
#include "filters/proxy_wasm/pairs.h"

/* upstream, headers, body, trailers (address and length each), timeout, where the id goes. */
enum vx_pwasm_status vx_pwasm_host_http_call(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_field fields[VX_FIELD_MAP_PAIRS_MAX], trailers[VX_FIELD_MAP_PAIRS_MAX];
    struct vx_slice headers_bytes, trailers_bytes;
    struct vx_pwasm_call_request request = {.fields = fields, .trailers = trailers, .timeout_ms = a[8]};
    if (!vx_pwasm_read(vm, a[0], a[1], &request.upstream) || !vx_pwasm_read(vm, a[2], a[3], &headers_bytes) ||
        !vx_pwasm_read(vm, a[4], a[5], &request.body) || !vx_pwasm_read(vm, a[6], a[7], &trailers_bytes) ||
        !vx_wasm_instance_bytes(&vm->sandbox, a[9], 4))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    uint32_t id;
    if (!vx_pwasm_pairs_read(headers_bytes, fields, &request.field_count) ||
        !vx_pwasm_pairs_read(trailers_bytes, trailers, &request.trailer_count))
        return VX_PWASM_BAD_ARGUMENT;
    enum vx_pwasm_status status = vx_pwasm_call_http(vm, &request, &id);
    if (status == VX_PWASM_OK)
        vx_pwasm_write(vm, a[9], id, 4);
    return status;
}

/* upstream, service, method, metadata: what both begin with. */
static enum vx_pwasm_status read_grpc(const struct vx_pwasm_vm *vm, const uint32_t *a,
                                      struct vx_field *metadata, struct vx_pwasm_grpc_request *request) {
    struct vx_slice bytes;
    if (!vx_pwasm_read(vm, a[0], a[1], &request->upstream) ||
        !vx_pwasm_read(vm, a[2], a[3], &request->service) ||
        !vx_pwasm_read(vm, a[4], a[5], &request->method) || !vx_pwasm_read(vm, a[6], a[7], &bytes))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    request->metadata = metadata;
    return vx_pwasm_pairs_read(bytes, metadata, &request->metadata_count) ? VX_PWASM_OK
                                                                          : VX_PWASM_INTERNAL_FAILURE;
}

static enum vx_pwasm_status begin_grpc(struct vx_pwasm_vm *vm, const struct vx_pwasm_grpc_request *request,
                                       uint32_t id_at) {
    uint32_t id;
    if (!vx_wasm_instance_bytes(&vm->sandbox, id_at, 4))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    enum vx_pwasm_status status = vx_pwasm_call_grpc(vm, request, &id);
    if (status == VX_PWASM_OK)
        vx_pwasm_write(vm, id_at, id, 4);
    return status;
}

enum vx_pwasm_status vx_pwasm_host_grpc_call(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_field metadata[VX_FIELD_MAP_PAIRS_MAX];
    struct vx_pwasm_grpc_request request = {.timeout_ms = a[10]};
    enum vx_pwasm_status status = read_grpc(vm, a, metadata, &request);
    if (status != VX_PWASM_OK)
        return status;
    if (!vx_pwasm_read(vm, a[8], a[9], &request.message))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    return begin_grpc(vm, &request, a[11]);
}

enum vx_pwasm_status vx_pwasm_host_grpc_stream(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_field metadata[VX_FIELD_MAP_PAIRS_MAX];
    struct vx_pwasm_grpc_request request = {.stream = true};
    enum vx_pwasm_status status = read_grpc(vm, a, metadata, &request);
    return status == VX_PWASM_OK ? begin_grpc(vm, &request, a[8]) : status;
}

/* An address of 0 without bytes is no message, as SDKs end a stream. */
enum vx_pwasm_status vx_pwasm_host_grpc_send(struct vx_pwasm_vm *vm, const uint32_t *a) {
    struct vx_slice message;
    if (!vx_pwasm_read(vm, a[1], a[2], &message))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    return vx_pwasm_call_grpc_send(vm, a[0], message, a[1] || a[2], a[3]);
}

enum vx_pwasm_status vx_pwasm_host_grpc_cancel(struct vx_pwasm_vm *vm, const uint32_t *a) {
    return vx_pwasm_call_grpc_end(vm, a[0], false);
}

enum vx_pwasm_status vx_pwasm_host_grpc_close(struct vx_pwasm_vm *vm, const uint32_t *a) {
    return vx_pwasm_call_grpc_end(vm, a[0], true);
}

/* Of the gRPC call or stream that closed last. */
enum vx_pwasm_status vx_pwasm_host_get_status(struct vx_pwasm_vm *vm, const uint32_t *a) {
    if (!vx_pwasm_write(vm, a[0], vm->grpc_status, 4))
        return VX_PWASM_INVALID_MEMORY_ACCESS;
    return vx_pwasm_give(vm, vx_slice(vm->grpc_message, vm->grpc_message_len), a[1], a[2]);
}
