/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies: backpressure is not pulling, turns are shared, and a body whose model is wanted is gathered within bounds. */
#include "unit/core/exchange/fixture.h"

static struct vx_slice models[] = {{"gpt", 3}, {"opus", 4}};

static struct fixture *with_models(void) {
    struct fixture *x = fixture_new();
    x->backends[0].ai_models = &models[0];
    x->backends[1].ai_models = &models[1];
    x->backends[0].ai_model_count = x->backends[1].ai_model_count = 1;
    fixture_start(x);
    return x;
}

static void test_a_slow_backend_stops_the_client(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_POST, "/api");
    fake_downstream_add_body(&x->f, VX_SLICE("0123456789"));
    fake_downstream_add_body(&x->f, VX_SLICE("abc"));
    x->client.room = 4;
    fixture_begin(x);
    struct fake_upstream *u = fixture_up(x);
    assert_int_equal(x->f.consumed, 4); /* no more than was taken */
    assert_true(u->flushes > 0);
    fake_upstream_writable(u, SIZE_MAX, x->now_ns);
    assert_int_equal(x->f.consumed, 13);
    assert_true(u->finished);
    assert_memory_equal(u->body, "0123456789abc", 13);
    fake_upstream_answer(u, 200, "", x->now_ns);
    assert_int_equal(x->record.request_bytes, 13);
    fixture_free(x);
}

static void test_a_slow_client_stops_the_backend(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    x->f.room = 4;
    fixture_begin(x);
    struct fake_upstream *u = fixture_up(x);
    fake_upstream_answer(u, 200, "0123456789", x->now_ns);
    assert_int_equal(u->rest.len, 6);
    assert_true(x->f.flushed);
    fake_downstream_writable(&x->f, SIZE_MAX);
    fake_downstream_check_done(&x->f);
    fixture_free(x);
}

/* What a source knows of its end, the sink hears before the last bytes. */
static void test_the_end_is_told_with_the_last_bytes(void **state) {
    (void)state;
    for (unsigned whole = 0; whole < 2; whole++) {
        struct fixture *x = fixture_new();
        fixture_start(x);
        fixture_request(x, VX_METHOD_POST, "/api");
        fake_downstream_add_body(&x->f, VX_SLICE("request"));
        x->f.down.stream.whole = whole;
        fixture_begin(x);
        struct fake_upstream *u = fixture_up(x);
        assert_int_equal(u->up.stream.ending, whole);
        u->up.stream.whole = whole;
        fake_upstream_answer(u, 200, "answer", x->now_ns);
        assert_int_equal(x->f.down.stream.ending, whole);
        fake_downstream_check_done(&x->f);
        fixture_free(x);
    }
}

static void test_others_get_their_turn(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    fixture_begin(x);
    struct fake_upstream *u = fixture_up(x);
    u->step = 1;
    fake_upstream_answer(u, 200, "0123456789012345678901234567890123456789", x->now_ns);
    assert_int_equal(x->f.body_len, 32);
    assert_int_equal(u->again, 1);
    assert_true(x->f.flushed);
    u->up.stream.events->on_readable(u->up.stream.user, x->now_ns);
    assert_int_equal(x->f.body_len, 40);
    fake_downstream_check_done(&x->f);
    fixture_free(x);
}

static void test_an_early_answer_ends_the_exchange(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_POST, "/api");
    fake_downstream_add_body(&x->f, VX_SLICE("first"));
    x->f.request.body_bytes = 1000;
    x->f.body_waits = true;
    fixture_begin(x);
    fake_upstream_answer(fixture_up(x), 413, "no", x->now_ns);
    fake_downstream_check_done(&x->f);
    assert_false(fixture_up(x)->finished);
    fixture_free(x);
}

static void test_a_client_whose_body_breaks_cuts_the_request(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_POST, "/api");
    fake_downstream_add_body(&x->f, VX_SLICE("first"));
    x->f.body_broken = true;
    fixture_begin(x);
    assert_false(fixture_up(x)->finished);
    assert_int_equal(x->record.error, VX_ERR_CLIENT_GONE);
    fixture_free(x);
}

static void test_request_trailers_pass(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_POST, "/api");
    fake_downstream_add_body(&x->f, VX_SLICE("x"));
    struct vx_header item = {.name = "x-sum", .name_len = 5, .value = "1", .value_len = 1};
    x->f.trailers = (struct vx_headers){.items = &item, .count = 1, .capacity = 1};
    fixture_begin(x);
    assert_true(fixture_up(x)->trailers_sent);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

static void ask(struct fixture *x, const char *type, const char *body) {
    fixture_request(x, VX_METHOD_POST, "/api/chat");
    fake_downstream_add_field(&x->f, "Content-Type", type);
    fake_downstream_add_body(&x->f, vx_slice_of(body));
}

static void test_the_model_in_the_body_picks_the_backend(void **state) {
    (void)state;
    struct fixture *x = with_models();
    ask(x, "application/json; charset=utf-8", "{\"model\":\"opus\"}");
    fixture_begin(x);
    assert_ptr_equal(fixture_up(x)->target, &x->targets[1]);
    assert_memory_equal(fixture_up(x)->body, "{\"model\":\"opus\"}", 16);
    assert_true(fixture_up(x)->finished);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    assert_int_equal(x->record.request_bytes, 16);
    fixture_free(x);
}

