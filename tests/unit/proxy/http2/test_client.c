/* SPDX-License-Identifier: Apache-2.0 */
/* One request over HTTP/2: what is sent, what its user is told, how it ends. */
#include "unit/proxy/http2/client_test.h"

static void a_get(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    assert_int_equal(p->streams, 1);
    assert_int_equal(p->ended, 1); /* END_STREAM came with the head */
    struct vx_slice bytes;
    peer_answer(w, p, 1, "200", "hello");
    assert_int_equal(c->status, 200);
    assert_int_equal(call_pull(c, &bytes), VX_PULL_BYTES);
    assert_memory_equal(bytes.ptr, "hello", 5);
    assert_int_equal(call_drink(c), 5);
    call_release(c);
    peer_run(w, p);
    assert_int_equal(p->resets, 0);
    assert_int_equal(w->client.connection_count, 1);
    world_end(w);
}

static void a_body_that_waits_for_the_connection(void **state) {
    (void)state;
    struct world *w = world_start();
    struct vx_error error;
    struct call *c = &w->calls[0];
    struct vx_slice body = VX_SLICE("0123456789");
    call_init(c, VX_METHOD_POST, VX_BODY_LENGTH, 10);
    assert_true(call_open(w, c, false, &error));
    assert_int_equal(c->up->stream.ops->push(&c->up->stream, body), 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    assert_int_equal(c->writable, 1);
    assert_int_equal(c->up->stream.ops->push(&c->up->stream, body), 10);
    c->up->stream.ops->finish(&c->up->stream, NULL);
    peer_run(w, p);
    assert_int_equal(p->body, 10);
    assert_int_equal(p->ended, 1);
    world_end(w);
}

/* END_STREAM would tell the backend that it has all of it. */
static void a_body_that_falls_short_is_not_ended(void **state) {
    (void)state;
    struct world *w = world_start();
    struct vx_error error;
    struct call *c = &w->calls[0];
    call_init(c, VX_METHOD_POST, VX_BODY_LENGTH, 10);
    assert_true(call_open(w, c, false, &error));
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    assert_int_equal(c->up->stream.ops->push(&c->up->stream, VX_SLICE("0123")), 4);
    c->up->stream.ops->finish(&c->up->stream, NULL);
    peer_run(w, p);
    assert_int_equal(p->body, 4);
    assert_int_equal(p->ended, 0);
    call_release(c);
    peer_run(w, p);
    assert_int_equal(p->resets, 1);
    world_end(w);
}

static void interim_and_final_heads(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    nghttp2_nv early[] = {h2_field(":status", "103")};
    assert_true(nghttp2_submit_headers(p->ng, 0, 1, NULL, early, 1, NULL) >= 0);
    peer_run(w, p);
    assert_int_equal(c->interims, 1);
    peer_answer(w, p, 1, "404", NULL);
    assert_int_equal(c->status, 404);
    assert_int_equal(call_drink(c), 0);
    world_end(w);
}

/* Also when they come all at once and only the last would be told. */
static void interim_heads_without_end(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    nghttp2_nv early[] = {h2_field(":status", "103")};
    for (unsigned i = 0; i < 33; i++)
        assert_true(nghttp2_submit_headers(p->ng, 0, 1, NULL, early, 1, NULL) >= 0);
    char all[4096];
    const uint8_t *bytes;
    size_t len = 0;
    for (nghttp2_ssize n; (n = nghttp2_session_mem_send2(p->ng, &bytes)) > 0; len += (size_t)n) {
        assert_true((size_t)n <= sizeof all - len);
        memcpy(all + len, bytes, (size_t)n);
    }
    fake_send_bytes(p->t, all, len);
    peer_run(w, p);
    assert_int_equal(c->failed, 1);
    assert_int_equal(c->failure.code, VX_ERR_BAD_RESPONSE);
    world_end(w);
}

static void a_request_that_is_given_up(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    call_release(c);
    peer_run(w, p);
    assert_int_equal(p->resets, 1);
    assert_int_equal(p->code, NGHTTP2_CANCEL);
    world_end(w);
}

static void a_request_that_is_given_up_before_it_was_sent(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0), *other = call_get(w, 1);
    call_release(c);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    assert_int_equal(p->streams, 1);
    peer_answer(w, p, 1, "200", "x");
    assert_int_equal(other->status, 200);
    world_end(w);
}

