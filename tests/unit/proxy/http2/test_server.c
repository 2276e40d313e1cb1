/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the tables in server.c: heads, bodies and their windows, resets, refusals, drains; and what session.c promises
 * its owners. */
#include "unit/proxy/http2/server_test.h"

static void test_requests_are_answered(void **state) {
    (void)state;
    struct world *w = start(false);
    assert_int_equal(w->peer.most_streams, 10);
    assert_true(w->peer.connect_protocol);
    for (unsigned i = 0; i < 30; i++) {
        struct h2_peer_stream *s = h2_peer_stream(&w->peer, h2_peer_get(&w->peer, "/"));
        assert_string_equal(s->head, ":status: 200\ncontent-length: 2\n");
        assert_string_equal(s->body, "ok");
        assert_true(s->closed);
        assert_int_equal(s->code, NGHTTP2_NO_ERROR);
    }
    assert_int_equal(w->net.blocks.used_bytes, 0); /* an idle connection holds no buffer */
    assert_int_equal(w->net.arenas.used_bytes, 0);
    end(w);
}

static void test_answers_are_dated(void **state) {
    (void)state;
    struct world *w = start(false);
    w->net.rt.date = VX_SLICE("now");
    struct h2_peer_stream *s = h2_peer_stream(&w->peer, h2_peer_get(&w->peer, "/"));
    assert_string_equal(s->head, ":status: 200\ndate: now\ncontent-length: 2\n");
    end(w);
}

static void test_requests_of_a_connection_name_the_same_one(void **state) {
    (void)state;
    struct world *w = start(true);
    h2_peer_get(&w->peer, "/");
    h2_peer_get(&w->peer, "/");
    assert_int_not_equal(w->held[0].down->client->id, 0);
    assert_int_equal(w->held[0].down->client->id, w->held[1].down->client->id);
    answer(&w->held[0], "ok");
    answer(&w->held[1], "ok");
    end(w);
}

static void test_one_write_carries_the_answers_of_a_round(void **state) {
    (void)state;
    struct world *w = start(true);
    for (unsigned i = 0; i < 5; i++)
        h2_peer_get(&w->peer, "/");
    unsigned before = w->t->writes;
    for (unsigned i = 0; i < 5; i++)
        answer(&w->held[i], "ok");
    fake_net_round(&w->net);
    assert_int_equal(w->t->writes, before + 1);
    end(w);
}

static void test_a_body_is_pulled(void **state) {
    (void)state;
    struct world *w = start(true);
    int32_t id = h2_peer_head(&w->peer, 0, false, post);
    assert_int_equal(h2_peer_body(&w->peer, id, "hello", 5, false), 5);
    struct vx_stream *s = &w->held[0].down->stream;
    assert_int_equal(w->held[0].down->request->framing, VX_BODY_CHUNKED);
    struct vx_slice bytes;
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_BYTES);
    assert_true(vx_slice_eq(bytes, VX_SLICE("hello")));
    s->ops->consume(s, 2);
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_BYTES);
    assert_true(vx_slice_eq(bytes, VX_SLICE("llo")));
    s->ops->consume(s, 3);
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_WAIT);
    static const char *const trailers[] = {"x-sum", "9", "host", "dropped", NULL};
    h2_peer_head(&w->peer, id, true, trailers);
    h2_peer_talk(&w->peer);
    assert_int_equal(w->held[0].readable, 1);
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_END);
    assert_int_equal(s->ops->trailers(s)->count, 1);
    answer(&w->held[0], "ok");
    h2_peer_talk(&w->peer);
    assert_true(h2_peer_stream(&w->peer, id)->ended);
    end(w);
}

