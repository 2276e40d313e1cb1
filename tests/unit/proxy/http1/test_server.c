/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the state table in server.c: keep-alive, pipelining, refusals, time limits, lingering, tunnels, drains. */
#include "unit/proxy/http1/server_test.h"

static void test_requests_follow_each_other(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, GET("/1"));
    assert_string_equal(fake_received(w->t), OK);
    assert_int_equal(w->net.blocks.used_bytes, 0); /* an idle connection holds no buffer */
    assert_int_equal(w->net.arenas.used_bytes, 0);
    fake_net_advance(&w->net, FAKE_S(70));
    fake_send(w->t, GET("/2"));
    assert_string_equal(fake_received(w->t), OK);
    assert_string_equal(w->paths, "/1 /2 ");
    end(w);
}

static void test_answers_are_dated(void **state) {
    (void)state;
    struct world *w = start(false);
    w->net.rt.date = VX_SLICE("now");
    fake_send(w->t, GET("/1"));
    assert_string_equal(fake_received(w->t), "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2\r\n\r\nok");
    fake_send(w->t, "GET / HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(fake_received(w->t), "\r\nDate: now\r\n"));
    end(w);
}

static void test_pipelined_requests_keep_their_order(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, GET("/1") GET("/2") "GET /3 HTTP");
    assert_string_equal(w->paths, "/1 ");
    answer(&w->held, "ok");
    fake_net_round(&w->net);
    assert_string_equal(w->paths, "/1 /2 ");
    answer(&w->held, "ok");
    fake_net_round(&w->net);
    assert_string_equal(fake_received(w->t), OK OK);
    fake_send(w->t, "/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(w->paths, "/1 /2 /3 ");
    answer(&w->held, "ok");
    end(w);
}

static void test_a_burst_of_pipelined_requests_is_answered_whole(void **state) {
    (void)state;
    struct world *w = start(false);
    char *many = calloc(1, 100 * sizeof GET("/"));
    for (unsigned i = 0; i < 100; i++)
        memcpy(many + strlen(many), GET("/"), sizeof GET("/") - 1);
    fake_send(w->t, many);
    size_t answered = w->t->out_len / (sizeof OK - 1);
    assert_int_equal(answered, 100);
    free(many);
    end(w);
}

static void test_a_head_may_come_byte_by_byte(void **state) {
    (void)state;
    struct world *w = start(false);
    for (const char *at = GET("/slow"); *at; at++)
        fake_send_bytes(w->t, at, 1);
    assert_string_equal(fake_received(w->t), OK);
    end(w);
}

static void test_bad_heads_are_answered_and_then_lingered(void **state) {
    (void)state;
    static const struct {
        const char *head, *word, *answer;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", "bad_host", "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "bad_framing", "HTTP/1.1 400 "},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "bad_version", "HTTP/1.1 505 "},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "not_implemented", "HTTP/1.1 501 "},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = start(false);
        fake_send(w->t, cases[i].head);
        assert_string_equal(w->refused, cases[i].word);
        const char *answer = fake_received(w->t);
        assert_begins(answer, cases[i].answer);
        assert_int_equal(w->refused_bytes, strlen(answer));
        assert_string_equal(w->paths, "");
        assert_int_equal(w->t->shuts, 1); /* our side is shut, theirs is read on */
        assert_false(w->t->closed);
        fake_send(w->t, GET("/smuggled"));
        assert_string_equal(w->paths, "");
        fake_fin(w->t);
        assert_true(w->t->closed);
        assert_false(w->t->reset);
        end(w);
    }
}

static void test_time_limits_of_an_idle_connection(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_net_advance(&w->net, FAKE_S(9));
    assert_false(w->t->closed);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_true(w->t->closed); /* it never said a word */
    end(w);
    w = start(false);
    fake_send(w->t, GET("/"));
    fake_net_advance(&w->net, FAKE_S(74));
    assert_false(w->t->closed);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_true(w->t->closed);
    end(w);
}

