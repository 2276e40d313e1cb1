/* SPDX-License-Identifier: Apache-2.0 */
/* See server.h. One call:
 *
 *   state   | event                                | next state | function
 *   (begin) | not gRPC: method, type or version    | PLAIN      | refuse_http
 *   (begin) | no such method, too many calls       | SENDING    | end_with
 *   (begin) | otherwise                            | READING    | begin
 *   READING | the message is whole                 | RUNNING    | run
 *   READING | the body breaks a rule               | SENDING    | end_with
 *   READING | the client has gone                  | (over)     | on_failed
 *   RUNNING | the method answers or fails the call | SENDING    | vx_grpc_answer, vx_grpc_fail
 *   RUNNING | the client has gone                  | ORPHANED   | on_failed
 *   ORPHANED| the method answers or fails the call | (over)     | vx_grpc_answer, vx_grpc_fail
 *   SENDING | writable                             | SENDING    | send_rest
 *   PLAIN   | writable                             | PLAIN      | on_writable
 *   SENDING, PLAIN | all sent, or the client has gone | (over)  | over
 *
 * 1. The call's memory is its own, from malloc, because a method may answer when the downstream is gone; release() is
 *    called exactly once, when the downstream goes, and `down` is NULL afterwards.
 * 2. A method is run at most once and answers exactly once. */
#include "admin/grpc/server.h"

#include <stdlib.h>

#include "core/base/assert.h"
#include "core/http/reply.h"

#define GRPC_CALL_STATES(X) X(READING) X(RUNNING) X(ORPHANED) X(SENDING) X(PLAIN)

enum grpc_call_state {
#define X(name) name,
    GRPC_CALL_STATES(X)
#undef X
};

struct vx_grpc_call {
    struct vx_grpc_server *server;
    struct vx_downstream *down; /* NULL once ORPHANED */
    const struct vx_grpc_method *method;
    struct vx_grpc_reader reader;
    char *answer; /* from malloc: prefix and message */
    struct vx_slice rest;
    struct vx_reply reply; /* PLAIN */
    enum grpc_call_state state;
};

static const struct vx_slice content_type = VX_SLICE("application/grpc");

static void over(struct vx_grpc_call *call) {
    struct vx_downstream *d = call->down;
    vx_grpc_reader_free(&call->reader);
    free(call->answer);
    call->server->calls--;
    free(call);
    if (d)
        d->stream.ops->release(&d->stream);
}

/* Answers */

static void refuse_http(struct vx_grpc_call *call, uint16_t status, struct vx_slice body) {
    static const struct vx_reply_field allow = {VX_HEADER_OTHER, VX_SLICE("allow"), VX_SLICE("POST")};
    struct vx_reply_content content = {
        .status = status,
        .content_type = VX_SLICE("application/json"),
        .body = body,
        .fields = &allow,
        .field_count = status == 405,
    };
    call->state = PLAIN;
    if (vx_reply_start(&call->reply, call->down, &content) != VX_REPLY_WAIT)
        over(call);
}

/* Adds what says how the call ended. `text` must outlive the downstream's next flush; false: no memory. */
static bool add_status(struct vx_headers *h, struct vx_arena *arena, enum vx_grpc_code code,
                       struct vx_slice text) {
    char *message = text.len ? vx_arena_alloc(arena, text.len * 3) : NULL;
    if (text.len && !message)
        return false;
    size_t n = vx_grpc_encode_message(message, text);
    return vx_headers_add(h, arena, VX_HEADER_GRPC_STATUS, VX_SLICE("grpc-status"),
                          vx_grpc_code_text(code)) &&
           (n == 0 ||
            vx_headers_add(h, arena, VX_HEADER_OTHER, VX_SLICE("grpc-message"), vx_slice(message, n)));
}