/* Frames that came together lie where they were read; those that came later join them. */
static void test_a_body_in_many_frames_is_pulled_in_order(void **state) {
    (void)state;
    enum { FIRST_MOST = 65000, LATER = 500, STEP = 3333 };
    static char much[FIRST_MOST + LATER];
    for (size_t i = 0; i < sizeof much; i++)
        much[i] = (char)(i % 251);
    for (size_t first = 1; first < FIRST_MOST; first += STEP) {
        struct world *w = start(true);
        int32_t id = h2_peer_head(&w->peer, 0, false, post);
        assert_int_equal(h2_peer_body(&w->peer, id, much, first, false), first);
        struct vx_stream *s = &w->held[0].down->stream;
        struct vx_slice bytes;
        assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_BYTES);
        assert_false(s->whole);
        s->ops->consume(s, 1);
        assert_int_equal(h2_peer_body(&w->peer, id, much + first, LATER, true), LATER);
        for (size_t got = 1; got < first + LATER; got += bytes.len) {
            assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_BYTES);
            assert_memory_equal(bytes.ptr, much + got, bytes.len);
            assert_int_equal(s->whole, got + bytes.len == first + LATER);
            s->ops->consume(s, bytes.len);
        }
        assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_END);
        answer(&w->held[0], "ok");
        end(w);
    }
}

static void test_the_end_goes_with_the_last_bytes(void **state) {
    (void)state;
    static char much[5000];
    struct world *w = start_with(true, 1000, 100);
    int32_t id = h2_peer_get(&w->peer, "/");
    struct vx_response head = {.status = 200, .version = VX_HTTP_2, .framing = VX_BODY_CHUNKED};
    struct vx_downstream *d = w->held[0].down;
    d->ops->respond(d, &head);
    d->stream.ending = true;
    assert_int_equal(d->stream.ops->push(&d->stream, vx_slice(much, sizeof much)), 1000);
    h2_peer_talk(&w->peer);
    assert_false(h2_peer_stream(&w->peer, id)->ended);
    nghttp2_session_consume(w->peer.ng, id, 1000);
    h2_peer_talk(&w->peer);
    assert_int_equal(d->stream.ops->push(&d->stream, vx_slice(much, 500)), 500);
    h2_peer_talk(&w->peer);
    assert_true(h2_peer_stream(&w->peer, id)->ended);
    d->stream.ops->finish(&d->stream, NULL);
    let_go(&w->held[0]);
    h2_peer_talk(&w->peer);
    assert_int_equal(h2_peer_stream(&w->peer, id)->code, NGHTTP2_NO_ERROR);
    end(w);
}

/* What is not pulled is not given room for, and holds up nobody else. */
static void test_a_stream_that_is_not_read_stops_only_itself(void **state) {
    (void)state;
    static char much[300000];
    struct world *w = start(true);
    int32_t id = h2_peer_head(&w->peer, 0, false, post);
    size_t sent = h2_peer_body(&w->peer, id, much, sizeof much, true);
    assert_int_equal(sent, 65536);
    size_t held = w->net.blocks.used_bytes;
    assert_true(held <= 4 * 65536);
    w->holds = false;
    for (unsigned i = 0; i < 5; i++)
        assert_true(h2_peer_stream(&w->peer, h2_peer_get(&w->peer, "/"))->ended);
    /* Reading lets the rest come. */
    struct vx_stream *s = &w->held[0].down->stream;
    struct vx_slice bytes;
    size_t got = 0;
    enum vx_pull result;
    while ((result = s->ops->pull(s, &bytes)) != VX_PULL_END) {
        if (result == VX_PULL_BYTES) {
            got += bytes.len;
            s->ops->consume(s, bytes.len);
        } else {
            assert_int_equal(result, VX_PULL_WAIT);
            h2_peer_talk(&w->peer);
        }
    }
    assert_int_equal(got, sizeof much);
    answer(&w->held[0], "ok");
    end(w);
}

static void test_a_response_waits_for_the_clients_window(void **state) {
    (void)state;
    static char much[5000];
    struct world *w = start_with(true, 1000, 100);
    int32_t id = h2_peer_get(&w->peer, "/"), other = h2_peer_get(&w->peer, "/");
    struct vx_response head = {.status = 200, .version = VX_HTTP_11, .framing = VX_BODY_CHUNKED};
    struct vx_downstream *d = w->held[0].down;
    d->ops->respond(d, &head);
    assert_int_equal(d->stream.ops->push(&d->stream, vx_slice(much, sizeof much)), 1000);
    h2_peer_talk(&w->peer);
    assert_int_equal(h2_peer_stream(&w->peer, id)->body_bytes, 1000);
    answer(&w->held[1], "ok"); /* the other one goes on */
    h2_peer_talk(&w->peer);
    assert_true(h2_peer_stream(&w->peer, other)->ended);
    assert_int_equal(w->held[0].writable, 0);
    nghttp2_session_consume(w->peer.ng, id, 1000);
    h2_peer_talk(&w->peer);
    assert_int_equal(w->held[0].writable, 1);
    assert_int_equal(d->stream.ops->push(&d->stream, vx_slice(much, 500)), 500);
    d->stream.ops->finish(&d->stream, NULL);
    let_go(&w->held[0]);
    h2_peer_talk(&w->peer);
    assert_true(h2_peer_stream(&w->peer, id)->ended);
    end(w);
}

