/* SPDX-License-Identifier: Apache-2.0 */
/* What filters may ask and do, and when. */
#include "unit/core/exchange/filter_fixture.h"

/* Which maps there are for a filter now, and which of them it may write. */
static void expect_maps(struct vx_filter_stream *s, const char *expected) {
    char text[16] = "";
    for (unsigned m = 0; m < 4; m++) {
        bool writable;
        const struct vx_field_map *map = vx_filter_map(s, (enum vx_filter_map)m, &writable);
        text[m] = !map ? '-' : writable ? 'w' : 'r';
    }
    assert_string_equal(text, expected);
}

static void at_request_head(struct fake_filter *f, struct vx_filter_stream *s) {
    struct vx_slice body;
    (void)f;
    expect_maps(s, "w---");
    assert_false(vx_filter_body(s, VX_FILTER_REQUEST, &body));
    assert_false(vx_filter_splice(s, VX_FILTER_REQUEST, 0, 0, VX_SLICE("x")));
}

static void at_request_body(struct fake_filter *f, struct vx_filter_stream *s) {
    struct vx_slice body;
    (void)f;
    expect_maps(s, "r---");
    assert_true(vx_filter_body(s, VX_FILTER_REQUEST, &body));
    assert_false(vx_filter_body(s, VX_FILTER_RESPONSE, &body));
}

static void at_request_end(struct fake_filter *f, struct vx_filter_stream *s) {
    (void)f;
    expect_maps(s, "rw--");
}

static void at_response_head(struct fake_filter *f, struct vx_filter_stream *s) {
    (void)f;
    expect_maps(s, "r-w-");
}

static void at_response_body(struct fake_filter *f, struct vx_filter_stream *s) {
    (void)f;
    expect_maps(s, "r-r-");
}

static void at_response_end(struct fake_filter *f, struct vx_filter_stream *s) {
    (void)f;
    expect_maps(s, "r-rw");
}

static void at_log(struct fake_filter *f, struct vx_filter_stream *s) {
    struct vx_slice body;
    (void)f;
    expect_maps(s, "r-r-");
    assert_false(vx_filter_body(s, VX_FILTER_REQUEST, &body));
    vx_filter_continue(s, VX_FILTER_REQUEST); /* nothing of this has an effect now */
    vx_filter_close(s);
    vx_filter_review(s);
    vx_filter_fail(s);
}

static void test_what_is_there_when(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    void (*const acts[])(struct fake_filter *,
                         struct vx_filter_stream *) = {at_request_head,  at_request_body,  at_request_end,
                                                       at_response_head, at_response_body, at_response_end};
    for (unsigned e = 0; e < FAKE_FILTER_EVENTS; e++)
        t->a.acts[e] = acts[e];
    t->a.on_log = at_log;
    filtered_begin(t, VX_METHOD_POST, "body");
    filtered_answer(t, 200, "hello");
    fake_filter_expect(&t->trace, "a>head a>4 a>0. a<head a<5 a<0. a log a close");
    filtered_free(t);
}

static void test_in_a_pause(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.verdicts[FAKE_RESPONSE_HEAD] = VX_FILTER_PAUSE;
    t->a.has_pending = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    expect_maps(t->a.stream, "r---");
    filtered_answer(t, 200, "");
    expect_maps(t->a.stream, "r-w-");
    expect_maps(t->b.stream, "r-r-"); /* it has passed there */
    vx_filter_continue(t->a.stream, VX_FILTER_RESPONSE);
    filtered_turn(t);
    filtered_free(t);
}

static void splices(struct fake_filter *f, struct vx_filter_stream *s) {
    static char large[2000];
    const enum vx_filter_direction d = VX_FILTER_REQUEST;
    struct vx_slice body;
    (void)f;
    assert_true(vx_filter_splice(s, d, 2, 3, VX_SLICE("--")));           /* 01--56789 */
    assert_true(vx_filter_splice(s, d, 0, 0, VX_SLICE("<")));            /* <01--56789 */
    assert_true(vx_filter_splice(s, d, SIZE_MAX, 5, VX_SLICE(">")));     /* <01--56789> */
    assert_true(vx_filter_splice(s, d, 3, 2, VX_SLICE("a longer one"))); /* <01a longer one56789> */
    assert_true(vx_filter_splice(s, d, 15, SIZE_MAX, VX_SLICE_NONE));    /* <01a longer one */
    assert_false(vx_filter_splice(s, d, 0, 0, vx_slice(large, sizeof large)));
    assert_true(vx_filter_body(s, d, &body));
    assert_int_equal(body.len, 15);
    assert_memory_equal(body.ptr, "<01a longer one", 15);
    assert_true(vx_filter_splice(s, d, 0, SIZE_MAX, vx_slice(large, 1000))); /* the limit itself */
    assert_true(vx_filter_splice(s, d, 0, SIZE_MAX, VX_SLICE("end")));
}