static void test_a_head_that_drips_gets_408_at_its_time(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, "GET / HTTP/1.1\r\n");
    for (unsigned i = 0; i < 9; i++) {
        fake_net_advance(&w->net, FAKE_S(1));
        fake_send(w->t, "X: y\r\n"); /* more bytes give no more time */
    }
    assert_string_equal(fake_received(w->t), "");
    fake_net_advance(&w->net, FAKE_S(2));
    assert_begins(fake_received(w->t), "HTTP/1.1 408 ");
    assert_string_equal(w->refused, "request_timeout");
    end(w);
}

/* The timer stands at the end of the idle time then, far behind the head's. */
static void test_a_later_head_has_its_time_too(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, GET("/"));
    fake_net_advance(&w->net, FAKE_S(20));
    assert_string_equal(fake_received(w->t), OK);
    fake_send(w->t, "GET / HTTP/1.1\r\n");
    fake_net_advance(&w->net, FAKE_S(9));
    assert_string_equal(w->refused, "");
    fake_net_advance(&w->net, FAKE_S(2));
    assert_string_equal(w->refused, "request_timeout");
    end(w);
}

static void test_lingering_has_an_end(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, "nonsense\r\n\r\n");
    assert_int_equal(w->t->shuts, 1);
    for (unsigned i = 0; i < 29 && !w->t->closed; i++) {
        fake_send(w->t, "more");
        fake_net_advance(&w->net, FAKE_S(1));
    }
    assert_false(w->t->closed);
    for (unsigned i = 0; i < 3 && !w->t->closed; i++) {
        fake_net_advance(&w->net, FAKE_S(1));
        if (!w->t->closed)
            fake_send(w->t, "more");
    }
    assert_true(w->t->closed);
    end(w);
}

