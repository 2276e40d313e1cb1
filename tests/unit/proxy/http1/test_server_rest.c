/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the table in server_rest.c: answers that come before the request's body has, and what becomes of its rest. */
#include "unit/proxy/http1/server_test.h"

#define POST(length)  "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\n\r\n"
#define POST_CHUNKED  "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define POST_EXPECTED "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"

enum { REST_MAX_BYTES = 256 * 1024, LINGER_MAX_BYTES = 64 * 1024 * 1024, PIECE_BYTES = 1024 * 1024 };

static void assert_stays(struct world *w, const char *paths) {
    assert_int_equal(w->t->shuts, 0);
    assert_false(w->t->closed);
    w->holds = false;
    fake_send(w->t, GET("/next"));
    assert_string_equal(fake_received(w->t), OK);
    assert_string_equal(w->paths, paths);
    assert_int_equal(w->net.blocks.used_bytes, 0);
}

/* What follows is thrown away. */
static void assert_lingers(struct world *w) {
    assert_int_equal(w->t->shuts, 1);
    assert_false(w->t->closed);
    fake_send(w->t, GET("/smuggled"));
    assert_string_equal(fake_received(w->t), "");
    assert_string_equal(w->paths, "/up ");
    fake_fin(w->t);
    assert_true(w->t->closed);
    assert_false(w->t->reset);
}

static void end_lingering(struct world *w) {
    assert_string_equal(fake_received(w->t), OK_CLOSE);
    assert_lingers(w);
    end(w);
}

/* A head that is read on behind, as the exchange sends it when a backend answers early. */
static void begin_early(struct world *w, enum vx_framing framing) {
    struct vx_response response = {
        .status = 200, .version = VX_HTTP_11, .framing = framing, .body_bytes = 2, .early = true};
    w->held.down->ops->respond(w->held.down, &response);
}

static void read_body(struct world *w, size_t bytes) {
    struct vx_slice got;
    struct vx_stream *s = &w->held.down->stream;
    assert_int_equal(s->ops->pull(s, &got), VX_PULL_BYTES);
    assert_int_equal(got.len, bytes);
    s->ops->consume(s, bytes);
}

static void answer_held(struct world *w) {
    answer(&w->held, "ok");
    fake_net_round(&w->net);
}

static void end_early(struct world *w) {
    push(w, "ok");
    end_answer(w);
}

static void test_a_small_rest_is_thrown_away_and_the_connection_stays(void **state) {
    (void)state;
    static const struct {
        const char *request, *rest;
    } cases[] = {
        {POST("4") "body", ""},
        {POST("4"), "body"},
        {POST("4") "bo", "dy"},
        {POST("35") GET("/smuggled"), ""}, /* a body that looks like a request is none */
        {POST("35"), GET("/smuggled")},
        {POST_CHUNKED "4\r\nbody\r\n0\r\n\r\n", ""},
        {"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody", ""},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = start(false);
        fake_send(w->t, cases[i].request);
        assert_string_equal(fake_received(w->t), OK);
        fake_send(w->t, cases[i].rest);
        assert_stays(w, "/up /next ");
        end(w);
    }
}

static void test_a_request_may_stand_behind_the_rest(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, POST("4") "bo");
    fake_send(w->t, "dy" GET("/behind"));
    assert_string_equal(fake_received(w->t), OK OK);
    assert_stays(w, "/up /behind /next ");
    end(w);
}

static void test_what_may_be_thrown_away_has_a_bound(void **state) {
    (void)state;
    static char piece[REST_MAX_BYTES];
    struct world *w = start(false);
    fake_send(w->t, POST("262144"));
    assert_string_equal(fake_received(w->t), OK);
    fake_send_bytes(w->t, piece, sizeof piece);
    assert_stays(w, "/up /next ");
    end(w);
    w = start(false);
    fake_send(w->t, POST("262145"));
    end_lingering(w);
}