static void test_splice(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.acts[FAKE_REQUEST_BODY] = splices;
    filtered_begin(t, VX_METHOD_POST, "0123456789");
    assert_int_equal(filtered_up(t)->body_len, 3);
    assert_memory_equal(filtered_up(t)->body, "end", 3);
    filtered_answer(t, 200, "");
    filtered_free(t);
}

/* Answers */

static void answer(struct vx_filter_stream *s, uint16_t status, const char *body,
                   const struct vx_field *fields, uint32_t count, int32_t grpc_status, bool good) {
    struct vx_filter_answer a = {status, vx_slice_of(body), fields, count, grpc_status};
    assert_int_equal(vx_filter_answer(s, &a), good);
}

static void answer_oddly(struct fake_filter *f, struct vx_filter_stream *s) {
    static const struct vx_field bad = {VX_SLICE("a b"), VX_SLICE("x")};
    static const struct vx_field fields[] = {{VX_SLICE(":status"), VX_SLICE("500")},
                                             {VX_SLICE("Content-Length"), VX_SLICE("999")},
                                             {VX_SLICE("Connection"), VX_SLICE("close")},
                                             {VX_SLICE("Content-Type"), VX_SLICE("text/html")}};
    (void)f;
    answer(s, 99, "", NULL, 0, -1, false);
    answer(s, 600, "", NULL, 0, -1, false);
    answer(s, 200, "", &bad, 1, -1, false);
    answer(s, 202, "<p>", fields, 4, -1, true);
}

static void test_answer_fields(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.acts[FAKE_REQUEST_HEAD] = answer_oddly;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_check(t, 202, "<p>");
    assert_string_equal(t->x->f.fields, "content-type: text/html\ncontent-length: 3\n");
    filtered_free(t);
}

static void answer_no_content(struct fake_filter *f, struct vx_filter_stream *s) {
    (void)f;
    answer(s, 204, "a body that it cannot have", NULL, 0, -1, true);
}

static void test_answer_without_body(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.acts[FAKE_REQUEST_HEAD] = answer_no_content;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_check(t, 204, "");
    filtered_free(t);
}

static void answer_grpc(struct fake_filter *f, struct vx_filter_stream *s) {
    answer(s, 403, "no\xc3\xa4%", NULL, 0, f->user ? 9 : -1, true);
}

static void test_grpc_answers(void **state) {
    (void)state;
    for (unsigned given = 0; given < 2; given++) {
        struct filtered *t = filtered_new(1);
        t->a.acts[FAKE_REQUEST_HEAD] = answer_grpc;
        t->a.user = given ? t : NULL;
        fixture_request(t->x, VX_METHOD_POST, "/api/x");
        fake_downstream_add_field(&t->x->f, "Content-Type", "application/grpc+proto");
        t->x->f.request.version = VX_HTTP_2;
        fixture_begin(t->x);
        filtered_check(t, 200, "");
        assert_int_equal(t->x->record.grpc_status, given ? 9 : 7);
        char expected[128];
        snprintf(expected, sizeof expected,
                 "content-type: application/grpc\ngrpc-status: %d\ngrpc-message: no%%C3%%A4%%25\n",
                 given ? 9 : 7);
        assert_int_equal(strncmp(t->x->f.fields, expected, strlen(expected)), 0);
        filtered_free(t);
    }
}

/* Facts */

static void check_facts(struct fake_filter *f, struct vx_filter_stream *s) {
    struct vx_filter_facts facts;
    vx_filter_facts(s, &facts);
    assert_memory_equal(facts.client_ip.ptr, "192.0.2.1", 9);
    assert_memory_equal(facts.route->config->name.ptr, "api", 3);
    assert_memory_equal(facts.request->path.ptr, "/api/x", 6);
    assert_non_null(facts.snapshot);
    assert_int_equal(facts.response != NULL, f->user != NULL);
    assert_int_equal(facts.target != NULL, f->user != NULL);
    assert_int_equal(facts.attempts, f->user ? 1 : 0);
}

static void test_facts(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.acts[FAKE_REQUEST_HEAD] = t->a.acts[FAKE_RESPONSE_HEAD] = check_facts;
    filtered_begin(t, VX_METHOD_GET, NULL);
    t->a.user = t;
    filtered_answer(t, 200, "");
    filtered_free(t);
}

