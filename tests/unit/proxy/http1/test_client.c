/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to a backend, row by row of the table in client_connection.c. */
#include "unit/proxy/http1/client_test.h"

static void test_a_request_and_its_answer(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct vx_slice bytes;
    call_get(&w->call, &w->client, &w->b);
    struct fake_transport *t = fake_dialed(&w->net);
    assert_false(w->call.up->sent);
    assert_int_equal(atomic_load(&w->b.shared.connections), 1);
    fake_net_advance(&w->net, FAKE_MS(5));
    fake_connected(t);
    assert_true(w->call.up->sent);
    assert_int_equal(w->call.up->sent_ns, w->net.rt.now_ns);
    assert_int_equal(w->call.up->connect_ns, FAKE_MS(5));
    assert_false(w->call.up->reused);
    assert_string_equal(fake_received(t), CALL_HEAD);
    fake_send(t, "HTTP/1.1 200 OK\r\nContent-Le");
    assert_int_equal(w->call.responses, 0);
    fake_send(t, "ngth: 4\r\n\r\nab");
    assert_int_equal(w->call.responses, 1);
    assert_int_equal(call_pull(&w->call, &bytes), VX_PULL_BYTES);
    assert_true(vx_slice_eq(bytes, VX_SLICE("ab")));
    w->call.up->stream.ops->consume(&w->call.up->stream, 2);
    assert_int_equal(call_pull(&w->call, &bytes), VX_PULL_WAIT);
    fake_send(t, "cd");
    assert_int_equal(w->call.readable, 1);
    call_drink(&w->call);
    call_release(&w->call);
    assert_false(t->closed); /* back in the pool */
    assert_int_equal(w->net.blocks.used_bytes, 0);
    client_end(w);
}

static void test_nothing_is_taken_before_the_connection_stands(void **state) {
    (void)state;
    struct client_world *w = client_start();
    call_post(&w->call, &w->client, &w->b, 4);
    struct vx_stream *s = &w->call.up->stream;
    assert_int_equal(s->ops->push(s, VX_SLICE("body")), 0);
    fake_connected(fake_dialed(&w->net));
    assert_int_equal(w->call.writable, 1);
    client_end(w);
}

static void test_a_body_that_waits_leaves_with_the_head(void **state) {
    (void)state;
    struct client_world *w = client_start();
    call_whole(&w->other, &w->client, &w->b, &w->net);
    struct fake_transport *t = fake_dialed(&w->net);
    unsigned writes = t->writes;
    call_post(&w->call, &w->client, &w->b, 4);
    struct vx_stream *s = &w->call.up->stream;
    assert_int_equal(s->ops->push(s, VX_SLICE("body")), 4);
    s->ops->finish(s, NULL);
    assert_int_equal(t->writes, writes); /* at the end of the round, with what else it made */
    fake_net_round(&w->net);
    assert_int_equal(t->writes, writes + 1);
    assert_string_equal(fake_received(t), "POST /p HTTP/1.1\r\nHost: b\r\nContent-Length: 4\r\n\r\nbody");
    assert_true(w->call.up->reused);
    client_end(w);
}

static void test_failures_before_a_byte_was_sent(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct vx_error error;
    w->net.refuses = true;
    call_init(&w->call, VX_METHOD_GET, VX_BODY_NONE, 0);
    assert_false(call_open(&w->call, &w->client, &w->b, false, &error));
    assert_int_equal(error.code, VX_ERR_CONNECT_FAILED);
    assert_int_equal(atomic_load(&w->b.shared.connections), 0);
    w->net.refuses = false;
    call_get(&w->call, &w->client, &w->b);
    fake_refuse(fake_dialed(&w->net));
    assert_int_equal(w->call.failure.code, VX_ERR_CONNECT_FAILED);
    assert_true(w->call.failure.retryable);
    assert_false(w->call.up->sent);
    call_release(&w->call);
    call_get(&w->call, &w->client, &w->b);
    fake_net_advance(&w->net, FAKE_MS(990));
    assert_int_equal(w->call.failed, 0);
    fake_net_advance(&w->net, FAKE_MS(20));
    assert_int_equal(w->call.failure.code, VX_ERR_CONNECT_TIMEOUT);
    assert_true(fake_dialed(&w->net)->closed);
    client_end(w);
}