/* Bytes that do not leave stop the bodies, and their turn comes when they do. */
static void test_a_full_connection_stops_the_bodies(void **state) {
    (void)state;
    static char much[200000];
    struct world *w = start(true);
    nghttp2_session_set_local_window_size(w->peer.ng, NGHTTP2_FLAG_NONE, 0, 1 << 24);
    h2_peer_get(&w->peer, "/");
    struct vx_response head = {.status = 200, .version = VX_HTTP_11, .framing = VX_BODY_CHUNKED};
    struct vx_downstream *d = w->held[0].down;
    w->t->room = 100;
    d->ops->respond(d, &head);
    size_t taken = d->stream.ops->push(&d->stream, vx_slice(much, sizeof much));
    assert_true(taken > 0 && taken <= 70000);
    fake_net_round(&w->net);
    assert_int_equal(w->held[0].writable, 0);
    fake_give_room(w->t, SIZE_MAX);
    h2_peer_talk(&w->peer);
    assert_int_equal(w->held[0].writable, 1);
    let_go(&w->held[0]); /* cut */
    h2_peer_talk(&w->peer);
    assert_int_equal(w->peer.streams[0].code, NGHTTP2_INTERNAL_ERROR);
    end(w);
}

static void test_an_answer_before_the_end_of_the_request(void **state) {
    (void)state;
    struct world *w = start(true);
    int32_t id = h2_peer_head(&w->peer, 0, false, post);
    h2_peer_talk(&w->peer);
    answer(&w->held[0], "early");
    h2_peer_talk(&w->peer);
    struct h2_peer_stream *s = h2_peer_stream(&w->peer, id);
    assert_string_equal(s->body, "early");
    assert_true(s->ended && s->closed);
    assert_int_equal(s->code, NGHTTP2_NO_ERROR);
    /* What was on its way is no fault of the client's. */
    h2_peer_raw(&w->peer, NGHTTP2_DATA, 0, id, "x", 1);
    assert_int_equal(w->peer.goaways, 0);
    end(w);
}