static void test_the_model_in_the_head_needs_no_gathering(void **state) {
    (void)state;
    struct fixture *x = with_models();
    ask(x, "application/json", "{\"model\":\"opus\"}");
    fake_downstream_add_field(&x->f, "X-AI-Model", "gpt");
    fixture_begin(x);
    assert_ptr_equal(fixture_up(x)->target, &x->targets[0]);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

static void test_a_model_that_nobody_has(void **state) {
    (void)state;
    struct fixture *x = with_models();
    ask(x, "application/vnd.x+json", "{\"model\":\"nobody\"}");
    fixture_begin(x);
    assert_int_equal(x->f.response.status, 404);
    assert_int_equal(x->record.error, VX_ERR_NO_MODEL);
    fixture_free(x);
}

static void test_a_body_without_model_goes_anywhere(void **state) {
    (void)state;
    static const char *const bodies[] = {"{\"a\":1}", "not json", ""};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *x = with_models();
        ask(x, "application/json", bodies[i]);
        if (!bodies[i][0])
            x->f.piece_count = 0;
        fixture_begin(x);
        assert_int_equal(x->client.count, 1);
        fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
        fixture_free(x);
    }
}

static void test_a_gathered_body_can_be_sent_again(void **state) {
    (void)state;
    struct fixture *x = with_models();
    ask(x, "application/json", "{\"a\":1}");
    x->f.request.method = VX_METHOD_PUT;
    fixture_begin(x);
    assert_int_equal(fixture_up(x)->body_len, 7);
    fake_upstream_fail(fixture_up(x), VX_ERR_BACKEND_RESET, x->now_ns);
    assert_int_equal(x->client.count, 2);
    assert_int_equal(fixture_up(x)->body_len, 7);
    assert_true(fixture_up(x)->finished);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

static void test_a_gathered_body_waits_for_room(void **state) {
    (void)state;
    struct fixture *x = with_models();
    ask(x, "application/json", "{\"a\":1}");
    x->client.room = 3;
    fixture_begin(x);
    assert_false(fixture_up(x)->finished);
    fake_upstream_writable(fixture_up(x), SIZE_MAX, x->now_ns);
    assert_true(fixture_up(x)->finished);
    assert_memory_equal(fixture_up(x)->body, "{\"a\":1}", 7);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

static void test_gathering_is_bounded(void **state) {
    (void)state;
    static char big[1001];
    memset(big, ' ', sizeof big);
    for (unsigned chunked = 0; chunked < 2; chunked++) {
        struct fixture *x = with_models();
        fixture_request(x, VX_METHOD_POST, "/api");
        fake_downstream_add_field(&x->f, "Content-Type", "application/json");
        fake_downstream_add_body(&x->f, vx_slice(big, 600));
        fake_downstream_add_body(&x->f, vx_slice(big, 401));
        if (chunked)
            x->f.request.framing = VX_BODY_CHUNKED;
        fixture_begin(x);
        assert_int_equal(x->f.response.status, 413);
        assert_int_equal(x->client.count, 0);
        assert_int_equal(x->f.consumed, chunked ? 600 : 0);
        fixture_free(x);
    }
}

static void test_a_chunked_body_is_gathered_piece_by_piece(void **state) {
    (void)state;
    struct fixture *x = with_models();
    ask(x, "application/json", "{\"model\":");
    x->f.request.framing = VX_BODY_CHUNKED;
    x->f.body_waits = true;
    fixture_begin(x);
    assert_int_equal(x->client.count, 0);
    fake_downstream_add_body(&x->f, VX_SLICE("\"gpt\"}"));
    x->f.request.framing = VX_BODY_CHUNKED;
    x->f.body_waits = false;
    x->f.down.stream.events->on_readable(x->f.down.stream.user, x->now_ns);
    assert_ptr_equal(fixture_up(x)->target, &x->targets[0]);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

static void test_a_client_that_waits_for_leave_gets_it_once(void **state) {
    (void)state;
    struct fixture *x = with_models();
    ask(x, "application/json", "{\"a\":1}");
    fake_downstream_add_field(&x->f, "Expect", "100-continue");
    x->f.request.expects_continue = true;
    fixture_begin(x);
    assert_int_equal(x->f.interim_count, 1);
    assert_null(strstr(fixture_up(x)->fields, "Expect"));
    fake_upstream_answer(fixture_up(x), 100, "", x->now_ns);
    assert_int_equal(x->f.interim_count, 1);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slow_backend_stops_the_client),
        cmocka_unit_test(test_a_slow_client_stops_the_backend),
        cmocka_unit_test(test_the_end_is_told_with_the_last_bytes),
        cmocka_unit_test(test_others_get_their_turn),
        cmocka_unit_test(test_an_early_answer_ends_the_exchange),
        cmocka_unit_test(test_a_client_whose_body_breaks_cuts_the_request),
        cmocka_unit_test(test_request_trailers_pass),
        cmocka_unit_test(test_the_model_in_the_body_picks_the_backend),
        cmocka_unit_test(test_the_model_in_the_head_needs_no_gathering),
        cmocka_unit_test(test_a_model_that_nobody_has),
        cmocka_unit_test(test_a_body_without_model_goes_anywhere),
        cmocka_unit_test(test_a_gathered_body_can_be_sent_again),
        cmocka_unit_test(test_a_gathered_body_waits_for_room),
        cmocka_unit_test(test_gathering_is_bounded),
        cmocka_unit_test(test_a_chunked_body_is_gathered_piece_by_piece),
        cmocka_unit_test(test_a_client_that_waits_for_leave_gets_it_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
