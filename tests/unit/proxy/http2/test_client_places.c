/* SPDX-License-Identifier: Apache-2.0 */
/* Two workers that share the places among max_connections. No clock runs where a test does not let it. */
#include "support/two_workers.h"
#include "unit/proxy/http2/client_test.h"

/* The second worker, on the network and clock of the first. */
static struct {
    struct vx_places places;
    struct vx_h2_client client;
    struct world *w;
} second;

static void spare(unsigned worker) {
    vx_h2_client_spare(worker ? &second.client : &second.w->client);
}

static struct world *start_two(uint32_t max_connections) {
    struct world *w = world_start();
    second.w = w;
    two_start(&w->net, &w->places, &second.places, spare);
    vx_h2_client_init(&second.client, &w->net.rt, &second.places);
    w->target.max_connections = max_connections;
    return w;
}

static void end_two(struct world *w) {
    for (unsigned i = 0; i < CALLS; i++)
        if (w->calls[i].up)
            call_release(&w->calls[i]);
    vx_h2_client_destroy(&second.client);
    assert_int_equal(second.client.connection_count, 0);
    two_end();
    world_end(w);
}

/* The connection dialed last stands, with a backend that lets it have so many streams. */
static struct peer *stands(struct world *w, uint32_t streams) {
    struct peer *p = peer_connected(w, streams, false);
    peer_run(w, p);
    return p;
}

static void answer(struct world *w, struct peer *p, unsigned number) {
    peer_answer(w, p, p->last, "200", "x");
    assert_int_equal(w->calls[number].status, 200);
    call_drink(&w->calls[number]);
    call_release(&w->calls[number]);
    peer_run(w, p);
}

/* The first worker's call 0 has the place, and its backend's end is returned; call 1 waits for it on the second. */
static struct peer *second_waits(struct world *w) {
    call_get(w, 0);
    struct peer *p = stands(w, 0);
    call_get_on(w, &second.client, 1);
    two_deliver();
    return p;
}

static void an_idle_worker_gives_up_its_place(void **state) {
    (void)state;
    struct world *w = start_two(1);
    call_get(w, 0);
    struct peer *p = stands(w, 0);
    answer(w, p, 0);
    assert_int_equal(p->goaways, 0);
    call_get_on(w, &second.client, 1);
    assert_int_equal(atomic_load(&w->shared.waiting), 1);
    fake_net_round(&w->net); /* who is the first to wait looks once more */
    two_deliver();           /* the first one is asked */
    peer_run(w, p);
    assert_int_equal(p->goaways, 1);
    assert_int_equal(w->net.count, 1);
    two_deliver(); /* the second one is told */
    assert_int_equal(w->net.count, 2);
    answer(w, stands(w, 0), 1);
    assert_int_equal(w->places.told, 1);
    assert_int_equal(second.places.heard, 1);
    assert_int_equal(second.places.late, 0);
    end_two(w);
}

/* Its last requests may be from before there was a limit. */
static void an_idle_worker_learns_of_a_limit_from_who_waits(void **state) {
    (void)state;
    struct world *w = start_two(0);
    call_get(w, 0);
    struct peer *p = stands(w, 0);
    answer(w, p, 0);
    w->target.max_connections = 1;
    call_get_on(w, &second.client, 1);
    two_deliver();
    peer_run(w, p);
    assert_int_equal(p->goaways, 1);
    two_deliver();
    assert_int_equal(w->net.count, 2);
    answer(w, stands(w, 0), 1);
    end_two(w);
}

static void who_gives_a_place_up_tells_who_waits(void **state) {
    (void)state;
    struct world *w = start_two(1);
    struct peer *p = second_waits(w);
    assert_false(two.told[0] || two.told[1]);
    answer(w, p, 0);
    assert_true(two.told[1]);
    assert_int_equal(atomic_load(&w->shared.connections), 0);
    call_get(w, 2); /* a newcomer does not overtake who was told */
    fake_net_round(&w->net);
    assert_int_equal(atomic_load(&w->shared.connections), 0);
    two_deliver();
    assert_int_equal(w->net.count, 2);
    assert_int_equal(atomic_load(&w->shared.waiting), 1);
    answer(w, stands(w, 0), 1);
    two_deliver();
    assert_int_equal(w->net.count, 3);
    answer(w, stands(w, 0), 2);
    assert_int_equal(w->places.late + second.places.late, 0);
    assert_int_equal(atomic_load(&w->shared.waiting_workers[0]), 0);
    end_two(w);
}

/* Who was told of a place and has no use for it any more passes it on. */
static void a_place_passes_on_from_who_has_left(void **state) {
    (void)state;
    struct world *w = start_two(1);
    struct peer *p = second_waits(w);
    answer(w, p, 0);
    call_get(w, 2);
    assert_true(two.told[1]);
    call_release(&w->calls[1]);
    assert_true(two.told[0]);
    two_deliver();
    assert_int_equal(w->net.count, 2);
    answer(w, stands(w, 0), 2);
    end_two(w);
}

/* A connection that always has streams: it takes no more when the turn is over, and the place goes to the other worker,
 * though the own one has requests waiting by then. */