static void test_a_reset_is_told_once(void **state) {
    (void)state;
    struct world *w = start(true);
    int32_t id = h2_peer_get(&w->peer, "/");
    nghttp2_submit_rst_stream(w->peer.ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    h2_peer_talk(&w->peer);
    assert_int_equal(w->held[0].failed, 1);
    assert_int_equal(w->held[0].failure, VX_ERR_CLIENT_GONE);
    assert_int_equal(w->glitches[VX_H2_GLITCH_RESET], 1);
    end(w);
}

/* A request that was reset before its head was handed on costs no handler anything. */
static void test_a_request_that_is_reset_at_once_never_begins(void **state) {
    (void)state;
    struct world *w = start(true);
    uint8_t head[] = {0x82, 0x86, 0x84, 0x41, 1, 'a'}, code[] = {0, 0, 0, 8};
    char bytes[2 * 9 + sizeof head + sizeof code] = {0};
    char *reset = bytes + 9 + sizeof head;
    bytes[2] = sizeof head, bytes[3] = NGHTTP2_HEADERS, bytes[4] = 5, bytes[8] = 1;
    memcpy(bytes + 9, head, sizeof head);
    reset[2] = sizeof code, reset[3] = NGHTTP2_RST_STREAM, reset[8] = 1;
    memcpy(reset + 9, code, sizeof code);
    fake_send_bytes(w->t, bytes, sizeof bytes);
    assert_int_equal(w->begun, 0);
    assert_int_equal(w->glitches[VX_H2_GLITCH_RESET], 1);
    end(w);
}

static void test_bad_requests(void **state) {
    (void)state;
    static const struct {
        const char *word;
        const char *head; /* begins with it; NULL: the stream is reset */
        const char *fields[14];
    } cases[] = {
        {"bad_path",
         ":status: 400",
         {":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/.."}},
        {"bad_host", ":status: 400", {":method", "GET", ":scheme", "http", ":path", "/"}},
        {"not_implemented", ":status: 501", {":method", "CONNECT", ":authority", "a:1"}},
        {"bad_request", NULL, {":method", "GET", ":scheme", "http", ":authority", "a"}},
        {"bad_request", NULL, {":method", "GET", ":scheme", "http", ":path", "/", ":path", "/", "host", "a"}},
        {"bad_request", NULL, {":method", "GET", ":scheme", "http", ":path", "/", ":status", "200"}},
        {"bad_request", NULL, {":method", "GET", ":scheme", "http", "x", "y", ":path", "/", "host", "a"}},
        {"bad_request",
         NULL,
         {":method", "GET", ":scheme", "http", ":path", "/", "host", "a", "upgrade", "x"}},
        {"bad_request",
         NULL,
         {":method", "GET", ":scheme", "http", ":path", "/", "host", "a", "User-Agent", "x"}},
        {"bad_framing",
         NULL,
         {":method", "GET", ":scheme", "http", ":path", "/", "host", "a", "content-length", "7"}},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = start(false);
        int32_t id = h2_peer_head(&w->peer, 0, true, cases[i].fields);
        h2_peer_talk(&w->peer);
        struct h2_peer_stream *s = h2_peer_stream(&w->peer, id);
        assert_string_equal(w->refused, cases[i].word);
        assert_true(s->closed);
        if (cases[i].head) {
            assert_int_equal(strncmp(s->head, cases[i].head, strlen(cases[i].head)), 0);
            assert_true(w->refused_bytes > 0);
        } else {
            assert_int_equal(s->code, NGHTTP2_PROTOCOL_ERROR);
            assert_int_equal(w->glitches[VX_H2_GLITCH_BAD_HEAD], 1);
        }
        assert_int_equal(w->begun, 0);
        assert_true(h2_peer_stream(&w->peer, h2_peer_get(&w->peer, "/"))->ended); /* the connection lives */
        end(w);
    }
}

static void test_a_body_that_is_not_as_long_as_declared(void **state) {
    (void)state;
    static const char *const fields[] = {":method", "POST", ":scheme",        "http", ":authority", "a",
                                         ":path",   "/",    "content-length", "3",    NULL};
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = start(true);
        int32_t id = h2_peer_head(&w->peer, 0, false, fields);
        h2_peer_talk(&w->peer);
        assert_int_equal(w->held[0].down->request->body_bytes, 3);
        h2_peer_body(&w->peer, id, "abcd", i ? 4 : 2, true);
        assert_int_equal(w->held[0].failed, 1);
        assert_int_equal(w->held[0].failure, VX_ERR_BAD_FRAMING);
        assert_int_equal(h2_peer_stream(&w->peer, id)->code, NGHTTP2_PROTOCOL_ERROR);
        assert_int_equal(w->glitches[VX_H2_GLITCH_BAD_FRAME], 1);
        end(w);
    }
}

static void test_a_broken_connection_fails_its_streams(void **state) {
    (void)state;
    struct world *w = start(true);
    h2_peer_get(&w->peer, "/");
    h2_peer_get(&w->peer, "/");
    fake_break(w->t);
    assert_int_equal(w->held[0].failed + w->held[1].failed, 2);
    assert_true(w->t->closed);
    assert_int_equal(w->server.connection_count, 0);
    end(w);
}