static void test_a_rest_of_unknown_length_ends_the_connection(void **state) {
    (void)state;
    static const char *const requests[] = {
        POST_CHUNKED,
        POST_CHUNKED "4\r\nbody\r\n",
        POST_CHUNKED "4\r\nbody\r\n0\r\nA: trailer\r\n\r\n",
        POST_CHUNKED "nonsense",
    };
    for (unsigned i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct world *w = start(false);
        fake_send(w->t, requests[i]);
        end_lingering(w);
    }
}

/* It may send the body all the same, or the next request in its place: nobody can tell which (RFC 9110 §10.1.1). */
static void test_a_client_that_waits_for_leave_is_not_waited_for(void **state) {
    (void)state;
    for (unsigned early = 0; early < 2; early++) {
        struct world *w = start(true);
        fake_send(w->t, POST_EXPECTED);
        if (early) {
            begin_early(w, VX_BODY_LENGTH);
            end_early(w);
        } else {
            answer_held(w);
        }
        end_lingering(w);
    }
}

static void test_a_client_that_has_leave_owes_the_body(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, POST_EXPECTED);
    respond(w, 100, VX_BODY_NONE, 0);
    assert_string_equal(fake_received(w->t), "HTTP/1.1 100 Continue\r\n\r\n");
    answer_held(w);
    assert_string_equal(fake_received(w->t), OK);
    fake_send(w->t, "body");
    assert_stays(w, "/up /next ");
    end(w);
}

/* A broken body has no end that could be trusted, whatever stands behind it. */
static void test_a_body_that_failed_ends_the_connection(void **state) {
    (void)state;
    struct world *w = start(true);
    struct vx_slice got;
    fake_send(w->t, POST_CHUNKED "zz\r\n0\r\n\r\n");
    assert_int_equal(w->held.down->stream.ops->pull(&w->held.down->stream, &got), VX_PULL_FAILED);
    answer_held(w);
    end_lingering(w);
}

static void test_a_body_that_was_late_ends_the_connection(void **state) {
    (void)state;
    struct world *w = start(true);
    struct vx_slice got;
    fake_send(w->t, POST("4") "bo");
    read_body(w, 2);
    assert_int_equal(w->held.down->stream.ops->pull(&w->held.down->stream, &got), VX_PULL_WAIT);
    fake_net_advance(&w->net, FAKE_S(61));
    assert_int_equal(w->held.readable, 1);
    assert_int_equal(w->held.down->stream.ops->pull(&w->held.down->stream, &got), VX_PULL_FAILED);
    answer_held(w);
    end_lingering(w);
}

static void test_a_client_that_keeps_the_rest_back_is_not_waited_for_long(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, POST("4") "bo");
    assert_string_equal(fake_received(w->t), OK);
    fake_net_advance(&w->net, FAKE_S(4));
    assert_false(w->t->closed);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_true(w->t->closed);
    end(w);
    w = start(false);
    fake_send(w->t, POST("100"));
    for (unsigned i = 0; i < 29; i++) {
        fake_send(w->t, "x"); /* no pause is long, but all together are */
        fake_net_advance(&w->net, FAKE_S(1));
    }
    assert_false(w->t->closed);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_true(w->t->closed);
    end(w);
}

static void test_a_client_that_leaves_within_the_rest(void **state) {
    (void)state;
    for (unsigned breaks = 0; breaks < 2; breaks++) {
        struct world *w = start(false);
        fake_send(w->t, POST("4") "bo");
        if (breaks)
            fake_break(w->t);
        else
            fake_fin(w->t);
        assert_true(w->t->closed);
        assert_int_equal(w->t->reset, breaks);
        end(w);
    }
}

/* The time of a rest ends with it. */
static void test_the_next_request_has_its_own_time(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, POST("4") "bo");
    fake_send(w->t, "dy");
    fake_net_advance(&w->net, FAKE_S(70));
    assert_string_equal(fake_received(w->t), OK);
    w->t->room = 10;
    fake_send(w->t, POST("4") "bo"); /* its answer has to wait, and the rest with it */
    fake_send(w->t, "d");
    fake_net_advance(&w->net, FAKE_S(20));
    fake_give_room(w->t, SIZE_MAX);
    fake_send(w->t, "y");
    assert_string_equal(fake_received(w->t), OK);
    assert_stays(w, "/up /up /next ");
    end(w);
}

