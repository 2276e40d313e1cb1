/* SPDX-License-Identifier: Apache-2.0 */
/* What a client may make the server keep, wait for and do for nothing: large heads, time limits, glitches, streams beyond
 * the limit. */
#include "unit/proxy/http2/server_test.h"

static void test_heads_that_are_too_large(void **state) {
    (void)state;
    static char value[6000];
    memset(value, 'v', sizeof value - 1);
    const char *fields[] = {":method", "GET", ":scheme", "http", ":authority", "a",
                            ":path",   "/",   "x",       value,  NULL};
    struct world *w = start(false);
    int32_t id = h2_peer_head(&w->peer, 0, true, fields);
    h2_peer_talk(&w->peer);
    assert_int_equal(strncmp(h2_peer_stream(&w->peer, id)->head, ":status: 431", 12), 0);
    assert_int_equal(w->glitches[VX_H2_GLITCH_LARGE_HEAD], 1);
    value[2000] = '\0';
    value[0] = '/';
    fields[7] = value;
    fields[8] = NULL;
    id = h2_peer_head(&w->peer, 0, true, fields);
    h2_peer_talk(&w->peer);
    assert_int_equal(strncmp(h2_peer_stream(&w->peer, id)->head, ":status: 414", 12), 0);
    end(w);
}

static void test_time_limits(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_net_advance(&w->net, FAKE_S(11)); /* it never asked */
    h2_peer_talk(&w->peer);
    assert_int_equal(w->peer.goaways, 1);
    assert_int_equal(w->peer.goaway_code, NGHTTP2_NO_ERROR);
    end(w);

    w = start(false);
    h2_peer_get(&w->peer, "/");
    fake_net_advance(&w->net, FAKE_S(74));
    h2_peer_talk(&w->peer);
    assert_int_equal(w->peer.goaways, 0);
    fake_net_advance(&w->net, FAKE_S(2));
    h2_peer_talk(&w->peer);
    assert_int_equal(w->peer.goaways, 1);
    end(w);

    w = start(false);
    h2_peer_raw(&w->peer, NGHTTP2_HEADERS, 0, 1, "\x82", 1); /* and no CONTINUATION */
    fake_net_advance(&w->net, FAKE_S(11));
    assert_string_equal(w->refused, "request_timeout");
    end(w);

    w = start(true);
    h2_peer_head(&w->peer, 0, false, post);
    h2_peer_talk(&w->peer);
    struct vx_stream *s = &w->held[0].down->stream;
    struct vx_slice bytes;
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_WAIT);
    h2_peer_body(&w->peer, 1, "abc", 3, false);
    fake_net_advance(&w->net, FAKE_S(600)); /* while nobody pulls, the client owes nothing */
    assert_int_equal(w->held[0].readable, 1);
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_BYTES);
    s->ops->consume(s, bytes.len);
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_WAIT);
    fake_net_advance(&w->net, FAKE_S(61));
    assert_int_equal(w->held[0].readable, 2);
    assert_int_equal(s->ops->pull(s, &bytes), VX_PULL_FAILED);
    assert_int_equal(s->error.code, VX_ERR_REQUEST_TIMEOUT);
    let_go(&w->held[0]);
    end(w);
}

static void test_a_window_that_stays_shut(void **state) {
    (void)state;
    struct world *w = start_with(true, 10, 100);
    h2_peer_get(&w->peer, "/");
    struct vx_response head = {.status = 200, .version = VX_HTTP_11, .framing = VX_BODY_CHUNKED};
    struct vx_downstream *d = w->held[0].down;
    d->ops->respond(d, &head);
    assert_int_equal(d->stream.ops->push(&d->stream, VX_SLICE("more than ten bytes")), 10);
    fake_net_advance(&w->net, FAKE_S(31));
    assert_int_equal(w->held[0].failure, VX_ERR_CLIENT_WRITE_TIMEOUT);
    end(w);
}

