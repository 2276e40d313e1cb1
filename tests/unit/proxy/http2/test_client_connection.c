/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a connection to an HTTP/2 backend: connects that fail, what is no HTTP/2, GOAWAY, silence, age. */
#include "unit/proxy/http2/client_test.h"

static void a_connect_that_fails_fails_all_that_wait(void **state) {
    (void)state;
    struct world *w = world_start();
    for (unsigned i = 0; i < 5; i++)
        call_get(w, i);
    assert_int_equal(w->net.count, 1);
    fake_refuse(fake_dialed(&w->net));
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(w->calls[i].failed, 1);
        assert_true(w->calls[i].failure.retryable);
        assert_false(w->calls[i].was_sent);
    }
    world_end(w);
}

/* Against its backend a connection counts once, whether it never came about or breaks. */
static void what_a_connection_fails_counts_once(void **state) {
    (void)state;
    struct world *w = world_start();
    for (unsigned i = 0; i < 3; i++)
        call_get(w, i);
    fake_refuse(fake_dialed(&w->net));
    assert_int_equal(calls_that_count(w), 1);
    for (unsigned i = 3; i < 6; i++)
        call_get(w, i);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    fake_break(p->t);
    fake_net_round(&w->net);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(w->calls[i].failed, 1);
    assert_int_equal(calls_that_count(w), 2);
    world_end(w);
}