static void what_was_refused_may_be_sent_again(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    peer_reset(w, p, 1, NGHTTP2_REFUSED_STREAM);
    assert_int_equal(c->failed, 1);
    assert_int_equal(c->failure.code, VX_ERR_BACKEND_REFUSED);
    assert_true(c->failure.retryable);
    world_end(w);
}

static void what_was_reset_may_not(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    peer_reset(w, p, 1, NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(c->failure.code, VX_ERR_BACKEND_RESET);
    assert_false(c->failure.retryable);
    assert_true(c->was_sent);
    world_end(w);
}

static void time_limits(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *silent = call_get(w, 0), *stalled = call_get(w, 1);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    peer_run(w, p);
    nghttp2_nv fields[] = {h2_field(":status", "200")};
    assert_true(nghttp2_submit_headers(p->ng, 0, 3, NULL, fields, 1, NULL) >= 0);
    peer_run(w, p);
    assert_int_equal(stalled->status, 200);
    struct vx_slice bytes;
    assert_int_equal(call_pull(stalled, &bytes), VX_PULL_WAIT);
    nghttp2_data_provider2 more = {{.ptr = (void *)(uintptr_t) "abc"}, peer_body};
    assert_int_equal(nghttp2_submit_data2(p->ng, 0, 3, &more), 0); /* and not the end */
    peer_run(w, p);
    assert_int_equal(stalled->readable, 1);
    fake_net_advance(&w->net, FAKE_S(31)); /* nobody pulls: it is the client that is slow */
    assert_int_equal(silent->failure.code, VX_ERR_RESPONSE_TIMEOUT);
    assert_int_equal(stalled->failed, 0);
    assert_int_equal(call_pull(stalled, &bytes), VX_PULL_BYTES);
    stalled->up->stream.ops->consume(&stalled->up->stream, bytes.len);
    assert_int_equal(call_pull(stalled, &bytes), VX_PULL_WAIT);
    fake_net_advance(&w->net, FAKE_S(21));
    assert_int_equal(stalled->failure.code, VX_ERR_BODY_TIMEOUT);
    world_end(w);
}

static void a_websocket(void **state) {
    (void)state;
    struct world *w = world_start();
    struct vx_error error;
    struct call *c = &w->calls[0];
    call_init(c, VX_METHOD_GET, VX_BODY_NONE, 0);
    c->request.upgrade = true;
    assert_true(vx_headers_add(&c->request.headers, &c->arena, VX_HEADER_UPGRADE, VX_SLICE("upgrade"),
                               VX_SLICE("websocket")));
    assert_true(call_open(w, c, false, &error));
    c->up->stream.ops->finish(&c->up->stream, NULL);
    struct peer *p = peer_connected(w, 0, true);
    assert_int_equal(p->streams, 0); /* not before the backend has said that it knows them */
    peer_run(w, p);
    assert_int_equal(p->streams, 1);
    assert_true(p->extended);
    assert_int_equal(p->ended, 0);
    nghttp2_nv fields[] = {h2_field(":status", "200")};
    assert_true(nghttp2_submit_headers(p->ng, 0, 1, NULL, fields, 1, NULL) >= 0);
    peer_run(w, p);
    assert_int_equal(c->status, 101);
    assert_int_equal(c->up->stream.ops->push(&c->up->stream, VX_SLICE("frame")), 5);
    c->up->stream.ops->finish(&c->up->stream, NULL);
    peer_run(w, p);
    assert_int_equal(p->body, 5);
    assert_int_equal(p->ended, 1);
    world_end(w);
}

static void a_backend_without_websockets(void **state) {
    (void)state;
    struct world *w = world_start();
    struct vx_error error;
    struct call *c = &w->calls[0];
    call_init(c, VX_METHOD_GET, VX_BODY_NONE, 0);
    c->request.upgrade = true;
    assert_true(vx_headers_add(&c->request.headers, &c->arena, VX_HEADER_UPGRADE, VX_SLICE("upgrade"),
                               VX_SLICE("websocket")));
    assert_true(call_open(w, c, false, &error));
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    assert_int_equal(c->failure.code, VX_ERR_NOT_IMPLEMENTED);
    assert_int_equal(p->streams, 0);
    world_end(w);
}

/* RFC 9110 §8.6: it tells the length of what a 200 would have brought. */
static void a_304_with_a_length_that_ends_behind_its_head(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    nghttp2_nv fields[] = {h2_field(":status", "304"), h2_field("content-length", "5")};
    nghttp2_data_provider2 nothing = {{.ptr = (void *)(uintptr_t) ""}, peer_body};
    assert_int_equal(nghttp2_submit_response2(p->ng, p->last, fields, 2, &nothing), 0);
    peer_run(w, p);
    assert_int_equal(c->failed, 0);
    assert_int_equal(c->status, 304);
    assert_int_equal(call_drink(c), 0);
    world_end(w);
}

/* A call that sends on as its window lets it, then large trailers. */
struct upload {
    struct call *call;
    struct vx_headers trailers;
    char body[1400];
    size_t sent;
};

static void send_on(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct upload *u = user;
    struct vx_stream *s = &u->call->up->stream;
    u->sent += s->ops->push(s, vx_slice(u->body + u->sent, sizeof u->body - u->sent));
    if (u->sent == sizeof u->body)
        s->ops->finish(s, &u->trailers);
}

static void drop_event(void *user, uint64_t now_ns) {
    (void)user, (void)now_ns;
}

/* The last thing that is said on the connection is a head of many frames, and nothing but the peer's window led to it. */
static void large_trailers_behind_a_body_that_waited(void **state) {
    (void)state;
    static const struct vx_stream_events events = {
        .on_readable = drop_event, .on_writable = send_on, .on_failed = drop_event};
    static char value[40000];
    struct world *w = world_start();
    struct vx_error error;
    struct upload u = {.call = &w->calls[1]};
    call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1000};
    assert_int_equal(nghttp2_submit_settings(p->ng, 0, &window, 1), 0);
    peer_run(w, p);
    call_init(u.call, VX_METHOD_POST, VX_BODY_CHUNKED, 0);
    memset(value, '|', sizeof value); /* no shorter in Huffman's code */
    assert_true(vx_headers_add(&u.trailers, &u.call->arena, VX_HEADER_OTHER, VX_SLICE("x-large"),
                               vx_slice(value, sizeof value)));
    assert_true(call_open(w, u.call, false, &error));
    u.call->up->stream.events = &events;
    u.call->up->stream.user = &u;
    send_on(&u, 0);
    assert_int_equal(u.sent, 1000);
    peer_run(w, p);
    assert_int_equal(p->body, sizeof u.body);
    assert_int_equal(p->ended, 2);
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_304_with_a_length_that_ends_behind_its_head),
        cmocka_unit_test(a_get),
        cmocka_unit_test(a_body_that_waits_for_the_connection),
        cmocka_unit_test(a_body_that_falls_short_is_not_ended),
        cmocka_unit_test(interim_and_final_heads),
        cmocka_unit_test(interim_heads_without_end),
        cmocka_unit_test(a_request_that_is_given_up),
        cmocka_unit_test(a_request_that_is_given_up_before_it_was_sent),
        cmocka_unit_test(what_was_refused_may_be_sent_again),
        cmocka_unit_test(what_was_reset_may_not),
        cmocka_unit_test(time_limits),
        cmocka_unit_test(a_websocket),
        cmocka_unit_test(a_backend_without_websockets),
        cmocka_unit_test(large_trailers_behind_a_body_that_waited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
