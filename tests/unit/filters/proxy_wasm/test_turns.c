/* SPDX-License-Identifier: Apache-2.0 */
/* What guests do of their own accord falls due all at once, and is spread over rounds: each kind of it. */
#include "filters/proxy_wasm/turns.h"

#include "unit/filters/proxy_wasm/plugin_world.h"

enum { THREE = 3 };

/* Each turn takes all that a round has for them. */
static int setup_slow(void **state) {
    int result = setup(state);
    w->turn_ns = VX_PWASM_ROUND_NS;
    return result;
}

#define SLOW(name) cmocka_unit_test_setup_teardown(name, setup_slow, teardown)

static unsigned turns_taken(void) {
    return w->clock_reads / 2;
}

static void next_round(void) {
    w->now_ns++;
}

/* `count` turns wait, of which each round brings one. */
static void expect_one_a_round(unsigned count) {
    for (unsigned before = turns_taken(), i = 1; i <= count; i++) {
        pass(2 * ms);
        assert_int_equal(turns_taken(), before + i);
    }
}

/* Turns alone */

struct counted {
    struct vx_pwasm_turn turn;
    unsigned runs, again;
    struct vx_pwasm_turns *turns;
    struct counted *cancels;
};

static char order[64];
static size_t order_len;

static void count_run(struct vx_pwasm_turn *turn, uint64_t now_ns) {
    struct counted *c = VX_CONTAINER_OF(turn, struct counted, turn);
    c->runs++;
    if (order_len < sizeof order - 1)
        order[order_len++] = c->again ? 'a' : 'b';
    if (c->again && c->again--)
        vx_pwasm_turn_ask(c->turns, turn, now_ns);
    if (c->cancels)
        vx_pwasm_turn_cancel(&c->cancels->turn);
}

static void begin_counted(struct counted *c) {
    *c = (struct counted){.turns = &w->hub.crews[0].turns};
    vx_pwasm_turn_init(&c->turn, count_run);
    memset(order, 0, sizeof order);
    order_len = 0;
}

static void ask(struct counted *c) {
    vx_pwasm_turn_ask(c->turns, &c->turn, w->now_ns);
}

static void test_all_are_run_while_there_is_time(void **state) {
    (void)state;
    struct counted a, b;
    begin_counted(&a);
    begin_counted(&b);
    a.again = 20;
    ask(&a);
    ask(&b);
    assert_int_equal(a.runs, 21);
    assert_int_equal(b.runs, 1);
    assert_true(vx_timer_wheel_next_ns(&w->wheel, w->now_ns) == UINT64_MAX);
}

static void test_they_are_run_in_their_order(void **state) {
    (void)state;
    struct counted a, b, c;
    begin_counted(&a);
    begin_counted(&b);
    begin_counted(&c);
    a.again = 2;
    ask(&a);
    ask(&b);
    ask(&b); /* it waits already */
    ask(&c);
    assert_string_equal(order, "a");
    vx_pwasm_turn_cancel(&c.turn);
    expect_one_a_round(3);
    assert_string_equal(order, "aabb"); /* its last run has nothing left to ask for */
    assert_int_equal(b.runs, 1);
    assert_int_equal(c.runs, 0);
    assert_true(vx_timer_wheel_next_ns(&w->wheel, w->now_ns) == UINT64_MAX);
}

static void test_one_may_take_another_out(void **state) {
    (void)state;
    struct counted a, b, c;
    begin_counted(&a);
    begin_counted(&b);
    begin_counted(&c);
    b.cancels = &c;
    ask(&a);
    ask(&b);
    ask(&c);
    pass(10 * ms);
    pass(10 * ms);
    assert_int_equal(b.runs, 1);
    assert_int_equal(c.runs, 0);
}

/* Those of plugins */

static void *begin_call(struct vx_filter_stream *s) {
    void *context = open_stream(s, "call");
    assert_int_equal(show_head(context), VX_FILTER_PAUSE);
    return context;
}

