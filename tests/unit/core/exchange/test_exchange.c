/* SPDX-License-Identifier: Apache-2.0 */
/* The life of an exchange: the rows of the table in exchange.c, the snapshot it holds, tunnels. */
#include "unit/core/exchange/fixture.h"

static void test_a_request_is_forwarded_and_answered(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api/x");
    fixture_begin(x);
    assert_int_equal(x->users.count, 2); /* the exchange holds its snapshot */
    assert_int_equal(fixture_active(x), 1);
    struct fake_upstream *u = fixture_up(x);
    assert_true(u->finished);
    x->now_ns += 7000000;
    fake_upstream_answer(u, 200, "hello", x->now_ns);
    fake_downstream_check_done(&x->f);
    assert_true(vx_slice_eq(fake_downstream_body(&x->f), VX_SLICE("hello")));
    assert_int_equal(x->record.status, 200);
    assert_int_equal(x->record.attempts, 1);
    assert_int_equal(x->record.error, VX_ERR_NONE);
    assert_int_equal(x->record.backend_ns, 7000000);
    fixture_free(x);
}

static void test_no_route(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/nowhere");
    fixture_begin(x);
    fake_downstream_check_done(&x->f);
    assert_int_equal(x->f.response.status, 404);
    assert_int_equal(x->record.error, VX_ERR_NO_ROUTE);
    assert_int_equal(x->record.attempts, 0);
    assert_string_equal(x->client_ip, "192.0.2.1");
    assert_non_null(strstr(x->f.fields, "application/json"));
    fixture_free(x);
}

static void test_a_redirect(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/old");
    fixture_begin(x);
    assert_int_equal(x->f.response.status, 308);
    assert_non_null(strstr(x->f.fields, "location: https://new.example/\n"));
    assert_int_equal(x->client.count, 0);
    fixture_free(x);
}

static void test_a_reply_waits_for_room(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/nowhere");
    x->f.room = 3;
    fixture_begin(x);
    assert_int_equal(x->f.released, 0);
    fake_downstream_writable(&x->f, SIZE_MAX);
    fake_downstream_check_done(&x->f);
    fixture_free(x);
}

static void test_a_client_that_goes_is_nobodys_fault(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    fixture_begin(x);
    x->f.down.stream.error = vx_error(VX_ERR_CLIENT_GONE, false, NULL);
    x->f.down.stream.events->on_failed(x->f.down.stream.user, x->now_ns);
    assert_int_equal(x->record.error, VX_ERR_CLIENT_GONE);
    assert_int_equal(x->record.status, 0);
    assert_int_equal(vx_backend_set_stats(x->made[0].set, x->client.ups[0].target->pool).breaker, 0);
    fixture_free(x);
}

static void test_a_backend_that_breaks_its_body_cuts_the_response(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    fixture_begin(x);
    struct fake_upstream *u = fixture_up(x);
    u->body_broken = true;
    fake_upstream_answer(u, 200, "part", x->now_ns);
    assert_true(x->f.responded);
    assert_false(x->f.finished); /* never made to look whole */
    assert_int_equal(x->f.released, 1);
    assert_int_equal(x->record.error, VX_ERR_BACKEND_RESET);
    assert_int_equal(x->record.status, 200);
    assert_int_equal(x->client.count, 1);
    fixture_free(x);
}

static void test_interim_heads_pass_but_an_unasked_100_does_not(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    fixture_begin(x);
    fake_upstream_answer(fixture_up(x), 100, "", x->now_ns);
    fake_upstream_answer(fixture_up(x), 103, "", x->now_ns);
    assert_int_equal(x->f.interim_count, 1);
    assert_int_equal(x->f.interims[0], 103);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    assert_int_equal(x->f.response.status, 200);
    fixture_free(x);
}

static void test_a_100_that_was_asked_for_passes(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_POST, "/api");
    fake_downstream_add_body(&x->f, VX_SLICE("body"));
    x->f.request.expects_continue = true;
    fixture_begin(x);
    fake_upstream_answer(fixture_up(x), 100, "", x->now_ns);
    assert_int_equal(x->f.interims[0], 100);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fixture_free(x);
}

