/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a place is that comes free: the own queue's, or another worker's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/runtime/place_queue.h"
#include "support/fake_transport.h"

/* One worker with a queue for a target of one place; the other worker waits for it where a test says so. */
struct world {
    struct fake_net net;
    struct vx_places places, other;
    struct vx_target_shared shared;
    struct vx_target target;
    struct vx_place_queue queue;
};

static unsigned served, told, asked;

static uint32_t serve(struct vx_place_queue *q, uint64_t now_ns) {
    (void)q, (void)now_ns;
    served++;
    return 1;
}

static void tell(struct vx_places *self, uint32_t worker) {
    (void)self;
    assert_int_equal(worker, 1);
    told++;
}

static void ask(struct vx_places *self) {
    (void)self;
    asked++;
}

static void start(struct world *w, bool other_waits) {
    *w = (struct world){.target = {.max_connections = 1}};
    fake_net_init(&w->net);
    w->target.shared = &w->shared;
    vx_places_init(&w->places, 0);
    vx_places_init(&w->other, 1);
    w->places.tell = tell;
    w->places.ask = ask;
    vx_place_queue_init(&w->queue, &w->places, &w->net.rt, serve);
    served = told = asked = 0;
    assert_true(vx_target_take_place(&w->target));
    vx_place_queue_begin_turn(&w->queue);
    if (other_waits)
        assert_true(vx_places_wait(&w->other, &w->shared, true));
}

static void end(struct world *w) {
    vx_place_queue_free(&w->queue);
    fake_net_free(&w->net);
}

static void a_place_is_for_the_own_queue_until_the_turn_is_over(void **state) {
    (void)state;
    for (unsigned over = 0; over < 2; over++) {
        struct world w;
        start(&w, true);
        vx_place_queue_enter(&w.queue, &w.target);
        if (over)
            fake_net_advance(&w.net, FAKE_MS(VX_TURN_MS));
        vx_place_queue_give(&w.queue, &w.shared, false);
        fake_net_round(&w.net);
        assert_int_equal(told, over);
        assert_int_equal(served, !over);
        vx_place_queue_leave(&w.queue, &w.target);
        end(&w);
    }
}

static void a_place_given_up_for_others_is_theirs(void **state) {
    (void)state;
    struct world w;
    start(&w, true);
    vx_place_queue_enter(&w.queue, &w.target);
    vx_place_queue_enter(&w.queue, &w.target);
    vx_place_queue_give(&w.queue, &w.shared, true);
    assert_int_equal(told, 1);
    /* Nor does the own queue take it because one of it has left. */
    vx_place_queue_leave(&w.queue, &w.target);
    fake_net_round(&w.net);
    assert_int_equal(told, 2);
    assert_int_equal(served, 0);
    vx_place_queue_leave(&w.queue, &w.target);
    end(&w);
}

static void the_own_queue_is_served_where_nobody_else_waits(void **state) {
    (void)state;
    struct world w;
    start(&w, false);
    vx_place_queue_enter(&w.queue, &w.target);
    fake_net_round(&w.net);
    assert_int_equal(served, 1); /* the first to wait looks once more */
    vx_place_queue_give(&w.queue, &w.shared, true);
    fake_net_round(&w.net);
    assert_int_equal(told, 0);
    assert_int_equal(served, 2);
    vx_place_queue_leave(&w.queue, &w.target);
    end(&w);
}

static void only_queues_with_requests_look_when_told(void **state) {
    (void)state;
    struct world w;
    start(&w, true);
    vx_places_look(&w.places);
    fake_net_round(&w.net);
    assert_int_equal(served, 0);
    vx_place_queue_enter(&w.queue, &w.target);
    vx_places_look(&w.places);
    fake_net_round(&w.net);
    assert_int_equal(served, 1);
    assert_int_equal(w.places.heard, 2);
    vx_place_queue_leave(&w.queue, &w.target);
    end(&w);
}

/* What waits where there is no limit waits for something else: others have nothing that would help. */
static void others_are_asked_only_where_there_is_a_limit(void **state) {
    (void)state;
    for (uint32_t limit = 0; limit < 2; limit++) {
        struct world w;
        start(&w, true);
        w.target.max_connections = limit;
        vx_place_queue_enter(&w.queue, &w.target);
        assert_int_equal(vx_places_wanted_elsewhere(&w.other, &w.shared), limit);
        vx_place_queue_leave(&w.queue, &w.target);
        assert_int_equal(asked, limit);
        assert_int_equal(told, 0);
        end(&w);
    }
}

/* Others may not have heard, and some of what they have may be idle by now. */
static void who_waits_looks_and_asks_again(void **state) {
    (void)state;
    struct world w;
    start(&w, true);
    vx_place_queue_enter(&w.queue, &w.target);
    for (unsigned seconds = 0; seconds < 3; seconds++) {
        assert_int_equal(served, seconds);
        assert_int_equal(w.places.late, seconds);
        assert_int_equal(asked, seconds + 1);
        fake_net_advance(&w.net, FAKE_MS(VX_LOOK_AGAIN_MS + 10));
    }
    vx_place_queue_leave(&w.queue, &w.target);
    fake_net_advance(&w.net, FAKE_S(3));
    assert_int_equal(served, 3);
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_is_for_the_own_queue_until_the_turn_is_over),
        cmocka_unit_test(a_place_given_up_for_others_is_theirs),
        cmocka_unit_test(the_own_queue_is_served_where_nobody_else_waits),
        cmocka_unit_test(only_queues_with_requests_look_when_told),
        cmocka_unit_test(who_waits_looks_and_asks_again),
        cmocka_unit_test(others_are_asked_only_where_there_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
