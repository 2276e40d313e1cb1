/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that a plugin sends of its own, through the worker's HTTP client, to a route's backends or to one backend by
 * its address. The guest is told of what comes of each in the root context, by the id that it was given. http_call.c
 * and grpc_call.c have what differs between kinds of calls. */
#ifndef VX_FILTERS_PROXY_WASM_CALL_H
#define VX_FILTERS_PROXY_WASM_CALL_H

#include "core/base/heap.h"
#include "core/routing/balance/pick.h"
#include "filters/proxy_wasm/vm.h"

enum {
    VX_PWASM_CALLS_MAX = 1000,                /* of one VM at a time */
    VX_PWASM_CALL_OUT_MAX = 16 * 1024 * 1024, /* bytes of a body that wait to be sent */
    VX_PWASM_CALL_FIRST_BYTES = 2048,
};

/* The kind of a call is the low part of its id, as in Envoy. */
enum vx_pwasm_call_kind {
    VX_PWASM_CALL_HTTP,
    VX_PWASM_CALL_GRPC,
    VX_PWASM_CALL_STREAM,
    VX_PWASM_CALL_KINDS = 4
};

#define VX_PWASM_CALL_STATES(X)                                                                              \
    X(WAITING) /* for the VM to take part */                                                                 \
    X(SENT)    /* with the client */                                                                         \
    X(FAILED)  /* the timer will tell the guest */

enum vx_pwasm_call_state {
#define X(name) VX_PWASM_CALL_##name,
    VX_PWASM_CALL_STATES(X)
#undef X
};

struct vx_pwasm_call;

/* What a kind makes of what comes. Each calls the guest once at most, but at the end. All but fail() return false when the
 * call has ended and is gone. */
struct vx_pwasm_call_ops {
    bool (*head)(struct vx_pwasm_call *c, uint64_t now_ns); /* c->response is there */
    /* Takes something from the front of *bytes. */
    bool (*bytes)(struct vx_pwasm_call *c, struct vx_slice *bytes, uint64_t now_ns);
    void (*end)(struct vx_pwasm_call *c, uint64_t now_ns);  /* whole; ends the call */
    void (*fail)(struct vx_pwasm_call *c, uint64_t now_ns); /* c->error says why; ends the call */
};

struct vx_pwasm_call {
    struct vx_list link;
    struct vx_pwasm_vm *vm;
    const struct vx_pwasm_call_ops *ops;
    uint32_t id;
    enum vx_pwasm_call_state state;
    struct vx_heap heap; /* of the arena: a call can be made on the control thread */
    struct vx_arena arena;
    struct vx_slice upstream_name;
    struct vx_request request;
    struct vx_headers trailers;
    char *out; /* the body, kept whole as long as it may have to be sent again */
    size_t out_len, out_room, out_sent;
    bool whole;    /* nothing is added to `out` any more */
    bool finished; /* and the stream knows */
    bool again;    /* it was sent a second time, on a fresh connection */
    bool telling;  /* a callback about it is running: it cannot go under that */
    bool ended;    /* it was to go meanwhile */
    uint64_t timeout_ns;
    struct vx_timer timer;
    struct vx_pwasm_turn turn; /* to tell the guest of what has come */
    struct vx_snapshot *snapshot;
    struct vx_upstream *up;
    struct vx_backend_ticket ticket;
    struct vx_response *response; /* the final head; NULL: none yet */
    bool head_told;
    char *got; /* what has come of the body, or of a message in it */
    size_t got_len, got_room;
    enum vx_error_code error;
    char first[VX_PWASM_CALL_FIRST_BYTES];
};

struct vx_pwasm_call_request {
    struct vx_slice upstream;
    const struct vx_field *fields;
    uint32_t field_count;
    struct vx_slice body;
    const struct vx_field *trailers;
    uint32_t trailer_count;
    uint32_t timeout_ms; /* 0: the timeouts of the route alone */
};

/* Of http_call.c and grpc_call.c: copies the request and sends it, or puts it off until the VM takes part. */

