/* SPDX-License-Identifier: Apache-2.0 */
/* What may be sent again, and how often. */
#include "unit/core/exchange/fixture.h"

static void start(struct fixture *x, enum vx_method method) {
    fixture_start(x);
    fixture_request(x, method, "/api");
}

static void test_an_idempotent_request_goes_to_other_backends(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    start(x, VX_METHOD_GET);
    fixture_begin(x);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_RESET, x->now_ns);
    assert_int_equal(x->client.count, 2);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_CLOSED, x->now_ns);
    assert_int_equal(x->client.count, 3);
    assert_ptr_not_equal(x->client.ups[0].target, x->client.ups[1].target);
    assert_ptr_not_equal(x->client.ups[1].target, x->client.ups[2].target);
    assert_ptr_not_equal(x->client.ups[0].target, x->client.ups[2].target);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    assert_int_equal(x->record.attempts, 3);
    assert_int_equal(x->retries, 2);
    assert_int_equal(x->record.error, VX_ERR_NONE);
    fixture_free(x);
}

static void test_attempts_are_bounded(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    x->routes[0].retry_attempts = 1;
    start(x, VX_METHOD_GET);
    fixture_begin(x);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_RESET, x->now_ns);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_RESET, x->now_ns);
    assert_int_equal(x->client.count, 2);
    assert_int_equal(x->f.response.status, 502);
    fixture_free(x);
}

/* More than the exchange remembers backends for. */
static void test_attempts_are_bounded_whatever_is_configured(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    x->routes[0].retry_attempts = 60000;
    start(x, VX_METHOD_GET);
    x->client.refuse = 100;
    fixture_begin(x);
    assert_int_equal(x->client.refuse, 92);
    assert_int_equal(x->record.attempts, 8);
    fixture_free(x);
}

static void test_a_post_of_which_bytes_went_is_never_sent_again(void **state) {
    (void)state;
    static const enum vx_method methods[] = {VX_METHOD_POST, VX_METHOD_PATCH, VX_METHOD_OTHER};
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned reused = 0; reused < 2; reused++) {
            struct fixture *x = fixture_new();
            start(x, methods[i]);
            x->client.reused = reused;
            fixture_begin(x);
            fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_RESET, x->now_ns);
            assert_int_equal(x->client.count, 1);
            assert_int_equal(x->f.response.status, 502);
            fixture_free(x);
        }
    }
}

static void test_a_post_of_which_nothing_went_is(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    start(x, VX_METHOD_POST);
    x->client.unsent = true;
    x->client.room = 0;
    fake_downstream_add_body(&x->f, VX_SLICE("body"));
    fixture_begin(x);
    fake_upstream_fail(fixture_up(x), VX_ERR_CONNECT_FAILED, x->now_ns);
    assert_int_equal(x->client.count, 2);
    fake_upstream_writable(fixture_up(x), SIZE_MAX, x->now_ns);
    assert_memory_equal(fixture_up(x)->body, "body", 4);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

static void test_a_body_that_is_gone_cannot_be_sent_again(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    start(x, VX_METHOD_PUT);
    fake_downstream_add_body(&x->f, VX_SLICE("body"));
    fixture_begin(x);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_RESET, x->now_ns);
    assert_int_equal(x->client.count, 1);
    assert_int_equal(x->f.response.status, 502);
    fixture_free(x);
}

static void test_a_body_that_may_have_been_spliced_is_gone(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    start(x, VX_METHOD_PUT);
    x->client.room = 0;
    x->f.request.framing = VX_BODY_LENGTH;
    x->f.request.body_bytes = 1 << 20;
    x->f.body_waits = true;
    fixture_begin(x);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_RESET, x->now_ns);
    assert_int_equal(x->client.count, 1);
    fixture_free(x);
}

static void test_slow_and_senseless_backends_are_not_asked_twice(void **state) {
    (void)state;
    static const struct {
        enum vx_error_code code;
        uint16_t status;
    } cases[] = {{VX_ERR_RESPONSE_TIMEOUT, 504}, {VX_ERR_BAD_RESPONSE, 502}, {VX_ERR_WRITE_TIMEOUT, 504}};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *x = fixture_new();
        start(x, VX_METHOD_GET);
        fixture_begin(x);
        fake_upstream_fail(fixture_up(x), cases[i].code, x->now_ns);
        assert_int_equal(x->client.count, 1);
        assert_int_equal(x->f.response.status, cases[i].status);
        assert_int_equal(x->record.error, cases[i].code);
        fixture_free(x);
    }
}

