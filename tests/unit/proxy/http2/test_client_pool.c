/* SPDX-License-Identifier: Apache-2.0 */
/* Which request goes on which connection, and what waits for what. */
#include "unit/proxy/http2/client_test.h"

static void requests_share_a_connection(void **state) {
    (void)state;
    struct world *w = world_start();
    for (unsigned i = 0; i < 6; i++)
        call_get(w, i);
    assert_int_equal(w->net.count, 1);
    struct peer *p = peer_connected(w, 0, false);
    fake_net_round(&w->net);
    peer_run(w, p);
    assert_int_equal(p->streams, 6);
    assert_int_equal(atomic_load(&w->shared.connections), 1);
    assert_int_equal(atomic_load(&w->shared.connections_opened), 1);
    world_end(w);
}

/* Which is there for those whom max_connections leaves none. */
static void who_waits_for_a_connection_is_not_in_the_queue(void **state) {
    (void)state;
    struct world *w = world_start();
    w->target.max_connections = 1;
    w->target.queue_length = 0;
    call_get(w, 0);
    call_get(w, 1);
    struct peer *p = peer_connected(w, 0, false);
    fake_net_round(&w->net);
    call_get(w, 2); /* it stands, and its backend has not said a word yet */
    assert_int_equal(atomic_load(&w->shared.waiting), 0);
    peer_run(w, p);
    assert_int_equal(p->streams, 3);
    world_end(w);
}

/* Those who waited for a connection that has less room than was thought came first. */
static void the_queue_keeps_its_length_when_a_connection_has_less_room(void **state) {
    (void)state;
    struct world *w = world_start();
    w->target.max_connections = 1;
    for (unsigned i = 0; i < 6; i++)
        call_get(w, i);
    struct peer *p = peer_connected(w, 1, false);
    peer_run(w, p);
    assert_int_equal(p->streams, 1);
    assert_int_equal(atomic_load(&w->shared.waiting), 2);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(w->calls[i].failed, i > 2);
    assert_int_equal(w->calls[5].failure.code, VX_ERR_QUEUE_FULL);
    assert_true(w->calls[5].failure.retryable);
    peer_answer(w, p, 1, "200", "x");
    call_release(&w->calls[0]);
    peer_run(w, p);
    assert_int_equal(p->streams, 2);
    world_end(w);
}

static void as_many_wait_as_the_last_connection_had_room_for(void **state) {
    (void)state;
    struct world *w = world_start();
    call_get(w, 0);
    struct peer *p = peer_connected(w, 2, false);
    peer_run(w, p);
    for (unsigned i = 1; i < 6; i++)
        call_get(w, i);
    assert_int_equal(w->net.count, 3); /* one stream on the first one, two and two that wait */
    world_end(w);
}

static void a_full_connection_gets_a_second_one(void **state) {
    (void)state;
    struct world *w = world_start();
    call_get(w, 0);
    struct peer *p = peer_connected(w, 2, false);
    peer_run(w, p);
    call_get(w, 1);
    call_get(w, 2);
    assert_int_equal(w->net.count, 2);
    struct peer *second = peer_connected(w, 2, false);
    peer_run(w, second);
    peer_run(w, p);
    assert_int_equal(p->streams, 2);
    assert_int_equal(second->streams, 1);
    world_end(w);
}

static void the_limit_of_connections_makes_requests_wait(void **state) {
    (void)state;
    struct world *w = world_start();
    struct vx_error error;
    w->target.max_connections = 1;
    struct call *first = call_get(w, 0);
    struct peer *p = peer_connected(w, 1, false);
    peer_run(w, p);
    struct call *second = call_get(w, 1);
    call_get(w, 2);
    assert_int_equal(atomic_load(&w->shared.waiting), 2);
    call_init(&w->calls[3], VX_METHOD_GET, VX_BODY_NONE, 0);
    assert_false(call_open(w, &w->calls[3], false, &error));
    assert_int_equal(error.code, VX_ERR_QUEUE_FULL);
    peer_answer(w, p, 1, "200", "x");
    call_drink(first);
    call_release(first);
    peer_run(w, p);
    assert_int_equal(p->streams, 2);
    peer_answer(w, p, 3, "200", "x");
    assert_int_equal(second->status, 200);
    fake_net_advance(&w->net, FAKE_S(6)); /* nobody lets go for the third */
    assert_int_equal(w->calls[2].failure.code, VX_ERR_QUEUE_TIMEOUT);
    assert_int_equal(w->net.count, 1);
    world_end(w);
}