/* BAD_ARGUMENT: fields are missing or cannot be sent, or no route and no backend has that name; INTERNAL_FAILURE: no
 * memory, or too many under way. */
enum vx_pwasm_status vx_pwasm_call_http(struct vx_pwasm_vm *vm, const struct vx_pwasm_call_request *request,
                                        uint32_t *id);

struct vx_pwasm_grpc_request {
    struct vx_slice upstream, service, method;
    const struct vx_field *metadata;
    uint32_t metadata_count;
    struct vx_slice message; /* of a call */
    uint32_t timeout_ms;     /* of a call */
    bool stream;
};

/* PARSE_FAILURE: no such upstream; INTERNAL_FAILURE: it does not speak HTTP/2, fields cannot be sent, no memory, too many
 * under way. */
enum vx_pwasm_status vx_pwasm_call_grpc(struct vx_pwasm_vm *vm, const struct vx_pwasm_grpc_request *request,
                                        uint32_t *id);

/* One more message, or none, on a stream. NOT_FOUND; BAD_ARGUMENT: it is no stream's id; INTERNAL_FAILURE: too much waits
 * to be sent. */
enum vx_pwasm_status vx_pwasm_call_grpc_send(struct vx_pwasm_vm *vm, uint32_t id, struct vx_slice message,
                                             bool has_message, bool end);

/* Ends a gRPC call or stream, of which the guest hears nothing more; `close` of a stream only ends what it sends. */
enum vx_pwasm_status vx_pwasm_call_grpc_end(struct vx_pwasm_vm *vm, uint32_t id, bool close);

/* Of call.c, for those two: */

/* A call with nothing in it. NULL: no memory, or too many. */
struct vx_pwasm_call *vx_pwasm_call_make(struct vx_pwasm_vm *vm, const struct vx_pwasm_call_ops *ops);

/* The fields as a request's head. */
enum vx_pwasm_status vx_pwasm_call_fill(struct vx_pwasm_call *c, struct vx_slice upstream,
                                        const struct vx_field *fields, uint32_t count);

/* Appends to what is sent. False: no memory, or too much waits. */
bool vx_pwasm_call_put(struct vx_pwasm_call *c, struct vx_slice bytes);

/* Gives it its id and sends it, if the VM takes part. */
void vx_pwasm_call_begin(struct vx_pwasm_call *c, enum vx_pwasm_call_kind kind);

/* Sends on what was put. */
void vx_pwasm_call_push(struct vx_pwasm_call *c);

/* Appends to what was received. False: no memory, or more than the plugin may hold of a body. */
bool vx_pwasm_call_keep(struct vx_pwasm_call *c, struct vx_slice bytes);

/* Ends a call of which a kind's function has told the guest all, or that never began. */
void vx_pwasm_call_free(struct vx_pwasm_call *c, enum vx_backend_outcome outcome, uint64_t now_ns);

/* The guest, which is running, does not want it any more, or has died. */
void vx_pwasm_call_abandon(struct vx_pwasm_call *c);

/* Fails it, whose turn it is, as if its stream had broken. */
void vx_pwasm_call_fail(struct vx_pwasm_call *c, struct vx_error error, uint64_t now_ns);

struct vx_pwasm_call *vx_pwasm_call_find(struct vx_pwasm_vm *vm, uint32_t id);

/* Whether a route or backend has this name; *http2: and what it speaks. Not asked unless the VM takes part. */
bool vx_pwasm_call_knows(const struct vx_pwasm_vm *vm, struct vx_slice upstream, bool *http2);

uint32_t vx_pwasm_call_count_fields(struct vx_field_map *map);

/* Of call.c, for the VM: */

/* Sends what was put off, at the end of the round. The worker's thread. */
void vx_pwasm_calls_launch(struct vx_pwasm_vm *vm, uint64_t now_ns);

/* The VM has died or comes to its end: they end without a word to the guest. One that is being told of is gone when that
 * has returned. The worker's thread. */
void vx_pwasm_calls_drop(struct vx_pwasm_vm *vm);

#endif
