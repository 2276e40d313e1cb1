/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets which connection: what may be used again, the limit over all workers and its queue, reloads, drains. */
#include <pthread.h>
#include <stdio.h>

#include "proxy/control/pool_table.h"
#include "support/two_workers.h"
#include "unit/proxy/http1/client_test.h"

static void test_a_clean_connection_is_used_again(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct fake_transport *t = call_whole(&w->call, &w->client, &w->b, &w->net);
    assert_false(t->closed);
    assert_ptr_equal(call_whole(&w->call, &w->client, &w->b, &w->net), t);
    assert_int_equal(w->net.count, 1);
    assert_int_equal(atomic_load(&w->b.shared.connections_opened), 1);
    client_end(w);
}

static void test_what_is_not_clean_is_closed(void **state) {
    (void)state;
    static const struct {
        const char *answer;
        bool drink;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", true},
        {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEXTRA", true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok", false}, /* let go in the middle */
        {"HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\n", true},    /* framed where nothing may be */
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client_world *w = client_start();
        call_get(&w->call, &w->client, &w->b);
        fake_connected(fake_dialed(&w->net));
        fake_send(fake_dialed(&w->net), cases[i].answer);
        if (cases[i].drink)
            call_drink(&w->call);
        call_release(&w->call);
        assert_true(fake_dialed(&w->net)->closed);
        client_end(w);
    }
}

