/* SPDX-License-Identifier: Apache-2.0 */
/* See client.h. The answer's head, its message and its trailers are gathered; what they say together is the result. */
#include "admin/grpc/client.h"

#include <stdlib.h>

#include "core/base/error.h"

char *vx_grpc_ask_room(struct vx_grpc_ask *a, size_t bytes) {
    a->message = vx_grpc_new_frame(bytes, &a->rest);
    return a->message ? a->message + VX_GRPC_PREFIX_BYTES : NULL;
}

static void let_go(struct vx_grpc_ask *a) {
    if (a->up)
        a->up->stream.ops->release(&a->up->stream);
    a->up = NULL;
    free(a->message);
    a->message = NULL;
    vx_grpc_reader_free(&a->reader);
    vx_arena_reset(&a->arena);
}

void vx_grpc_ask_cancel(struct vx_grpc_ask *a) {
    let_go(a);
}

/* `text` and the message may lie in what is let go. */
static void end(struct vx_grpc_ask *a, enum vx_grpc_code code, struct vx_slice text) {
    a->done(a, code, text, vx_grpc_reader_message(&a->reader));
    let_go(a);
}

static void end_with(struct vx_grpc_ask *a, struct vx_grpc_status status) {
    end(a, status.code, vx_slice_of(status.text));
}

static void broken(struct vx_grpc_ask *a, const char *text) {
    end_with(a, (struct vx_grpc_status){VX_GRPC_INTERNAL, text});
}

/* The status that these fields tell; false: they tell none. */
static bool read_status(struct vx_grpc_ask *a, const struct vx_headers *h, enum vx_grpc_code *code,
                        struct vx_slice *text) {
    const struct vx_header *status = h ? vx_headers_find(h, VX_HEADER_GRPC_STATUS) : NULL;
    if (!status || !vx_grpc_code_parse(vx_header_value(status), code))
        return false;
    const struct vx_header *message = vx_headers_find_name(h, VX_SLICE("grpc-message"));
    char *out = message ? vx_arena_alloc(&a->arena, message->value_len + (size_t)1) : NULL;
    *text = out ? vx_slice(out, vx_grpc_decode_message(out, vx_header_value(message))) : VX_SLICE_NONE;
    return true;
}

/* All of the answer is here. */
static void judge(struct vx_grpc_ask *a) {
    enum vx_grpc_code code;
    struct vx_slice text;
    struct vx_grpc_status status;
    if (!read_status(a, a->up->stream.ops->trailers(&a->up->stream), &code, &text) &&
        !read_status(a, &a->response->headers, &code, &text))
        broken(a, "the answer is not gRPC's");
    else if (code == VX_GRPC_OK && !vx_grpc_reader_end(&a->reader, &status))
        end_with(a, status);
    else
        end(a, code, text);
}

static void read_on(struct vx_grpc_ask *a) {
    struct vx_grpc_status status;
    switch (vx_grpc_reader_pull(&a->reader, &a->up->stream, &status)) {
    case VX_GRPC_READ_WAIT:
        return;
    case VX_GRPC_READ_END:
        judge(a);
        return;
    case VX_GRPC_READ_REFUSED:
        end_with(a, status);
        return;
    case VX_GRPC_READ_BROKEN:
        broken(a, "the connection broke while the answer was read");
        return;
    }
}

static void send_on(struct vx_grpc_ask *a) {
    struct vx_stream *s = &a->up->stream;
    if (!vx_grpc_push(s, &a->rest))
        return;
    a->sent = true;
    s->ops->finish(s, NULL);
    s->ops->flush(s);
}

static void on_readable(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct vx_grpc_ask *a = user;
    if (a->response)
        read_on(a);
}

static void on_writable(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct vx_grpc_ask *a = user;
    if (!a->sent)
        send_on(a);
}

static void on_failed(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct vx_grpc_ask *a = user;
    const struct vx_error *error = &a->up->stream.error;
    broken(a, error->detail ? error->detail : vx_error_info(error->code)->word);
}

static void on_response(void *user, struct vx_response *response, uint64_t now_ns) {
    (void)now_ns;
    struct vx_grpc_ask *a = user;
    if (response->status < 200)
        return;
    a->response = response;
    if (response->status != 200)
        broken(a, "what answered does not speak gRPC");
    else
        read_on(a);
}

static const struct vx_stream_events events = {
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_failed = on_failed,
    .on_response = on_response,
};

static bool make_request(struct vx_grpc_ask *a, const char *path) {
    struct vx_request *r = &a->request;
    *r = (struct vx_request){
        .method = VX_METHOD_POST,
        .version = VX_HTTP_2,
        .framing = VX_BODY_CHUNKED,
        .keep_alive = true,
        .method_text = VX_SLICE("POST"),
        .target = vx_slice_of(path),
        .path = vx_slice_of(path),
        .authority = VX_SLICE("localhost"),
        .host = VX_SLICE("localhost"),
    };
    return vx_headers_add(&r->headers, &a->arena, VX_HEADER_HOST, VX_SLICE("host"), r->host) &&
           vx_headers_add(&r->headers, &a->arena, VX_HEADER_TE, VX_SLICE("te"), VX_SLICE("trailers")) &&
           vx_headers_add(&r->headers, &a->arena, VX_HEADER_CONTENT_TYPE, VX_SLICE("content-type"),
                          VX_SLICE("application/grpc"));
}

bool vx_grpc_ask_start(struct vx_grpc_ask *a, const struct vx_grpc_ask_options *options, const char **text,
                       uint64_t now_ns) {
    vx_arena_init(&a->arena, NULL, 0, options->memory);
    a->reader = (struct vx_grpc_reader){.limit_bytes = options->answer_bytes};
    struct vx_error error = vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL);
    if (make_request(a, options->path)) {
        struct vx_upstream_open open = {
            .target = options->target,
            .request = &a->request,
            .arena = &a->arena,
            .events = &events,
            .user = a,
        };
        a->up = options->client->open(options->client, &open, &error, now_ns);
    }
    if (!a->up) {
        *text = error.detail ? error.detail : vx_error_info(error.code)->word;
        let_go(a);
        return false;
    }
    send_on(a);
    return true;
}