/* A session that goes with its connection unless it is held. */
static int session_holds;

static void hold_session(const struct vx_tls_session *s) {
    (void)s;
    session_holds++;
}

static void drop_session(const struct vx_tls_session *s) {
    (void)s;
    session_holds--;
}

static void check_carrier(struct fake_filter *f, struct vx_filter_stream *s) {
    struct vx_filter_facts facts;
    vx_filter_facts(s, &facts);
    assert_ptr_equal(facts.carrier.tls, f->user);
}

static void check_held_carrier(struct fake_filter *f, struct vx_filter_stream *s) {
    assert_int_equal(session_holds, 1);
    check_carrier(f, s);
}

static void check_no_carrier(struct fake_filter *f, struct vx_filter_stream *s) {
    (void)f;
    struct vx_filter_facts facts;
    vx_filter_facts(s, &facts);
    assert_null(facts.carrier.tls);
}

/* What carried an earlier attempt is not taken for what carries this one. */
static void test_carrier_of_another_attempt(void **state) {
    (void)state;
    static const struct vx_tls_session_ops ops = {.hold = hold_session, .drop = drop_session};
    struct vx_tls_session first = {.ops = &ops};
    struct filtered *t = filtered_new(1);
    t->a.acts[FAKE_RESPONSE_HEAD] = check_no_carrier;
    t->a.on_log = check_no_carrier;
    t->x->client.tls = &first;
    filtered_begin(t, VX_METHOD_GET, NULL);
    t->x->client.tls = NULL;
    fake_upstream_fail(filtered_up(t), VX_ERR_CONNECT_FAILED, t->x->now_ns);
    filtered_answer(t, 200, "");
    filtered_free(t);
    assert_int_equal(session_holds, 0);
}

/* What carried the last attempt can be asked to the end. */
static void test_carrier(void **state) {
    (void)state;
    static const struct vx_tls_session_ops ops = {.hold = hold_session, .drop = drop_session};
    struct vx_tls_session first = {.ops = &ops}, second = {.ops = &ops};
    struct filtered *t = filtered_new(1);
    t->a.acts[FAKE_REQUEST_HEAD] = t->a.acts[FAKE_RESPONSE_HEAD] = check_carrier;
    t->a.on_log = check_held_carrier;
    t->x->client.tls = &first;
    filtered_begin(t, VX_METHOD_GET, NULL);
    t->x->client.tls = &second;
    fake_upstream_fail(filtered_up(t), VX_ERR_CONNECT_FAILED, t->x->now_ns);
    assert_int_equal(t->x->client.count, 2);
    assert_int_equal(session_holds, 1);
    t->a.user = &second;
    filtered_answer(t, 200, "");
    filtered_free(t);
    assert_int_equal(session_holds, 0);
}

static void leave_note(struct fake_filter *f, struct vx_filter_stream *s) {
    static char large[VX_FIELD_MAP_BYTES_MAX];
    struct vx_slice value;
    (void)f;
    assert_false(vx_filter_state_get(s, VX_SLICE("k"), &value));
    assert_true(vx_filter_state_set(s, VX_SLICE("k"), VX_SLICE("1")));
    assert_true(vx_filter_state_set(s, VX_SLICE("k"), VX_SLICE("")));
    assert_true(vx_filter_state_get(s, VX_SLICE("k"), &value));
    assert_int_equal(value.len, 0);
    assert_true(vx_filter_state_set(s, VX_SLICE("k"), VX_SLICE("two")));
    assert_false(vx_filter_state_set(s, VX_SLICE("l"), vx_slice(large, sizeof large)));
}

static void read_note(struct fake_filter *f, struct vx_filter_stream *s) {
    struct vx_slice value;
    (void)f;
    assert_true(vx_filter_state_get(s, VX_SLICE("k"), &value));
    assert_true(vx_slice_eq(value, VX_SLICE("two")));
    assert_false(vx_filter_state_get(s, VX_SLICE("l"), &value));
}

static void test_notes(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.acts[FAKE_REQUEST_HEAD] = leave_note;
    t->b.acts[FAKE_RESPONSE_HEAD] = read_note;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "");
    filtered_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_there_when),
        cmocka_unit_test(test_in_a_pause),
        cmocka_unit_test(test_splice),
        cmocka_unit_test(test_answer_fields),
        cmocka_unit_test(test_answer_without_body),
        cmocka_unit_test(test_grpc_answers),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_carrier),
        cmocka_unit_test(test_carrier_of_another_attempt),
        cmocka_unit_test(test_notes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