static void test_a_refused_head_request_gets_no_body(void **state) {
    (void)state;
    struct world *w = start(false);
    w->server.body_bytes = 10;
    fake_send(w->t, "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
    const char *got = fake_received(w->t);
    assert_begins(got, "HTTP/1.1 413 ");
    assert_string_equal(got + strlen(got) - 4, "\r\n\r\n");
    assert_int_equal(w->refused_bytes, strlen(got));
    end(w);
}

static void test_a_body_too_large_by_its_length(void **state) {
    (void)state;
    struct world *w = start(false);
    w->server.body_bytes = 10;
    fake_send(w->t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
    assert_begins(fake_received(w->t), "HTTP/1.1 413 ");
    assert_string_equal(w->refused, "body_too_large");
    end(w);
}

static void test_a_request_that_asks_for_the_close_gets_it(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_string_equal(fake_received(w->t), OK_CLOSE);
    assert_true(w->t->closed);
    assert_false(w->t->reset);
    end(w);
}

/* A close with bytes of it unread would be a reset, which can take the answer with it. */
static void test_what_follows_a_request_that_asked_for_the_close_is_thrown_away(void **state) {
    (void)state;
    static const char *const behind[] = {"\r\n", GET("/behind")};
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = start(true);
        fake_send(w->t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        fake_send(w->t, behind[i]);
        answer(&w->held, "ok");
        fake_net_round(&w->net);
        assert_string_equal(fake_received(w->t), OK_CLOSE);
        assert_false(w->t->closed);
        fake_fin(w->t);
        assert_true(w->t->closed);
        assert_string_equal(w->paths, "/ ");
        end(w);
    }
}

static void test_http10_is_closed_unless_it_asks(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, "GET / HTTP/1.0\r\n\r\n");
    assert_string_equal(fake_received(w->t), OK_CLOSE);
    assert_true(w->t->closed);
    end(w);
    w = start(false);
    fake_send(w->t, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_string_equal(fake_received(w->t),
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok");
    assert_false(w->t->closed);
    end(w);
}

static void test_unknown_lengths_are_framed_by_the_client_version(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, GET("/"));
    respond(w, 200, VX_BODY_UNTIL_CLOSE, 0);
    push(w, "abc");
    end_answer(w);
    assert_string_equal(fake_received(w->t),
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_false(w->t->closed);
    end(w);
    w = start(true);
    fake_send(w->t, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    respond(w, 200, VX_BODY_CHUNKED, 0);
    push(w, "abc");
    end_answer(w);
    assert_string_equal(fake_received(w->t), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
    end(w);
}

static void test_a_cut_response_never_looks_whole(void **state) {
    (void)state;
    static const struct {
        const char *request;
        enum vx_framing framing;
        bool reset;
    } cases[] = {
        {GET("/"), VX_BODY_LENGTH, false},  /* the client counts */
        {GET("/"), VX_BODY_CHUNKED, false}, /* no last chunk */
        {"GET / HTTP/1.0\r\n\r\n", VX_BODY_UNTIL_CLOSE, true},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = start(true);
        fake_send(w->t, cases[i].request);
        respond(w, 200, cases[i].framing, 100);
        push(w, "abc");
        let_go(&w->held);
        assert_null(strstr(fake_received(w->t), "\r\n0\r\n"));
        assert_true(w->t->closed);
        assert_int_equal(w->t->reset, cases[i].reset);
        end(w);
    }
}

static void test_interim_heads_go_to_http11_only(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    respond(w, 100, VX_BODY_NONE, 0);
    assert_string_equal(fake_received(w->t), "HTTP/1.1 100 Continue\r\n\r\n");
    fake_send(w->t, "hi");
    struct vx_slice bytes;
    assert_int_equal(w->held.down->stream.ops->pull(&w->held.down->stream, &bytes), VX_PULL_BYTES);
    w->held.down->stream.ops->consume(&w->held.down->stream, bytes.len);
    answer(&w->held, "ok");
    assert_string_equal(fake_received(w->t), OK);
    end(w);
    w = start(true);
    fake_send(w->t, "GET / HTTP/1.0\r\n\r\n");
    respond(w, 103, VX_BODY_NONE, 0);
    assert_string_equal(fake_received(w->t), "");
    answer(&w->held, "ok");
    end(w);
}

static void test_a_body_that_stalls_times_out(void **state) {
    (void)state;
    struct world *w = start(true);
    struct vx_slice bytes;
    fake_send(w->t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nabc");
    struct vx_stream *s = &w->held.down->stream;
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_BYTES);
    s->ops->consume(s, bytes.len);
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_WAIT);
    fake_net_advance(&w->net, FAKE_S(59));
    fake_send(w->t, "d");
    assert_int_equal(w->held.readable, 1);
    /* While nobody pulls, the client owes nothing. */
    fake_net_advance(&w->net, FAKE_S(600));
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_BYTES);
    fake_net_advance(&w->net, FAKE_S(600));
    assert_int_equal(w->held.readable, 1);
    s->ops->consume(s, bytes.len);
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_WAIT);
    fake_net_advance(&w->net, FAKE_S(61));
    assert_int_equal(w->held.readable, 2);
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_FAILED);
    assert_int_equal(s->error.code, VX_ERR_REQUEST_TIMEOUT);
    answer(&w->held, "ok");
    end(w);
}

static void test_a_client_that_does_not_read_is_cut(void **state) {
    (void)state;
    struct world *w = start(true);
    char *big = calloc(1, 100000);
    fake_send(w->t, GET("/"));
    w->t->room = 1000;
    respond(w, 200, VX_BODY_LENGTH, 100000);
    struct vx_stream *s = &w->held.down->stream;
    size_t taken = s->ops->push(s, vx_slice(big, 100000));
    assert_true(taken < 100000);
    fake_net_advance(&w->net, FAKE_S(29));
    fake_give_room(w->t, 5000); /* progress */
    assert_int_equal(w->held.writable, 1);
    taken += s->ops->push(s, vx_slice(big, 100000 - taken));
    fake_net_advance(&w->net, FAKE_S(29));
    assert_int_equal(w->held.failed, 0);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_int_equal(w->held.failed, 1);
    assert_int_equal(w->held.failure, VX_ERR_CLIENT_WRITE_TIMEOUT);
    assert_true(w->t->closed);
    free(big);
    end(w);
}

/* What move() took waits in a pipe, of which nothing is heard before it is empty. */
static void test_a_pipe_that_drains_is_progress(void **state) {
    (void)state;
    enum { PIPE = 5000 };
    struct world *w = start(true);
    char byte = 'x';
    fake_send(w->t, GET("/"));
    respond(w, 200, VX_BODY_LENGTH, 100000);
    w->held.down->stream.ops->flush(&w->held.down->stream);
    w->t->room = 0;
    w->t->base.writable = false;
    w->t->pipe = calloc(1, PIPE);
    w->t->base.pending_bytes = w->t->pipe_len = PIPE;
    assert_int_equal(w->held.down->stream.ops->push(&w->held.down->stream, vx_slice(&byte, 1)), 0);
    for (int i = 0; i < 4; i++) {
        fake_net_advance(&w->net, FAKE_S(29));
        fake_give_room(w->t, PIPE / 5);
        assert_int_equal(w->held.writable, 0);
    }
    fake_net_advance(&w->net, FAKE_S(29));
    assert_int_equal(w->held.failed, 0);
    fake_net_advance(&w->net, FAKE_S(32));
    assert_int_equal(w->held.failure, VX_ERR_CLIENT_WRITE_TIMEOUT);
    end(w);
}

static void test_a_written_answer_waits_for_the_client_in_flushing(void **state) {
    (void)state;
    struct world *w = start(false);
    w->t->room = 10;
    fake_send(w->t, GET("/1"));
    fake_send(w->t, GET("/2"));
    assert_string_equal(w->paths, "/1 "); /* the next head waits for the bytes of this answer */
    fake_give_room(w->t, SIZE_MAX);
    assert_string_equal(w->paths, "/1 /2 ");
    assert_string_equal(fake_received(w->t), OK OK);
    end(w);
    w = start(false);
    w->t->room = 10;
    fake_send(w->t, GET("/"));
    fake_net_advance(&w->net, FAKE_S(31));
    assert_true(w->t->closed);
    assert_true(w->t->reset);
    end(w);
}

static void test_a_reset_is_told_once(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, GET("/"));
    fake_break(w->t);
    assert_int_equal(w->held.failed, 1);
    assert_int_equal(w->held.failure, VX_ERR_CLIENT_GONE);
    assert_true(w->t->closed);
    end(w);
}

