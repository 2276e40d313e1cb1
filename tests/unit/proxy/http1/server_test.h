/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/1 server over the network in memory, with a handler that does what a test says, for the tests of this folder. */
#ifndef VX_TESTS_HTTP1_SERVER_TEST_H
#define VX_TESTS_HTTP1_SERVER_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/http1/server.h"
#include "support/held.h"
#include "support/server.h"

/* A handler that either answers "ok" at once or holds the request for the test to deal with. */
struct world {
    struct vx_handler handler;
    struct fake_net net;
    struct vx_http_server server;
    struct fake_transport *t;
    bool holds;
    const char *cut;        /* requests for this path are let go of without an answer */
    struct held held;       /* one request at a time */
    char paths[256];        /* of all requests, with a blank behind each */
    char refused[64];       /* the word of the last refusal */
    uint64_t refused_bytes; /* of its answer */
};

static inline void begin(struct vx_handler *handler, struct vx_downstream *d, uint64_t now_ns) {
    (void)now_ns;
    struct world *w = (struct world *)handler;
    size_t len = strlen(w->paths);
    assert_true(len + d->request->path.len + 2 < sizeof w->paths);
    memcpy(w->paths + len, d->request->path.ptr, d->request->path.len);
    w->paths[len + d->request->path.len] = ' ';
    hold(&w->held, d);
    if (w->cut && vx_slice_eq(d->request->path, vx_slice_of(w->cut)))
        let_go(&w->held);
    else if (!w->holds)
        answer(&w->held, "ok");
}

static inline void refused(struct vx_handler *handler, const struct vx_refusal *refusal, uint64_t now_ns) {
    assert_true(refusal->started_ns <= now_ns);
    assert_true(vx_slice_eq(refusal->client->remote_text, VX_SLICE("192.0.2.1")));
    struct world *w = (struct world *)handler;
    const char *word = vx_error_info(refusal->error.code)->word;
    w->refused_bytes = refusal->response_bytes;
    memcpy(w->refused, word, strlen(word) + 1);
}

static inline struct world *start(bool holds) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    fake_net_init(&w->net);
    w->handler.begin = begin;
    w->handler.refused = refused;
    w->holds = holds;
    fake_server_init(&w->server, &w->net, &w->handler);
    w->t = fake_transport_new(&w->net);
    vx_http_server_accept(&w->server, &w->t->base);
    return w;
}

static inline void end(struct world *w) {
    vx_http_server_close_all(&w->server);
    assert_null(w->held.down);
    assert_int_equal(w->server.connection_count, 0);
    fake_net_free(&w->net);
    free(w);
}

static inline void assert_begins(const char *text, const char *start_text) {
    assert_int_equal(strncmp(text, start_text, strlen(start_text)), 0);
}

#define OK        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define OK_CLOSE  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static inline void respond(struct world *w, uint16_t status, enum vx_framing framing, uint64_t bytes) {
    struct vx_response r = {.status = status, .version = VX_HTTP_11, .framing = framing, .body_bytes = bytes};
    w->held.down->ops->respond(w->held.down, &r);
}

static inline void push(struct world *w, const char *text) {
    assert_int_equal(w->held.down->stream.ops->push(&w->held.down->stream, vx_slice_of(text)), strlen(text));
}

static inline void finish(struct world *w) {
    w->held.down->stream.ops->finish(&w->held.down->stream, NULL);
}

/* Finishes and lets go, and the round ends. */
static inline void end_answer(struct world *w) {
    finish(w);
    let_go(&w->held);
    fake_net_round(&w->net);
}

#endif