/* Such a read leaves open whether more has come; the connection was closed for it. */
static void test_an_answer_that_fills_its_block_is_clean(void **state) {
    (void)state;
    enum { HEAD_BYTES = sizeof "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n" - 1 };
    for (int more = -1; more <= 1; more++) {
        struct client_world *w = client_start();
        size_t room = w->net.rt.blocks->chunk_bytes - sizeof(struct vx_block);
        size_t length = room - HEAD_BYTES;
        char *answer = malloc(room + 2);
        assert_non_null(answer);
        assert_int_equal(snprintf(answer, room, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", length),
                         HEAD_BYTES);
        memset(answer + HEAD_BYTES, 'x', length + 1);
        call_get(&w->call, &w->client, &w->b);
        fake_connected(fake_dialed(&w->net));
        fake_send_bytes(fake_dialed(&w->net), answer, (size_t)((long)room + (more > 0)));
        free(answer);
        call_drink(&w->call);
        if (more < 0)
            fake_fin(fake_dialed(&w->net));
        call_release(&w->call);
        assert_int_equal(fake_dialed(&w->net)->closed, more != 0);
        client_end(w);
    }
}

static void test_an_answer_to_half_a_request_ends_the_connection(void **state) {
    (void)state;
    struct client_world *w = client_start();
    call_post(&w->call, &w->client, &w->b, 10);
    fake_connected(fake_dialed(&w->net));
    fake_send(fake_dialed(&w->net), CALL_OK);
    call_drink(&w->call);
    call_release(&w->call);
    assert_true(fake_dialed(&w->net)->closed);
    client_end(w);
}

static void test_an_idle_connection_that_stirs_is_closed(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct fake_transport *t = call_whole(&w->call, &w->client, &w->b, &w->net);
    fake_send(t, "HTTP/1.1 408 Timeout\r\n\r\n");
    assert_true(t->closed);
    t = call_whole(&w->call, &w->client, &w->b, &w->net);
    fake_fin(t);
    assert_true(t->closed);
    /* The end came in this very round, and its event is still to come. */
    t = call_whole(&w->call, &w->client, &w->b, &w->net);
    t->base.readable = t->base.peer_shut = t->fin = true;
    call_get(&w->call, &w->client, &w->b);
    assert_true(t->closed);
    assert_ptr_not_equal(fake_dialed(&w->net), t);
    client_end(w);
}

static void test_idle_connections_age_out(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct fake_transport *t = call_whole(&w->call, &w->client, &w->b, &w->net);
    fake_net_advance(&w->net, FAKE_S(59));
    assert_false(t->closed);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_true(t->closed);
    w->b.target.max_requests = 2;
    t = call_whole(&w->call, &w->client, &w->b, &w->net);
    assert_false(t->closed);
    call_whole(&w->call, &w->client, &w->b, &w->net);
    assert_true(t->closed);
    w->b.target.max_requests = 0;
    w->b.target.pool_max_age_ns = FAKE_S(30);
    t = call_whole(&w->call, &w->client, &w->b, &w->net);
    fake_net_advance(&w->net, FAKE_S(31));
    assert_ptr_not_equal(call_whole(&w->call, &w->client, &w->b, &w->net), t);
    assert_true(t->closed);
    client_end(w);
}

static void test_no_more_than_max_idle_are_kept(void **state) {
    (void)state;
    struct client_world *w = client_start();
    w->b.target.max_idle = 1;
    call_get(&w->call, &w->client, &w->b);
    struct fake_transport *a = fake_dialed(&w->net);
    call_get(&w->other, &w->client, &w->b);
    struct fake_transport *b = fake_dialed(&w->net);
    fake_connected(a);
    fake_connected(b);
    fake_send(a, CALL_OK);
    fake_send(b, CALL_OK);
    call_drink(&w->call);
    call_drink(&w->other);
    call_release(&w->call);
    call_release(&w->other);
    assert_false(a->closed);
    assert_true(b->closed);
    client_end(w);
}

static void test_fresh_takes_no_idle_connection(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct vx_error error;
    struct fake_transport *t = call_whole(&w->call, &w->client, &w->b, &w->net);
    call_init(&w->call, VX_METHOD_GET, VX_BODY_NONE, 0);
    assert_true(call_open(&w->call, &w->client, &w->b, true, &error));
    assert_ptr_not_equal(fake_dialed(&w->net), t);
    client_end(w);
}

static void test_the_queue_goes_on_when_a_request_is_through(void **state) {
    (void)state;
    struct client_world *w = client_start();
    w->b.target.max_connections = 1;
    call_get(&w->call, &w->client, &w->b);
    call_get(&w->other, &w->client, &w->b);
    struct fake_transport *t = fake_dialed(&w->net);
    assert_int_equal(w->net.count, 1);
    assert_int_equal(atomic_load(&w->b.shared.waiting), 1);
    fake_connected(t);
    fake_received(t);
    fake_send(t, CALL_OK);
    call_drink(&w->call);
    call_release(&w->call);
    assert_string_equal(fake_received(t), CALL_HEAD); /* the next one, at once */
    assert_int_equal(atomic_load(&w->b.shared.waiting), 0);
    fake_send(t, CALL_OK);
    assert_int_equal(w->other.status, 200);
    assert_true(w->other.up->reused);
    client_end(w);
}

static void test_a_queued_body_is_asked_for_when_its_turn_comes(void **state) {
    (void)state;
    struct client_world *w = client_start();
    w->b.target.max_connections = 1;
    call_get(&w->call, &w->client, &w->b);
    call_post(&w->other, &w->client, &w->b, 4);
    struct vx_stream *s = &w->other.up->stream;
    assert_int_equal(s->ops->push(s, VX_SLICE("body")), 0); /* it can still go elsewhere */
    struct fake_transport *t = fake_dialed(&w->net);
    fake_connected(t);
    fake_send(t, CALL_OK);
    call_drink(&w->call);
    call_release(&w->call);
    fake_net_round(&w->net);
    assert_int_equal(w->other.writable, 1);
    assert_int_equal(s->ops->push(s, VX_SLICE("body")), 4);
    client_end(w);
}

static void test_the_queue_has_an_end_and_a_time_limit(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct vx_error error;
    w->b.target.max_connections = 1;
    w->b.target.queue_length = 1;
    call_get(&w->call, &w->client, &w->b);
    fake_connected(fake_dialed(&w->net));
    call_get(&w->other, &w->client, &w->b);
    call_init(&w->third, VX_METHOD_GET, VX_BODY_NONE, 0);
    assert_false(call_open(&w->third, &w->client, &w->b, false, &error));
    assert_int_equal(error.code, VX_ERR_QUEUE_FULL);
    fake_net_advance(&w->net, FAKE_MS(4900));
    assert_int_equal(w->other.failed, 0);
    fake_net_advance(&w->net, FAKE_MS(200));
    assert_int_equal(w->other.failure.code, VX_ERR_QUEUE_TIMEOUT);
    assert_int_equal(atomic_load(&w->b.shared.waiting), 0);
    client_end(w);
}

/* Each that came put off the look at those who waited, so that nobody's time was ever over. */
static void test_those_who_come_do_not_put_off_those_who_wait(void **state) {
    (void)state;
    struct client_world *w = client_start();
    w->b.target.max_connections = 1;
    w->b.target.queue_timeout_ns = FAKE_MS(50);
    call_get(&w->call, &w->client, &w->b);
    call_get(&w->other, &w->client, &w->b);
    for (unsigned i = 0; i < 40; i++) {
        fake_net_advance(&w->net, FAKE_MS(5));
        call_get(&w->third, &w->client, &w->b);
        call_release(&w->third);
    }
    assert_int_equal(w->other.failure.code, VX_ERR_QUEUE_TIMEOUT);
    client_end(w);
}

static void test_a_queued_request_may_be_let_go(void **state) {
    (void)state;
    struct client_world *w = client_start();
    w->b.target.max_connections = 1;
    call_get(&w->call, &w->client, &w->b);
    call_get(&w->other, &w->client, &w->b);
    call_release(&w->other);
    assert_int_equal(atomic_load(&w->b.shared.waiting), 0);
    fake_net_advance(&w->net, FAKE_MS(100));
    client_end(w);
}

static void test_a_closed_connection_gives_its_place_to_the_queue(void **state) {
    (void)state;
    struct client_world *w = client_start();
    w->b.target.max_connections = 1;
    call_get(&w->call, &w->client, &w->b);
    call_get(&w->other, &w->client, &w->b);
    fake_connected(fake_dialed(&w->net));
    call_release(&w->call); /* cut */
    fake_net_advance(&w->net, FAKE_MS(20));
    assert_int_equal(w->net.count, 2);
    fake_connected(fake_dialed(&w->net));
    fake_send(fake_dialed(&w->net), CALL_OK);
    assert_int_equal(w->other.status, 200);
    client_end(w);
}

/* The second of two workers, on the network and clock of the first. */
static struct {
    struct vx_places places;
    struct vx_h1_client client;
    struct client_world *w;
} second;

static void spare(unsigned worker) {
    vx_h1_client_spare(worker ? &second.client : &second.w->client);
}

static struct client_world *start_two(void) {
    struct client_world *w = client_start();
    second.w = w;
    two_start(&w->net, &w->places, &second.places, spare);
    vx_h1_client_init(&second.client, &w->net.rt, &second.places);
    w->b.target.max_connections = 1;
    return w;
}

static void end_two(struct client_world *w) {
    vx_h1_client_destroy(&second.client);
    two_end();
    client_end(w);
}

static void answer(struct client_world *w, struct call *call) {
    fake_send(fake_dialed(&w->net), CALL_OK);
    assert_int_equal(call->status, 200);
    call_drink(call);
    call_release(call);
}

/* Two workers, one place: an idle connection of the first kept it although the second one's request waited. */
static void test_an_idle_worker_gives_up_its_place(void **state) {
    (void)state;
    struct client_world *w = start_two();
    struct fake_transport *t = call_whole(&w->call, &w->client, &w->b, &w->net);
    fake_net_advance(&w->net, FAKE_S(1));
    assert_false(t->closed);
    call_get(&w->other, &second.client, &w->b);
    assert_int_equal(atomic_load(&w->b.shared.waiting), 1);
    assert_int_equal(w->net.count, 1);
    two_deliver();
    assert_true(t->closed);
    two_deliver();
    assert_int_equal(w->net.count, 2);
    fake_connected(fake_dialed(&w->net));
    answer(w, &w->other);
    assert_int_equal(second.places.heard, 1);
    assert_int_equal(second.places.late, 0);
    end_two(w);
}

/* No clock: it was found by looking every 10 ms. */
static void test_who_gives_a_place_up_tells_who_waits(void **state) {
    (void)state;
    struct client_world *w = start_two();
    call_get(&w->call, &w->client, &w->b);
    fake_connected(fake_dialed(&w->net));
    call_get(&w->other, &second.client, &w->b);
    two_deliver();
    assert_int_equal(w->net.count, 1);
    assert_false(two.told[0] || two.told[1]);
    answer(w, &w->call);
    assert_true(two.told[1]);
    assert_int_equal(atomic_load(&w->b.shared.connections), 0);
    /* A newcomer does not overtake who was told. */
    call_get(&w->third, &w->client, &w->b);
    fake_net_round(&w->net);
    assert_int_equal(atomic_load(&w->b.shared.connections), 0);
    two_deliver();
    assert_int_equal(w->net.count, 2);
    assert_int_equal(atomic_load(&w->b.shared.waiting), 1);
    fake_connected(fake_dialed(&w->net));
    answer(w, &w->other);
    two_deliver();
    assert_int_equal(w->net.count, 3);
    fake_connected(fake_dialed(&w->net));
    answer(w, &w->third);
    assert_int_equal(w->client.places->late + second.places.late, 0);
    assert_int_equal(atomic_load(&w->b.shared.waiting_workers[0]), 0);
    end_two(w);
}

/* Who was told of a place and has no use for it any more passes it on. */
static void test_a_place_passes_on_from_who_has_left(void **state) {
    (void)state;
    struct client_world *w = start_two();
    call_get(&w->call, &w->client, &w->b);
    fake_connected(fake_dialed(&w->net));
    call_get(&w->other, &second.client, &w->b);
    two_deliver();
    answer(w, &w->call);
    call_get(&w->third, &w->client, &w->b);
    assert_true(two.told[1]);
    call_release(&w->other);
    assert_true(two.told[0]);
    two_deliver();
    assert_int_equal(w->net.count, 2);
    fake_connected(fake_dialed(&w->net));
    answer(w, &w->third);
    end_two(w);
}

/* A worker whose queue never ends must let the other one have its turn. */
static void test_a_long_queue_does_not_keep_the_only_place(void **state) {
    (void)state;
    struct client_world *w = start_two();
    call_get(&w->call, &w->client, &w->b);
    fake_connected(fake_dialed(&w->net));
    call_get(&w->third, &second.client, &w->b);
    call_get(&w->other, &w->client, &w->b);
    answer(w, &w->call); /* its turn is not over: the connection serves its own queue */
    two_deliver();
    assert_int_equal(w->net.count, 1);
    call_get(&w->call, &w->client, &w->b);
    fake_net_advance(&w->net, FAKE_MS(11));
    answer(w, &w->other);
    assert_true(w->net.all[0]->closed);
    assert_true(two.told[1]);
    two_deliver();
    assert_int_equal(w->net.count, 2);
    fake_connected(fake_dialed(&w->net));
    answer(w, &w->third);
    two_deliver();
    assert_int_equal(w->net.count, 3);
    fake_connected(fake_dialed(&w->net));
    answer(w, &w->call);
    end_two(w);
}

/* A place that it was not told of is found all the same, later. */
static void test_a_worker_that_does_not_hear_looks_again(void **state) {
    (void)state;
    struct client_world *w = start_two();
    call_get(&w->call, &w->client, &w->b);
    fake_connected(fake_dialed(&w->net));
    call_get(&w->other, &second.client, &w->b);
    two_deliver();
    two.deaf = true;
    answer(w, &w->call);
    two_deliver();
    assert_int_equal(w->net.count, 1);
    fake_net_advance(&w->net, FAKE_MS(1100));
    assert_int_equal(w->net.count, 2);
    assert_int_equal(second.places.late, 1);
    fake_connected(fake_dialed(&w->net));
    answer(w, &w->other);
    end_two(w);
}

/* Nor does who waits go without what another worker keeps for nothing because that one did not hear once. */
static void test_a_worker_that_did_not_hear_is_asked_again(void **state) {
    (void)state;
    struct client_world *w = start_two();
    struct fake_transport *idle = call_whole(&w->call, &w->client, &w->b, &w->net);
    call_get(&w->other, &second.client, &w->b);
    assert_true(two.asked[0]);
    two.asked[0] = false;
    fake_net_advance(&w->net, FAKE_MS(1100));
    two_deliver();
    assert_true(idle->closed);
    two_deliver();
    assert_int_equal(w->net.count, 2);
    fake_connected(fake_dialed(&w->net));
    answer(w, &w->other);
    end_two(w);
}

static void test_a_reload_keeps_pools_by_number(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct backend gone;
    uint64_t keep = UINT64_C(1) << 3;
    backend_init(&gone, 5);
    struct fake_transport *kept = call_whole(&w->call, &w->client, &w->b, &w->net);
    struct fake_transport *dropped = call_whole(&w->call, &w->client, &gone, &w->net);
    call_get(&w->other, &w->client, &gone); /* runs on, on the idle connection */
    fake_received(dropped);
    vx_h1_client_retire(&w->client, &keep, 64);
    assert_false(kept->closed);
    assert_false(dropped->closed);
    fake_send(dropped, CALL_OK);
    call_drink(&w->other);
    call_release(&w->other);
    assert_true(dropped->closed); /* its pool means nothing any more */
    assert_ptr_equal(call_whole(&w->call, &w->client, &w->b, &w->net), kept);
    vx_h1_client_retire(&w->client, &keep, 3); /* a count below the number: unknown to the new snapshot */
    assert_true(kept->closed);
    client_end(w);
}

static void test_a_number_that_means_another_backend_inherits_nothing(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct backend other;
    backend_init(&other, w->b.target.pool);
    struct fake_transport *t = call_whole(&w->call, &w->client, &w->b, &w->net);
    call_get(&w->call, &w->client, &other);
    assert_true(t->closed);
    assert_ptr_not_equal(fake_dialed(&w->net), t);
    call_release(&w->call);
    client_end(w);
}

static void test_a_draining_client_keeps_nothing(void **state) {
    (void)state;
    struct client_world *w = client_start();
    w->client.draining = true;
    assert_true(call_whole(&w->call, &w->client, &w->b, &w->net)->closed);
    client_end(w);
}

/* The request leaves at the end of the round: what the connection's time was while it was idle says nothing until then. */
static void test_a_connection_taken_as_its_idle_time_ends(void **state) {
    (void)state;
    struct client_world *w = client_start();
    struct fake_transport *t = call_whole(&w->call, &w->client, &w->b, &w->net);
    fake_net_advance(&w->net, FAKE_S(59));
    struct vx_error error;
    call_init(&w->call, VX_METHOD_GET, VX_BODY_NONE, 0);
    assert_true(call_open(&w->call, &w->client, &w->b, false, &error));
    w->call.up->stream.ops->finish(&w->call.up->stream, NULL);
    w->net.rt.now_ns += FAKE_S(2);
    vx_timer_wheel_run(&w->net.rt.wheel, w->net.rt.now_ns);
    assert_int_equal(w->call.failed, 0);
    fake_net_round(&w->net);
    fake_send(t, CALL_OK);
    assert_int_equal(w->call.status, 200);
    call_drink(&w->call);
    call_release(&w->call);
    client_end(w);
}

static void *retire_all(void *client) {
    vx_h1_client_retire(client, NULL, 0);
    return NULL;
}

/* A worker gives a target's last place up, and looks whether somebody waits for it, while the control thread frees targets
 * that are not in the configuration any more: nothing else keeps this one. */
static void test_a_target_stays_until_its_last_connection_has_looked_who_waits(void **state) {
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        struct client_world *w = client_start();
        struct vx_pool_table table = {0};
        uint32_t index;
        pthread_t worker;
        assert_true(vx_pool_table_take(&table, 1, 0, &index));
        w->b.target.shared = table.entries[index].shared;
        call_whole(&w->call, &w->client, &w->b, &w->net);
        vx_pool_table_give(&table, index);
        assert_int_equal(pthread_create(&worker, NULL, retire_all, &w->client), 0);
        while (table.retired_count)
            vx_pool_table_collect(&table);
        assert_int_equal(pthread_join(worker, NULL), 0);
        vx_pool_table_free(&table);
        client_end(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_clean_connection_is_used_again),
        cmocka_unit_test(test_what_is_not_clean_is_closed),
        cmocka_unit_test(test_an_answer_that_fills_its_block_is_clean),
        cmocka_unit_test(test_an_answer_to_half_a_request_ends_the_connection),
        cmocka_unit_test(test_an_idle_connection_that_stirs_is_closed),
        cmocka_unit_test(test_idle_connections_age_out),
        cmocka_unit_test(test_no_more_than_max_idle_are_kept),
        cmocka_unit_test(test_fresh_takes_no_idle_connection),
        cmocka_unit_test(test_the_queue_goes_on_when_a_request_is_through),
        cmocka_unit_test(test_a_queued_body_is_asked_for_when_its_turn_comes),
        cmocka_unit_test(test_the_queue_has_an_end_and_a_time_limit),
        cmocka_unit_test(test_those_who_come_do_not_put_off_those_who_wait),
        cmocka_unit_test(test_a_queued_request_may_be_let_go),
        cmocka_unit_test(test_a_closed_connection_gives_its_place_to_the_queue),
        cmocka_unit_test(test_an_idle_worker_gives_up_its_place),
        cmocka_unit_test(test_who_gives_a_place_up_tells_who_waits),
        cmocka_unit_test(test_a_place_passes_on_from_who_has_left),
        cmocka_unit_test(test_a_long_queue_does_not_keep_the_only_place),
        cmocka_unit_test(test_a_worker_that_does_not_hear_looks_again),
        cmocka_unit_test(test_a_worker_that_did_not_hear_is_asked_again),
        cmocka_unit_test(test_a_reload_keeps_pools_by_number),
        cmocka_unit_test(test_a_number_that_means_another_backend_inherits_nothing),
        cmocka_unit_test(test_a_draining_client_keeps_nothing),
        cmocka_unit_test(test_a_target_stays_until_its_last_connection_has_looked_who_waits),
        cmocka_unit_test(test_a_connection_taken_as_its_idle_time_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