static void test_answers_to_calls(void **state) {
    (void)state;
    struct vx_filter_stream streams[THREE];
    void *contexts[THREE];
    begin("");
    enter();
    for (unsigned i = 0; i < THREE; i++)
        contexts[i] = begin_call(&streams[i]);
    for (unsigned i = 0; i < THREE; i++)
        fake_upstream_answer(&w->client.ups[i], 200, "yes", w->now_ns);
    assert_int_equal(turns_taken(), 1);
    assert_false(w->client.ups[2].released);
    expect_one_a_round(3 * THREE - 1); /* a head, a piece and an end of each */
    for (unsigned i = 0; i < THREE; i++)
        assert_true(w->client.ups[i].released);
    pass(3000 * ms); /* no timeout is left of them */
    assert_int_equal(turns_taken(), 3 * THREE);
    for (unsigned i = 0; i < THREE; i++)
        close_stream(contexts[i]);
    next_round();
    end();
}

static void test_failures_of_calls(void **state) {
    (void)state;
    struct vx_filter_stream streams[THREE];
    void *contexts[THREE];
    begin("");
    enter();
    for (unsigned i = 0; i < THREE; i++)
        contexts[i] = begin_call(&streams[i]);
    fake_upstream_fail(&w->client.ups[0], VX_ERR_BACKEND_RESET, w->now_ns);
    assert_int_equal(turns_taken(), 1);
    pass(2001 * ms);
    assert_int_equal(turns_taken(), 2);
    assert_true(w->client.ups[2].released); /* though the guest does not know */
    expect_one_a_round(1);
    assert_false(w->filter->ops->may_resume(contexts[0]));
    for (unsigned i = 0; i < THREE; i++)
        close_stream(contexts[i]);
    next_round();
    end();
}

/* What came in time is not made a timeout by having to wait for its turn. */
static void test_an_answer_that_waits_is_not_late(void **state) {
    (void)state;
    struct counted other;
    begin_counted(&other);
    begin("");
    enter();
    void *context = begin_call(&w->stream);
    ask(&other);
    other.again = 5;
    ask(&other);
    fake_upstream_answer(fake_client_last(&w->client), 200, "yes", w->now_ns);
    w->now_ns += 3000 * ms; /* one long round */
    for (unsigned i = 0; i < 20; i++)
        pass(2 * ms);
    assert_int_equal(w->stream.continued[0], 1);
    close_stream(context);
    next_round();
    end();
}

static void test_messages_of_a_grpc_stream(void **state) {
    (void)state;
    static const char messages[] = {0, 0, 0, 0, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 'b', 'c'};
    begin("");
    enter();
    w->target.http2 = true;
    void *context = open_stream(&w->stream, "grpc-stream");
    assert_int_equal(show_head(context), VX_FILTER_PAUSE);
    struct fake_upstream *u = fake_client_last(&w->client);
    u->body_waits = true;
    fake_upstream_add_field(u, "grpc-status", "0");
    fake_upstream_answer(u, 200, "", w->now_ns);
    assert_int_equal(turns_taken(), 1);
    expect_one_a_round(1); /* nothing has come yet */
    u->rest = vx_slice(messages, sizeof messages);
    u->body_waits = false;
    u->up.stream.events->on_readable(u->up.stream.user, w->now_ns);
    assert_int_equal(u->rest.len, sizeof messages); /* that round has had its turn */
    expect_one_a_round(1);
    assert_int_equal(u->rest.len, sizeof messages - 6);
    expect_one_a_round(3);
    struct vx_slice value;
    assert_true(vx_field_map_find(&w->stream.maps[0], VX_SLICE("x-grpc"), &value));
    assert_true(vx_slice_eq(value, VX_SLICE("<[a][][bc]>0")));
    close_stream(context);
    next_round();
    end();
}

static void test_word_of_a_queue(void **state) {
    (void)state;
    begin("queue");
    enter();
    for (unsigned i = 0; i < THREE; i++) {
        void *context = open_stream(&w->stream, "enqueue");
        show_head(context);
        close_stream(context);
    }
    assert_int_equal(w->word_count, 1);
    run_words();
    assert_int_equal(turns_taken(), 1);
    expect_one_a_round(THREE); /* the last turn finds that there is nothing more */
    pass(10 * ms);
    assert_int_equal(turns_taken(), 1 + THREE);
    next_round();
    end();
}