static void test_a_stale_connection_costs_no_attempt(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    x->routes[0].retry_attempts = 0;
    start(x, VX_METHOD_GET);
    x->client.reused = true;
    fixture_begin(x);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_CLOSED, x->now_ns);
    assert_int_equal(x->client.count, 2);
    assert_true(fixture_up(x)->fresh);
    assert_ptr_equal(x->client.ups[0].target, x->client.ups[1].target);
    assert_int_equal(x->retries, 0);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    assert_int_equal(x->record.attempts, 1);
    fixture_free(x);
}

static void test_a_stale_connection_is_forgiven_once(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    x->routes[0].retry_attempts = 0;
    start(x, VX_METHOD_GET);
    x->client.reused = true;
    fixture_begin(x);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_CLOSED, x->now_ns);
    fixture_up(x)->up.reused = true;
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_CLOSED, x->now_ns);
    assert_int_equal(x->client.count, 2);
    assert_int_equal(x->f.response.status, 502);
    fixture_free(x);
}

static void test_a_connection_that_answered_something_was_not_stale(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    x->routes[0].retry_attempts = 0;
    start(x, VX_METHOD_GET);
    x->client.reused = true;
    fixture_begin(x);
    fixture_up(x)->up.received_bytes = 1;
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_CLOSED, x->now_ns);
    assert_int_equal(x->client.count, 1);
    fixture_free(x);
}

/* As with a UNIX socket that nobody listens on any more: the reconnect cannot even begin. */
static void test_after_a_failed_reconnect_other_backends_are_asked(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    start(x, VX_METHOD_GET);
    x->client.reused = true;
    fixture_begin(x);
    x->client.refuse = 1;
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_CLOSED, x->now_ns);
    assert_int_equal(x->client.count, 2);
    assert_ptr_not_equal(x->client.ups[0].target, x->client.ups[1].target);
    assert_int_equal(x->retries, 1);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

static void test_what_cannot_be_opened_goes_to_the_next(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    start(x, VX_METHOD_POST); /* nothing was sent, so any method may */
    x->client.refuse = 2;
    fixture_begin(x);
    assert_int_equal(x->client.count, 1);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    assert_int_equal(x->record.attempts, 3);
    fixture_free(x);
    x = fixture_new();
    start(x, VX_METHOD_GET);
    x->client.refuse = 9;
    x->client.with = VX_ERR_QUEUE_FULL;
    fixture_begin(x);
    assert_int_equal(x->f.response.status, 503);
    assert_int_equal(x->record.error, VX_ERR_QUEUE_FULL);
    fixture_free(x);
}

static void test_the_budget_bounds_retries_of_what_was_sent(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    x->routes[0].retry_budget_percent = 0;
    fixture_start(x);
    unsigned answered = 0;
    while (vx_backend_set_take_retry(x->made[0].set, 0, x->now_ns))
        assert_true(++answered < 1000); /* the floor that is always allowed */
    fixture_request(x, VX_METHOD_GET, "/api");
    fixture_begin(x);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_RESET, x->now_ns);
    assert_int_equal(x->client.count, 1);
    assert_int_equal(x->f.response.status, 502);
    fixture_free(x);
}

/* A backend that refuses a stream of HTTP/2 has read none of it: another one gets the body, which is no longer the
 * client's to send, and neither the method nor the budget matters. */
static void test_a_refused_stream_goes_elsewhere_with_its_body(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    x->routes[0].retry_budget_percent = 0;
    fixture_start(x);
    for (uint32_t i = 0; i < FIXTURE_BACKENDS; i++)
        x->targets[i].http2 = true;
    fixture_request(x, VX_METHOD_POST, "/api");
    fake_downstream_add_body(&x->f, VX_SLICE("first "));
    fake_downstream_add_body(&x->f, VX_SLICE("second"));
    fixture_begin(x);
    struct fake_upstream *refusing = fixture_up(x);
    assert_true(refusing->finished);
    fake_upstream_fail(refusing, VX_ERR_BACKEND_REFUSED, x->now_ns);
    struct fake_upstream *other = fixture_up(x);
    assert_ptr_not_equal(other, refusing);
    assert_ptr_not_equal(other->target, refusing->target);
    assert_int_equal(other->body_len, 12);
    assert_memory_equal(other->body, "first second", 12);
    assert_true(other->finished);
    fake_upstream_answer(other, 200, "", x->now_ns);
    fixture_free(x);
}

/* A POST of two pieces of the body, to backends of HTTP/2. `buffered`: limits.buffered_body. */
static struct fixture *upload(uint32_t buffered) {
    static const char bytes[20000];
    struct fixture *x = fixture_new();
    x->config.limits.buffered_body_bytes = buffered;
    fixture_start(x);
    for (uint32_t i = 0; i < FIXTURE_BACKENDS; i++)
        x->targets[i].http2 = true;
    fixture_request(x, VX_METHOD_POST, "/api");
    fake_downstream_add_body(&x->f, vx_slice(bytes, 10000));
    fake_downstream_add_body(&x->f, vx_slice(bytes, sizeof bytes));
    return x;
}