/* A backend may say late that an answer is over whose length it declared; a client that has all of it need not wait. */
static void test_a_client_that_leaves_with_all_of_its_answer_has_had_it(void **state) {
    (void)state;
    static const struct {
        enum vx_framing framing;
        uint64_t declared;
        size_t room;
        bool begun, whole;
    } cases[] = {
        {VX_BODY_LENGTH, 2, SIZE_MAX, true, true},   {VX_BODY_LENGTH, 3, SIZE_MAX, true, false},
        {VX_BODY_LENGTH, 2, 30, true, false},        {VX_BODY_CHUNKED, 0, SIZE_MAX, true, false},
        {VX_BODY_LENGTH, 0, SIZE_MAX, false, false},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = start(true);
        fake_send(w->t, GET("/before")); /* what was whole of it says nothing */
        answer(&w->held, "ok");
        fake_net_round(&w->net);
        w->t->room = cases[i].room;
        fake_send(w->t, GET("/"));
        if (cases[i].begun) {
            respond(w, 200, cases[i].framing, cases[i].declared);
            push(w, "ok");
            w->held.down->stream.ops->flush(&w->held.down->stream);
        }
        fake_break(w->t);
        assert_int_equal(w->held.failed, 1);
        assert_int_equal(w->held.had_all, cases[i].whole);
        end(w);
    }
}

static void test_a_half_closed_client_still_gets_its_answer(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, GET("/"));
    fake_fin(w->t);
    assert_int_equal(w->held.failed, 0);
    answer(&w->held, "ok");
    fake_net_round(&w->net);
    assert_string_equal(fake_received(w->t), OK);
    assert_true(w->t->closed);
    end(w);
}

static void test_again_asks_for_one_more_turn(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    w->held.down->stream.ops->again(&w->held.down->stream);
    assert_int_equal(w->held.readable, 0);
    fake_net_round(&w->net);
    assert_int_equal(w->held.readable, 1);
    fake_net_round(&w->net);
    assert_int_equal(w->held.readable, 1);
    answer(&w->held, "ok");
    end(w);
}