static void test_a_drain_serves_what_has_begun(void **state) {
    (void)state;
    struct world *w = start(true);
    int32_t id = h2_peer_get(&w->peer, "/");
    vx_http_server_drain(&w->server);
    fake_net_round(&w->net);
    h2_peer_talk(&w->peer);
    assert_int_equal(w->peer.goaways, 2); /* the second one once the client has heard the first */
    assert_int_equal(w->peer.goaway_last, id);
    assert_false(w->t->closed);
    answer(&w->held[0], "ok");
    h2_peer_talk(&w->peer);
    assert_true(h2_peer_stream(&w->peer, id)->ended);
    assert_int_equal(w->t->shuts, 1);
    fake_fin(w->t);
    assert_true(w->t->closed);
    end(w);
}

static void test_websocket(void **state) {
    (void)state;
    static const char *const fields[] = {":method",    "CONNECT", ":protocol", "websocket", ":scheme", "http",
                                         ":authority", "a",       ":path",     "/chat",     NULL};
    struct world *w = start(true);
    int32_t id = h2_peer_head(&w->peer, 0, false, fields);
    h2_peer_talk(&w->peer);
    struct vx_downstream *d = w->held[0].down;
    struct vx_headers *h = &d->request->headers;
    assert_int_equal(d->request->method, VX_METHOD_GET);
    assert_true(d->request->upgrade);
    assert_int_equal(vx_headers_find_name(h, VX_SLICE("sec-websocket-key"))->value_len, 24);
    struct vx_response head = {.status = 101, .version = VX_HTTP_11, .upgrade = true};
    assert_true(vx_headers_add(&head.headers, d->arena, VX_HEADER_UPGRADE, VX_SLICE("upgrade"),
                               VX_SLICE("websocket")));
    assert_true(vx_headers_add(&head.headers, d->arena, VX_HEADER_OTHER, VX_SLICE("Sec-WebSocket-Accept"),
                               VX_SLICE("x")));
    d->ops->respond(d, &head);
    assert_int_equal(d->stream.ops->push(&d->stream, VX_SLICE("hi")), 2);
    h2_peer_talk(&w->peer);
    assert_string_equal(h2_peer_stream(&w->peer, id)->head, ":status: 200\n");
    assert_string_equal(h2_peer_stream(&w->peer, id)->body, "hi");
    h2_peer_body(&w->peer, id, "there", 5, true);
    struct vx_slice bytes;
    assert_int_equal(d->stream.ops->pull(&d->stream, &bytes), VX_PULL_BYTES);
    assert_true(vx_slice_eq(bytes, VX_SLICE("there")));
    d->stream.ops->consume(&d->stream, 5);
    assert_int_equal(d->stream.ops->pull(&d->stream, &bytes), VX_PULL_END);
    d->stream.ops->finish(&d->stream, NULL);
    let_go(&w->held[0]);
    h2_peer_talk(&w->peer);
    assert_true(h2_peer_stream(&w->peer, id)->ended);
    end(w);
}

/* Answers the rest once there is room for it, with trailers. */
static void answer_the_rest(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct held *h = user;
    struct vx_downstream *d = h->down;
    struct vx_headers trailers = {0};
    assert_true(vx_headers_add(&trailers, d->arena, VX_HEADER_OTHER, VX_SLICE("x-sum"), VX_SLICE("9")));
    assert_int_equal(d->stream.ops->push(&d->stream, VX_SLICE("the rest")), 8);
    d->stream.ops->finish(&d->stream, &trailers);
    let_go(h);
}

/* The last head may be sent while streams that waited are woken: nothing comes behind it that would end the connection. */
static void test_a_client_that_went_away_is_closed_behind_its_last_trailers(void **state) {
    (void)state;
    static const struct vx_stream_events waiting = {.on_writable = answer_the_rest};
    static char much[1000];
    struct world *w = start_with(true, sizeof much, 100);
    int32_t id = h2_peer_get(&w->peer, "/");
    struct vx_response head = {.status = 200, .version = VX_HTTP_2, .framing = VX_BODY_CHUNKED};
    struct vx_downstream *d = w->held[0].down;
    d->stream.events = &waiting;
    d->ops->respond(d, &head);
    assert_int_equal(d->stream.ops->push(&d->stream, vx_slice(much, sizeof much)), sizeof much);
    assert_int_equal(d->stream.ops->push(&d->stream, VX_SLICE("the rest")), 0);
    assert_int_equal(nghttp2_submit_goaway(w->peer.ng, 0, 0, NGHTTP2_NO_ERROR, NULL, 0), 0);
    h2_peer_talk(&w->peer);
    nghttp2_session_consume(w->peer.ng, id, sizeof much);
    h2_peer_talk(&w->peer);
    assert_true(h2_peer_stream(&w->peer, id)->ended);
    assert_int_equal(w->t->shuts, 1);
    end(w);
}

