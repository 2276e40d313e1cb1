/* SPDX-License-Identifier: Apache-2.0 */
/* Filters in the life of an exchange: order, pauses, rejections, answers, failures, new routes, the end. */
#include "unit/core/exchange/filter_fixture.h"

static void test_order(void **state) {
    (void)state;
    struct filtered *t = filtered_new(3);
    filtered_begin(t, VX_METHOD_GET, NULL);
    fake_filter_expect(&t->trace, "a>head. b>head. c>head.");
    filtered_answer(t, 200, "hello");
    fake_filter_expect(&t->trace, "c<head b<head a<head c<5 b<5 a<5 c<0. b<0. a<0. "
                                  "a log b log c log a close b close c close");
    filtered_check(t, 200, "hello");
    assert_int_equal(t->x->f.response.framing, VX_BODY_LENGTH); /* all of it was there */
    filtered_free(t);
}

static void test_no_callbacks_cost_nothing(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.base.wants = VX_FILTER_REQUEST_HEADERS;
    t->b.base.wants = VX_FILTER_RESPONSE_HEADERS | VX_FILTER_EDITS_BODY;
    filtered_begin(t, VX_METHOD_POST, "body");
    filtered_answer(t, 200, "hello");
    fake_filter_expect(&t->trace, "a>head b<head a log b log a close b close");
    assert_memory_equal(filtered_up(t)->body, "body", 4);
    filtered_check(t, 200, "hello");
    filtered_free(t);
}

static void test_pause_waits_where_something_is_pending(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->a.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    t->a.has_pending = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    fake_filter_expect(&t->trace, "a>head.");
    assert_int_equal(t->x->client.count, 0);
    vx_filter_review(t->a.stream); /* something came to its end, something else has not */
    filtered_turn(t);
    assert_int_equal(t->x->client.count, 0);
    vx_filter_continue(t->a.stream, VX_FILTER_REQUEST);
    fake_filter_expect(&t->trace, ""); /* not inside the call */
    filtered_turn(t);
    fake_filter_expect(&t->trace, "b>head.");
    filtered_answer(t, 200, "");
    filtered_check(t, 200, "");
    filtered_free(t);
}

static void test_pause_without_hope_is_a_rejection(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->b.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    filtered_begin(t, VX_METHOD_GET, NULL);
    fake_filter_expect(&t->trace, "a>head. b>head. b<head a<head b<21 a<21 b<0. a<0. "
                                  "a log b log a close b close");
    filtered_check_error(t, 403, "Forbidden");
    assert_int_equal(t->x->record.error, VX_ERR_FILTER_DENIED);
    assert_int_equal(t->x->record.status, 403);
    assert_int_equal(t->x->client.count, 0);
    filtered_free(t);
}

static void test_hope_may_end(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    t->a.has_pending = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    t->a.has_pending = false;
    vx_filter_review(t->a.stream);
    filtered_turn(t);
    filtered_check_error(t, 403, "Forbidden");
    filtered_free(t);
}

static void go_on(struct fake_filter *f, struct vx_filter_stream *s) {
    (void)f;
    vx_filter_continue(s, VX_FILTER_REQUEST);
}

static void test_continue_in_the_callback_itself(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    t->a.acts[FAKE_REQUEST_HEAD] = go_on;
    filtered_begin(t, VX_METHOD_GET, NULL);
    assert_int_equal(t->a.asked, 0);
    filtered_answer(t, 200, "");
    filtered_check(t, 200, "");
    filtered_free(t);
}

static void test_held_response(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->b.verdicts[FAKE_RESPONSE_HEAD] = VX_FILTER_PAUSE;
    t->b.has_pending = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "hello");
    fake_filter_expect(&t->trace, "a>head. b>head. b<head");
    assert_false(t->x->f.responded);
    assert_int_equal(filtered_up(t)->rest.len, 5); /* nobody reads meanwhile */
    fake_upstream_readable(filtered_up(t), "hello", t->x->now_ns);
    assert_false(t->x->f.responded);
    vx_filter_continue(t->b.stream, VX_FILTER_RESPONSE);
    filtered_turn(t);
    fake_filter_expect(&t->trace, "a<head b<5 a<5 b<0. a<0. a log b log a close b close");
    filtered_check(t, 200, "hello");
    filtered_free(t);
}

