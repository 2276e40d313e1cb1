/* SPDX-License-Identifier: Apache-2.0 */
/* A filter that waits for something of its own (a timer, say) may wait for ever; what it holds may not. */
#include "unit/core/exchange/filter_fixture.h"

static const uint64_t second_ns = 1000000000;

static void pass(struct filtered *t, uint64_t seconds) {
    t->x->now_ns += seconds * second_ns;
    vx_timer_wheel_run(&t->x->wheel, t->x->now_ns);
}

/* Which is what it may hold for; nothing happens sooner. */
static void pass_a_minute(struct filtered *t) {
    pass(t, 59);
    assert_int_equal(t->x->f.again, 0);
    pass(t, 2);
}

/* One filter that may hold for a minute, and pauses at `event` though something of its own is under way. */
static struct filtered *begin(enum fake_filter_event event, bool fails_open) {
    struct filtered *t = filtered_new(2);
    t->a.base.pause_ns = t->b.base.pause_ns = 60 * second_ns;
    t->a.base.fails_open = fails_open;
    t->a.verdicts[event] = VX_FILTER_PAUSE;
    t->a.has_pending = true;
    return t;
}

static void expect_nothing_left(struct filtered *t) {
    assert_true(vx_timer_wheel_next_ns(&t->x->wheel, t->x->now_ns) == UINT64_MAX);
    filtered_free(t);
}

static void expect_failure(struct filtered *t) {
    assert_int_equal(t->x->record.error, VX_ERR_FILTER_TIMEOUT);
    expect_nothing_left(t);
}

static void expect_timeout(struct filtered *t) {
    filtered_turn(t);
    filtered_check_error(t, 504, "Gateway Timeout");
    expect_failure(t);
}

static void test_request_head(void **state) {
    (void)state;
    struct filtered *t = begin(FAKE_REQUEST_HEAD, false);
    filtered_begin(t, VX_METHOD_GET, NULL);
    pass_a_minute(t);
    assert_int_equal(t->x->client.count, 0);
    expect_timeout(t);
}

static void test_end_of_a_request(void **state) {
    (void)state;
    struct filtered *t = begin(FAKE_REQUEST_END, false);
    t->a.verdicts[FAKE_REQUEST_BODY] = VX_FILTER_PAUSE;
    filtered_begin(t, VX_METHOD_POST, "body");
    pass(t, 61);
    filtered_turn(t);
    expect_failure(t);
}

static void test_response_head(void **state) {
    (void)state;
    struct filtered *t = begin(FAKE_RESPONSE_HEAD, false);
    filtered_begin(t, VX_METHOD_GET, NULL);
    pass(t, 100); /* that is the backend's time */
    filtered_answer(t, 200, "hello");
    pass_a_minute(t);
    expect_timeout(t);
}

static void test_end_of_a_response_whose_head_is_out(void **state) {
    (void)state;
    struct filtered *t = begin(FAKE_RESPONSE_END, false);
    t->a.base.wants &= ~(uint32_t)VX_FILTER_EDITS_BODY;
    filtered_begin(t, VX_METHOD_GET, NULL);
    filtered_answer(t, 200, "hello");
    assert_int_equal(t->x->f.response.status, 200);
    pass(t, 61);
    filtered_turn(t);
    assert_false(t->x->f.finished);
    assert_int_equal(t->x->f.released, 1);
    assert_int_equal(t->x->record.error, VX_ERR_FILTER_TIMEOUT);
    expect_nothing_left(t);
}

/* A pause begins when the filter has been shown the end, however long the message took until then. */
static void test_end_of_a_response_that_took_its_time(void **state) {
    (void)state;
    struct filtered *t = begin(FAKE_RESPONSE_END, false);
    filtered_begin(t, VX_METHOD_GET, NULL);
    struct fake_upstream *up = filtered_up(t);
    up->body_waits = true;
    filtered_answer(t, 200, "hello");
    pass(t, 100);
    up->body_waits = false;
    up->up.stream.events->on_readable(up->up.stream.user, t->x->now_ns);
    pass_a_minute(t);
    filtered_turn(t);
    expect_failure(t);
}

