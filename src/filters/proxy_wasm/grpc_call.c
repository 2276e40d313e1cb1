/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_grpc_call and proxy_grpc_stream, over HTTP/2: messages in frames of five bytes and content, a status in the
 * trailers (PROTOCOL-HTTP2.md of gRPC). Of a call the guest hears one message or one status; of a stream all there is. */
#include <stdlib.h>

#include "core/http/bytes.h"
#include "core/http/grpc.h"
#include "filters/proxy_wasm/call.h"

enum { FRAME_HEAD_BYTES = 5, MESSAGE_TEXT_MAX = 255 };

static bool is_stream(const struct vx_pwasm_call *c) {
    return c->id % VX_PWASM_CALL_KINDS == VX_PWASM_CALL_STREAM;
}

/* Calls back about `c`. False: the call has been ended under it, and is gone now. */
static bool tell(struct vx_pwasm_call *c, enum vx_pwasm_export e, uint32_t n, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = c->vm;
    wasmtime_val_raw_t v[3] = {{.i32 = VX_PWASM_ROOT_ID}, {.i32 = (int32_t)c->id}, {.i32 = (int32_t)n}};
    c->telling = true;
    if (vx_pwasm_vm_has(vm, e))
        vx_pwasm_vm_call(vm, e, &vm->root, v, 3, now_ns);
    c->telling = false;
    vm->arrival = (struct vx_pwasm_arrival){0};
    if (!c->ended)
        return true;
    vx_pwasm_call_free(c, VX_OUTCOME_NEUTRAL, now_ns);
    return false;
}

static bool tell_fields(struct vx_pwasm_call *c, enum vx_pwasm_export e, enum vx_pwasm_map which,
                        struct vx_field_map *map, uint64_t now_ns) {
    c->vm->arrival.maps[which] = map;
    return tell(c, e, vx_pwasm_call_count_fields(map), now_ns);
}

/* The end, for the guest and for us. grpc-message is percent-encoded. */
static void close_with(struct vx_pwasm_call *c, uint32_t status, struct vx_slice message, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = c->vm;
    vm->grpc_status = status;
    vm->grpc_message_len = 0;
    for (size_t i = 0; i < message.len && vm->grpc_message_len < MESSAGE_TEXT_MAX; i++) {
        char byte = message.ptr[i];
        bool escape = byte == '%' && message.len - i > 2;
        int high = escape ? vx_byte_hex(message.ptr[i + 1]) : -1;
        int low = escape ? vx_byte_hex(message.ptr[i + 2]) : -1;
        if (high >= 0 && low >= 0) {
            byte = (char)(high * 16 + low);
            i += 2;
        }
        vm->grpc_message[vm->grpc_message_len++] = byte;
    }
    if (tell(c, VX_PWASM_ON_GRPC_CLOSE, status, now_ns))
        vx_pwasm_call_free(c, VX_OUTCOME_SUCCESS, now_ns);
}

/* What comes */

static bool on_head(struct vx_pwasm_call *c, uint64_t now_ns) {
    if (c->response->status != 200) {
        close_with(c, vx_grpc_status_of_http(c->response->status), VX_SLICE_NONE, now_ns);
        return false;
    }
    struct vx_field_map map = {.headers = &c->response->headers, .arena = &c->arena};
    return !is_stream(c) ||
           tell_fields(c, VX_PWASM_ON_GRPC_INITIAL_METADATA, VX_PWASM_GRPC_INITIAL_METADATA, &map, now_ns);
}

static bool refuse_answer(struct vx_pwasm_call *c, uint64_t now_ns) {
    close_with(c, VX_GRPC_INTERNAL, VX_SLICE("the answer is too large, compressed or one too many"), now_ns);
    return false;
}

static uint32_t length_of(const char *head) {
    const unsigned char *u = (const unsigned char *)head;
    return (uint32_t)u[1] << 24 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 8 | u[4];
}

static bool tell_message(struct vx_pwasm_call *c, uint64_t now_ns) {
    c->vm->arrival.message = vx_slice(c->got + FRAME_HEAD_BYTES, c->got_len - FRAME_HEAD_BYTES);
    return tell(c, VX_PWASM_ON_GRPC_RECEIVE, (uint32_t)(c->got_len - FRAME_HEAD_BYTES), now_ns);
}