/* Its latency was taken for the time since the machine was started. */
static void test_an_answer_before_the_question_says_nothing_of_latency(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    x->client.unsent = true;
    fixture_request(x, VX_METHOD_GET, "/api");
    fixture_begin(x);
    uint32_t index = fixture_up(x)->target->pool;
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    assert_int_equal(x->record.backend_ns, 0);
    assert_true(vx_backend_set_stats(x->made[0].set, index).ewma_us == 0);
    fixture_free(x);
}

static void ask_for_upgrade(struct fixture *x, const char *protocol) {
    fixture_request(x, VX_METHOD_GET, "/api/ws");
    fake_downstream_add_field(&x->f, "Connection", "upgrade");
    fake_downstream_add_field(&x->f, "Upgrade", protocol);
    x->f.request.upgrade = true;
}

static void test_a_tunnel_lets_go_of_its_snapshot(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    ask_for_upgrade(x, "websocket");
    fake_downstream_add_body(&x->f, VX_SLICE("up"));
    x->f.request.framing = VX_BODY_NONE;
    x->f.body_waits = true;
    fixture_begin(x);
    struct fake_upstream *u = fixture_up(x);
    u->finished = false; /* the request itself had no body */
    u->body_waits = true;
    fake_upstream_add_field(u, "Upgrade", "websocket");
    fake_upstream_answer(u, 101, "down", x->now_ns);
    assert_int_equal(x->begun, 1); /* counted when it begins */
    assert_int_equal(x->records, 0);
    assert_int_equal(x->users.count, 1);
    assert_int_equal(fixture_active(x), 1);
    assert_true(vx_slice_eq(fake_downstream_body(&x->f), VX_SLICE("down")));
    assert_memory_equal(u->body, "up", 2);
    /* The client closes its half; the other one goes on. */
    x->f.body_waits = false;
    x->f.down.stream.events->on_readable(x->f.down.stream.user, x->now_ns);
    assert_true(u->finished);
    assert_int_equal(x->f.released, 0);
    u->body_waits = false;
    fake_upstream_readable(u, "last", x->now_ns);
    assert_true(x->f.finished);
    assert_true(x->record.tunnel);
    assert_int_equal(x->record.status, 101);
    assert_string_equal(x->backend, u->target->name.ptr);
    fixture_free(x);
}

/* The exchange lies in the arena of a downstream that the first pull of the tunnel has let go of. */
static void test_a_tunnel_whose_client_is_gone_already(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    ask_for_upgrade(x, "websocket");
    x->f.body_waits = true;
    fixture_begin(x);
    struct fake_upstream *u = fixture_up(x);
    x->f.body_broken = true;
    u->body_waits = true;
    fake_upstream_add_field(u, "Upgrade", "websocket");
    fake_upstream_answer(u, 101, "", x->now_ns);
    assert_int_equal(x->record.error, VX_ERR_CLIENT_GONE);
    fixture_free(x);
}

static void test_a_101_to_h2c_is_no_tunnel(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    ask_for_upgrade(x, "websocket");
    fixture_begin(x);
    fake_upstream_add_field(fixture_up(x), "Upgrade", "h2c");
    fake_upstream_answer(fixture_up(x), 101, "", x->now_ns);
    assert_int_equal(x->f.response.status, 502);
    assert_int_equal(x->begun, 0);
    assert_int_equal(x->record.error, VX_ERR_BAD_RESPONSE);
    fixture_free(x);
}

static void test_an_exchange_keeps_the_snapshot_it_began_with(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    fixture_begin(x);
    struct vx_snapshot_users users;
    struct vx_snapshot next = x->snapshot;
    vx_snapshot_begin(&next, &users, 1);
    vx_proxy_adopt(&x->proxy, &next);
    assert_int_equal(users.count, 2);
    assert_int_equal(x->users.count, 1);
    assert_int_equal(x->unused, 0);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    assert_int_equal(x->unused, 1); /* the last user of a superseded snapshot tells */
    assert_int_equal(x->proxy.active, 0);
    x->unused = 0;
    vx_snapshot_begin(&x->snapshot, &x->users, 1);
    vx_proxy_adopt(&x->proxy, &x->snapshot);
    vx_snapshot_drop(&x->snapshot, 0);
    fixture_free(x);
}