static void test_a_drain_ends_the_connection_behind_the_rest(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, POST("4") "bo");
    vx_http_server_drain(&w->server);
    fake_net_round(&w->net);
    assert_int_equal(w->t->shuts, 0);
    fake_send(w->t, "dy");
    assert_int_equal(w->t->shuts, 1);
    end(w);
}

/* --- A backend that answers early and reads on -------------------------------------------------------------------- */

static void test_an_early_answer_lets_a_whole_request_keep_its_connection(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, POST("1000000"));
    begin_early(w, VX_BODY_LENGTH);
    w->held.down->stream.ops->flush(&w->held.down->stream);
    for (unsigned i = 0; i < 1000; i++) {
        static const char part[1000];
        fake_send_bytes(w->t, part, sizeof part);
        read_body(w, sizeof part);
    }
    end_early(w);
    assert_string_equal(fake_received(w->t), OK);
    assert_stays(w, "/up /next ");
    end(w);
}

static void test_an_early_answer_whose_rest_turns_out_small(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, POST_CHUNKED);
    begin_early(w, VX_BODY_LENGTH);
    w->held.down->stream.ops->flush(&w->held.down->stream);
    fake_send(w->t, "4\r\nbody\r\n0\r\n\r\n");
    read_body(w, 4);
    end_early(w);
    assert_string_equal(fake_received(w->t), OK);
    assert_stays(w, "/up /next ");
    end(w);
}

static void test_an_early_answer_that_is_all_here_says_that_the_connection_ends(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, POST("1000000") "bo");
    begin_early(w, VX_BODY_LENGTH);
    end_early(w);
    end_lingering(w);
    w = start(true);
    fake_send(w->t, POST_CHUNKED "2\r\nbo");
    begin_early(w, VX_BODY_CHUNKED);
    end_early(w);
    assert_string_equal(
        fake_received(w->t),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    assert_lingers(w);
    end(w);
}

static void test_an_early_answer_whose_head_has_gone_cannot_say_it_any_more(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, POST("1000000") "bo");
    begin_early(w, VX_BODY_LENGTH);
    w->held.down->stream.ops->flush(&w->held.down->stream);
    end_early(w);
    assert_string_equal(fake_received(w->t), OK);
    assert_lingers(w);
    end(w);
}

/* It is told how its body is framed, and when its connection ends, by the head alone. */
static void test_an_early_answer_to_http10(void **state) {
    (void)state;
    struct world *w = start(true);
    fake_send(w->t, "POST /up HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1000000\r\n\r\n");
    begin_early(w, VX_BODY_LENGTH);
    end_early(w);
    end_lingering(w);
}

/* --- Much that still comes ---------------------------------------------------------------------------------------- */

static void test_lingering_has_a_bound_of_bytes(void **state) {
    (void)state;
    char *piece = calloc(1, PIECE_BYTES);
    struct world *w = start(false);
    fake_send(w->t, POST("999999999"));
    for (unsigned i = 0; i < LINGER_MAX_BYTES / PIECE_BYTES; i++) {
        assert_false(w->t->closed);
        fake_send_bytes(w->t, piece, PIECE_BYTES - (i == 0));
    }
    assert_false(w->t->closed);
    fake_send(w->t, "x");
    assert_true(w->t->closed);
    end(w);
    free(piece);
}

/* Its answer waits for it to read, and it waits for us to read: one of the two has to. */
static void test_a_client_that_writes_all_before_it_reads(void **state) {
    (void)state;
    static const char *const lengths[] = {POST("200000"), POST("2000000")};
    static const size_t bytes[] = {200000, 2000000};
    char *body = calloc(1, 2000000);
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = start(false);
        w->t->room = 10;
        fake_send(w->t, lengths[i]);
        fake_send_bytes(w->t, body, bytes[i]);
        assert_int_equal(w->t->in_end - w->t->in_start, 0);
        assert_int_equal(w->t->shuts, 0);
        fake_give_room(w->t, SIZE_MAX);
        assert_string_equal(fake_received(w->t), i ? OK_CLOSE : OK);
        if (i)
            assert_lingers(w);
        else
            assert_stays(w, "/up /next ");
        end(w);
    }
    free(body);
}

