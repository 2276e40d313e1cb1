/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies and trailers through a chain: what filters are shown, what they hold, how it is framed afterwards. */
#include "unit/core/exchange/filter_fixture.h"

static void replace_all(struct vx_filter_stream *s, enum vx_filter_direction d, const char *text) {
    assert_true(vx_filter_splice(s, d, 0, SIZE_MAX, vx_slice_of(text)));
}

static void edit_request(struct fake_filter *f, struct vx_filter_stream *s) {
    replace_all(s, VX_FILTER_REQUEST, f->user);
}

static void edit_response(struct fake_filter *f, struct vx_filter_stream *s) {
    replace_all(s, VX_FILTER_RESPONSE, f->user);
}

static void append_response(struct fake_filter *f, struct vx_filter_stream *s) {
    assert_true(vx_filter_splice(s, VX_FILTER_RESPONSE, SIZE_MAX, 0, vx_slice_of(f->user)));
}

/* A request in pieces of which the client sends the later ones when the test says so. */
static void begin_streaming(struct filtered *t, const char *first) {
    fixture_request(t->x, VX_METHOD_POST, "/api/x");
    fake_downstream_add_body(&t->x->f, vx_slice_of(first));
    t->x->f.request.body_bytes = 100;
    t->x->f.body_waits = true;
    fixture_begin(t->x);
}

static void client_sends(struct filtered *t, const char *more, bool last) {
    struct fake_downstream *f = &t->x->f;
    if (more) {
        assert_true(f->piece_count < FAKE_PIECES);
        f->pieces[f->piece_count++] = vx_slice_of(more);
    }
    f->body_waits = !last;
    f->down.stream.events->on_readable(f->down.stream.user, t->x->now_ns);
}

static void check_sent(const struct filtered *t, const char *body) {
    const struct fake_upstream *u = &t->x->client.ups[t->x->client.count - 1];
    assert_int_equal(u->body_len, strlen(body));
    assert_memory_equal(u->body, body, u->body_len);
}

/* The framing of the request as the backend gets it, and what Content-Length says (-1: nothing). */
static void check_framing(const struct filtered *t, enum vx_framing framing, int64_t bytes) {
    const struct fake_upstream *u = &t->x->client.ups[t->x->client.count - 1];
    char field[64];
    snprintf(field, sizeof field, "content-length: %lld\n", (long long)bytes);
    assert_int_equal(strstr(u->fields, "content-length") != NULL, bytes >= 0);
    if (bytes >= 0)
        assert_non_null(strstr(u->fields, field));
    assert_int_equal(u->framing, framing);
}

