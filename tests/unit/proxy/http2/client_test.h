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
#include "support/call.h"
#include "support/h2_session.h"

enum { CALLS = 8, PEERS = 4 };

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

static inline struct world *world_start(void) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    fake_net_init(&w->net);
    vx_places_init(&w->places, 0);
    vx_h2_client_init(&w->client, &w->net.rt, &w->places);
    w->target = call_target(&w->shared, 3);
    w->target.http2 = true;
    return w;
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

static inline bool call_open(struct world *w, struct call *c, bool fresh, struct vx_error *error) {
    return call_open_at(c, &w->client.port, &w->target, fresh, w->net.rt.now_ns, error);
}

/* A GET, complete from the start. */
static inline struct call *call_get_on(struct world *w, struct vx_h2_client *client, unsigned number) {
    struct vx_error error;
    struct call *c = &w->calls[number];
    call_init(c, VX_METHOD_GET, VX_BODY_NONE, 0);
    assert_true(call_open_at(c, &client->port, &w->target, false, w->net.rt.now_ns, &error));
    c->up->stream.ops->finish(&c->up->stream, NULL);
    return c;
}

static inline struct call *call_get(struct world *w, unsigned number) {
    return call_get_on(w, &w->client, number);
}

static inline unsigned calls_that_count(const struct world *w) {
    unsigned sum = 0;
    for (unsigned i = 0; i < CALLS; i++)
        sum += w->calls[i].counts;
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
    p->ng = h2_session_new(
        &(struct h2_session_kind){
            .server = true, .on_header = peer_on_header, .on_data = peer_on_data, .on_frame = peer_on_frame},
        p);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams ? streams : UINT32_MAX},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, extended},
    };
    assert_int_equal(nghttp2_submit_settings(p->ng, 0, settings, extended ? 2 : 1), 0);
    fake_connected(p->t);
    return p;
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
    nghttp2_nv fields[] = {h2_field(":status", status), h2_field("x-a", "1")};
    nghttp2_data_provider2 provider = {{.ptr = (void *)(uintptr_t)body}, peer_body};
    assert_int_equal(nghttp2_submit_response2(p->ng, id, fields, 2, body ? &provider : NULL), 0);
    peer_run(w, p);
}

static inline void peer_reset(struct world *w, struct peer *p, int32_t id, uint32_t code) {
    assert_int_equal(nghttp2_submit_rst_stream(p->ng, 0, id, code), 0);
    peer_run(w, p);
}

#endif