/* How many bytes the frame that `got` begins still lacks. */
static size_t lacking(const struct vx_pwasm_call *c) {
    if (c->got_len < FRAME_HEAD_BYTES)
        return FRAME_HEAD_BYTES - c->got_len;
    return FRAME_HEAD_BYTES + (size_t)length_of(c->got) - c->got_len;
}

/* Takes as much as belongs to the frame that is in `got`, where there is one frame, or what there is of it. A call's answer
 * stays there until its status is known. */
static bool on_bytes(struct vx_pwasm_call *c, struct vx_slice *bytes, uint64_t now_ns) {
    for (size_t want; bytes->len && (want = lacking(c));) {
        size_t take = want < bytes->len ? want : bytes->len;
        if (!vx_pwasm_call_keep(c, vx_slice(bytes->ptr, take)) || c->got[0] != 0)
            return refuse_answer(c, now_ns);
        *bytes = vx_slice_skip(*bytes, take);
    }
    if (!is_stream(c) || c->got_len < FRAME_HEAD_BYTES || lacking(c))
        return !bytes->len || refuse_answer(c, now_ns); /* a second message in the answer to a call */
    if (!tell_message(c, now_ns))
        return false;
    c->got_len = 0;
    return true;
}

static struct vx_slice find_field(const struct vx_headers *headers, struct vx_slice name) {
    const struct vx_header *h = headers ? vx_headers_find_name(headers, name) : NULL;
    return h ? vx_header_value(h) : VX_SLICE_NONE;
}

/* A stream that ends without messages has its status in the head. */
static void on_end(struct vx_pwasm_call *c, uint64_t now_ns) {
    struct vx_headers *trailers = c->up->stream.ops->trailers(&c->up->stream);
    struct vx_headers *where = trailers ? trailers : &c->response->headers;
    struct vx_slice text = find_field(where, VX_SLICE("grpc-status"));
    struct vx_slice message = find_field(where, VX_SLICE("grpc-message"));
    uint32_t status = text.ptr ? vx_grpc_read_status(text) : VX_GRPC_UNKNOWN;
    struct vx_field_map map = {.headers = where, .arena = &c->arena};
    if (is_stream(c)) {
        if (tell_fields(c, VX_PWASM_ON_GRPC_TRAILING_METADATA, VX_PWASM_GRPC_TRAILING_METADATA, &map, now_ns))
            close_with(c, status, message, now_ns);
    } else if (status == VX_GRPC_OK && c->got_len >= FRAME_HEAD_BYTES && !lacking(c)) {
        if (tell_message(c, now_ns))
            vx_pwasm_call_free(c, VX_OUTCOME_SUCCESS, now_ns);
    } else {
        /* Success without an answer is none. */
        close_with(c, status == VX_GRPC_OK ? VX_GRPC_INTERNAL : status, message, now_ns);
    }
}

static void on_fail(struct vx_pwasm_call *c, uint64_t now_ns) {
    bool late = c->error == VX_ERR_RESPONSE_TIMEOUT || c->error == VX_ERR_BODY_TIMEOUT;
    close_with(c, late ? VX_GRPC_DEADLINE_EXCEEDED : VX_GRPC_UNAVAILABLE,
               vx_slice_of(vx_error_info(c->error)->word), now_ns);
}

static const struct vx_pwasm_call_ops ops = {on_head, on_bytes, on_end, on_fail};

/* Making */