static void test_pieces_go_on(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    begin_streaming(t, "0123456789");
    fake_filter_expect(&t->trace, "a>head b>head a>10 b>10");
    check_sent(t, "0123456789");
    check_framing(t, VX_BODY_CHUNKED, -1); /* the rest may be edited yet */
    client_sends(t, "abc", false);
    fake_filter_expect(&t->trace, "a>3 b>3");
    client_sends(t, NULL, true);
    fake_filter_expect(&t->trace, "a>0. b>0.");
    assert_true(filtered_up(t)->finished);
    check_sent(t, "0123456789abc");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_observers_keep_the_length(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.base.wants &= ~(uint32_t)VX_FILTER_EDITS_BODY;
    t->b.base.wants &= ~(uint32_t)VX_FILTER_EDITS_BODY;
    begin_streaming(t, "0123456789");
    assert_int_equal(filtered_up(t)->framing, VX_BODY_LENGTH);
    client_sends(t, "abc", true);
    fake_filter_expect(&t->trace, "a>head b>head a>10 b>10 a>3 b>3 a>0. b>0.");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_held_bodies_are_cumulative(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.verdicts[FAKE_REQUEST_BODY] = VX_FILTER_PAUSE;
    begin_streaming(t, "0123456789");
    client_sends(t, "abc", false);
    fake_filter_expect(&t->trace, "a>head b>head a>10 a>13");
    check_sent(t, "");
    client_sends(t, NULL, true);
    fake_filter_expect(&t->trace, "a>13. b>13 b>0.");
    check_sent(t, "0123456789abc");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_edits_are_framed(void **state) {
    (void)state;
    static char longer[] = "a longer body than it was";
    struct filtered *t = filtered_new(2);
    t->a.verdicts[FAKE_REQUEST_BODY] = VX_FILTER_PAUSE;
    t->a.acts[FAKE_REQUEST_END] = edit_request;
    t->a.user = longer;
    filtered_begin(t, VX_METHOD_POST, "short");
    fake_filter_expect(&t->trace, "a>head b>head a>5 a>5. b>25 b>0.");
    check_sent(t, longer);
    check_framing(t, VX_BODY_LENGTH, 25); /* all of it was there before the head left */
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_edits_behind_the_head(void **state) {
    (void)state;
    static char text[] = "[edited]";
    struct filtered *t = filtered_new(1);
    t->a.acts[FAKE_REQUEST_BODY] = edit_request;
    t->a.user = text;
    begin_streaming(t, "0123456789");
    check_framing(t, VX_BODY_CHUNKED, -1);
    client_sends(t, "abc", true);
    check_sent(t, "[edited][edited]");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_body_waits_for_the_head(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->b.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    t->b.has_pending = true;
    begin_streaming(t, "0123456789");
    client_sends(t, "abc", true);
    fake_filter_expect(&t->trace, "a>head b>head"); /* not even the filter before it sees any */
    assert_int_equal(t->x->f.consumed, 0);
    vx_filter_continue(t->b.stream, VX_FILTER_REQUEST);
    filtered_turn(t);
    fake_filter_expect(&t->trace, "a>10 b>10 a>3 b>3 a>0. b>0.");
    check_sent(t, "0123456789abc");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_body_continues_under_a_held_head(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.base.body_continues = true;
    t->a.verdicts[FAKE_REQUEST_HEAD] = t->a.verdicts[FAKE_REQUEST_BODY] = VX_FILTER_PAUSE;
    begin_streaming(t, "0123456789");
    assert_int_equal(t->a.asked, 0); /* more callbacks come */
    client_sends(t, "abc", false);
    fake_filter_expect(&t->trace, "a>head a>10 a>13");
    assert_int_equal(t->x->client.count, 0);
    client_sends(t, NULL, true); /* the last callback says continue, for both */
    fake_filter_expect(&t->trace, "a>13. b>head b>13 b>0.");
    check_framing(t, VX_BODY_LENGTH, 13);
    check_sent(t, "0123456789abc");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_a_body_callback_lets_the_head_go(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.base.body_continues = true;
    t->a.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    begin_streaming(t, "0123456789");
    fake_filter_expect(&t->trace, "a>head a>10 b>head b>10");
    client_sends(t, NULL, true);
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_body_continues_and_nothing_does(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.base.body_continues = true;
    t->a.verdicts[FAKE_REQUEST_HEAD] = t->a.verdicts[FAKE_REQUEST_BODY] = VX_FILTER_PAUSE;
    t->a.verdicts[FAKE_REQUEST_END] = VX_FILTER_PAUSE;
    filtered_begin(t, VX_METHOD_POST, "body");
    filtered_check_error(t, 403, "Forbidden");
    filtered_free(t);

    t = filtered_new(1); /* no body to wait for */
    t->a.base.body_continues = true;
    t->a.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_check_error(t, 403, "Forbidden");
    filtered_free(t);
}

static void test_the_client_is_let_send(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.base.body_continues = true;
    t->a.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    fixture_request(t->x, VX_METHOD_POST, "/api/x");
    fake_downstream_add_field(&t->x->f, "Expect", "100-continue");
    t->x->f.request.expects_continue = true;
    t->x->f.request.framing = VX_BODY_CHUNKED;
    t->x->f.body_waits = true;
    fixture_begin(t->x);
    assert_int_equal(t->x->f.interim_count, 1);
    client_sends(t, "abc", true);
    assert_null(strstr(filtered_up(t)->fields, "Expect"));
    check_sent(t, "abc");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_held_end(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.verdicts[FAKE_REQUEST_BODY] = t->a.verdicts[FAKE_REQUEST_END] = VX_FILTER_PAUSE;
    t->a.has_pending = true;
    filtered_begin(t, VX_METHOD_POST, "body");
    fake_filter_expect(&t->trace, "a>head b>head a>4 a>4.");
    assert_false(filtered_up(t)->finished);
    static char edited[] = "edited";
    t->a.user = edited;
    edit_request(&t->a, t->a.stream); /* what is held can be edited from outside */
    vx_filter_continue(t->a.stream, VX_FILTER_REQUEST);
    filtered_turn(t);
    fake_filter_expect(&t->trace, "b>6 b>0."); /* a is not asked again */
    check_sent(t, "edited");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_end_denied(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.verdicts[FAKE_REQUEST_BODY] = t->a.verdicts[FAKE_REQUEST_END] = VX_FILTER_PAUSE;
    filtered_begin(t, VX_METHOD_POST, "body");
    filtered_check_error(t, 403, "Forbidden");
    filtered_free(t);
}

static void test_continue_in_the_middle(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.verdicts[FAKE_REQUEST_BODY] = VX_FILTER_PAUSE;
    begin_streaming(t, "0123456789");
    vx_filter_continue(t->a.stream, VX_FILTER_REQUEST);
    filtered_turn(t);
    fake_filter_expect(&t->trace, "a>head b>head a>10 b>10");
    check_sent(t, "0123456789");
    client_sends(t, "abc", true);
    fake_filter_expect(&t->trace, "a>3 a>3. b>3 b>0.");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

/* Two filters that hold, one behind the other. */
static void test_holders_in_a_row(void **state) {
    (void)state;
    struct filtered *t = filtered_new(3);
    t->a.verdicts[FAKE_REQUEST_BODY] = t->c.verdicts[FAKE_REQUEST_BODY] = VX_FILTER_PAUSE;
    begin_streaming(t, "01234");
    client_sends(t, "56789", true);
    fake_filter_expect(&t->trace, "a>head b>head c>head a>5 a>10 a>10. b>10 c>10 b>0. c>10.");
    check_sent(t, "0123456789");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

/* What a filter lets go while the one behind it holds the head waits there, unseen, with the end. */
static void test_let_go_before_a_held_head(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.base.body_continues = true;
    t->a.verdicts[FAKE_REQUEST_HEAD] = t->b.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    t->a.verdicts[FAKE_REQUEST_BODY] = VX_FILTER_PAUSE;
    t->b.has_pending = true;
    filtered_begin(t, VX_METHOD_POST, "body");
    fake_filter_expect(&t->trace, "a>head a>4 a>4. b>head");
    assert_int_equal(t->x->client.count, 0);
    vx_filter_continue(t->b.stream, VX_FILTER_REQUEST);
    filtered_turn(t);
    fake_filter_expect(&t->trace, "b>4 b>0.");
    check_sent(t, "body");
    check_framing(t, VX_BODY_LENGTH, 4);
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_too_much_to_hold(void **state) {
    (void)state;
    static char large[2001];
    memset(large, 'x', 2000);
    struct filtered *t = filtered_new(1);
    t->a.verdicts[FAKE_REQUEST_BODY] = VX_FILTER_PAUSE;
    filtered_begin(t, VX_METHOD_POST, large);
    filtered_check_error(t, 413, "Content Too Large");
    filtered_free(t);

    t = filtered_new(1); /* what only passes may be larger */
    filtered_begin(t, VX_METHOD_POST, large);
    check_sent(t, large);
    filtered_answer(t, 200, "");
    filtered_free(t);

    t = filtered_new(1); /* the head is held, so it can still be said */
    t->a.base.body_continues = true;
    t->a.verdicts[FAKE_RESPONSE_HEAD] = t->a.verdicts[FAKE_RESPONSE_BODY] = VX_FILTER_PAUSE;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, large);
    filtered_check_error(t, 500, "Internal Server Error");
    assert_int_equal(t->x->record.error, VX_ERR_FILTER_BODY_TOO_LARGE);
    filtered_free(t);

    t = filtered_new(1); /* the head is out */
    t->a.base.wants &= ~(uint32_t)VX_FILTER_EDITS_BODY;
    t->a.verdicts[FAKE_RESPONSE_BODY] = VX_FILTER_PAUSE;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, large);
    assert_int_equal(t->x->f.response.status, 200);
    assert_false(t->x->f.finished);
    filtered_free(t);
}

static void test_a_slow_backend_stops_the_client(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->x->client.room = 4;
    fixture_request(t->x, VX_METHOD_POST, "/api/x");
    t->a.base.wants &= ~(uint32_t)VX_FILTER_EDITS_BODY; /* nothing is looked at before the head leaves */
    fake_downstream_add_body(&t->x->f, VX_SLICE("0123456789"));
    fake_downstream_add_body(&t->x->f, VX_SLICE("abc"));
    fixture_begin(t->x);
    fake_filter_expect(&t->trace, "a>head a>10");
    assert_int_equal(t->x->f.consumed, 10);
    fake_upstream_writable(filtered_up(t), SIZE_MAX, t->x->now_ns);
    fake_filter_expect(&t->trace, "a>3 a>0.");
    check_sent(t, "0123456789abc");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_a_slow_client_stops_the_backend(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    filtered_begin(t, VX_METHOD_GET, NULL);
    t->x->f.room = 2;
    filtered_up(t)->step = 3;
    filtered_up(t)->response.framing = VX_BODY_CHUNKED;
    filtered_answer(t, 200, "0123456789");
    assert_int_equal(t->x->f.body_len, 2);
    fake_downstream_writable(&t->x->f, SIZE_MAX);
    assert_memory_equal(t->x->f.body, "0123456789", 10);
    filtered_free(t);
}

/* Responses */

static void test_edited_responses(void **state) {
    (void)state;
    static char text[] = "quite another body", more[] = "!";
    struct filtered *t = filtered_new(2);
    t->b.verdicts[FAKE_RESPONSE_BODY] = VX_FILTER_PAUSE;
    t->b.acts[FAKE_RESPONSE_END] = edit_response;
    t->b.user = text;
    t->a.acts[FAKE_RESPONSE_END] = append_response;
    t->a.user = more;
    filtered_begin(t, VX_METHOD_GET, NULL);
    fake_upstream_add_field(filtered_up(t), "Content-Length", "5");
    filtered_answer(t, 200, "hello");
    filtered_check(t, 200, "quite another body!");
    assert_int_equal(t->x->f.response.body_bytes, 19);
    assert_null(strstr(t->x->f.fields, "Content-Length"));
    assert_non_null(strstr(t->x->f.fields, "content-length: 19\n"));
    filtered_free(t);
}

static void test_long_edited_response_has_no_length(void **state) {
    (void)state;
    static char text[] = "edited ";
    struct filtered *t = filtered_new(1);
    t->a.acts[FAKE_RESPONSE_BODY] = edit_response;
    t->a.user = text;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_up(t)->body_waits = true;
    filtered_answer(t, 200, "first");
    assert_int_equal(t->x->f.response.framing, VX_BODY_CHUNKED);
    filtered_up(t)->body_waits = false;
    fake_upstream_readable(filtered_up(t), "second", t->x->now_ns);
    filtered_check(t, 200, "edited edited ");
    filtered_free(t);
}

static void test_backend_gone_after_its_response(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.verdicts[FAKE_RESPONSE_END] = VX_FILTER_PAUSE;
    t->a.has_pending = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "hello");
    fake_upstream_fail(filtered_up(t), VX_ERR_BACKEND_CLOSED, t->x->now_ns);
    vx_filter_continue(t->a.stream, VX_FILTER_RESPONSE);
    filtered_turn(t);
    assert_true(t->x->f.finished);
    assert_int_equal(t->x->record.error, VX_ERR_NONE);
    filtered_free(t);
}

static void test_backend_gone_before(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.verdicts[FAKE_RESPONSE_HEAD] = VX_FILTER_PAUSE;
    t->a.has_pending = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "hello");
    fake_upstream_fail(filtered_up(t), VX_ERR_BACKEND_RESET, t->x->now_ns);
    filtered_check_error(t, 502, "Bad Gateway");
    filtered_free(t);
}

static void set_status(struct fake_filter *f, struct vx_filter_stream *s) {
    bool writable;
    struct vx_field_map *map = vx_filter_map(s, VX_FILTER_MAP_RESPONSE_HEADERS, &writable);
    assert_int_equal(vx_field_map_replace(map, VX_SLICE(":status"), vx_slice_of(f->user)), VX_FIELD_DONE);
}

static void test_status_decides_on_the_body(void **state) {
    (void)state;
    static char none[] = "204", some[] = "200";
    struct filtered *t = filtered_new(1);
    t->a.acts[FAKE_RESPONSE_HEAD] = set_status;
    t->a.user = none;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "not for the client");
    assert_int_equal(t->x->f.response.status, 204);
    assert_int_equal(t->x->f.body_len, 0);
    assert_true(t->x->f.finished);
    filtered_free(t);

    t = filtered_new(1);
    t->a.acts[FAKE_RESPONSE_HEAD] = set_status;
    t->a.user = some;
    filtered_begin(t, VX_METHOD_GET, NULL);
    struct fake_upstream *u = filtered_up(t);
    u->response = (struct vx_response){
        .status = 204,
        .version = VX_HTTP_11,
        .framing = VX_BODY_NONE,
        .headers = {.items = u->items, .capacity = sizeof u->items / sizeof *u->items},
    };
    u->up.stream.events->on_response(u->up.stream.user, &u->response, t->x->now_ns);
    filtered_check(t, 200, "");
    assert_int_equal(t->x->f.response.framing, VX_BODY_LENGTH);
    assert_int_equal(t->x->f.response.body_bytes, 0);
    filtered_free(t);
}

/* What a backend says of the length of a body that nobody gets. */
static void answer_bodyless(struct filtered *t, enum vx_method method, uint16_t status) {
    filtered_begin(t, method, NULL);
    struct fake_upstream *u = filtered_up(t);
    u->response = (struct vx_response){
        .status = status,
        .version = VX_HTTP_11,
        .framing = VX_BODY_NONE,
        .body_bytes = 50,
        .headers = {.items = u->items, .capacity = sizeof u->items / sizeof *u->items},
    };
    assert_true(vx_headers_add(&u->response.headers, NULL, VX_HEADER_CONTENT_LENGTH,
                               VX_SLICE("content-length"), VX_SLICE("50")));
    u->up.stream.events->on_response(u->up.stream.user, &u->response, t->x->now_ns);
    filtered_check(t, status, "");
}

static void test_length_of_a_body_that_would_be_edited(void **state) {
    (void)state;
    static const struct {
        enum vx_method method;
        uint16_t status;
    } rows[] = {{VX_METHOD_HEAD, 200}, {VX_METHOD_GET, 304}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct filtered *t = filtered_new(1);
        answer_bodyless(t, rows[i].method, rows[i].status);
        assert_null(vx_headers_find(&t->x->f.response.headers, VX_HEADER_CONTENT_LENGTH));
        filtered_free(t);

        t = filtered_new(1);
        t->a.base.wants &= ~(uint32_t)VX_FILTER_EDITS_BODY;
        answer_bodyless(t, rows[i].method, rows[i].status);
        assert_non_null(vx_headers_find(&t->x->f.response.headers, VX_HEADER_CONTENT_LENGTH));
        filtered_free(t);
    }
}

/* Trailers */

static struct vx_header trailer_item = {
    .name = "x-sum", .value = "1", .name_len = 5, .value_len = 1, .id = VX_HEADER_OTHER};

static void begin_with_trailers(struct filtered *t) {
    fixture_request(t->x, VX_METHOD_POST, "/api/x");
    fake_downstream_add_body(&t->x->f, VX_SLICE("body"));
    t->x->f.request.framing = VX_BODY_CHUNKED;
    t->x->f.trailers = (struct vx_headers){.items = &trailer_item, .count = 1, .capacity = 1, .present = 1};
    fixture_begin(t->x);
}

static void test_trailers_end_a_message(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.verdicts[FAKE_REQUEST_BODY] = VX_FILTER_PAUSE;
    begin_with_trailers(t);
    fake_filter_expect(&t->trace, "a>head b>head a>4 a>trailers. b>4 b>trailers.");
    assert_true(filtered_up(t)->trailers_sent);
    check_sent(t, "body");
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void test_held_trailers(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.verdicts[FAKE_REQUEST_END] = VX_FILTER_PAUSE;
    t->a.has_pending = true;
    begin_with_trailers(t);
    assert_false(filtered_up(t)->finished);
    bool writable;
    struct vx_field_map *map = vx_filter_map(t->a.stream, VX_FILTER_MAP_REQUEST_TRAILERS, &writable);
    assert_true(map && writable);
    assert_int_equal(vx_field_map_replace(map, VX_SLICE("X-Sum"), VX_SLICE("2")), VX_FIELD_DONE);
    vx_filter_continue(t->a.stream, VX_FILTER_REQUEST);
    filtered_turn(t);
    assert_true(filtered_up(t)->trailers_sent);
    filtered_answer(t, 200, "");
    filtered_free(t);
}

static void make_trailer(struct fake_filter *f, struct vx_filter_stream *s) {
    bool writable;
    (void)f;
    struct vx_field_map *map = vx_filter_map(s, VX_FILTER_MAP_RESPONSE_TRAILERS, &writable);
    assert_true(map && writable);
    assert_int_equal(vx_field_map_add(map, VX_SLICE("x-made"), VX_SLICE("1")), VX_FIELD_DONE);
}

static void test_made_trailers(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->b.acts[FAKE_RESPONSE_END] = make_trailer;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "hello");
    fake_filter_expect(&t->trace, "a>head. b>head. b<head a<head b<5 a<5 b<0. a<trailers. "
                                  "a log b log a close b close");
    assert_true(t->x->f.trailers_sent);
    assert_int_equal(t->x->f.response.framing, VX_BODY_CHUNKED); /* a length leaves no room for them */
    filtered_free(t);
}

static void test_no_memory(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    fixture_request(t->x, VX_METHOD_POST, "/api/x");
    fake_downstream_add_body(&t->x->f, VX_SLICE("body"));
    t->x->f.body_waits = true;
    fixture_begin(t->x);
    t->x->f.out_of_memory = true;
    static char large[8192];
    t->x->f.pieces[t->x->f.piece_count++] = vx_slice(large, sizeof large);
    t->x->f.down.stream.events->on_readable(t->x->f.down.stream.user, t->x->now_ns);
    assert_int_equal(t->x->record.error, VX_ERR_OUT_OF_MEMORY);
    filtered_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_go_on),
        cmocka_unit_test(test_observers_keep_the_length),
        cmocka_unit_test(test_held_bodies_are_cumulative),
        cmocka_unit_test(test_edits_are_framed),
        cmocka_unit_test(test_edits_behind_the_head),
        cmocka_unit_test(test_body_waits_for_the_head),
        cmocka_unit_test(test_body_continues_under_a_held_head),
        cmocka_unit_test(test_a_body_callback_lets_the_head_go),
        cmocka_unit_test(test_body_continues_and_nothing_does),
        cmocka_unit_test(test_the_client_is_let_send),
        cmocka_unit_test(test_held_end),
        cmocka_unit_test(test_end_denied),
        cmocka_unit_test(test_continue_in_the_middle),
        cmocka_unit_test(test_holders_in_a_row),
        cmocka_unit_test(test_let_go_before_a_held_head),
        cmocka_unit_test(test_too_much_to_hold),
        cmocka_unit_test(test_a_slow_backend_stops_the_client),
        cmocka_unit_test(test_a_slow_client_stops_the_backend),
        cmocka_unit_test(test_edited_responses),
        cmocka_unit_test(test_long_edited_response_has_no_length),
        cmocka_unit_test(test_backend_gone_after_its_response),
        cmocka_unit_test(test_backend_gone_before),
        cmocka_unit_test(test_status_decides_on_the_body),
        cmocka_unit_test(test_length_of_a_body_that_would_be_edited),
        cmocka_unit_test(test_trailers_end_a_message),
        cmocka_unit_test(test_held_trailers),
        cmocka_unit_test(test_made_trailers),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
