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
#include "support/call.h"

struct backend {
    struct vx_target_shared shared;
    struct vx_target target;
};

static inline void backend_init(struct backend *b, uint32_t pool) {
    *b = (struct backend){0};
    b->target = call_target(&b->shared, pool);
}

static inline bool call_open(struct call *c, struct vx_h1_client *client, const struct backend *b, bool fresh,
                             struct vx_error *error) {
    return call_open_at(c, &client->port, &b->target, fresh, client->rt->now_ns, error);
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

#define CALL_HEAD "GET /p HTTP/1.1\r\nHost: b\r\n\r\n"
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

/* The first call is a GET, over a connection that was dialed for it and stands. */
static inline struct fake_transport *client_gets(struct client_world *w) {
    call_get(&w->call, &w->client, &w->b);
    struct fake_transport *t = fake_dialed(&w->net);
    fake_connected(t);
    return t;
}

/* The same for a POST, whose body has not begun. */
static inline struct fake_transport *client_posts(struct client_world *w, uint64_t bytes) {
    call_post(&w->call, &w->client, &w->b, bytes);
    struct fake_transport *t = fake_dialed(&w->net);
    fake_connected(t);
    return t;
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