static void test_glitches_have_a_limit(void **state) {
    (void)state;
    struct world *w = start_with(false, 0, 20);
    h2_peer_get(&w->peer, "/");
    for (unsigned i = 0; i < 16; i++)
        h2_peer_raw(&w->peer, NGHTTP2_PING, 0, 0, "12345678", 8);
    assert_int_equal(w->glitches[VX_H2_GLITCH_CONTROL], 0); /* a few are free */
    h2_peer_get(&w->peer, "/");
    for (unsigned i = 0; i < 16 + 20; i++)
        h2_peer_raw(&w->peer, NGHTTP2_PING, 0, 0, "12345678", 8);
    assert_int_equal(w->glitches[VX_H2_GLITCH_CONTROL], 20);
    assert_false(w->calmed);
    h2_peer_raw(&w->peer, NGHTTP2_PING, 0, 0, "12345678", 8);
    assert_true(w->calmed);
    assert_int_equal(w->peer.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    end(w);
}

/* RFC 9113 §5.1.2: an error of the stream. Whoever goes on with it is told to calm down like any other. */
static void test_a_stream_too_many_is_refused(void **state) {
    (void)state;
    enum { LIMIT = 10, GLITCHES = 20 };
    static const char head[] = "\x82\x86\x84\x01\x01"
                               "a";
    struct world *w = start_with(true, 0, GLITCHES);
    assert_int_equal(w->peer.most_streams, LIMIT);
    int32_t id = 1;
    for (; id < 2 * LIMIT; id += 2)
        h2_peer_raw(&w->peer, NGHTTP2_HEADERS, 5, id, head, sizeof head - 1);
    assert_int_equal(w->begun, LIMIT);
    for (; id < 2 * (LIMIT + GLITCHES); id += 2)
        h2_peer_raw(&w->peer, NGHTTP2_HEADERS, 5, id, head, sizeof head - 1);
    assert_int_equal(w->glitches[VX_H2_GLITCH_REFUSED], GLITCHES);
    assert_int_equal(w->begun, LIMIT);
    assert_false(w->calmed);
    /* A place that is free again is anybody's. */
    let_go(&w->held[0]);
    h2_peer_raw(&w->peer, NGHTTP2_HEADERS, 5, id, head, sizeof head - 1);
    assert_int_equal(w->begun, LIMIT + 1);
    h2_peer_raw(&w->peer, NGHTTP2_HEADERS, 5, id + 2, head, sizeof head - 1);
    assert_true(w->calmed);
    end(w);
}

static void test_kinds_of_glitches(void **state) {
    (void)state;
    struct world *w = start_with(true, 10, 1000);
    int32_t id = h2_peer_head(&w->peer, 0, false, post);
    h2_peer_talk(&w->peer);
    h2_peer_raw(&w->peer, NGHTTP2_DATA, 0, id, "", 0);
    assert_int_equal(w->glitches[VX_H2_GLITCH_EMPTY_DATA], 1);
    struct vx_response head = {.status = 200, .version = VX_HTTP_11, .framing = VX_BODY_CHUNKED};
    struct vx_downstream *d = w->held[0].down;
    d->ops->respond(d, &head);
    assert_int_equal(d->stream.ops->push(&d->stream, VX_SLICE("more than ten bytes")), 10);
    h2_peer_raw(&w->peer, NGHTTP2_WINDOW_UPDATE, 0, id, "\0\0\0\1", 4);
    assert_int_equal(w->glitches[VX_H2_GLITCH_SMALL_WINDOW], 1);
    h2_peer_raw(&w->peer, NGHTTP2_WINDOW_UPDATE, 0, id, "\x7f\xff\xff\xff", 4);
    assert_int_equal(w->glitches[VX_H2_GLITCH_BAD_FRAME], 1);
    assert_int_equal(h2_peer_stream(&w->peer, id)->code, NGHTTP2_FLOW_CONTROL_ERROR);
    for (unsigned i = 0; i < 40; i++)
        h2_peer_raw(&w->peer, 0x77, 0, 0, "unknown", 7);
    assert_int_equal(w->glitches[VX_H2_GLITCH_CONTROL], 40 - 16);
    h2_peer_raw(&w->peer, NGHTTP2_HEADERS, 1, 11, "\x82", 1);
    for (unsigned i = 0; i < 20 && !w->t->closed && !w->calmed; i++)
        h2_peer_raw(&w->peer, NGHTTP2_CONTINUATION, 0, 11, "", 0);
    assert_int_equal(w->glitches[VX_H2_GLITCH_CONTINUATION], 1);
    assert_true(w->calmed);
    end(w);
}

static void test_frames_of_streams_that_the_client_ended(void **state) {
    (void)state;
    struct world *w = start(false);
    int32_t id = h2_peer_get(&w->peer, "/");
    h2_peer_raw(&w->peer, NGHTTP2_DATA, 0, id, "x", 1);
    assert_int_equal(w->peer.goaway_code, NGHTTP2_STREAM_CLOSED);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads_that_are_too_large),
        cmocka_unit_test(test_time_limits),
        cmocka_unit_test(test_a_window_that_stays_shut),
        cmocka_unit_test(test_glitches_have_a_limit),
        cmocka_unit_test(test_a_stream_too_many_is_refused),
        cmocka_unit_test(test_kinds_of_glitches),
        cmocka_unit_test(test_frames_of_streams_that_the_client_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