static bool put_frame(struct vx_pwasm_call *c, struct vx_slice message) {
    uint32_t n = (uint32_t)message.len;
    const char head[FRAME_HEAD_BYTES] = {0, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
    return vx_pwasm_call_put(c, vx_slice(head, sizeof head)) && vx_pwasm_call_put(c, message);
}

/* A name, or Envoy's GrpcService message: field 1 is an EnvoyGrpc, whose field 1 is the name of a cluster. */
static struct vx_slice upstream_name(struct vx_slice text) {
    enum { FIELD_1 = 0x0a };
    struct vx_slice rest = text;
    for (int depth = 0; depth < 2; depth++) {
        if (rest.len < 2 || rest.ptr[0] != FIELD_1 || (size_t)(unsigned char)rest.ptr[1] > rest.len - 2)
            return text;
        rest = vx_slice(rest.ptr + 2, (unsigned char)rest.ptr[1]);
    }
    return rest;
}

static enum vx_pwasm_status fill(struct vx_pwasm_call *c, const struct vx_pwasm_grpc_request *r,
                                 struct vx_slice upstream) {
    char *path = vx_arena_alloc(&c->arena, r->service.len + r->method.len + 2);
    if (!path)
        return VX_PWASM_INTERNAL_FAILURE;
    size_t n = 0;
    path[n++] = '/';
    if (r->service.len)
        memcpy(path + n, r->service.ptr, r->service.len);
    n += r->service.len;
    path[n++] = '/';
    if (r->method.len)
        memcpy(path + n, r->method.ptr, r->method.len);
    n += r->method.len;
    const struct vx_field head[] = {
        {VX_SLICE(":method"), VX_SLICE("POST")},
        {VX_SLICE(":path"), vx_slice(path, n)},
        {VX_SLICE(":authority"), upstream},
        {VX_SLICE("content-type"), VX_SLICE("application/grpc")},
    };
    struct vx_field_map map = {.headers = &c->request.headers, .request = &c->request, .arena = &c->arena};
    bool fine = vx_pwasm_call_fill(c, upstream, head, sizeof head / sizeof head[0]) == VX_PWASM_OK;
    for (uint32_t i = 0; i < r->metadata_count && fine; i++)
        fine = vx_field_map_add(&map, r->metadata[i].name, r->metadata[i].value) == VX_FIELD_DONE;
    fine = fine && vx_headers_add(&c->request.headers, &c->arena, VX_HEADER_TE,
                                  vx_header_id_name(VX_HEADER_TE), VX_SLICE("trailers"));
    c->request.version = VX_HTTP_2;
    c->request.framing = VX_BODY_CHUNKED;
    c->timeout_ns = r->timeout_ms * UINT64_C(1000000);
    c->whole = !r->stream;
    fine = fine && (r->stream || put_frame(c, r->message));
    return fine ? VX_PWASM_OK : VX_PWASM_INTERNAL_FAILURE;
}

enum vx_pwasm_status vx_pwasm_call_grpc(struct vx_pwasm_vm *vm, const struct vx_pwasm_grpc_request *request,
                                        uint32_t *id) {
    struct vx_slice upstream = upstream_name(request->upstream);
    bool http2 = false;
    if (vm->taking_part && !vx_pwasm_call_knows(vm, upstream, &http2))
        return VX_PWASM_PARSE_FAILURE;
    struct vx_pwasm_call *c = !vm->taking_part || http2 ? vx_pwasm_call_make(vm, &ops) : NULL;
    if (!c)
        return VX_PWASM_INTERNAL_FAILURE;
    enum vx_pwasm_status status = fill(c, request, upstream);
    if (status != VX_PWASM_OK) {
        vx_pwasm_call_free(c, VX_OUTCOME_NEUTRAL, vm->now_ns);
        return status;
    }
    vx_pwasm_call_begin(c, request->stream ? VX_PWASM_CALL_STREAM : VX_PWASM_CALL_GRPC);
    *id = c->id;
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_call_grpc_send(struct vx_pwasm_vm *vm, uint32_t id, struct vx_slice message,
                                             bool has_message, bool end) {
    if (id % VX_PWASM_CALL_KINDS != VX_PWASM_CALL_STREAM)
        return VX_PWASM_BAD_ARGUMENT;
    struct vx_pwasm_call *c = vx_pwasm_call_find(vm, id);
    if (!c || c->whole)
        return VX_PWASM_NOT_FOUND;
    if (has_message && !put_frame(c, message))
        return VX_PWASM_INTERNAL_FAILURE;
    c->whole = end;
    vx_pwasm_call_push(c);
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_call_grpc_end(struct vx_pwasm_vm *vm, uint32_t id, bool close) {
    if (id % VX_PWASM_CALL_KINDS == VX_PWASM_CALL_HTTP)
        return VX_PWASM_BAD_ARGUMENT;
    struct vx_pwasm_call *c = vx_pwasm_call_find(vm, id);
    if (!c)
        return VX_PWASM_NOT_FOUND;
    if (close && is_stream(c) && !c->whole)
        return vx_pwasm_call_grpc_send(vm, id, VX_SLICE_NONE, false, true);
    vx_pwasm_call_abandon(c);
    return VX_PWASM_OK;
}
