/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_http_call: one request, one answer, told as a whole. */
#include <stdio.h>
#include <stdlib.h>

#include "filters/proxy_wasm/call.h"

static bool on_head(struct vx_pwasm_call *c, uint64_t now_ns) {
    (void)c;
    (void)now_ns;
    return true;
}

static bool on_bytes(struct vx_pwasm_call *c, struct vx_slice *bytes, uint64_t now_ns) {
    bool kept = vx_pwasm_call_keep(c, *bytes);
    *bytes = VX_SLICE_NONE;
    if (kept)
        return true;
    vx_pwasm_call_fail(c, vx_error(VX_ERR_BODY_TOO_LARGE, false, NULL), now_ns);
    return false;
}

/* Tells the guest, with what there is of an answer, and ends the call. */
static void deliver(struct vx_pwasm_call *c, struct vx_response *response, struct vx_headers *trailers,
                    uint64_t now_ns) {
    struct vx_pwasm_vm *vm = c->vm;
    struct vx_field_map head = {.arena = &c->arena, .response = response};
    struct vx_field_map tail = {.arena = &c->arena, .headers = trailers};
    if (response)
        head.headers = &response->headers;
    vm->arrival.maps[VX_PWASM_CALL_HEADERS] = response ? &head : NULL;
    vm->arrival.maps[VX_PWASM_CALL_TRAILERS] = trailers ? &tail : NULL;
    vm->arrival.body = vx_slice(c->got ? c->got : "", c->got_len);
    wasmtime_val_raw_t v[5] = {
        {.i32 = VX_PWASM_ROOT_ID},
        {.i32 = (int32_t)c->id},
        {.i32 = (int32_t)vx_pwasm_call_count_fields(vm->arrival.maps[VX_PWASM_CALL_HEADERS])},
        {.i32 = (int32_t)c->got_len},
        {.i32 = (int32_t)vx_pwasm_call_count_fields(vm->arrival.maps[VX_PWASM_CALL_TRAILERS])},
    };
    c->telling = true;
    if (vx_pwasm_vm_has(vm, VX_PWASM_ON_HTTP_CALL_RESPONSE))
        vx_pwasm_vm_call(vm, VX_PWASM_ON_HTTP_CALL_RESPONSE, &vm->root, v, 5, now_ns);
    vm->arrival = (struct vx_pwasm_arrival){0};
    vx_pwasm_call_free(c, VX_OUTCOME_SUCCESS, now_ns);
}

static void on_end(struct vx_pwasm_call *c, uint64_t now_ns) {
    deliver(c, c->response, c->up->stream.ops->trailers(&c->up->stream), now_ns);
}

/* Failures. Where no connection came about, or time ran out, the guest gets an answer as if from a gateway: many look at
 * `:status` alone. What broke off is no answer at all. */

static uint16_t status_of_failure(enum vx_error_code error) {
    switch (error) {
    case VX_ERR_BACKEND_CLOSED:
    case VX_ERR_BACKEND_RESET:
    case VX_ERR_BAD_RESPONSE:
    case VX_ERR_BODY_TOO_LARGE:
    case VX_ERR_BODY_TIMEOUT:
        return 0;
    case VX_ERR_CONNECT_TIMEOUT:
    case VX_ERR_RESPONSE_TIMEOUT:
    case VX_ERR_WRITE_TIMEOUT:
    case VX_ERR_QUEUE_TIMEOUT:
        return 504;
    default:
        return 503;
    }
}

static bool make_answer(struct vx_pwasm_call *c, struct vx_response *made, uint16_t status) {
    struct vx_slice text = status == 504
                               ? VX_SLICE("upstream request timeout")
                               : VX_SLICE("upstream connect error or disconnect/reset before headers");
    char digits[8];
    int n = snprintf(digits, sizeof digits, "%zu", text.len);
    struct vx_slice length = vx_arena_copy(&c->arena, vx_slice(digits, (size_t)n));
    *made = (struct vx_response){.status = status, .version = VX_HTTP_11};
    return length.ptr && vx_pwasm_call_keep(c, text) &&
           vx_headers_add(&made->headers, &c->arena, VX_HEADER_CONTENT_LENGTH,
                          vx_header_id_name(VX_HEADER_CONTENT_LENGTH), length) &&
           vx_headers_add(&made->headers, &c->arena, VX_HEADER_CONTENT_TYPE,
                          vx_header_id_name(VX_HEADER_CONTENT_TYPE), VX_SLICE("text/plain"));
}

static void on_fail(struct vx_pwasm_call *c, uint64_t now_ns) {
    struct vx_response made;
    uint16_t status = status_of_failure(c->error);
    c->got_len = 0;
    deliver(c, status && make_answer(c, &made, status) ? &made : NULL, NULL, now_ns);
}

static const struct vx_pwasm_call_ops ops = {on_head, on_bytes, on_end, on_fail};

/* Making */

static bool has_field(const struct vx_pwasm_call_request *r, struct vx_slice name) {
    for (uint32_t i = 0; i < r->field_count; i++)
        if (vx_slice_eq(r->fields[i].name, name))
            return true;
    return false;
}

static bool is_complete(const struct vx_pwasm_vm *vm, const struct vx_pwasm_call_request *r) {
    bool http2;
    return has_field(r, VX_SLICE(":method")) && has_field(r, VX_SLICE(":path")) &&
           (has_field(r, VX_SLICE(":authority")) || has_field(r, VX_SLICE("host"))) &&
           r->timeout_ms <= INT32_MAX && (!vm->taking_part || vx_pwasm_call_knows(vm, r->upstream, &http2));
}

static enum vx_pwasm_status fill(struct vx_pwasm_call *c, const struct vx_pwasm_call_request *r) {
    enum vx_pwasm_status status = vx_pwasm_call_fill(c, r->upstream, r->fields, r->field_count);
    struct vx_field_map tail = {.headers = &c->trailers, .arena = &c->arena};
    for (uint32_t i = 0; i < r->trailer_count && status == VX_PWASM_OK; i++)
        if (vx_field_map_add(&tail, r->trailers[i].name, r->trailers[i].value) != VX_FIELD_DONE)
            status = VX_PWASM_BAD_ARGUMENT;
    if (status != VX_PWASM_OK)
        return status;
    c->request.version = VX_HTTP_11;
    c->request.body_bytes = r->body.len;
    c->request.framing = c->trailers.count ? VX_BODY_CHUNKED : r->body.len ? VX_BODY_LENGTH : VX_BODY_NONE;
    c->timeout_ns = r->timeout_ms * UINT64_C(1000000);
    c->whole = true;
    return vx_pwasm_call_put(c, r->body) ? VX_PWASM_OK : VX_PWASM_INTERNAL_FAILURE;
}

enum vx_pwasm_status vx_pwasm_call_http(struct vx_pwasm_vm *vm, const struct vx_pwasm_call_request *request,
                                        uint32_t *id) {
    if (!is_complete(vm, request))
        return VX_PWASM_BAD_ARGUMENT;
    struct vx_pwasm_call *c = vx_pwasm_call_make(vm, &ops);
    if (!c)
        return VX_PWASM_INTERNAL_FAILURE;
    enum vx_pwasm_status status = fill(c, request);
    if (status != VX_PWASM_OK) {
        vx_pwasm_call_free(c, VX_OUTCOME_NEUTRAL, vm->now_ns);
        return status;
    }
    vx_pwasm_call_begin(c, VX_PWASM_CALL_HTTP);
    *id = c->id;
    return VX_PWASM_OK;
}
