/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/2 client and its callers over the network in memory, and backends that are nghttp2's own server sessions, driven
 * frame by frame, for the tests of this folder. */
#ifndef VX_TESTS_HTTP2_CLIENT_TEST_H
#define VX_TESTS_HTTP2_CLIENT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/http2/client_internal.h"
#include "support/fake_transport.h"

enum { CALLS = 8, PEERS = 4 };

/* One request and what its user was told. */
struct call {
    struct vx_request request;
    struct vx_header items[8];
    struct vx_arena arena;
    char first[16384];
    struct vx_upstream *up; /* NULL: released */
    unsigned readable, writable, failed, responses, interims;
    uint16_t status;
    struct vx_error failure;
    bool was_sent;
};

/* A backend's end of one connection. */
struct peer {
    nghttp2_session *ng;
    struct fake_transport *t;
    size_t read; /* of t->out */
    int32_t last;
    unsigned streams, ended, resets, pings, goaways;
    uint32_t code; /* of the last reset */
    bool extended; /* a stream with :protocol came */
    size_t body;
};

struct world {
    struct fake_net net;
    struct vx_places places;
    struct vx_h2_client client;
    struct vx_target_shared shared;
    struct vx_target target;
    struct call calls[CALLS];
    struct peer peers[PEERS];
};

static inline void on_readable(void *user, uint64_t now_ns) {
    (void)now_ns;
    ((struct call *)user)->readable++;
}

static inline void on_writable(void *user, uint64_t now_ns) {
    (void)now_ns;
    ((struct call *)user)->writable++;
}

static inline void on_failed(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct call *c = user;
    assert_non_null(c->up);
    c->failed++;
    c->failure = c->up->stream.error;
    c->was_sent = c->up->sent;
}

static inline void on_response(void *user, struct vx_response *response, uint64_t now_ns) {
    (void)now_ns;
    struct call *c = user;
    assert_non_null(c->up);
    if (response->status < 200 && response->status != 101) {
        c->interims++;
        return;
    }
    c->responses++;
    c->status = response->status;
}

static const struct vx_stream_events call_events = {on_readable, on_writable, on_failed, on_response};

static inline struct world *world_start(void) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    fake_net_init(&w->net);
    vx_places_init(&w->places, 0);
    vx_h2_client_init(&w->client, &w->net.rt, &w->places);
    w->target = (struct vx_target){
        .address = {.kind = VX_ADDRESS_IP4, .port = 80, .ip = {10, 0, 0, 1}},
        .name = VX_SLICE("b:80"),
        .shared = &w->shared,
        .http2 = true,
        .pool = 3,
        .max_idle = 4,
        .queue_length = 2,
        .connect_timeout_ns = FAKE_S(1),
        .response_timeout_ns = FAKE_S(30),
        .idle_timeout_ns = FAKE_S(20),
        .pool_idle_ns = FAKE_S(60),
        .queue_timeout_ns = FAKE_S(5),
    };
    return w;
}

static inline void call_release(struct call *c) {
    struct vx_upstream *up = c->up;
    c->up = NULL;
    up->stream.ops->release(&up->stream);
}

/* Nothing may be left: no connection, no place taken, no memory. */
static inline void world_end(struct world *w) {
    for (unsigned i = 0; i < CALLS; i++)
        if (w->calls[i].up)
            call_release(&w->calls[i]);
    vx_h2_client_destroy(&w->client);
    assert_int_equal(w->client.connection_count, 0);
    assert_int_equal(atomic_load(&w->shared.connections), 0);
    assert_int_equal(atomic_load(&w->shared.waiting), 0);
    for (unsigned i = 0; i < PEERS; i++)
        if (w->peers[i].ng)
            nghttp2_session_del(w->peers[i].ng);
    fake_net_free(&w->net);
    free(w);
}

/* Prepares a request; a body of `bytes`, or none. */
static inline void call_init(struct call *c, enum vx_method method, uint64_t bytes) {
    memset(c, 0, sizeof *c);
    vx_arena_init(&c->arena, c->first, sizeof c->first, NULL);
    c->request = (struct vx_request){
        .method = method,
        .method_text = vx_method_name(method),
        .version = VX_HTTP_11,
        .framing = bytes ? VX_BODY_LENGTH : VX_BODY_NONE,
        .body_bytes = bytes,
        .path = VX_SLICE("/p"),
        .headers = {.items = c->items, .capacity = 8},
    };
    assert_true(
        vx_headers_add(&c->request.headers, &c->arena, VX_HEADER_HOST, VX_SLICE("Host"), VX_SLICE("b")));
}

static inline bool call_open_on(struct world *w, struct vx_h2_client *client, struct call *c, bool fresh,
                                struct vx_error *error) {
    struct vx_upstream_open open = {.target = &w->target,
                                    .request = &c->request,
                                    .arena = &c->arena,
                                    .events = &call_events,
                                    .user = c,
                                    .fresh = fresh};
    c->up = client->port.open(&client->port, &open, error, w->net.rt.now_ns);
    return c->up != NULL;
}