static void test_a_body_is_kept_as_far_as_bodies_are_held(void **state) {
    (void)state;
    struct fixture *x = upload(30000);
    fixture_begin(x);
    assert_int_equal(fixture_up(x)->body_len, 30000);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_REFUSED, x->now_ns);
    assert_int_equal(x->client.count, 2);
    assert_int_equal(fixture_up(x)->body_len, 30000);
    assert_true(fixture_up(x)->finished);
    assert_int_equal(x->record.request_bytes, 0);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    assert_int_equal(x->record.request_bytes, 30000);
    fixture_free(x);
    x = upload(29999);
    fixture_begin(x);
    assert_int_equal(fixture_up(x)->body_len, 30000);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_REFUSED, x->now_ns);
    assert_int_equal(x->client.count, 1);
    assert_int_equal(x->f.response.status, 502);
    fixture_free(x);
}

/* What a backend has begun to read it will not refuse unread any more. */
static void test_a_body_that_is_read_is_not_kept(void **state) {
    (void)state;
    struct fixture *x = upload(30000);
    x->client.room = 15000;
    fixture_begin(x);
    fixture_up(x)->up.reads = true;
    fake_upstream_writable(fixture_up(x), SIZE_MAX, x->now_ns);
    assert_int_equal(fixture_up(x)->body_len, 30000);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_REFUSED, x->now_ns);
    assert_int_equal(x->client.count, 1);
    fixture_free(x);
}

/* However much of it lies ready. */
static void test_a_body_that_waits_for_a_connection_is_not_gone(void **state) {
    (void)state;
    struct fixture *x = upload(100);
    x->client.room = 0;
    x->client.unsent = true;
    fixture_begin(x);
    fake_upstream_fail(fixture_up(x), VX_ERR_CONNECT_FAILED, x->now_ns);
    assert_int_equal(x->client.count, 2);
    fake_upstream_writable(fixture_up(x), SIZE_MAX, x->now_ns);
    assert_int_equal(fixture_up(x)->body_len, 30000);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

static void go_away(struct fixture *x) {
    struct fake_upstream *u = fixture_up(x);
    u->up.stream.error = vx_error(VX_ERR_BACKEND_CLOSED, true, "the connection was going away");
    u->up.stream.events->on_failed(u->up.stream.user, x->now_ns);
}

/* Which has nothing to do with `retries.attempts`, and an end all the same. */
static void test_what_was_never_begun_is_sent_again_three_times(void **state) {
    (void)state;
    for (unsigned refused = 0; refused < 2; refused++) {
        struct fixture *x = upload(30000);
        x->routes[0].retry_attempts = 0;
        fixture_begin(x);
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(x->client.count, i + 1);
            assert_int_equal(fixture_up(x)->body_len, 30000);
            if (refused)
                fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_REFUSED, x->now_ns);
            else
                go_away(x);
        }
        assert_int_equal(x->client.count, 4);
        assert_int_equal(x->record.attempts, refused ? 4 : 1);
        /* Who goes away from a connection is asked on another one, who refuses is left alone. */
        assert_int_equal(x->client.ups[1].fresh, !refused);
        assert_int_equal(x->client.ups[0].target == x->client.ups[1].target, !refused);
        assert_int_equal(x->f.response.status, 502);
        fixture_free(x);
    }
}

/* The last one, for which nothing is left to try, among them. */
static void test_what_was_never_begun_counts_once_against_its_backend(void **state) {
    (void)state;
    for (uint16_t retries = 0; retries < 2; retries++) {
        struct fixture *x = fixture_new();
        x->routes[0].breaker.failures = 2;
        x->routes[0].retry_attempts = retries;
        fixture_start(x);
        for (uint32_t i = 0; i < FIXTURE_BACKENDS; i++)
            x->targets[i].http2 = true;
        fixture_request(x, VX_METHOD_POST, "/api");
        fixture_begin(x);
        for (unsigned i = 0; i < 4u + retries; i++)
            fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_REFUSED, x->now_ns);
        assert_int_equal(x->f.response.status, 502);
        for (uint32_t i = 0; i < FIXTURE_BACKENDS; i++)
            assert_int_equal(vx_backend_set_stats(x->made[0].set, i).breaker, VX_BREAKER_CLOSED);
        fixture_free(x);
    }
}