static void test_a_worker_ends_while_words_wait(void **state) {
    (void)state;
    test_word_of_a_queue(state);
    begin("queue");
    enter();
    for (unsigned i = 0; i < THREE; i++) {
        void *context = open_stream(&w->stream, "enqueue");
        show_head(context);
        close_stream(context);
    }
    run_words();
    vx_pwasm_plugin_detach(w->filter, 0);
    expect_end(); /* the rest is teardown's, and a leak if it does not */
}

/* Several plugins */

static struct vx_filter *filters[THREE];

static void begin_three(const char *guest, const char *config, uint64_t end_time_ns) {
    for (unsigned i = 0; i < THREE; i++) {
        begin_guest(guest, config, end_time_ns);
        enter();
        filters[i] = w->filter;
    }
}

static void end_three(void) {
    for (unsigned i = 0; i < THREE; i++) {
        vx_pwasm_plugin_detach(filters[i], 0);
        assert_true(vx_pwasm_plugin_has_ended(filters[i]));
        vx_pwasm_plugin_free(filters[i]);
    }
}

static void test_ticks_of_several_plugins(void **state) {
    (void)state;
    begin_three("probe", "tick", 0);
    pass(19 * ms);
    assert_int_equal(turns_taken(), 0);
    pass(3 * ms);
    assert_int_equal(turns_taken(), 1);
    expect_one_a_round(2);
    for (unsigned i = 0; i < 100; i++)
        pass(2 * ms);
    assert_true(turns_taken() > 20); /* each goes on with its own */
    end_three();
}

static void test_ends_of_several_plugins(void **state) {
    (void)state;
    begin_three("lingers", "none", 1000 * ms);
    for (unsigned i = 0; i < THREE; i++)
        vx_pwasm_plugin_order(filters[i], VX_PWASM_ORDER_END);
    run_words();
    assert_int_equal(said(": deleted"), 1);
    w->filter = filters[1];
    assert_null(w->filter->ops->open(w->filter, 0, &w->stream, w->now_ns)); /* none comes any more */
    expect_one_a_round(2);
    assert_int_equal(said(": deleted"), 3);
    end_three();
}

/* Contexts that wait */

static void linger(const char *what) {
    fake_filter_stream_init(&w->stream);
    fake_add(&w->stream, &w->stream.request.headers, "x-linger", what);
    void *context = w->filter->ops->open(w->filter, 0, &w->stream, w->now_ns);
    assert_int_equal(show_head(context), VX_FILTER_CONTINUE);
    w->filter->ops->log(context, w->now_ns);
    close_stream(context);
}

static void begin_lingering(const char *what) {
    begin_guest("lingers", "never", 1000 * ms);
    enter();
    for (unsigned i = 0; i < THREE; i++)
        linger(what);
}

static void test_contexts_that_are_done(void **state) {
    (void)state;
    begin_lingering("yes");
    pass(22 * ms); /* its tick says so for all of them */
    assert_int_equal(turns_taken(), 1);
    assert_int_equal(said("stream deleted"), 0);
    for (unsigned i = 1; i <= THREE; i++) {
        pass(2 * ms);
        assert_int_equal(said("stream deleted"), i);
    }
    vx_pwasm_plugin_detach(w->filter, 0);
    expect_end();
}

static void test_contexts_that_have_waited_long_enough(void **state) {
    (void)state;
    begin_lingering("never");
    pass(1001 * ms);
    assert_int_equal(said("stream deleted"), 1);
    pass(2 * ms);
    assert_int_equal(said("stream deleted"), 2);
    pass(2 * ms);
    assert_int_equal(said("stream deleted"), 3);
    assert_int_equal(seat()->vm->waiting_count, 0);
    vx_pwasm_plugin_detach(w->filter, 0);
    expect_end();
}

static void test_contexts_of_a_plugin_that_is_cut_short(void **state) {
    (void)state;
    begin_lingering("never");
    begin_end();
    vx_pwasm_plugin_order(w->filter, VX_PWASM_ORDER_CUT);
    run_words();
    assert_int_equal(said("stream deleted"), 0); /* the round has had its turn */
    for (unsigned i = 1; i <= THREE; i++) {
        pass(2 * ms);
        assert_int_equal(said("stream deleted"), i);
        assert_int_equal(seat()->state, VX_PWASM_SEAT_ENDING);
    }
    assert_false(vx_pwasm_plugin_has_ended(w->filter));
    pass(2 * ms);
    assert_int_equal(said(": deleted"), 1);
    assert_int_equal(said("because too many others wait"), 1);
    expect_end();
}