/* It is the handler's already: that its trailers do not come is told as its failure alone. */
static void test_trailers_that_do_not_come_are_no_refused_request(void **state) {
    (void)state;
    struct world *w = start(true);
    int32_t id = h2_peer_head(&w->peer, 0, false, post);
    h2_peer_talk(&w->peer);
    h2_peer_raw(&w->peer, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, id, "", 0);
    fake_net_advance(&w->net, FAKE_S(11));
    assert_int_equal(w->held[0].failed, 1);
    assert_string_equal(w->refused, "");
    end(w);
}

/* Sends as much as there is room for, for ever. */
static void send_more(void *user, uint64_t now_ns) {
    (void)now_ns;
    static char much[200000];
    struct held *h = user;
    h->down->stream.ops->push(&h->down->stream, vx_slice(much, sizeof much));
}

/* The connection's window is what is short: whoever gets some of it stands behind the others for the next. */
static void test_streams_take_turns_at_the_connections_window(void **state) {
    (void)state;
    enum { WINDOW = 1 << 20, STREAMS = 3, SHARE = 10000, TURNS = 4 };
    static const struct vx_stream_events waiting = {.on_writable = send_more, .on_failed = held_on_failed};
    struct vx_response head = {.status = 200, .version = VX_HTTP_2, .framing = VX_BODY_CHUNKED};
    struct world *w = start_with(true, WINDOW, 100);
    int32_t ids[STREAMS];
    size_t before[STREAMS];
    for (unsigned i = 0; i < STREAMS; i++) {
        ids[i] = h2_peer_get(&w->peer, "/");
        w->held[i].down->stream.events = &waiting;
        w->held[i].down->ops->respond(w->held[i].down, &head);
        send_more(&w->held[i], 0);
        h2_peer_talk(&w->peer);
        before[i] = h2_peer_stream(&w->peer, ids[i])->body_bytes;
    }
    for (unsigned i = 0; i < STREAMS * TURNS; i++) {
        assert_int_equal(nghttp2_submit_window_update(w->peer.ng, 0, 0, SHARE), 0);
        h2_peer_talk(&w->peer);
    }
    for (unsigned i = 0; i < STREAMS; i++) {
        assert_int_equal(h2_peer_stream(&w->peer, ids[i])->body_bytes, before[i] + SHARE * TURNS);
        let_go(&w->held[i]);
    }
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_are_answered),
        cmocka_unit_test(test_answers_are_dated),
        cmocka_unit_test(test_requests_of_a_connection_name_the_same_one),
        cmocka_unit_test(test_one_write_carries_the_answers_of_a_round),
        cmocka_unit_test(test_a_body_is_pulled),
        cmocka_unit_test(test_a_body_in_many_frames_is_pulled_in_order),
        cmocka_unit_test(test_the_end_goes_with_the_last_bytes),
        cmocka_unit_test(test_a_client_that_went_away_is_closed_behind_its_last_trailers),
        cmocka_unit_test(test_a_stream_that_is_not_read_stops_only_itself),
        cmocka_unit_test(test_a_response_waits_for_the_clients_window),
        cmocka_unit_test(test_streams_take_turns_at_the_connections_window),
        cmocka_unit_test(test_a_full_connection_stops_the_bodies),
        cmocka_unit_test(test_an_answer_before_the_end_of_the_request),
        cmocka_unit_test(test_a_reset_is_told_once),
        cmocka_unit_test(test_a_request_that_is_reset_at_once_never_begins),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_a_body_that_is_not_as_long_as_declared),
        cmocka_unit_test(test_a_broken_connection_fails_its_streams),
        cmocka_unit_test(test_a_drain_serves_what_has_begun),
        cmocka_unit_test(test_websocket),
        cmocka_unit_test(test_trailers_that_do_not_come_are_no_refused_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
