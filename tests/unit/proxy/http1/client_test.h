/* SPDX-License-Identifier: Apache-2.0 */
/* A backend, the HTTP/1 client and its callers over the network in memory, for the tests of this folder. */
#ifndef VX_TESTS_HTTP1_CLIENT_TEST_H
#define VX_TESTS_HTTP1_CLIENT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/http1/client.h"
#include "support/fake_transport.h"

/* One request and what its user was told. */
struct call {
    struct vx_request request;
    struct vx_header items[8];
    struct vx_arena arena;
    char first[8192];
    struct vx_upstream *up; /* NULL: released */
    unsigned readable, writable, failed, responses, interims;
    uint16_t status;
    enum vx_error_code failure;
    bool unsent; /* error.retryable */
    bool releases_on_response;
};

struct backend {
    struct vx_target_shared shared;
    struct vx_target target;
};

static inline void call_release(struct call *c) {
    struct vx_upstream *up = c->up;
    c->up = NULL;
    up->stream.ops->release(&up->stream);
}

static inline void call_on_readable(void *user, uint64_t now_ns) {
    (void)now_ns;
    ((struct call *)user)->readable++;
}

static inline void call_on_writable(void *user, uint64_t now_ns) {
    (void)now_ns;
    ((struct call *)user)->writable++;
}

static inline void call_on_failed(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct call *c = user;
    assert_non_null(c->up); /* no event after release() */
    c->failed++;
    c->failure = c->up->stream.error.code;
    c->unsent = c->up->stream.error.retryable;
}

static inline void call_on_response(void *user, struct vx_response *response, uint64_t now_ns) {
    (void)now_ns;
    struct call *c = user;
    assert_non_null(c->up);
    if (response->status < 200 && response->status != 101) {
        c->interims++;
        return;
    }
    c->responses++;
    c->status = response->status;
    if (c->releases_on_response)
        call_release(c);
}

static const struct vx_stream_events call_events = {.on_readable = call_on_readable,
                                                    .on_writable = call_on_writable,
                                                    .on_failed = call_on_failed,
                                                    .on_response = call_on_response};

static inline void backend_init(struct backend *b, uint32_t pool) {
    *b = (struct backend){0};
    b->target = (struct vx_target){
        .address = {.kind = VX_ADDRESS_IP4, .port = 80, .ip = {10, 0, 0, 1}},
        .name = VX_SLICE("b:80"),
        .shared = &b->shared,
        .pool = pool,
        .max_idle = 4,
        .queue_length = 2,
        .connect_timeout_ns = FAKE_S(1),
        .response_timeout_ns = FAKE_S(30),
        .idle_timeout_ns = FAKE_S(20),
        .pool_idle_ns = FAKE_S(60),
        .queue_timeout_ns = FAKE_S(5),
    };
}

static inline void call_init(struct call *c, enum vx_method method, enum vx_framing framing, uint64_t bytes) {
    memset(c, 0, sizeof *c);
    vx_arena_init(&c->arena, c->first, sizeof c->first, NULL);
    c->request = (struct vx_request){.method = method,
                                     .method_text = vx_method_name(method),
                                     .version = VX_HTTP_11,
                                     .framing = framing,
                                     .body_bytes = bytes,
                                     .path = VX_SLICE("/p")};
    c->request.headers = (struct vx_headers){.items = c->items, .capacity = 8};
    assert_true(
        vx_headers_add(&c->request.headers, &c->arena, VX_HEADER_HOST, VX_SLICE("host"), VX_SLICE("b")));
}

static inline bool call_open(struct call *c, struct vx_h1_client *client, const struct backend *b, bool fresh,
                             struct vx_error *error) {
    struct vx_upstream_open open = {.target = &b->target,
                                    .request = &c->request,
                                    .arena = &c->arena,
                                    .events = &call_events,
                                    .user = c,
                                    .fresh = fresh};
    c->up = client->port.open(&client->port, &open, error, client->rt->now_ns);
    return c->up != NULL;
}

/* A GET, complete from the start. */
static inline void call_get(struct call *c, struct vx_h1_client *client, const struct backend *b) {
    struct vx_error error;
    call_init(c, VX_METHOD_GET, VX_BODY_NONE, 0);
    assert_true(call_open(c, client, b, false, &error));
    c->up->stream.ops->finish(&c->up->stream, NULL);
    vx_runtime_run_tasks(client->rt); /* the end of the round, where it is sent */
}

static inline void call_post(struct call *c, struct vx_h1_client *client, const struct backend *b,
                             uint64_t bytes) {
    struct vx_error error;
    call_init(c, VX_METHOD_POST, VX_BODY_LENGTH, bytes);
    assert_true(call_open(c, client, b, false, &error));
}

static inline enum vx_pull call_pull(struct call *c, struct vx_slice *bytes) {
    return c->up->stream.ops->pull(&c->up->stream, bytes);
}

/* Reads the body up to its end, which has to be there. */
static inline void call_drink(struct call *c) {
    struct vx_slice bytes;
    enum vx_pull result;
    while ((result = call_pull(c, &bytes)) == VX_PULL_BYTES)
        c->up->stream.ops->consume(&c->up->stream, bytes.len);
    assert_int_equal(result, VX_PULL_END);
}

#define CALL_HEAD "GET /p HTTP/1.1\r\nhost: b\r\n\r\n"
#define CALL_OK   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* The whole of a GET on a connection that is dialed for it or waits in the pool; the transport it went over. */
static inline struct fake_transport *call_whole(struct call *c, struct vx_h1_client *client,
                                                const struct backend *b, struct fake_net *net) {
    unsigned before = net->count;
    call_get(c, client, b);
    if (net->count > before)
        fake_connected(fake_dialed(net));
    struct fake_transport *t = NULL;
    for (unsigned i = 0; i < net->count; i++)
        if (!net->all[i]->closed && net->all[i]->out_len)
            t = net->all[i];
    assert_non_null(t);
    assert_string_equal(fake_received(t), CALL_HEAD);
    fake_send(t, CALL_OK);
    assert_int_equal(c->status, 200);
    call_drink(c);
    call_release(c);
    fake_net_round(net);
    return t;
}

struct client_world {
    struct fake_net net;
    struct vx_places places;
    struct vx_h1_client client;
    struct backend b;
    struct call call, other, third;
};

static inline struct client_world *client_start(void) {
    struct client_world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    fake_net_init(&w->net);
    vx_places_init(&w->places, 0);
    vx_h1_client_init(&w->client, &w->net.rt, &w->places);
    backend_init(&w->b, 3);
    return w;
}

/* Nothing may be left: no connection, no place taken, no memory. */
static inline void client_end(struct client_world *w) {
    struct call *calls[] = {&w->call, &w->other, &w->third};
    for (unsigned i = 0; i < 3; i++)
        if (calls[i]->up)
            call_release(calls[i]);
    vx_h1_client_destroy(&w->client);
    assert_int_equal(w->client.connection_count, 0);
    assert_int_equal(atomic_load(&w->b.shared.connections), 0);
    assert_int_equal(atomic_load(&w->b.shared.waiting), 0);
    fake_net_free(&w->net);
    free(w);
}

#endif