/* It is told to end and cut short before it has been its turn to hear of the first. */
static void test_a_plugin_is_cut_short_before_its_turn(void **state) {
    (void)state;
    struct counted other;
    begin_counted(&other);
    begin_lingering("never");
    ask(&other);
    vx_pwasm_plugin_order(w->filter, VX_PWASM_ORDER_END);
    vx_pwasm_plugin_order(w->filter, VX_PWASM_ORDER_CUT);
    run_words();
    assert_int_equal(said(": done"), 0);
    pass(2 * ms);
    assert_int_equal(said(": done"), 1);
    assert_int_equal(said("because too many others wait"), 1);
    for (unsigned i = 0; i <= THREE; i++)
        pass(2 * ms);
    assert_int_equal(said("stream deleted"), 3);
    expect_end();
}

/* Its end is over with it: nothing may be left of what has waited to tell it. */
static void test_an_instance_dies_before_its_turn_to_end(void **state) {
    (void)state;
    struct counted other;
    begin_counted(&other);
    begin("trap-in tick");
    enter();
    w->now_ns += 30 * ms;
    ask(&other);
    pass(0);
    assert_true(vx_pwasm_turn_waits(&seat()->vm->tick_turn));
    ask(&other);
    begin_end();
    pass(2 * ms);
    assert_null(seat()->vm);
    pass(2 * ms);
    assert_true(vx_pwasm_turn_waits(&other.turn) || turns_taken() == 3);
    expect_end();
    pass(2 * ms);
    assert_int_equal(turns_taken(), 3);
}

/* Starts */

static uint64_t delivered(const struct vx_pwasm_seat *seat) {
    const struct vx_pwasm_vm *vm = atomic_load(&seat->shared.delivered);
    return vm ? vm->serial : 0;
}

/* As on_timer in seat.c, and a worker that has lost the VM that was delivered before. */
static void want(struct vx_pwasm_seat *seat) {
    struct vx_pwasm_vm *vm = atomic_exchange(&seat->shared.delivered, NULL);
    if (vm)
        vx_pwasm_vm_end(vm);
    atomic_store(&seat->shared.wanted, true);
}

/* One is started at a time. The first worker's, which is wanted again at once, does not keep the second from its own. */
static void test_starts_for_two_workers(void **state) {
    (void)state;
    vx_pwasm_hub_attach(&w->hub, 1, &w->worker);
    begin("");
    assert_false(vx_pwasm_plugin_start_one(w->filter));
    want(&seat()[0]);
    want(&seat()[1]);
    assert_true(vx_pwasm_plugin_start_one(w->filter));
    assert_true(delivered(&seat()[0]) && !delivered(&seat()[1]));
    want(&seat()[0]);
    assert_true(vx_pwasm_plugin_start_one(w->filter));
    assert_true(!delivered(&seat()[0]) && delivered(&seat()[1]));
    assert_true(vx_pwasm_plugin_start_one(w->filter));
    assert_true(delivered(&seat()[0]));
    assert_false(vx_pwasm_plugin_start_one(w->filter));
    end();
    vx_pwasm_hub_detach(&w->hub, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_all_are_run_while_there_is_time),
        SLOW(test_they_are_run_in_their_order),
        SLOW(test_one_may_take_another_out),
        SLOW(test_answers_to_calls),
        SLOW(test_failures_of_calls),
        SLOW(test_an_answer_that_waits_is_not_late),
        SLOW(test_messages_of_a_grpc_stream),
        SLOW(test_word_of_a_queue),
        SLOW(test_a_worker_ends_while_words_wait),
        SLOW(test_ticks_of_several_plugins),
        SLOW(test_ends_of_several_plugins),
        SLOW(test_contexts_that_are_done),
        SLOW(test_contexts_that_have_waited_long_enough),
        SLOW(test_contexts_of_a_plugin_that_is_cut_short),
        SLOW(test_a_plugin_is_cut_short_before_its_turn),
        SLOW(test_an_instance_dies_before_its_turn_to_end),
        TEST(test_starts_for_two_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