/* The breaker opens with the failures that count; how an attempt ends makes no difference. */
static void test_a_failure_that_others_share_counts_once(void **state) {
    (void)state;
    static const enum vx_error_code codes[] = {VX_ERR_CONNECT_FAILED, VX_ERR_BACKEND_RESET};
    for (unsigned i = 0; i < 8; i++) {
        struct fixture *x = fixture_new();
        bool shares = i & 1, answered = i & 2;
        x->routes[0].breaker.failures = 1;
        x->routes[0].retry_attempts = 0;
        start(x, VX_METHOD_POST);
        fixture_begin(x);
        uint32_t backend = (uint32_t)(fixture_up(x)->target - x->targets);
        fixture_up(x)->shares = shares;
        if (answered) {
            fixture_up(x)->body_waits = true;
            fake_upstream_answer(fixture_up(x), 200, "half", x->now_ns);
        }
        fake_upstream_fail(fixture_up(x), codes[i / 4], x->now_ns);
        assert_int_equal(vx_backend_set_stats(x->made[0].set, backend).breaker,
                         shares ? VX_BREAKER_CLOSED : VX_BREAKER_OPEN);
        assert_int_equal(fixture_active(x), 0);
        fixture_free(x);
    }
}

static void test_free_retries_leave_the_others_what_they_are(void **state) {
    (void)state;
    struct fixture *x = upload(30000);
    x->routes[0].retry_attempts = 1;
    fixture_begin(x);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_REFUSED, x->now_ns);
    fixture_up(x)->up.sent = false;
    fake_upstream_fail(fixture_up(x), VX_ERR_CONNECT_FAILED, x->now_ns);
    assert_int_equal(x->client.count, 3);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

/* Of the three backends, each refuses the request once, and one of them twice. */
static void test_refusals_of_one_request_count_once_against_a_backend(void **state) {
    (void)state;
    struct fixture *x = upload(30000);
    x->routes[0].breaker = (struct vx_config_breaker){.failures = 2, .open_for_ns = UINT64_C(1000000000)};
    x->routes[0].retry_attempts = 1;
    fixture_begin(x);
    for (unsigned i = 0; i < FIXTURE_BACKENDS + 1; i++)
        fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_REFUSED, x->now_ns);
    assert_int_equal(x->client.count, FIXTURE_BACKENDS + 2);
    for (uint32_t i = 0; i < FIXTURE_BACKENDS; i++)
        assert_int_equal(vx_backend_set_stats(x->made[0].set, i).breaker, VX_BREAKER_CLOSED);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

static void test_a_refusal_counts_against_its_backend(void **state) {
    (void)state;
    struct fixture *x = upload(30000);
    x->routes[0].breaker = (struct vx_config_breaker){.failures = 1, .open_for_ns = UINT64_C(1000000000)};
    fixture_begin(x);
    uint32_t refusing = fixture_up(x)->target->pool;
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_REFUSED, x->now_ns);
    assert_int_equal(vx_backend_set_stats(x->made[0].set, refusing).breaker, VX_BREAKER_OPEN);
    assert_int_not_equal(fixture_up(x)->target->pool, refusing);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_idempotent_request_goes_to_other_backends),
        cmocka_unit_test(test_attempts_are_bounded),
        cmocka_unit_test(test_attempts_are_bounded_whatever_is_configured),
        cmocka_unit_test(test_a_post_of_which_bytes_went_is_never_sent_again),
        cmocka_unit_test(test_a_post_of_which_nothing_went_is),
        cmocka_unit_test(test_a_body_that_is_gone_cannot_be_sent_again),
        cmocka_unit_test(test_a_body_that_may_have_been_spliced_is_gone),
        cmocka_unit_test(test_slow_and_senseless_backends_are_not_asked_twice),
        cmocka_unit_test(test_a_stale_connection_costs_no_attempt),
        cmocka_unit_test(test_a_stale_connection_is_forgiven_once),
        cmocka_unit_test(test_a_connection_that_answered_something_was_not_stale),
        cmocka_unit_test(test_after_a_failed_reconnect_other_backends_are_asked),
        cmocka_unit_test(test_what_cannot_be_opened_goes_to_the_next),
        cmocka_unit_test(test_the_budget_bounds_retries_of_what_was_sent),
        cmocka_unit_test(test_a_refused_stream_goes_elsewhere_with_its_body),
        cmocka_unit_test(test_a_body_is_kept_as_far_as_bodies_are_held),
        cmocka_unit_test(test_a_body_that_is_read_is_not_kept),
        cmocka_unit_test(test_a_body_that_waits_for_a_connection_is_not_gone),
        cmocka_unit_test(test_what_was_never_begun_is_sent_again_three_times),
        cmocka_unit_test(test_what_was_never_begun_counts_once_against_its_backend),
        cmocka_unit_test(test_a_failure_that_others_share_counts_once),
        cmocka_unit_test(test_free_retries_leave_the_others_what_they_are),
        cmocka_unit_test(test_refusals_of_one_request_count_once_against_a_backend),
        cmocka_unit_test(test_a_refusal_counts_against_its_backend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