static void test_response_denied(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->b.verdicts[FAKE_RESPONSE_HEAD] = VX_FILTER_PAUSE;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "secret");
    /* The one that has seen the backend's head does not see this one. */
    fake_filter_expect(&t->trace, "a>head. b>head. b<head a<head a<21 a<0. a log b log a close b close");
    filtered_check_error(t, 403, "Forbidden");
    assert_int_equal(t->x->record.target != NULL, 1);
    filtered_free(t);
}

/* Answers */

static void answer_teapot(struct fake_filter *f, struct vx_filter_stream *s) {
    struct vx_field field = {VX_SLICE("x-by"), vx_slice(&f->letter, 1)};
    struct vx_filter_answer answer = {
        .status = 418, .body = VX_SLICE("teapot"), .fields = &field, .field_count = 1, .grpc_status = -1};
    assert_true(vx_filter_answer(s, &answer));
    answer.status = 500; /* the first one counts */
    assert_true(vx_filter_answer(s, &answer));
}

static void test_answer_overrides_the_verdict(void **state) {
    (void)state;
    static const enum vx_filter_verdict verdicts[] = {VX_FILTER_CONTINUE, VX_FILTER_PAUSE};
    for (unsigned i = 0; i < 2; i++) {
        struct filtered *t = filtered_new(3);
        t->b.acts[FAKE_REQUEST_HEAD] = answer_teapot;
        t->b.verdicts[FAKE_REQUEST_HEAD] = verdicts[i];
        filtered_begin(t, VX_METHOD_GET, NULL);
        /* c was not shown the request, so it is not shown the answer. */
        fake_filter_expect(&t->trace, "a>head. b>head. b<head a<head b<6 a<6 b<0. a<0. "
                                      "a log b log c log a close b close c close");
        filtered_check(t, 418, "teapot");
        assert_string_equal(t->x->f.fields, "x-by: b\ncontent-type: text/plain\ncontent-length: 6\n");
        assert_int_equal(t->x->record.error, VX_ERR_FILTER_ANSWERED);
        assert_int_equal(t->x->client.count, 0);
        filtered_free(t);
    }
}

static void test_answer_to_head(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.acts[FAKE_REQUEST_HEAD] = answer_teapot;
    filtered_begin(t, VX_METHOD_HEAD, NULL);
    fake_filter_expect(&t->trace, "a>head. a<head. a log a close");
    filtered_check(t, 418, "");
    assert_int_equal(t->x->f.response.body_bytes, 6);
    filtered_free(t);
}

static void test_answer_out_of_a_pause(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    t->a.has_pending = true;
    filtered_begin(t, VX_METHOD_POST, "body");
    answer_teapot(&t->a, t->a.stream);
    assert_false(t->x->f.responded);
    filtered_turn(t);
    filtered_check(t, 418, "teapot");
    filtered_free(t);
}

static void test_answer_instead_of_the_backends(void **state) {
    (void)state;
    struct filtered *t = filtered_new(3);
    t->b.acts[FAKE_RESPONSE_HEAD] = answer_teapot;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "never seen");
    fake_filter_expect(&t->trace, "a>head. b>head. c>head. c<head b<head a<head a<6 a<0. "
                                  "a log b log c log a close b close c close");
    filtered_check(t, 418, "teapot");
    assert_true(filtered_up(t)->released);
    filtered_free(t);
}

static void test_answer_while_the_response_is_held(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->b.verdicts[FAKE_RESPONSE_HEAD] = VX_FILTER_PAUSE;
    t->b.has_pending = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "never seen");
    answer_teapot(&t->b, t->b.stream);
    filtered_turn(t);
    filtered_check(t, 418, "teapot");
    filtered_free(t);
}

static void test_answer_too_late_cuts(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.base.wants &= ~(uint32_t)VX_FILTER_EDITS_BODY; /* so the head leaves at once */
    t->a.acts[FAKE_RESPONSE_BODY] = answer_teapot;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "hello");
    assert_int_equal(t->x->f.response.status, 200);
    assert_false(t->x->f.finished);
    assert_int_equal(t->x->record.error, VX_ERR_FILTER_ANSWERED);
    filtered_free(t);
}