static void test_a_tunnel_closes_each_half_by_itself(void **state) {
    (void)state;
    struct world *w = start(true);
    struct vx_slice bytes;
    fake_send(w->t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly");
    struct vx_header item = {
        .name = "upgrade", .name_len = 7, .value = "x", .value_len = 1, .id = VX_HEADER_UPGRADE};
    struct vx_response r = {
        .status = 101,
        .upgrade = true,
        .headers = {.items = &item, .count = 1, .present = UINT64_C(1) << VX_HEADER_UPGRADE}};
    struct vx_stream *s = &w->held.down->stream;
    w->held.down->ops->respond(w->held.down, &r);
    s->ops->flush(s);
    assert_string_equal(fake_received(w->t),
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_BYTES);
    assert_true(vx_slice_eq(bytes, VX_SLICE("early")));
    s->ops->consume(s, bytes.len);
    push(w, "down");
    finish(w);
    assert_string_equal(fake_received(w->t), "down");
    assert_int_equal(w->t->shuts, 1);
    fake_send(w->t, "up");
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_BYTES);
    s->ops->consume(s, bytes.len);
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_WAIT);
    fake_net_advance(&w->net, FAKE_S(1000)); /* in a tunnel nobody owes anything on this side */
    assert_int_equal(w->held.failed, 0);
    fake_fin(w->t);
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_END);
    let_go(&w->held);
    assert_true(w->t->closed);
    assert_false(w->t->reset);
    end(w);
}

static void test_a_half_close_waits_for_the_last_bytes(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    struct vx_response r = {.status = 101, .upgrade = true};
    w->held.down->ops->respond(w->held.down, &r);
    w->t->room = 3;
    push(w, "bytes that wait");
    finish(w);
    assert_int_equal(w->t->shuts, 0);
    fake_give_room(w->t, SIZE_MAX);
    assert_int_equal(w->t->shuts, 1);
    let_go(&w->held);
    end(w);
}

static void test_a_drain_closes_idle_connections_and_ends_the_others_with_their_answer(void **state) {
    (void)state;
    struct world *w = start(true);
    struct fake_transport *idle = fake_transport_new(&w->net);
    vx_http_server_accept(&w->server, &idle->base);
    fake_send(idle, GET("/idle"));
    answer(&w->held, "ok");
    fake_net_round(&w->net);
    fake_send(w->t, GET("/busy"));
    vx_http_server_drain(&w->server);
    assert_true(idle->closed);
    assert_false(w->t->closed);
    answer(&w->held, "ok");
    fake_net_round(&w->net);
    assert_string_equal(fake_received(w->t), OK_CLOSE);
    fake_fin(w->t);
    assert_true(w->t->closed);
    end(w);
}

static void test_a_silent_connection_gets_a_moment_in_a_drain(void **state) {
    (void)state;
    struct world *w = start(false);
    vx_http_server_drain(&w->server);
    assert_false(w->t->closed);
    fake_send(w->t, GET("/late"));
    assert_string_equal(fake_received(w->t), OK_CLOSE);
    end(w);
    w = start(false);
    vx_http_server_drain(&w->server);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_true(w->t->closed);
    end(w);
}

/* What a round has made leaves at its end; a client that is through with its request is then let go as before. */
static void test_a_small_answer_leaves_at_the_end_of_the_round(void **state) {
    (void)state;
    static const struct {
        const char *request;
        bool drains, closed, lingers;
    } cases[] = {
        {GET("/"), false, false, false},
        {GET("/"), true, false, true}, /* the drain came in the same round */
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false, true, false},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = start(true);
        fake_send(w->t, cases[i].request);
        respond(w, 200, VX_BODY_LENGTH, 2);
        push(w, "ok");
        finish(w);
        assert_int_equal(w->held.down->sent_bytes, strlen(cases[i].closed ? OK_CLOSE : OK));
        let_go(&w->held);
        assert_int_equal(w->t->writes, 0);
        if (cases[i].drains)
            vx_http_server_drain(&w->server);
        fake_net_round(&w->net);
        assert_int_equal(w->t->writes, 1);
        assert_string_equal(fake_received(w->t), cases[i].closed ? OK_CLOSE : OK);
        assert_int_equal(w->t->closed, cases[i].closed);
        assert_int_equal(w->t->shuts, cases[i].lingers);
        assert_int_equal(w->net.blocks.used_bytes, 0);
        end(w);
    }
}

