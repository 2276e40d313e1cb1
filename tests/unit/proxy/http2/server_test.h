/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/2 server over the network in memory, with an nghttp2 client at the other end, and a handler that holds requests for
 * the test to deal with. */
#ifndef VX_TESTS_HTTP2_SERVER_TEST_H
#define VX_TESTS_HTTP2_SERVER_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/http2/server.h"
#include "support/h2_peer.h"
#include "support/held.h"
#include "support/server.h"

enum { HELD_MAX = 16 };

struct world {
    struct vx_handler handler;
    struct fake_net net;
    struct vx_http_server server;
    struct fake_transport *t;
    struct h2_peer peer;
    bool holds; /* else requests are answered "ok" at once */
    struct held held[HELD_MAX];
    unsigned begun;
    char refused[64];
    uint64_t refused_bytes;
    unsigned glitches[VX_H2_GLITCH_COUNT];
    bool calmed;
};

static inline void begin(struct vx_handler *handler, struct vx_downstream *d, uint64_t now_ns) {
    (void)now_ns;
    struct world *w = (struct world *)handler;
    struct held *h = &w->held[w->begun++ % HELD_MAX];
    assert_null(h->down);
    *h = (struct held){0};
    hold(h, d);
    if (!w->holds)
        answer(h, "ok");
}

static inline void refused(struct vx_handler *handler, const struct vx_refusal *refusal, uint64_t now_ns) {
    struct world *w = (struct world *)handler;
    assert_true(refusal->started_ns <= now_ns);
    assert_int_equal(refusal->request->version, VX_HTTP_2);
    const char *word = vx_error_info(refusal->error.code)->word;
    w->refused_bytes = refusal->response_bytes;
    memcpy(w->refused, word, strlen(word) + 1);
}

static inline void glitched(void *user, const struct vx_client_info *client, enum vx_h2_glitch kind,
                            bool last) {
    assert_int_equal(client->remote.kind, VX_ADDRESS_IP4);
    struct world *w = user;
    w->glitches[kind]++;
    w->calmed = w->calmed || last;
}

static inline struct world *start_with(bool holds, uint32_t window, uint32_t glitches) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    fake_net_init(&w->net);
    w->handler.begin = begin;
    w->handler.refused = refused;
    w->holds = holds;
    fake_server_init(&w->server, &w->net, &w->handler);
    w->server.concurrent_streams = 10;
    w->server.glitches_a_minute = glitches;
    w->server.glitched = glitched;
    w->server.user = w;
    w->t = fake_transport_new(&w->net);
    vx_http_server_accept(&w->server, &w->t->base);
    h2_peer_init(&w->peer, w->t, false, window);
    h2_peer_talk(&w->peer);
    return w;
}

static inline struct world *start(bool holds) {
    return start_with(holds, 0, 100);
}

static inline void end(struct world *w) {
    h2_peer_free(&w->peer);
    vx_http_server_close_all(&w->server);
    fake_net_round(&w->net);
    for (unsigned i = 0; i < HELD_MAX; i++)
        assert_null(w->held[i].down);
    assert_int_equal(w->server.connection_count, 0);
    fake_net_free(&w->net);
    free(w);
}

static const char *const post[] = {":method", "POST",  ":scheme", "http", ":authority",
                                   "a",       ":path", "/",       NULL};

#endif