static void test_own_errors_pass_the_response_side(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->x->client.refuse = 10;
    filtered_begin(t, VX_METHOD_GET, NULL);
    fake_filter_expect(&t->trace, "a>head. a<head a<23 a<0. a log a close");
    filtered_check_error(t, 502, "Bad Gateway");
    filtered_free(t);
}

static void set_status_201(struct fake_filter *f, struct vx_filter_stream *s) {
    bool writable;
    struct vx_field_map *map = vx_filter_map(s, VX_FILTER_MAP_RESPONSE_HEADERS, &writable);
    (void)f;
    assert_true(writable);
    assert_int_equal(vx_field_map_replace(map, VX_SLICE(":status"), VX_SLICE("201")), VX_FIELD_DONE);
}

static void test_edited_error(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->x->client.refuse = 10;
    t->a.acts[FAKE_RESPONSE_HEAD] = set_status_201;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_check_error(t, 201, "Bad Gateway");
    assert_int_equal(t->x->record.status, 201);
    assert_int_equal(t->x->record.error, VX_ERR_CONNECT_FAILED);
    filtered_free(t);
}

/* Failures */

static void test_failure_closed(void **state) {
    (void)state;
    struct filtered *t = filtered_new(3);
    t->b.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_FAILED;
    filtered_begin(t, VX_METHOD_GET, NULL);
    fake_filter_expect(&t->trace, "a>head. b>head. a<head a<33 a<0. a log c log a close b close c close");
    filtered_check_error(t, 500, "Internal Server Error");
    assert_int_equal(t->x->record.error, VX_ERR_FILTER_FAILED);
    filtered_free(t);
}

static void test_failure_open(void **state) {
    (void)state;
    struct filtered *t = filtered_new(3);
    t->b.base.fails_open = true;
    t->b.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_FAILED;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "");
    fake_filter_expect(&t->trace, "a>head. b>head. c>head. c<head. a<head. "
                                  "a log c log a close b close c close");
    filtered_check(t, 200, "");
    filtered_free(t);
}

static void test_refused_at_the_beginning(void **state) {
    (void)state;
    struct filtered *t = filtered_new(2);
    t->b.refuses = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    fake_filter_expect(&t->trace, "a log a close");
    filtered_check_error(t, 500, "Internal Server Error");
    filtered_free(t);

    t = filtered_new(2);
    t->b.refuses = t->b.base.fails_open = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "");
    fake_filter_expect(&t->trace, "a>head. a<head. a log a close");
    filtered_free(t);
}

static void test_death_in_a_pause(void **state) {
    (void)state;
    for (unsigned open = 0; open < 2; open++) {
        struct filtered *t = filtered_new(2);
        t->a.base.fails_open = open;
        t->a.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
        t->a.has_pending = true;
        filtered_begin(t, VX_METHOD_GET, NULL);
        vx_filter_fail(t->a.stream);
        filtered_turn(t);
        if (open) {
            filtered_answer(t, 200, "");
            filtered_check(t, 200, "");
        } else {
            filtered_check_error(t, 500, "Internal Server Error");
        }
        assert_int_equal(t->a.logged, 0);
        filtered_free(t);
    }
}

static void test_failures_of_the_response(void **state) {
    (void)state;
    struct filtered *t = filtered_new(3);
    t->b.verdicts[FAKE_RESPONSE_HEAD] = VX_FILTER_FAILED;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "hello");
    filtered_check_error(t, 500, "Internal Server Error");
    filtered_free(t);

    t = filtered_new(3);
    t->b.base.fails_open = true;
    t->b.verdicts[FAKE_RESPONSE_BODY] = VX_FILTER_FAILED;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "hello");
    filtered_check(t, 200, "hello");
    filtered_free(t);
}

static void test_closed(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    t->a.has_pending = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    vx_filter_close(t->a.stream);
    filtered_turn(t);
    assert_false(t->x->f.responded);
    assert_int_equal(t->x->f.released, 1);
    assert_int_equal(t->x->record.error, VX_ERR_FILTER_CLOSED);
    filtered_free(t);
}