static void test_end_of_a_request_that_took_its_time(void **state) {
    (void)state;
    struct filtered *t = begin(FAKE_REQUEST_END, false);
    t->a.base.wants &= ~(uint32_t)VX_FILTER_EDITS_BODY;
    t->b.base.wants &= ~(uint32_t)VX_FILTER_EDITS_BODY;
    t->x->client.room = 0;
    filtered_begin(t, VX_METHOD_POST, "body");
    pass(t, 100);
    fake_upstream_writable(filtered_up(t), SIZE_MAX, t->x->now_ns);
    pass_a_minute(t);
    filtered_turn(t);
    expect_failure(t);
}

static void test_open_goes_on_without_it(void **state) {
    (void)state;
    struct filtered *t = begin(FAKE_REQUEST_HEAD, true);
    filtered_begin(t, VX_METHOD_GET, NULL);
    pass(t, 61);
    filtered_turn(t);
    fake_filter_expect(&t->trace, "a>head. b>head.");
    /* It is too late now. */
    struct vx_filter_answer no = {.status = 401, .grpc_status = -1};
    assert_true(vx_filter_answer(t->a.stream, &no));
    vx_filter_close(t->a.stream);
    vx_filter_continue(t->a.stream, VX_FILTER_REQUEST);
    filtered_turn(t);
    filtered_answer(t, 200, "hello");
    filtered_check(t, 200, "hello");
    fake_filter_expect(&t->trace, "b<head b<5 b<0. b log a close b close");
    expect_nothing_left(t);
}

static void test_each_pause_has_its_time(void **state) {
    (void)state;
    struct filtered *t = begin(FAKE_REQUEST_HEAD, false);
    t->b.verdicts[FAKE_REQUEST_HEAD] = VX_FILTER_PAUSE;
    t->b.has_pending = true;
    filtered_begin(t, VX_METHOD_GET, NULL);
    pass(t, 50);
    vx_filter_continue(t->a.stream, VX_FILTER_REQUEST);
    filtered_turn(t);
    pass(t, 50);
    assert_int_equal(t->x->f.again, 0);
    pass(t, 11);
    expect_timeout(t);
}

/* The sender is slow then, not the filter. */
static void test_who_waits_for_more_of_a_body_holds_nothing_up(void **state) {
    (void)state;
    struct filtered *t = begin(FAKE_REQUEST_BODY, false);
    fixture_request(t->x, VX_METHOD_POST, "/api/x");
    t->x->f.request.framing = VX_BODY_CHUNKED;
    t->x->f.body_waits = true;
    fixture_begin(t->x);
    pass(t, 100);
    assert_int_equal(t->x->f.again, 0);
    t->x->f.body_waits = false;
    t->x->f.down.stream.events->on_readable(t->x->f.down.stream.user, t->x->now_ns);
    filtered_answer(t, 200, "");
    expect_nothing_left(t);
}

static void test_nothing_is_a_limit_of_none(void **state) {
    (void)state;
    struct filtered *t = begin(FAKE_REQUEST_HEAD, false);
    t->a.base.pause_ns = 0;
    filtered_begin(t, VX_METHOD_GET, NULL);
    pass(t, 100000);
    assert_int_equal(t->x->f.again, 0);
    vx_filter_continue(t->a.stream, VX_FILTER_REQUEST);
    filtered_turn(t);
    filtered_answer(t, 200, "");
    expect_nothing_left(t);
}

static void test_the_client_may_leave_before(void **state) {
    (void)state;
    struct filtered *t = begin(FAKE_REQUEST_HEAD, false);
    filtered_begin(t, VX_METHOD_GET, NULL);
    struct vx_stream *s = &t->x->f.down.stream;
    s->error = vx_error(VX_ERR_CLIENT_GONE, false, NULL);
    s->events->on_failed(s->user, t->x->now_ns);
    assert_int_equal(t->x->record.error, VX_ERR_CLIENT_GONE);
    expect_nothing_left(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_head),
        cmocka_unit_test(test_end_of_a_request),
        cmocka_unit_test(test_response_head),
        cmocka_unit_test(test_end_of_a_response_whose_head_is_out),
        cmocka_unit_test(test_end_of_a_response_that_took_its_time),
        cmocka_unit_test(test_end_of_a_request_that_took_its_time),
        cmocka_unit_test(test_open_goes_on_without_it),
        cmocka_unit_test(test_each_pause_has_its_time),
        cmocka_unit_test(test_who_waits_for_more_of_a_body_holds_nothing_up),
        cmocka_unit_test(test_nothing_is_a_limit_of_none),
        cmocka_unit_test(test_the_client_may_leave_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