/* What came while a handler held the request makes no further edge. */
static void test_a_client_that_had_written_all_when_its_answer_was_made(void **state) {
    (void)state;
    static const char *const requests[] = {POST("200000"), POST("2000000")};
    char *body = calloc(1, 2000000);
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = start(true);
        bool small = i == 0;
        w->t->room = 10;
        fake_send(w->t, requests[i]);
        fake_send_bytes(w->t, body, small ? 200000 : 2000000);
        answer(&w->held, "ok");
        fake_net_round(&w->net);
        assert_int_equal(w->t->in_end - w->t->in_start, 0);
        assert_int_equal(w->t->shuts, 0);
        fake_give_room(w->t, SIZE_MAX);
        assert_string_equal(fake_received(w->t), small ? OK : OK_CLOSE);
        if (small)
            assert_stays(w, "/up /next ");
        else
            assert_lingers(w);
        end(w);
    }
    free(body);
}

static void test_a_client_that_breaks_while_its_answer_waits(void **state) {
    (void)state;
    for (unsigned breaks = 0; breaks < 2; breaks++) {
        struct world *w = start(false);
        w->t->room = 10;
        fake_send(w->t, POST("4") "bo");
        if (breaks) {
            fake_break(w->t);
        } else {
            fake_fin(w->t);
            assert_false(w->t->closed); /* the answer is still to be read */
            fake_give_room(w->t, SIZE_MAX);
            assert_string_equal(fake_received(w->t), OK);
        }
        assert_true(w->t->closed);
        end(w);
    }
}

/* As a client of TLS does that closes its socket only. */
static void test_a_client_that_ends_without_a_farewell_may_still_read(void **state) {
    (void)state;
    struct world *w = start(false);
    fake_send(w->t, POST("2000000"));
    assert_string_equal(fake_received(w->t), OK_CLOSE);
    assert_int_equal(w->t->shuts, 1);
    w->t->broken = true; /* for reading; of what is written nothing is to be lost */
    fake_send(w->t, "body");
    fake_send(w->t, "");
    assert_true(w->t->closed);
    assert_false(w->t->reset);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_small_rest_is_thrown_away_and_the_connection_stays),
        cmocka_unit_test(test_a_request_may_stand_behind_the_rest),
        cmocka_unit_test(test_what_may_be_thrown_away_has_a_bound),
        cmocka_unit_test(test_a_rest_of_unknown_length_ends_the_connection),
        cmocka_unit_test(test_a_client_that_waits_for_leave_is_not_waited_for),
        cmocka_unit_test(test_a_client_that_has_leave_owes_the_body),
        cmocka_unit_test(test_a_body_that_failed_ends_the_connection),
        cmocka_unit_test(test_a_body_that_was_late_ends_the_connection),
        cmocka_unit_test(test_a_client_that_keeps_the_rest_back_is_not_waited_for_long),
        cmocka_unit_test(test_a_client_that_leaves_within_the_rest),
        cmocka_unit_test(test_the_next_request_has_its_own_time),
        cmocka_unit_test(test_a_drain_ends_the_connection_behind_the_rest),
        cmocka_unit_test(test_an_early_answer_lets_a_whole_request_keep_its_connection),
        cmocka_unit_test(test_an_early_answer_whose_rest_turns_out_small),
        cmocka_unit_test(test_an_early_answer_that_is_all_here_says_that_the_connection_ends),
        cmocka_unit_test(test_an_early_answer_whose_head_has_gone_cannot_say_it_any_more),
        cmocka_unit_test(test_an_early_answer_to_http10),
        cmocka_unit_test(test_lingering_has_a_bound_of_bytes),
        cmocka_unit_test(test_a_client_that_writes_all_before_it_reads),
        cmocka_unit_test(test_a_client_that_had_written_all_when_its_answer_was_made),
        cmocka_unit_test(test_a_client_that_breaks_while_its_answer_waits),
        cmocka_unit_test(test_a_client_that_ends_without_a_farewell_may_still_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