/* And a stream that fails alone for itself. */
static void streams_that_fail_alone_count_each(void **state) {
    (void)state;
    struct world *w = world_start();
    for (unsigned i = 0; i < 6; i++)
        call_get(w, i);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    for (int32_t id = 1; id <= 7; id += 2)
        peer_reset(w, p, id, id == 1 ? NGHTTP2_REFUSED_STREAM : NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(calls_that_count(w), 4);
    fake_break(p->t);
    fake_net_round(&w->net);
    assert_int_equal(calls_that_count(w), 5);
    world_end(w);
}

/* Streams that a GOAWAY leaves out fail by one word of the backend; those that its connection breaks under later by
 * another, though another connection has broken meanwhile. */
static void a_goaway_counts_once_and_a_break_behind_it(void **state) {
    (void)state;
    struct world *w = world_start();
    call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    for (unsigned i = 1; i < 4; i++)
        call_get(w, i);
    fake_net_round(&w->net);
    assert_int_equal(nghttp2_submit_goaway(p->ng, 0, 1, NGHTTP2_NO_ERROR, NULL, 0), 0);
    peer_run(w, p);
    assert_int_equal(w->calls[0].failed, 0);
    assert_int_equal(calls_that_count(w), 1);
    call_get(w, 4);
    call_get(w, 5);
    fake_refuse(fake_dialed(&w->net));
    assert_int_equal(calls_that_count(w), 2);
    fake_break(p->t);
    fake_net_round(&w->net);
    assert_int_equal(w->calls[0].failed, 1);
    assert_int_equal(calls_that_count(w), 3);
    world_end(w);
}

static void open_post(struct world *w, struct call *c) {
    struct vx_error error;
    call_init(c, VX_METHOD_POST, VX_BODY_LENGTH, 4);
    assert_true(call_open(w, c, false, &error));
}

/* A listener that closes resets what waits in its backlog, which had been connected: no request may have been sent into it,
 * for nobody could say afterwards whether it may be sent again. */
static void nothing_is_sent_before_the_backends_first_word(void **state) {
    (void)state;
    static const char *const details[] = {"reset before a word of HTTP/2", "closed before a word of HTTP/2"};
    for (unsigned orderly = 0; orderly < 2; orderly++) {
        struct world *w = world_start();
        struct call *first = &w->calls[0], *second = call_get(w, 1);
        open_post(w, first);
        struct peer *p = peer_connected(w, 0, false);
        fake_net_round(&w->net);
        assert_int_equal(first->up->stream.ops->push(&first->up->stream, VX_SLICE("body")), 0);
        if (orderly)
            fake_fin(p->t);
        else
            fake_break(p->t);
        fake_net_round(&w->net);
        assert_int_equal(first->failed, 1);
        assert_int_equal(second->failed, 1);
        assert_int_equal(first->failure.code, VX_ERR_CONNECT_FAILED);
        assert_string_equal(first->failure.detail, details[orderly]);
        assert_true(first->failure.retryable);
        assert_false(first->was_sent);
        assert_int_equal(w->client.connection_count, 0);
        world_end(w);
    }
}

/* The time for a connect counts to there. */
static void a_backend_that_never_says_a_word(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = &w->calls[0];
    open_post(w, c);
    peer_connected(w, 0, false);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_int_equal(c->failure.code, VX_ERR_CONNECT_TIMEOUT);
    assert_true(c->failure.retryable);
    assert_int_equal(w->client.connection_count, 0);
    world_end(w);
}

static void a_backend_that_begins_with_a_goaway(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = &w->calls[0];
    open_post(w, c);
    struct peer *p = peer_connected(w, 0, false);
    assert_int_equal(nghttp2_submit_goaway(p->ng, 0, 0, NGHTTP2_NO_ERROR, NULL, 0), 0);
    peer_run(w, p);
    assert_int_equal(p->streams, 0);
    assert_int_equal(c->failure.code, VX_ERR_BACKEND_CLOSED);
    assert_true(c->failure.retryable);
    world_end(w);
}

/* Its SETTINGS and a GOAWAY, in one piece. */
static void go_away_at_once(struct peer *p) {
    char words[256];
    size_t len = 0;
    const uint8_t *bytes;
    assert_int_equal(nghttp2_submit_goaway(p->ng, 0, 0, NGHTTP2_NO_ERROR, NULL, 0), 0);
    for (nghttp2_ssize n; (n = nghttp2_session_mem_send2(p->ng, &bytes)) > 0; len += (size_t)n) {
        assert_true(len + (size_t)n <= sizeof words);
        memcpy(words + len, bytes, (size_t)n);
    }
    fake_send_bytes(p->t, words, len);
}

/* Asks again at once, as an exchange does, and once only. */
static void ask_again(void *user, uint64_t now_ns) {
    struct call *c = user;
    struct world *w = VX_CONTAINER_OF(c, struct world, calls);
    struct vx_error error;
    call_events.on_failed(user, now_ns);
    call_release(c);
    if (c->failed == 1)
        assert_true(call_open(w, c, true, &error));
}

/* Who is told that the connection goes away, and asks again at once, waits for another one, even where there may be only
 * one at a time. */
static void asking_again_behind_a_first_goaway(void **state) {
    (void)state;
    struct vx_stream_events again = call_events;
    again.on_failed = ask_again;
    for (unsigned limited = 0; limited < 2; limited++) {
        struct world *w = world_start();
        struct call *c = &w->calls[0];
        w->target.max_connections = limited;
        w->target.queue_length = 0;
        open_post(w, c);
        c->up->stream.events = &again;
        go_away_at_once(peer_connected(w, 0, false));
        assert_int_equal(c->failed, 1);
        assert_non_null(c->up);
        assert_int_equal(w->net.count, 2);
        struct peer *other = peer_connected(w, 0, false);
        peer_run(w, other);
        assert_int_equal(other->streams, 1);
        world_end(w);
    }
}

/* The same where the connection turns out to be no HTTP/2: as many connects as attempts, each with an answer of its own. */
static void asking_again_behind_an_answer_of_http1(void **state) {
    (void)state;
    struct vx_stream_events again = call_events;
    again.on_failed = ask_again;
    struct world *w = world_start();
    struct call *c = &w->calls[0];
    open_post(w, c);
    c->up->stream.events = &again;
    fake_connected(fake_dialed(&w->net));
    fake_send(fake_dialed(&w->net), "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    fake_net_round(&w->net);
    assert_int_equal(c->failed, 1);
    assert_non_null(c->up);
    assert_int_equal(w->net.count, 2);
    world_end(w);
}

static void a_connection_that_nobody_waits_for_any_more(void **state) {
    (void)state;
    struct world *w = world_start();
    w->target.max_idle = 0;
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    fake_net_round(&w->net);
    call_release(c);
    peer_run(w, p);
    assert_int_equal(p->goaways, 1);
    assert_int_equal(atomic_load(&w->shared.connections), 0);
    world_end(w);
}

static void a_connect_that_takes_too_long(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_int_equal(c->failure.code, VX_ERR_CONNECT_TIMEOUT);
    world_end(w);
}

static void no_h2_by_alpn(void **state) {
    (void)state;
    static const struct vx_tls_info info = {.alpn = {"http/1.1", 8}};
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    fake_dialed(&w->net)->base.tls = &info;
    fake_connected(fake_dialed(&w->net));
    assert_int_equal(c->failure.code, VX_ERR_TLS_FAILED);
    assert_int_equal(w->client.connection_count, 0);
    world_end(w);
}

static void an_answer_of_http1(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct fake_transport *t = fake_dialed(&w->net);
    fake_connected(t);
    fake_send(t, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    fake_net_round(&w->net);
    assert_int_equal(c->failure.code, VX_ERR_BAD_RESPONSE);
    assert_string_equal(c->failure.detail, "the backend does not speak HTTP/2");
    world_end(w);
}

static void streams_that_a_goaway_leaves_out(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *first = call_get(w, 0), *second = call_get(w, 1);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    assert_int_equal(p->streams, 2);
    assert_int_equal(nghttp2_submit_goaway(p->ng, 0, 1, NGHTTP2_NO_ERROR, NULL, 0), 0);
    peer_run(w, p);
    assert_int_equal(second->failure.code, VX_ERR_BACKEND_CLOSED);
    assert_true(second->failure.retryable);
    assert_int_equal(first->failed, 0);
    /* The next one goes elsewhere, while the first is served to its end. */
    call_release(second);
    call_get(w, 2);
    assert_int_equal(w->net.count, 2);
    peer_answer(w, p, 1, "200", "x");
    assert_int_equal(first->status, 200);
    world_end(w);
}

static void a_connection_that_breaks(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    fake_break(p->t);
    fake_net_round(&w->net);
    assert_int_equal(c->failed, 1);
    assert_true(c->was_sent);
    assert_false(c->failure.retryable);
    world_end(w);
}

/* What came of an answer is the client's, however slow it is and whatever becomes of the connection meanwhile. */
static void a_complete_answer_outlives_its_connection(void **state) {
    (void)state;
    enum { GOAWAY, FIN, BREAK, ENDS };
    for (unsigned end = 0; end < ENDS; end++) {
        struct world *w = world_start();
        struct call *whole = call_get(w, 0), *partial = call_get(w, 1);
        struct peer *p = peer_connected(w, 0, false);
        peer_run(w, p);
        peer_answer(w, p, 1, "200", "hello");
        if (end == GOAWAY) {
            call_release(partial);
            assert_int_equal(nghttp2_submit_goaway(p->ng, 0, 3, NGHTTP2_NO_ERROR, NULL, 0), 0);
            peer_run(w, p);
        } else if (end == FIN) {
            fake_fin(p->t);
        } else {
            fake_break(p->t);
        }
        fake_net_round(&w->net);
        fake_net_advance(&w->net, FAKE_S(3));
        assert_int_equal(partial->failed, end != GOAWAY);
        assert_int_equal(whole->failed, 0);
        assert_int_equal(whole->status, 200);
        assert_int_equal(atomic_load(&w->shared.connections), 0);
        assert_int_equal(call_drink(whole), 5);
        call_release(whole);
        fake_net_advance(&w->net, FAKE_S(3));
        assert_int_equal(w->client.connection_count, 0);
        world_end(w);
    }
}

static void idle_connections_end(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    peer_answer(w, p, 1, "200", "x");
    call_drink(c);
    call_release(c);
    peer_run(w, p);
    fake_net_advance(&w->net, FAKE_S(61));
    peer_run(w, p);
    assert_int_equal(p->goaways, 1);
    assert_int_equal(p->pings, 0); /* an idle connection is left alone */
    world_end(w);
}

/* One whose backend takes nothing any more must not stay for its last words. */
static void idle_connections_end_though_nothing_leaves(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    peer_answer(w, p, 1, "200", "x");
    call_drink(c);
    call_release(c);
    peer_run(w, p);
    p->t->room = 0;
    fake_net_advance(&w->net, FAKE_S(70));
    assert_true(p->t->closed);
    assert_int_equal(w->client.connection_count, 0);
    world_end(w);
}

/* A connection with a finished request, silent for some seconds, on which another request begins. */
static struct peer *silent_connection(struct world *w) {
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    peer_answer(w, p, 1, "200", "x");
    call_drink(c);
    call_release(c);
    peer_run(w, p);
    fake_net_advance(&w->net, FAKE_S(10));
    call_get(w, 1);
    fake_net_round(&w->net);
    return p;
}

static void a_silent_connection_is_asked(void **state) {
    (void)state;
    struct world *w = world_start();
    struct peer *p = silent_connection(w);
    peer_run(w, p);
    assert_int_equal(p->pings, 1);
    fake_net_advance(&w->net, FAKE_S(10)); /* the answer came: the request has its own time */
    assert_int_equal(w->calls[1].failed, 0);
    world_end(w);
}

static void a_dead_connection_is_found_out(void **state) {
    (void)state;
    struct world *w = world_start();
    silent_connection(w);
    fake_net_advance(&w->net, FAKE_S(6));
    assert_int_equal(w->calls[1].failed, 1);
    assert_int_equal(w->calls[1].failure.code, VX_ERR_BACKEND_RESET);
    assert_true(w->calls[1].up->reused);
    world_end(w);
}

static void so_many_requests_and_no_more(void **state) {
    (void)state;
    struct world *w = world_start();
    w->target.max_requests = 1;
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    assert_int_equal(p->goaways, 0); /* some answer nothing behind it */
    peer_answer(w, p, 1, "200", "x");
    call_drink(c);
    call_release(c);
    peer_run(w, p);
    assert_int_equal(p->goaways, 1);
    call_get(w, 1);
    assert_int_equal(w->net.count, 2);
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connect_that_fails_fails_all_that_wait),
        cmocka_unit_test(what_a_connection_fails_counts_once),
        cmocka_unit_test(streams_that_fail_alone_count_each),
        cmocka_unit_test(a_goaway_counts_once_and_a_break_behind_it),
        cmocka_unit_test(nothing_is_sent_before_the_backends_first_word),
        cmocka_unit_test(a_backend_that_never_says_a_word),
        cmocka_unit_test(a_backend_that_begins_with_a_goaway),
        cmocka_unit_test(asking_again_behind_a_first_goaway),
        cmocka_unit_test(asking_again_behind_an_answer_of_http1),
        cmocka_unit_test(a_connection_that_nobody_waits_for_any_more),
        cmocka_unit_test(a_connect_that_takes_too_long),
        cmocka_unit_test(no_h2_by_alpn),
        cmocka_unit_test(an_answer_of_http1),
        cmocka_unit_test(streams_that_a_goaway_leaves_out),
        cmocka_unit_test(a_connection_that_breaks),
        cmocka_unit_test(a_complete_answer_outlives_its_connection),
        cmocka_unit_test(idle_connections_end),
        cmocka_unit_test(idle_connections_end_though_nothing_leaves),
        cmocka_unit_test(a_silent_connection_is_asked),
        cmocka_unit_test(a_dead_connection_is_found_out),
        cmocka_unit_test(so_many_requests_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