static void test_answers_on_the_spot_leave_together(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, GET("/1") GET("/2") GET("/3"));
    assert_string_equal(fake_received(w->t), OK OK OK);
    assert_int_equal(w->t->writes, 1);
    assert_int_equal(w->held.sent_bytes, strlen(OK)); /* of the last one */
    fake_send(w->t, GET("/4") GET("/5") "GET /6 HTTP/1.1\r\n");
    assert_string_equal(fake_received(w->t), OK OK);
    assert_int_equal(w->t->writes, 2);
    fake_send(w->t, "Host: a\r\n\r\n" GET("/7") "GET /8");
    assert_string_equal(fake_received(w->t), OK OK);
    fake_fin(w->t);
    assert_true(w->t->closed);
    assert_string_equal(w->paths, "/1 /2 /3 /4 /5 /6 /7 ");
    end(w);
}

static void test_answers_on_the_spot_leave_before_the_end(void **state) {
    (void)state;
    struct world *w = start(false);
    w->t->fin = w->t->base.peer_shut = true; /* it comes in the same packet */
    fake_send(w->t, GET("/1") GET("/2") "GET /3");
    assert_string_equal(fake_received(w->t), OK OK);
    assert_true(w->t->closed);
    end(w);
}

static void test_answers_on_the_spot_leave_before_a_refusal(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, GET("/1") GET("/2") "nonsense\r\n\r\n");
    const char *got = fake_received(w->t);
    assert_begins(got, OK OK "HTTP/1.1 400 ");
    assert_int_equal(w->t->shuts, 1);
    end(w);
}

/* Who does not read gets no more answers made for him. */
static void test_answers_that_are_not_taken_stop_the_parsing(void **state) {
    (void)state;
    static const char *const bursts[] = {GET("/1") GET("/2") GET("/3"),
                                         GET("/1") GET("/2") GET("/3") "GET /4"};
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = start(false);
        w->t->room = 10;
        fake_send(w->t, bursts[i]);
        fake_send(w->t, i ? " HTTP/1.1\r\nHost: a\r\n\r\n" : GET("/4"));
        assert_string_equal(w->paths, "/1 /2 /3 ");
        fake_give_room(w->t, SIZE_MAX);
        fake_net_round(&w->net);
        assert_string_equal(fake_received(w->t), OK OK OK OK);
        assert_string_equal(w->paths, "/1 /2 /3 /4 ");
        fake_net_advance(&w->net, FAKE_S(70));
        assert_false(w->t->closed);
        assert_int_equal(w->net.blocks.used_bytes, 0);
        end(w);
        w = start(false);
        w->t->room = 10;
        fake_send(w->t, bursts[i]);
        fake_net_advance(&w->net, FAKE_S(31)); /* timeouts.write */
        assert_true(w->t->closed);
        end(w);
    }
}

static void test_a_head_response_has_no_body_but_its_length(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    respond(w, 200, VX_BODY_LENGTH, 77);
    end_answer(w);
    assert_string_equal(fake_received(w->t), "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n");
    assert_false(w->t->closed);
    end(w);
}

/* It cannot be told whether a head is late that we do not read. */
static void test_a_head_has_no_time_limit_behind_answers_that_are_not_taken(void **state) {
    (void)state;
    struct world *w = start(false);
    w->t->room = 10;
    fake_send(w->t, GET("/1") "GET /2 HTTP/1.1\r\n");
    fake_send(w->t, "Host: a\r\n\r\n");
    fake_net_advance(&w->net, FAKE_S(20)); /* timeouts.header is 10 */
    fake_give_room(w->t, SIZE_MAX);
    assert_string_equal(fake_received(w->t), OK OK);
    fake_send(w->t, "GET /3");
    fake_net_advance(&w->net, FAKE_S(11));
    assert_string_equal(w->refused, "request_timeout");
    end(w);
    w = start(false);
    w->t->room = 10;
    fake_send(w->t, GET("/1") "GET /2");
    fake_net_advance(&w->net, FAKE_S(20));
    fake_give_room(w->t, SIZE_MAX);
    fake_net_advance(&w->net, FAKE_S(9));
    assert_string_equal(w->refused, "");
    fake_net_advance(&w->net, FAKE_S(2));
    assert_string_equal(w->refused, "request_timeout");
    end(w);
}