static inline bool call_open(struct world *w, struct call *c, bool fresh, struct vx_error *error) {
    return call_open_on(w, &w->client, c, fresh, error);
}

/* A GET, complete from the start. */
static inline struct call *call_get_on(struct world *w, struct vx_h2_client *client, unsigned number) {
    struct vx_error error;
    struct call *c = &w->calls[number];
    call_init(c, VX_METHOD_GET, 0);
    assert_true(call_open_on(w, client, c, false, &error));
    c->up->stream.ops->finish(&c->up->stream, NULL);
    return c;
}

static inline struct call *call_get(struct world *w, unsigned number) {
    return call_get_on(w, &w->client, number);
}

static inline enum vx_pull call_pull(struct call *c, struct vx_slice *bytes) {
    return c->up->stream.ops->pull(&c->up->stream, bytes);
}

/* Reads the body up to its end, which has to be there; its length. */
static inline size_t call_drink(struct call *c) {
    struct vx_slice bytes;
    enum vx_pull result;
    size_t sum = 0;
    while ((result = call_pull(c, &bytes)) == VX_PULL_BYTES) {
        sum += bytes.len;
        c->up->stream.ops->consume(&c->up->stream, bytes.len);
    }
    assert_int_equal(result, VX_PULL_END);
    return sum;
}

/* --- The backend -------------------------------------------------------------------------------------------------- */

static inline int peer_on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    (void)ng;
    struct peer *p = user;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        p->streams++;
        p->last = frame->hd.stream_id;
    }
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && ends)
        p->ended++;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        p->resets++;
        p->code = frame->rst_stream.error_code;
    }
    if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
        p->pings++;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        p->goaways++;
    return 0;
}

static inline int peer_on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                                 size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                                 void *user) {
    (void)ng, (void)frame, (void)value, (void)value_len, (void)flags;
    struct peer *p = user;
    p->extended |= vx_slice_eq(vx_slice((const char *)name, name_len), VX_SLICE(":protocol"));
    /* Names of HTTP/1 arrive in lower case, and Host as :authority. */
    assert_false(vx_slice_ieq(vx_slice((const char *)name, name_len), VX_SLICE("host")));
    return 0;
}

static inline int peer_on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data,
                               size_t len, void *user) {
    (void)ng, (void)flags, (void)id, (void)data;
    ((struct peer *)user)->body += len;
    return 0;
}

/* Lets the two sides talk until both are silent. */
static inline void peer_run(struct world *w, struct peer *p) {
    for (bool moved = true; moved && !p->t->closed;) {
        const uint8_t *bytes;
        moved = false;
        fake_net_round(&w->net);
        if (p->read < p->t->out_len) {
            size_t n = p->t->out_len - p->read;
            assert_int_equal(nghttp2_session_mem_recv2(p->ng, (const uint8_t *)p->t->out + p->read, n), n);
            p->read = p->t->out_len;
            moved = true;
        }
        for (nghttp2_ssize n; (n = nghttp2_session_mem_send2(p->ng, &bytes)) > 0; moved = true)
            if (!p->t->closed)
                fake_send_bytes(p->t, (const char *)bytes, (size_t)n);
    }
}

/* The latest dialed connection stands, and a backend with this limit of streams (0: none) is behind it. It says nothing
 * before peer_run. */
static inline struct peer *peer_connected(struct world *w, uint32_t streams, bool extended) {
    struct peer *p = w->peers;
    while (p->ng)
        p++;
    assert_true(p < w->peers + PEERS);
    p->t = fake_dialed(&w->net);
    nghttp2_session_callbacks *callbacks;
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, peer_on_frame);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, peer_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, peer_on_data);
    assert_int_equal(nghttp2_session_server_new(&p->ng, callbacks, p), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams ? streams : UINT32_MAX},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, extended},
    };
    assert_int_equal(nghttp2_submit_settings(p->ng, 0, settings, extended ? 2 : 1), 0);
    fake_connected(p->t);
    return p;
}

static inline nghttp2_nv field(const char *name, const char *value) {
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                        0};
}

static inline nghttp2_ssize peer_body(nghttp2_session *ng, int32_t id, uint8_t *to, size_t length,
                                      uint32_t *flags, nghttp2_data_source *source, void *user) {
    (void)ng, (void)id, (void)user;
    const char *text = source->ptr;
    size_t n = strlen(text);
    assert_true(n <= length);
    memcpy(to, text, n);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (nghttp2_ssize)n;
}

/* Answers the stream; `body` NULL: none. */
static inline void peer_answer(struct world *w, struct peer *p, int32_t id, const char *status,
                               const char *body) {
    nghttp2_nv fields[] = {field(":status", status), field("x-a", "1")};
    nghttp2_data_provider2 provider = {{.ptr = (void *)(uintptr_t)body}, peer_body};
    assert_int_equal(nghttp2_submit_response2(p->ng, id, fields, 2, body ? &provider : NULL), 0);
    peer_run(w, p);
}

static inline void peer_reset(struct world *w, struct peer *p, int32_t id, uint32_t code) {
    assert_int_equal(nghttp2_submit_rst_stream(p->ng, 0, id, code), 0);
    peer_run(w, p);
}

#endif
