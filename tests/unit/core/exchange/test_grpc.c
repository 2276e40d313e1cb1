/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC calls: deadlines, answers of the proxy's own, how a call's end is judged and recorded. */
#include "core/exchange/grpc.h"

#include "core/http/grpc.h"
#include "unit/core/exchange/fixture.h"

enum { MS = 1000000 };

static void call(struct fixture *x, const char *timeout) {
    fixture_request(x, VX_METHOD_POST, "/api");
    x->f.request.version = VX_HTTP_2;
    fake_downstream_add_field(&x->f, "Content-Type", "application/grpc");
    if (timeout)
        fake_downstream_add_field(&x->f, "grpc-timeout", timeout);
    x->f.down.started_ns = x->now_ns;
}

static void pass(struct fixture *x, uint64_t ms) {
    x->now_ns += ms * MS;
    vx_timer_wheel_run(&x->wheel, x->now_ns);
}

static bool has(const char *fields, const char *line) {
    return strstr(fields, line) != NULL;
}

/* Ends the call with trailers that have this status; empty: no trailers. */
static void answer_with(struct fixture *x, const char *status) {
    static struct vx_header item;
    static struct vx_headers trailers;
    struct fake_upstream *u = fixture_up(x);
    trailers = (struct vx_headers){.items = &item, .capacity = 1};
    assert_true(
        vx_headers_add(&trailers, NULL, VX_HEADER_GRPC_STATUS, VX_SLICE("grpc-status"), vx_slice_of(status)));
    u->answer_trailers = *status ? &trailers : NULL;
    fake_upstream_answer(u, 200, "message", x->now_ns);
}

static void test_own_errors_take_the_form_of_grpc(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    call(x, NULL);
    x->client.refuse = 3;
    fixture_begin(x);
    assert_int_equal(x->f.response.status, 200);
    assert_true(has(x->f.fields, "content-type: application/grpc\n"));
    assert_true(has(x->f.fields, "grpc-status: 14\n"));
    assert_true(has(x->f.fields, "grpc-message: Bad Gateway: connect_failed\n"));
    assert_int_equal(x->f.body_len, 0);
    fake_downstream_check_done(&x->f);
    assert_int_equal(x->record.error, VX_ERR_CONNECT_FAILED);
    assert_true(x->record.grpc);
    assert_int_equal(x->record.grpc_status, VX_GRPC_UNAVAILABLE);
    fixture_free(x);
}

static void test_no_route_is_unimplemented(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    call(x, NULL);
    x->f.request.path = VX_SLICE("/nowhere");
    fixture_begin(x);
    assert_true(has(x->f.fields, "grpc-status: 12\n"));
    fixture_free(x);
}

static void test_the_deadline_ends_the_call(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    call(x, "100m");
    fixture_begin(x);
    assert_true(has(fixture_up(x)->fields, "grpc-timeout: 100000u\n"));
    pass(x, 90);
    assert_false(x->f.responded);
    pass(x, 20);
    assert_true(has(x->f.fields, "grpc-status: 4\n"));
    assert_true(has(x->f.fields, "grpc-message: Deadline Exceeded: deadline_exceeded\n"));
    assert_true(fixture_up(x)->released);
    /* It was the client who set it. */
    assert_int_equal(vx_backend_set_stats(x->made[0].set, 0).breaker, VX_BREAKER_CLOSED);
    assert_int_equal(x->record.error, VX_ERR_DEADLINE);
    assert_int_equal(x->record.grpc_status, VX_GRPC_DEADLINE_EXCEEDED);
    fixture_free(x);
}

static void test_the_next_backend_hears_what_is_left(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    x->client.unsent = true;
    fixture_start(x);
    call(x, "100m");
    fixture_begin(x);
    pass(x, 40);
    fake_upstream_fail(fixture_up(x), VX_ERR_CONNECT_FAILED, x->now_ns);
    assert_int_equal(x->client.count, 2);
    assert_true(has(fixture_up(x)->fields, "grpc-timeout: 60000000n\n"));
    answer_with(x, "0");
    assert_int_equal(x->record.grpc_status, VX_GRPC_OK);
    /* It is over: nothing fires any more. */
    pass(x, 1000);
    fixture_free(x);
}

/* Not by a reset, which says less: in the middle of a message too. */
static void test_a_call_in_its_answer_ends_by_trailers_at_its_deadline(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    call(x, "100m");
    fixture_begin(x);
    fixture_up(x)->body_waits = true;
    fake_upstream_answer(fixture_up(x), 200, "part", x->now_ns);
    pass(x, 200);
    assert_true(x->f.responded);
    assert_true(x->f.finished);
    assert_true(fixture_up(x)->released);
    assert_true(has(x->f.trailer_fields, "grpc-status: 4\n"));
    assert_true(has(x->f.trailer_fields, "grpc-message: Deadline Exceeded: deadline_exceeded\n"));
    assert_int_equal(x->record.error, VX_ERR_DEADLINE);
    assert_int_equal(x->record.status, 200);
    assert_int_equal(x->record.grpc_status, VX_GRPC_DEADLINE_EXCEEDED);
    fixture_free(x);
}

/* One failure opens the breaker of this fixture's backends. */
static enum vx_breaker_state breaker_after(const char *status, bool in_head) {
    struct fixture *x = fixture_new();
    x->routes[0].breaker =
        (struct vx_config_breaker){.failures = 1, .open_for_ns = 1, .half_open_requests = 1};
    fixture_start(x);
    call(x, NULL);
    fixture_begin(x);
    if (in_head) {
        fake_upstream_add_field(fixture_up(x), "grpc-status", status);
        fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    } else {
        answer_with(x, status);
    }
    if (*status)
        assert_int_equal(x->record.grpc_status, vx_grpc_read_status(vx_slice_of(status)));
    enum vx_breaker_state breaker = vx_backend_set_stats(x->made[0].set, fixture_up(x)->target->pool).breaker;
    fixture_free(x);
    return breaker;
}

static void test_only_unavailable_speaks_against_the_backend(void **state) {
    (void)state;
    for (int in_head = 0; in_head < 2; in_head++) {
        assert_int_equal(breaker_after("0", in_head), VX_BREAKER_CLOSED);
        assert_int_equal(breaker_after("5", in_head), VX_BREAKER_CLOSED);
        assert_int_equal(breaker_after("4", in_head), VX_BREAKER_CLOSED);
        assert_int_equal(breaker_after("13", in_head), VX_BREAKER_CLOSED);
        assert_int_equal(breaker_after("14", in_head), VX_BREAKER_OPEN);
    }
    assert_int_equal(breaker_after("", false), VX_BREAKER_OPEN); /* no status at all */
}

static void test_others_are_not_touched(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    call(x, "1m");
    x->f.request.version = VX_HTTP_11;
    x->client.refuse = 3;
    fixture_begin(x);
    assert_int_equal(x->f.response.status, 502);
    assert_false(x->record.grpc);
    fixture_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_errors_take_the_form_of_grpc),
        cmocka_unit_test(test_no_route_is_unimplemented),
        cmocka_unit_test(test_the_deadline_ends_the_call),
        cmocka_unit_test(test_the_next_backend_hears_what_is_left),
        cmocka_unit_test(test_a_call_in_its_answer_ends_by_trailers_at_its_deadline),
        cmocka_unit_test(test_only_unavailable_speaks_against_the_backend),
        cmocka_unit_test(test_others_are_not_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