static void test_a_refused_request_is_recorded(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    struct vx_request request = {.method = VX_METHOD_OTHER};
    struct vx_client_info client = {.remote_text = VX_SLICE("192.0.2.9")};
    struct vx_refusal refusal = {
        .client = &client,
        .request = &request,
        .error = vx_error(VX_ERR_BAD_REQUEST, false, "detail"),
        .started_ns = 1,
        .response_bytes = 77,
    };
    x->proxy.handler.refused(&x->proxy.handler, &refusal, 2);
    assert_int_equal(x->records, 1);
    assert_int_equal(x->record.status, 400);
    assert_int_equal(x->record.response_bytes, 77);
    assert_string_equal(x->client_ip, "192.0.2.9");
    x->records = 0;
    fixture_request(x, VX_METHOD_GET, "/nowhere");
    fixture_begin(x);
    fixture_free(x);
}

static void test_no_memory_for_an_exchange_is_recorded(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    x->f.out_of_memory = true;
    x->f.down.stream.events = NULL;
    x->proxy.handler.begin(&x->proxy.handler, &x->f.down, x->now_ns);
    assert_int_equal(x->f.released, 1); /* not even the exchange found room */
    assert_int_equal(x->users.count, 1);
    assert_int_equal(x->proxy.active, 0);
    assert_int_equal(x->records, 1);
    assert_int_equal(x->record.error, VX_ERR_OUT_OF_MEMORY);
    assert_int_equal(x->record.status, 0);
    fixture_free(x);
}

/* As an HTTP/1 client does that leaves with its last byte, before the backend's empty last frame of HTTP/2. */
static void test_a_client_that_leaves_with_all_of_the_answer_is_served(void **state) {
    (void)state;
    for (unsigned whole = 0; whole < 2; whole++) {
        struct fixture *x = fixture_new();
        fixture_start(x);
        fixture_request(x, VX_METHOD_GET, "/api");
        fixture_begin(x);
        fixture_up(x)->body_waits = true;
        fake_upstream_answer(fixture_up(x), 200, "all of it", x->now_ns);
        x->f.down.whole = whole;
        x->f.down.stream.error = vx_error(VX_ERR_CLIENT_GONE, false, NULL);
        x->f.down.stream.events->on_failed(x->f.down.stream.user, x->now_ns);
        assert_int_equal(x->record.error, whole ? VX_ERR_NONE : VX_ERR_CLIENT_GONE);
        assert_int_equal(x->record.status, 200);
        fixture_free(x);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_client_that_leaves_with_all_of_the_answer_is_served),
        cmocka_unit_test(test_a_request_is_forwarded_and_answered),
        cmocka_unit_test(test_no_route),
        cmocka_unit_test(test_a_redirect),
        cmocka_unit_test(test_a_reply_waits_for_room),
        cmocka_unit_test(test_a_client_that_goes_is_nobodys_fault),
        cmocka_unit_test(test_a_backend_that_breaks_its_body_cuts_the_response),
        cmocka_unit_test(test_interim_heads_pass_but_an_unasked_100_does_not),
        cmocka_unit_test(test_a_100_that_was_asked_for_passes),
        cmocka_unit_test(test_an_answer_before_the_question_says_nothing_of_latency),
        cmocka_unit_test(test_a_tunnel_lets_go_of_its_snapshot),
        cmocka_unit_test(test_a_tunnel_whose_client_is_gone_already),
        cmocka_unit_test(test_a_101_to_h2c_is_no_tunnel),
        cmocka_unit_test(test_an_exchange_keeps_the_snapshot_it_began_with),
        cmocka_unit_test(test_a_refused_request_is_recorded),
        cmocka_unit_test(test_no_memory_for_an_exchange_is_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