static struct vx_response *new_head(struct vx_arena *arena, enum vx_framing framing) {
    struct vx_response *response = vx_arena_alloc(arena, sizeof *response);
    if (!response)
        return NULL;
    *response = (struct vx_response){.status = 200, .framing = framing, .keep_alive = true};
    bool added = vx_headers_add(&response->headers, arena, VX_HEADER_CONTENT_TYPE, VX_SLICE("content-type"),
                                content_type) &&
                 vx_headers_add(&response->headers, arena, VX_HEADER_OTHER, VX_SLICE("grpc-accept-encoding"),
                                VX_SLICE("identity"));
    return added ? response : NULL;
}

/* The head alone, with the status in it ("Trailers-Only"). */
static void end_with(struct vx_grpc_call *call, enum vx_grpc_code code, struct vx_slice text) {
    struct vx_downstream *d = call->down;
    struct vx_response *response = new_head(d->arena, VX_BODY_LENGTH);
    call->state = SENDING;
    if (response && add_status(&response->headers, d->arena, code, text)) {
        d->ops->respond(d, response);
        d->stream.ops->finish(&d->stream, NULL);
        d->stream.ops->flush(&d->stream);
    }
    over(call);
}

static void send_rest(struct vx_grpc_call *call) {
    struct vx_stream *s = &call->down->stream;
    if (!vx_grpc_push(s, &call->rest))
        return;
    struct vx_headers *trailers = vx_arena_alloc(call->down->arena, sizeof *trailers);
    if (trailers) {
        memset(trailers, 0, sizeof *trailers);
        if (add_status(trailers, call->down->arena, VX_GRPC_OK, VX_SLICE_NONE)) {
            s->ops->finish(s, trailers);
            s->ops->flush(s);
        }
    }
    over(call);
}

/* Methods */

static void run(struct vx_grpc_call *call) {
    struct vx_grpc_server *s = call->server;
    call->state = RUNNING;
    s->service->run(s->user, call->method, call, vx_grpc_reader_message(&call->reader));
}

char *vx_grpc_answer_room(struct vx_grpc_call *call, size_t bytes) {
    VX_ASSERT(!call->answer);
    call->answer = vx_grpc_new_frame(bytes, &call->rest);
    return call->answer ? call->answer + VX_GRPC_PREFIX_BYTES : NULL;
}

void vx_grpc_answer(struct vx_grpc_call *call) {
    struct vx_downstream *d = call->down;
    vx_grpc_reader_free(&call->reader);
    struct vx_response *response = d ? new_head(d->arena, VX_BODY_CHUNKED) : NULL;
    if (!response) {
        over(call);
        return;
    }
    call->state = SENDING;
    d->ops->respond(d, response);
    send_rest(call);
}

void vx_grpc_fail(struct vx_grpc_call *call, enum vx_grpc_code code, struct vx_slice text) {
    if (call->down)
        end_with(call, code, text);
    else
        over(call);
}

/* Events */

static void read_on(struct vx_grpc_call *call) {
    struct vx_grpc_status status;
    switch (vx_grpc_reader_pull(&call->reader, &call->down->stream, &status)) {
    case VX_GRPC_READ_WAIT:
        return;
    case VX_GRPC_READ_END:
        if (vx_grpc_reader_end(&call->reader, &status))
            run(call);
        else
            end_with(call, status.code, vx_slice_of(status.text));
        return;
    case VX_GRPC_READ_REFUSED:
        end_with(call, status.code, vx_slice_of(status.text));
        return;
    case VX_GRPC_READ_BROKEN:
        over(call);
        return;
    }
}

static void on_readable(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct vx_grpc_call *call = user;
    if (call->state == READING)
        read_on(call);
}

static void on_writable(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct vx_grpc_call *call = user;
    if (call->state == SENDING)
        send_rest(call);
    else if (call->state == PLAIN && vx_reply_resume(&call->reply, call->down) == VX_REPLY_DONE)
        over(call);
}

static void on_failed(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct vx_grpc_call *call = user;
    if (call->state != RUNNING) {
        over(call);
        return;
    }
    struct vx_downstream *d = call->down;
    call->state = ORPHANED;
    call->down = NULL;
    d->stream.ops->release(&d->stream);
}