/* As a banned client's request is. */
static void test_answers_on_the_spot_leave_before_a_cut(void **state) {
    (void)state;
    struct world *w = start(false);
    w->cut = "/3";
    fake_send(w->t, GET("/1") GET("/2") GET("/3") GET("/4"));
    assert_string_equal(fake_received(w->t), OK OK);
    assert_string_equal(w->paths, "/1 /2 /3 ");
    assert_true(w->t->closed && w->t->reset);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_follow_each_other),
        cmocka_unit_test(test_answers_are_dated),
        cmocka_unit_test(test_pipelined_requests_keep_their_order),
        cmocka_unit_test(test_a_burst_of_pipelined_requests_is_answered_whole),
        cmocka_unit_test(test_a_head_may_come_byte_by_byte),
        cmocka_unit_test(test_bad_heads_are_answered_and_then_lingered),
        cmocka_unit_test(test_time_limits_of_an_idle_connection),
        cmocka_unit_test(test_a_head_that_drips_gets_408_at_its_time),
        cmocka_unit_test(test_a_later_head_has_its_time_too),
        cmocka_unit_test(test_lingering_has_an_end),
        cmocka_unit_test(test_a_refused_head_request_gets_no_body),
        cmocka_unit_test(test_a_body_too_large_by_its_length),
        cmocka_unit_test(test_a_request_that_asks_for_the_close_gets_it),
        cmocka_unit_test(test_what_follows_a_request_that_asked_for_the_close_is_thrown_away),
        cmocka_unit_test(test_http10_is_closed_unless_it_asks),
        cmocka_unit_test(test_unknown_lengths_are_framed_by_the_client_version),
        cmocka_unit_test(test_a_cut_response_never_looks_whole),
        cmocka_unit_test(test_interim_heads_go_to_http11_only),
        cmocka_unit_test(test_a_body_that_stalls_times_out),
        cmocka_unit_test(test_a_client_that_does_not_read_is_cut),
        cmocka_unit_test(test_a_pipe_that_drains_is_progress),
        cmocka_unit_test(test_a_written_answer_waits_for_the_client_in_flushing),
        cmocka_unit_test(test_a_reset_is_told_once),
        cmocka_unit_test(test_a_client_that_leaves_with_all_of_its_answer_has_had_it),
        cmocka_unit_test(test_a_half_closed_client_still_gets_its_answer),
        cmocka_unit_test(test_again_asks_for_one_more_turn),
        cmocka_unit_test(test_a_tunnel_closes_each_half_by_itself),
        cmocka_unit_test(test_a_half_close_waits_for_the_last_bytes),
        cmocka_unit_test(test_a_drain_closes_idle_connections_and_ends_the_others_with_their_answer),
        cmocka_unit_test(test_a_silent_connection_gets_a_moment_in_a_drain),
        cmocka_unit_test(test_a_small_answer_leaves_at_the_end_of_the_round),
        cmocka_unit_test(test_answers_on_the_spot_leave_together),
        cmocka_unit_test(test_answers_on_the_spot_leave_before_the_end),
        cmocka_unit_test(test_answers_on_the_spot_leave_before_a_refusal),
        cmocka_unit_test(test_answers_that_are_not_taken_stop_the_parsing),
        cmocka_unit_test(test_a_head_has_no_time_limit_behind_answers_that_are_not_taken),
        cmocka_unit_test(test_answers_on_the_spot_leave_before_a_cut),
        cmocka_unit_test(test_a_head_response_has_no_body_but_its_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