static void test_client_gone_in_a_pause(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    t->a.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    t->a.has_pending = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    struct vx_stream *s = &t->x->f.down.stream;
    s->error = vx_error(VX_ERR_CLIENT_GONE, false, NULL);
    s->events->on_failed(s->user, t->x->now_ns);
    fake_filter_expect(&t->trace, "a>head. a log a close");
    filtered_free(t);
}

/* Routes */

static void set_path(struct fake_filter *f, struct vx_filter_stream *s) {
    bool writable;
    struct vx_field_map *map = vx_filter_map(s, VX_FILTER_MAP_REQUEST_HEADERS, &writable);
    assert_true(writable);
    assert_int_equal(vx_field_map_replace(map, VX_SLICE(":path"), vx_slice_of(f->user)), VX_FIELD_DONE);
}

static void test_edited_path_is_routed_again(void **state) {
    (void)state;
    static char there[] = "/api/there?b", old[] = "/old", nowhere[] = "/nowhere";
    struct filtered *t = filtered_new(1);
    t->a.acts[FAKE_REQUEST_HEAD] = set_path;
    t->a.user = there;
    filtered_begin(t, VX_METHOD_GET, NULL);
    assert_string_equal(filtered_up(t)->path, "/api/there");
    assert_memory_equal(t->x->f.request.path.ptr, "/api/x", 6); /* the log tells what came */
    filtered_answer(t, 200, "");
    filtered_free(t);

    t = filtered_new(1);
    t->a.acts[FAKE_REQUEST_HEAD] = set_path;
    t->a.user = old;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_check(t, 308, "");
    fake_filter_expect(&t->trace, "a>head. a<head. a log a close");
    filtered_free(t);

    t = filtered_new(1);
    t->a.acts[FAKE_REQUEST_HEAD] = set_path;
    t->a.user = nowhere;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_check_error(t, 404, "Not Found");
    filtered_free(t);
}

static void test_upgrade_ends_the_filters_part(void **state) {
    (void)state;
    struct filtered *t = filtered_new(1);
    fixture_request(t->x, VX_METHOD_GET, "/api/ws");
    fake_downstream_add_field(&t->x->f, "Connection", "upgrade");
    fake_downstream_add_field(&t->x->f, "Upgrade", "websocket");
    t->x->f.request.upgrade = true;
    t->a.acts[FAKE_RESPONSE_HEAD] = set_status_201;
    fixture_begin(t->x);
    struct fake_upstream *u = filtered_up(t);
    u->finished = false; /* the request itself had no body */
    fake_upstream_add_field(u, "Upgrade", "websocket");
    filtered_answer(t, 101, "frames");
    fake_filter_expect(&t->trace, "a>head. a<head. a log a close");
    assert_int_equal(t->x->f.response.status, 101);
    filtered_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_no_callbacks_cost_nothing),
        cmocka_unit_test(test_pause_waits_where_something_is_pending),
        cmocka_unit_test(test_pause_without_hope_is_a_rejection),
        cmocka_unit_test(test_hope_may_end),
        cmocka_unit_test(test_continue_in_the_callback_itself),
        cmocka_unit_test(test_held_response),
        cmocka_unit_test(test_response_denied),
        cmocka_unit_test(test_answer_overrides_the_verdict),
        cmocka_unit_test(test_answer_to_head),
        cmocka_unit_test(test_answer_out_of_a_pause),
        cmocka_unit_test(test_answer_instead_of_the_backends),
        cmocka_unit_test(test_answer_while_the_response_is_held),
        cmocka_unit_test(test_answer_too_late_cuts),
        cmocka_unit_test(test_own_errors_pass_the_response_side),
        cmocka_unit_test(test_edited_error),
        cmocka_unit_test(test_failure_closed),
        cmocka_unit_test(test_failure_open),
        cmocka_unit_test(test_refused_at_the_beginning),
        cmocka_unit_test(test_death_in_a_pause),
        cmocka_unit_test(test_failures_of_the_response),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_client_gone_in_a_pause),
        cmocka_unit_test(test_edited_path_is_routed_again),
        cmocka_unit_test(test_upgrade_ends_the_filters_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