static const struct vx_stream_events events = {
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_failed = on_failed,
};

/* Requests */

/* `application/grpc`, which means protobuf, with or without `+proto` and parameters. */
static bool is_grpc(const struct vx_request *request) {
    const struct vx_header *h = vx_headers_find(&request->headers, VX_HEADER_CONTENT_TYPE);
    if (!h || !vx_slice_starts_with(vx_header_value(h), content_type))
        return false;
    struct vx_slice rest = vx_slice_skip(vx_header_value(h), content_type.len);
    if (vx_slice_starts_with(rest, VX_SLICE("+proto")))
        rest = vx_slice_skip(rest, 6);
    return rest.len == 0 || rest.ptr[0] == ';';
}

static bool is_compressed(const struct vx_request *request) {
    const struct vx_header *h = vx_headers_find_name(&request->headers, VX_SLICE("grpc-encoding"));
    return h && !vx_slice_eq(vx_header_value(h), VX_SLICE("identity"));
}

/* The method that `/SERVICE/METHOD` names, or NULL. */
static const struct vx_grpc_method *find_method(const struct vx_grpc_service *s, struct vx_slice path) {
    if (path.len == 0 || !vx_slice_starts_with(vx_slice_skip(path, 1), s->name))
        return NULL;
    struct vx_slice name = vx_slice_skip(path, 1 + s->name.len);
    if (name.len == 0 || name.ptr[0] != '/')
        return NULL;
    name = vx_slice_skip(name, 1);
    for (size_t i = 0; i < s->method_count; i++)
        if (vx_slice_eq(name, s->methods[i].name))
            return &s->methods[i];
    return NULL;
}

static struct vx_grpc_call *new_call(struct vx_grpc_server *s, struct vx_downstream *d) {
    struct vx_grpc_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->server = s;
    call->down = d;
    call->reader =
        (struct vx_grpc_reader){.budget = &s->budget, .limit_bytes = s->service->limits.message_bytes};
    d->stream.user = call;
    s->calls++;
    return call;
}

static void begin(struct vx_handler *self, struct vx_downstream *d, uint64_t now_ns) {
    (void)now_ns;
    struct vx_grpc_server *s = VX_CONTAINER_OF(self, struct vx_grpc_server, handler);
    const struct vx_request *request = d->request;
    d->stream.events = &events;
    struct vx_grpc_call *call = new_call(s, d);
    if (!call) {
        d->stream.ops->release(&d->stream);
        return;
    }
    call->method = find_method(s->service, request->path);
    if (request->version < VX_HTTP_2)
        refuse_http(
            call, 505,
            VX_SLICE("{\"error\":\"HTTP Version Not Supported\",\"message\":\"This socket speaks gRPC, "
                     "over HTTP/2 with prior knowledge.\"}"));
    else if (request->method != VX_METHOD_POST)
        refuse_http(call, 405, VX_SLICE("{\"error\":\"Method Not Allowed\"}"));
    else if (!is_grpc(request))
        refuse_http(call, 415,
                    VX_SLICE("{\"error\":\"Unsupported Media Type\",\"message\":\"This socket speaks gRPC: "
                             "application/grpc.\"}"));
    else if (!call->method)
        end_with(call, VX_GRPC_UNIMPLEMENTED, VX_SLICE("there is no such method"));
    else if (is_compressed(request))
        end_with(call, VX_GRPC_UNIMPLEMENTED, VX_SLICE("compressed messages are not taken"));
    else if (s->calls > s->service->limits.calls)
        end_with(call, VX_GRPC_RESOURCE_EXHAUSTED, VX_SLICE("too many calls are under way"));
    else
        read_on(call);
}

void vx_grpc_server_init(struct vx_grpc_server *s, const struct vx_grpc_service *service, void *user) {
    *s = (struct vx_grpc_server){
        .handler = {.begin = begin},
        .service = service,
        .budget = {.limit_bytes = service->limits.held_bytes},
        .user = user,
    };
}