static void a_used_connection_is_given_up_at_the_end_of_the_turn(void **state) {
    (void)state;
    struct world *w = start_two(1);
    struct peer *p = second_waits(w);
    call_get(w, 2);
    peer_run(w, p);
    assert_int_equal(p->streams, 2);
    answer(w, p, 2); /* the turn is not over */
    fake_net_advance(&w->net, FAKE_MS(12));
    call_get(w, 3);
    peer_run(w, p);
    assert_int_equal(p->streams, 2);
    assert_int_equal(atomic_load(&w->shared.waiting), 2);
    p->last = 1;
    answer(w, p, 0);
    assert_true(two.told[1]);
    assert_int_equal(w->net.count, 1);
    two_deliver();
    assert_int_equal(w->net.count, 2);
    answer(w, stands(w, 0), 1);
    two_deliver();
    answer(w, stands(w, 0), 3);
    assert_int_equal(w->places.late + second.places.late, 0);
    end_two(w);
}

/* Who asks while the connection is being set up asks in vain, and is not forgotten. */
static void the_turn_begins_when_a_connection_opens(void **state) {
    (void)state;
    struct world *w = start_two(1);
    struct peer *p = second_waits(w);
    answer(w, p, 0);
    call_get(w, 2);
    two_deliver();
    fake_net_advance(&w->net, FAKE_MS(50));
    p = stands(w, 0);
    call_get_on(w, &second.client, 3);
    peer_run(w, p);
    assert_int_equal(p->streams, 2);
    fake_net_advance(&w->net, FAKE_MS(12));
    call_get_on(w, &second.client, 4);
    peer_run(w, p);
    assert_int_equal(p->streams, 2);
    assert_int_equal(atomic_load(&w->shared.waiting), 2);
    end_two(w);
}

/* A stream that ends is room for the own queue, but no reason to take the place that another worker was told of. */
static void room_for_a_stream_is_no_place(void **state) {
    (void)state;
    struct world *w = start_two(2);
    struct peer *peers[2];
    for (unsigned i = 0; i < 2; i++) {
        call_get(w, i);
        peers[i] = stands(w, 1);
    }
    fake_net_advance(&w->net, FAKE_MS(12));
    call_get(w, 2);
    call_get(w, 3);
    call_get_on(w, &second.client, 4);
    two_deliver(); /* the second connection is to end with its stream */
    answer(w, peers[1], 1);
    assert_true(two.told[1]);
    answer(w, peers[0], 0);
    assert_int_equal(peers[0]->streams, 2);
    assert_int_equal(w->net.count, 2);
    assert_int_equal(atomic_load(&w->shared.waiting), 2);
    two_deliver();
    assert_int_equal(w->net.count, 3);
    answer(w, stands(w, 1), 4);
    end_two(w);
}

/* Streams that last keep the place of a connection that has yielded: the worker's other connections stay in use meanwhile. */
static void one_connection_at_a_time_yields(void **state) {
    (void)state;
    struct world *w = start_two(2);
    struct peer *peers[2];
    for (unsigned i = 0; i < 2; i++) {
        call_get(w, i);
        peers[i] = stands(w, 1);
    }
    call_get_on(w, &second.client, 2);
    for (unsigned turn = 0; turn < 3; turn++) {
        fake_net_advance(&w->net, FAKE_MS(12));
        vx_h2_client_spare(&w->client);
        fake_net_round(&w->net);
    }
    call_get(w, 3);
    answer(w, peers[0], 0);
    assert_int_equal(peers[0]->streams, 2);
    answer(w, peers[1], 1);
    two_deliver();
    assert_int_equal(w->net.count, 3);
    answer(w, stands(w, 1), 2);
    end_two(w);
}

/* Nobody is asked for the sake of those who wait for a connection that is being set up, nor when it opens. */
static void who_waits_for_a_connection_is_not_in_the_queue(void **state) {
    (void)state;
    struct world *w = start_two(1);
    for (unsigned i = 0; i < 3; i++)
        call_get(w, i);
    struct peer *p = stands(w, 3);
    assert_int_equal(p->streams, 3);
    assert_false(two.asked[1]);
    call_get(w, 3);
    assert_true(two.asked[1]);
    end_two(w);
}

/* A place that it was not told of is found all the same, later. */
static void a_worker_that_does_not_hear_looks_again(void **state) {
    (void)state;
    struct world *w = start_two(1);
    struct peer *p = second_waits(w);
    two.deaf = true;
    answer(w, p, 0);
    two_deliver();
    assert_int_equal(w->net.count, 1);
    fake_net_advance(&w->net, FAKE_MS(1100));
    assert_int_equal(w->net.count, 2);
    assert_int_equal(second.places.late, 1);
    answer(w, stands(w, 0), 1);
    end_two(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_worker_gives_up_its_place),
        cmocka_unit_test(an_idle_worker_learns_of_a_limit_from_who_waits),
        cmocka_unit_test(who_gives_a_place_up_tells_who_waits),
        cmocka_unit_test(a_place_passes_on_from_who_has_left),
        cmocka_unit_test(a_used_connection_is_given_up_at_the_end_of_the_turn),
        cmocka_unit_test(the_turn_begins_when_a_connection_opens),
        cmocka_unit_test(room_for_a_stream_is_no_place),
        cmocka_unit_test(one_connection_at_a_time_yields),
        cmocka_unit_test(who_waits_for_a_connection_is_not_in_the_queue),
        cmocka_unit_test(a_worker_that_does_not_hear_looks_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