static void test_an_end_before_the_answer_says_whether_bytes_went(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct fake_transport *t = client_gets(w);
    fake_fin(t);
    assert_int_equal(w->call.failed, 1);
    assert_int_equal(w->call.failure.code, VX_ERR_BACKEND_CLOSED);
    assert_true(w->call.up->sent);
    assert_false(w->call.failure.retryable);
    call_release(&w->call);
    call_get(&w->call, &w->client, &w->b);
    t = fake_dialed(&w->net);
    fake_connected(t);
    fake_break(t);
    assert_int_equal(w->call.failure.code, VX_ERR_BACKEND_RESET);
    client_end(w);
}

static void test_an_answer_before_a_broken_write_still_counts(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct fake_transport *t = client_posts(w, 100000);
    struct vx_stream *s = &w->call.up->stream;
    char *big = calloc(1, 100000);
    t->room = 5000;
    assert_true(s->ops->push(s, vx_slice(big, 100000)) < 100000);
    /* It answers, closes and resets; the answer lies in the socket when the next write fails. */
    w->call.releases_on_response = true;
    t->broken = true;
    t->base.writable = true;
    fake_send(t, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(w->call.status, 413);
    assert_int_equal(w->call.failed, 0);
    assert_true(t->closed);
    free(big);
    client_end(w);
}

/* The task of a connection whose write broke ran in every round while the client was slow. */
static void test_a_broken_write_does_not_spin(void **state) {
    (void)state;
    struct client_world *w = client_start();
    char *big = calloc(1, 100000);
    struct fake_transport *t = client_posts(w, 100000);
    struct vx_stream *s = &w->call.up->stream;
    t->room = 5000;
    assert_true(s->ops->push(s, vx_slice(big, 100000)) < 100000);
    fake_send(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
    assert_int_equal(w->call.status, 200); /* its body is not pulled: the client does not read */
    t->broken = true;
    fake_give_room(t, SIZE_MAX);
    assert_int_equal(s->ops->push(s, vx_slice(big, 50000)), 0);
    fake_net_round(&w->net); /* fails when tasks are left */
    assert_int_equal(w->call.failed, 0);
    free(big);
    client_end(w);
}

static void test_the_answer_has_a_time_limit(void **state) {
    (void)state;
    struct client_world *w = client_start();
    client_gets(w);
    fake_net_advance(&w->net, FAKE_S(29));
    assert_int_equal(w->call.failed, 0);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_int_equal(w->call.failure.code, VX_ERR_RESPONSE_TIMEOUT);
    assert_true(w->call.up->sent);
    client_end(w);
}

static void test_a_slow_client_is_not_the_backends_fault(void **state) {
    (void)state;
    struct client_world *w = client_start();
    client_posts(w, 4);
    fake_net_advance(&w->net, FAKE_S(300)); /* the body does not come */
    assert_int_equal(w->call.failed, 0);
    struct vx_stream *s = &w->call.up->stream;
    assert_int_equal(s->ops->push(s, VX_SLICE("body")), 4);
    s->ops->finish(s, NULL);
    fake_net_advance(&w->net, FAKE_S(29));
    assert_int_equal(w->call.failed, 0);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_int_equal(w->call.failure.code, VX_ERR_RESPONSE_TIMEOUT);
    client_end(w);
}

static void test_a_backend_that_does_not_read_times_out(void **state) {
    (void)state;
    struct client_world *w = client_start();
    char *big = calloc(1, 100000);
    struct fake_transport *t = client_posts(w, 100000);
    struct vx_stream *s = &w->call.up->stream;
    t->room = 5000;
    size_t taken = s->ops->push(s, vx_slice(big, 100000));
    fake_net_advance(&w->net, FAKE_S(20));
    fake_give_room(t, 5000);
    assert_int_equal(w->call.writable, 1);
    s->ops->push(s, vx_slice(big, 100000 - taken));
    fake_net_advance(&w->net, FAKE_S(20)); /* it read some: the time began anew */
    assert_int_equal(w->call.failed, 0);
    fake_net_advance(&w->net, FAKE_S(11));
    assert_int_equal(w->call.failure.code, VX_ERR_WRITE_TIMEOUT);
    free(big);
    client_end(w);
}

/* What move() took of an upload waits in a pipe, and counts as sent. */
static void test_a_pipe_that_drains_is_progress(void **state) {
    (void)state;
    enum { PIPE = 5000 };
    struct client_world *w = client_start();
    struct fake_transport *t = client_posts(w, PIPE);
    w->call.up->stream.ops->flush(&w->call.up->stream);
    t->room = 0;
    t->base.writable = false;
    t->pipe = calloc(1, PIPE);
    t->base.pending_bytes = t->pipe_len = PIPE;
    struct vx_h1_sink *sink = vx_h1_client_sink(&w->call.up->stream);
    uint64_t before = sink->sent;
    sink->sent += PIPE;
    vx_body_left_count(&sink->left, PIPE);
    vx_h1_client_moved(&w->call.up->stream, before);
    w->call.up->stream.ops->finish(&w->call.up->stream, NULL);
    for (int i = 0; i < 4; i++) {
        fake_net_advance(&w->net, FAKE_S(29));
        fake_give_room(t, PIPE / 5);
    }
    fake_net_advance(&w->net, FAKE_S(29));
    assert_int_equal(w->call.failed, 0);
    fake_give_room(t, PIPE); /* it has all of it: its time to answer begins */
    fake_net_advance(&w->net, FAKE_S(29));
    assert_int_equal(w->call.failed, 0);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_int_equal(w->call.failure.code, VX_ERR_RESPONSE_TIMEOUT);
    client_end(w);
}

static void test_a_backend_that_leaves_a_pipe_full_times_out(void **state) {
    (void)state;
    enum { PIPE = 5000 };
    struct client_world *w = client_start();
    call_post(&w->call, &w->client, &w->b, 2 * PIPE);
    struct fake_transport *t = fake_dialed(&w->net);
    fake_connected(t);
    w->call.up->stream.ops->flush(&w->call.up->stream);
    fake_net_advance(&w->net, FAKE_S(29)); /* the client is slow */
    t->room = 0;
    t->base.writable = false;
    t->pipe = calloc(1, PIPE);
    t->base.pending_bytes = t->pipe_len = PIPE;
    struct vx_h1_sink *sink = vx_h1_client_sink(&w->call.up->stream);
    uint64_t before = sink->sent;
    sink->sent += PIPE;
    vx_h1_client_moved(&w->call.up->stream, before);
    fake_net_advance(&w->net, FAKE_S(29));
    assert_int_equal(w->call.failed, 0);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_int_equal(w->call.failure.code, VX_ERR_WRITE_TIMEOUT);
    client_end(w);
}

static void test_the_body_has_a_time_limit_between_bytes(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct vx_slice bytes;
    struct fake_transport *t = client_gets(w);
    fake_send(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    fake_net_advance(&w->net, FAKE_S(300)); /* nobody pulls: it is the client that is slow */
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(w->call.failed, 0);
        assert_int_equal(call_pull(&w->call, &bytes), VX_PULL_BYTES);
        w->call.up->stream.ops->consume(&w->call.up->stream, bytes.len);
        assert_int_equal(call_pull(&w->call, &bytes), VX_PULL_WAIT);
        if (i == 0) {
            fake_send(t, "def");
            fake_net_advance(&w->net, FAKE_S(300)); /* nor now that it has sent what was waited for */
        }
    }
    fake_net_advance(&w->net, FAKE_S(21));
    assert_int_equal(w->call.failure.code, VX_ERR_BODY_TIMEOUT);
    client_end(w);
}

static void test_interim_heads_come_before_the_final_one(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct fake_transport *t = client_gets(w);
    fake_send(t, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" CALL_OK);
    assert_int_equal(w->call.interims, 2);
    assert_int_equal(w->call.status, 200);
    client_end(w);
}

/* Each one stays in the exchange's memory. */
static void test_interim_heads_without_end_are_a_bad_response(void **state) {
    (void)state;
    struct client_world *w = client_start();
    call_get(&w->call, &w->client, &w->b);
    w->call.arena.source = w->net.rt.arenas;
    struct fake_transport *t = fake_dialed(&w->net);
    fake_connected(t);
    for (unsigned i = 0; i < 1000 && !w->call.failed; i++)
        fake_send(t, "HTTP/1.1 103 Early Hints\r\n\r\n");
    assert_int_equal(w->call.failure.code, VX_ERR_BAD_RESPONSE);
    assert_true(w->call.interims <= 32);
    assert_true(w->net.arenas.used_bytes < 32 * VX_SLAB_ARENA_BYTES);
    call_release(&w->call);
    vx_arena_reset(&w->call.arena);
    client_end(w);
}

static void ask_for_upgrade(struct client_world *w, enum vx_method method, enum vx_framing framing,
                            uint64_t bytes) {
    struct vx_error error;
    call_init(&w->call, method, framing, bytes);
    w->call.request.upgrade = true;
    assert_true(vx_headers_add(&w->call.request.headers, &w->call.arena, VX_HEADER_UPGRADE,
                               VX_SLICE("upgrade"), VX_SLICE("x")));
    assert_true(call_open(&w->call, &w->client, &w->b, false, &error));
    fake_connected(fake_dialed(&w->net));
}

#define SWITCHED "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"

static void test_a_101_nobody_asked_for(void **state) {
    (void)state;
    struct client_world *w = client_start();
    client_gets(w);
    fake_send(fake_dialed(&w->net), SWITCHED);
    assert_int_equal(w->call.failure.code, VX_ERR_BAD_RESPONSE);
    client_end(w);
}

/* The rest of the body would have become the tunnel's first bytes. */
static void test_a_101_before_the_request_is_complete(void **state) {
    (void)state;
    struct client_world *w = client_start();
    ask_for_upgrade(w, VX_METHOD_POST, VX_BODY_LENGTH, 10);
    struct vx_stream *s = &w->call.up->stream;
    assert_int_equal(s->ops->push(s, VX_SLICE("half")), 4);
    s->ops->flush(s);
    fake_send(fake_dialed(&w->net), SWITCHED);
    assert_int_equal(w->call.responses, 0);
    assert_int_equal(w->call.failure.code, VX_ERR_BAD_RESPONSE);
    client_end(w);
}

static void test_a_tunnel_and_its_halves(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct vx_slice bytes;
    ask_for_upgrade(w, VX_METHOD_GET, VX_BODY_NONE, 0);
    struct vx_stream *s = &w->call.up->stream;
    struct fake_transport *t = fake_dialed(&w->net);
    s->ops->finish(s, NULL);
    fake_received(t);
    fake_send(t, SWITCHED "down");
    assert_int_equal(w->call.status, 101);
    assert_int_equal(call_pull(&w->call, &bytes), VX_PULL_BYTES);
    s->ops->consume(s, bytes.len);
    assert_int_equal(s->ops->push(s, VX_SLICE("up")), 2);
    s->ops->flush(s);
    assert_string_equal(fake_received(t), "up");
    s->ops->finish(s, NULL);
    assert_int_equal(t->shuts, 1);
    assert_int_equal(call_pull(&w->call, &bytes), VX_PULL_WAIT);
    fake_net_advance(&w->net, FAKE_S(19));
    fake_send(t, "more");
    assert_int_equal(call_pull(&w->call, &bytes), VX_PULL_BYTES);
    fake_net_advance(&w->net, FAKE_S(19));
    assert_int_equal(w->call.failed, 0);
    s->ops->consume(s, bytes.len);
    fake_fin(t);
    assert_int_equal(call_pull(&w->call, &bytes), VX_PULL_END);
    call_release(&w->call);
    assert_true(t->closed);
    client_end(w);
}

static void test_a_silent_tunnel_ends(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct vx_slice bytes;
    ask_for_upgrade(w, VX_METHOD_GET, VX_BODY_NONE, 0);
    w->call.up->stream.ops->finish(&w->call.up->stream, NULL);
    fake_send(fake_dialed(&w->net), SWITCHED);
    assert_int_equal(call_pull(&w->call, &bytes), VX_PULL_WAIT);
    fake_net_advance(&w->net, FAKE_S(21));
    assert_int_equal(w->call.failure.code, VX_ERR_BODY_TIMEOUT);
    client_end(w);
}

static void test_a_tunnels_last_bytes_still_leave(void **state) {
    (void)state;
    struct client_world *w = client_start();
    ask_for_upgrade(w, VX_METHOD_GET, VX_BODY_NONE, 0);
    struct vx_stream *s = &w->call.up->stream;
    struct fake_transport *t = fake_dialed(&w->net);
    s->ops->finish(s, NULL);
    fake_send(t, SWITCHED);
    fake_received(t);
    t->room = 2;
    assert_int_equal(s->ops->push(s, VX_SLICE("tail")), 4);
    s->ops->finish(s, NULL);
    call_release(&w->call);
    assert_false(t->closed);
    fake_give_room(t, SIZE_MAX);
    assert_string_equal(fake_received(t), "tail");
    assert_true(t->closed);
    client_end(w);
}

static void test_a_bad_head_is_the_backends_fault(void **state) {
    (void)state;
    struct client_world *w = client_start();
    client_gets(w);
    fake_send(fake_dialed(&w->net), "220 smtp ready\r\n");
    assert_int_equal(w->call.failure.code, VX_ERR_BAD_RESPONSE);
    assert_int_equal(w->call.failed, 1);
    client_end(w);
}

static void test_again_asks_for_one_more_turn(void **state) {
    (void)state;
    struct client_world *w = client_start();
    client_gets(w);
    fake_send(fake_dialed(&w->net), CALL_OK);
    w->call.up->stream.ops->again(&w->call.up->stream);
    fake_net_round(&w->net);
    assert_int_equal(w->call.readable, 1);
    fake_net_round(&w->net);
    assert_int_equal(w->call.readable, 1);
    client_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_and_its_answer),
        cmocka_unit_test(test_nothing_is_taken_before_the_connection_stands),
        cmocka_unit_test(test_a_body_that_waits_leaves_with_the_head),
        cmocka_unit_test(test_failures_before_a_byte_was_sent),
        cmocka_unit_test(test_an_end_before_the_answer_says_whether_bytes_went),
        cmocka_unit_test(test_an_answer_before_a_broken_write_still_counts),
        cmocka_unit_test(test_a_broken_write_does_not_spin),
        cmocka_unit_test(test_the_answer_has_a_time_limit),
        cmocka_unit_test(test_a_slow_client_is_not_the_backends_fault),
        cmocka_unit_test(test_a_backend_that_does_not_read_times_out),
        cmocka_unit_test(test_a_pipe_that_drains_is_progress),
        cmocka_unit_test(test_a_backend_that_leaves_a_pipe_full_times_out),
        cmocka_unit_test(test_the_body_has_a_time_limit_between_bytes),
        cmocka_unit_test(test_interim_heads_come_before_the_final_one),
        cmocka_unit_test(test_interim_heads_without_end_are_a_bad_response),
        cmocka_unit_test(test_a_101_nobody_asked_for),
        cmocka_unit_test(test_a_101_before_the_request_is_complete),
        cmocka_unit_test(test_a_tunnel_and_its_halves),
        cmocka_unit_test(test_a_silent_tunnel_ends),
        cmocka_unit_test(test_a_tunnels_last_bytes_still_leave),
        cmocka_unit_test(test_a_bad_head_is_the_backends_fault),
        cmocka_unit_test(test_again_asks_for_one_more_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