static void a_backend_that_takes_no_streams_gets_no_crowd(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 1, false);
    nghttp2_settings_entry none = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0};
    peer_run(w, p);
    assert_int_equal(nghttp2_submit_settings(p->ng, 0, &none, 1), 0);
    peer_run(w, p);
    call_get(w, 1);
    call_get(w, 2);
    assert_int_equal(w->net.count, 1);
    assert_int_equal(c->failed, 0);
    fake_net_advance(&w->net, FAKE_S(6));
    assert_int_equal(w->calls[1].failure.code, VX_ERR_QUEUE_TIMEOUT);
    world_end(w);
}

static void a_fresh_connection_where_the_old_one_was_stale(void **state) {
    (void)state;
    struct world *w = world_start();
    struct vx_error error;
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    peer_answer(w, p, 1, "200", "x");
    call_drink(c);
    call_release(c);
    peer_run(w, p);
    fake_net_advance(&w->net, FAKE_S(2));
    call_init(&w->calls[1], VX_METHOD_GET, VX_BODY_NONE, 0);
    assert_true(call_open(w, &w->calls[1], true, &error));
    assert_int_equal(w->net.count, 2);
    world_end(w);
}

static void a_snapshot_without_the_target_ends_its_connections(void **state) {
    (void)state;
    struct world *w = world_start();
    uint64_t keep = 0;
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    vx_h2_client_retire(&w->client, &keep, 64);
    peer_run(w, p);
    assert_int_equal(p->goaways, 0);
    peer_answer(w, p, 1, "200", "x"); /* what runs is served to its end */
    assert_int_equal(c->status, 200);
    call_drink(c);
    call_release(c);
    peer_run(w, p);
    assert_int_equal(p->goaways, 1);
    assert_int_equal(atomic_load(&w->shared.connections), 0);
    world_end(w);
}

static void an_old_connection_is_not_used_again(void **state) {
    (void)state;
    struct world *w = world_start();
    w->target.pool_max_age_ns = FAKE_S(3);
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    for (unsigned i = 0; i < 2; i++) {
        peer_run(w, p);
        peer_answer(w, p, 1 + 2 * (int32_t)i, "200", "x");
        call_drink(c);
        call_release(c);
        fake_net_advance(&w->net, FAKE_S(2) - FAKE_S(i));
        c = call_get(w, i + 1);
        assert_int_equal(w->net.count, i + 1);
    }
    peer_run(w, p);
    assert_int_equal(p->goaways, 1);
    world_end(w);
}

static void a_drain_keeps_nothing(void **state) {
    (void)state;
    struct world *w = world_start();
    struct call *c = call_get(w, 0);
    struct peer *p = peer_connected(w, 0, false);
    peer_run(w, p);
    vx_h2_client_drain(&w->client);
    peer_answer(w, p, 1, "200", "x");
    call_drink(c);
    call_release(c);
    peer_run(w, p);
    assert_int_equal(p->goaways, 1);
    world_end(w);
}

/* A connection that has all the requests it may have ends as it opens: who waited for it too goes on elsewhere. */
static void more_wait_than_a_connection_may_have(void **state) {
    (void)state;
    struct world *w = world_start();
    w->target.max_requests = 2;
    for (unsigned i = 0; i < 5; i++)
        call_get(w, i);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(w->net.count, i + 1);
        struct peer *p = peer_connected(w, 0, false);
        peer_run(w, p);
        assert_int_equal(p->streams, i < 2 ? 2 : 1);
    }
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_share_a_connection),
        cmocka_unit_test(who_waits_for_a_connection_is_not_in_the_queue),
        cmocka_unit_test(the_queue_keeps_its_length_when_a_connection_has_less_room),
        cmocka_unit_test(as_many_wait_as_the_last_connection_had_room_for),
        cmocka_unit_test(a_full_connection_gets_a_second_one),
        cmocka_unit_test(the_limit_of_connections_makes_requests_wait),
        cmocka_unit_test(a_backend_that_takes_no_streams_gets_no_crowd),
        cmocka_unit_test(a_fresh_connection_where_the_old_one_was_stale),
        cmocka_unit_test(a_snapshot_without_the_target_ends_its_connections),
        cmocka_unit_test(an_old_connection_is_not_used_again),
        cmocka_unit_test(a_drain_keeps_nothing),
        cmocka_unit_test(more_wait_than_a_connection_may_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
