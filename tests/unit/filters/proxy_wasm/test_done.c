/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin that asks for time when it is done with (tests/guests/lingers.c): it is waited for, but not for ever. */
#include "filters/proxy_wasm/done.h"

#include "unit/filters/proxy_wasm/plugin_world.h"

static void start(const char *config) {
    begin_guest("lingers", config, 1000 * ms);
    enter();
}

static void run_stream(const char *linger) {
    fake_filter_stream_init(&w->stream);
    fake_add(&w->stream, &w->stream.request.headers, "x-linger", linger);
    void *context = w->filter->ops->open(w->filter, 0, &w->stream, w->now_ns);
    assert_non_null(context);
    assert_int_equal(show_head(context), VX_FILTER_CONTINUE);
    w->filter->ops->log(context, w->now_ns);
    close_stream(context);
}

/* With each tick on the way. */
static void run_for(unsigned milliseconds) {
    for (unsigned i = 0; i < milliseconds; i++)
        pass(ms);
}

static void expect_waiting(void) {
    assert_false(vx_pwasm_plugin_has_ended(w->filter));
    assert_int_equal(vx_pwasm_plugin_ending(w->filter), 1);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_ENDING);
    assert_int_equal(said(": done"), 1);
    assert_int_equal(said(": deleted"), 0);
}

static void expect_deleted(void) {
    assert_int_equal(said(": deleted"), 1);
    assert_int_equal(said("not right"), 0);
    assert_int_equal(said("asked for"), 0);
    expect_end();
}

static void test_who_asks_for_no_time_gets_none(void **state) {
    (void)state;
    start("none");
    begin_end();
    expect_deleted();
}

static void test_it_is_waited_for_while_it_ticks(void **state) {
    (void)state;
    start("tick");
    begin_end();
    expect_waiting();
    assert_null(open_stream(&w->stream, "nothing"));
    run_for(45);
    expect_waiting();
    run_for(25);
    expect_deleted();
}

static void test_it_is_waited_for_while_it_calls(void **state) {
    (void)state;
    start("call auth");
    begin_end();
    expect_waiting();
    assert_int_equal(w->users.keepers, 3); /* of the plugin and its call */
    struct fake_upstream *u = fake_client_last(&w->client);
    assert_string_equal(u->path, "/last-words");
    fake_upstream_answer(u, 200, "", w->now_ns);
    expect_waiting(); /* it is not deleted while it speaks */
    pass(2 * ms);
    assert_int_equal(said(": heard"), 1);
    expect_deleted();
}

static void test_it_is_not_waited_for_longer_than_the_limit(void **state) {
    (void)state;
    start("never");
    begin_end();
    pass(998 * ms);
    expect_waiting();
    pass(4 * ms);
    assert_int_equal(said("has not called proxy_done within 1000 ms (limits.end_time) and is ended without"),
                     1);
    expect_deleted();
}

static void test_a_limit_of_nothing_is_no_time(void **state) {
    (void)state;
    begin_guest("lingers", "never", 0);
    enter();
    begin_end();
    expect_deleted();
}

static void test_who_never_took_part_is_not_waited_for(void **state) {
    (void)state;
    begin_guest("lingers", "never", 1000 * ms);
    begin_end();
    expect_deleted();
}

static void test_it_is_cut_short_by_order(void **state) {
    (void)state;
    start("never");
    begin_end();
    expect_waiting();
    vx_pwasm_plugin_order(w->filter, VX_PWASM_ORDER_CUT);
    expect_waiting(); /* the worker has not heard */
    run_words();
    assert_int_equal(said("because too many others wait"), 1);
    expect_deleted();
}

/* The order comes when the plugin has ended by itself: it is not freed before the worker has heard it. */
static void test_an_order_that_is_too_late(void **state) {
    (void)state;
    start("tick");
    begin_end();
    vx_pwasm_plugin_order(w->filter, VX_PWASM_ORDER_CUT);
    run_for(70);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_ENDED);
    assert_false(vx_pwasm_plugin_has_ended(w->filter));
    run_words();
    expect_deleted();
}

static void test_it_ends_with_its_worker(void **state) {
    (void)state;
    start("call auth");
    begin_end();
    vx_pwasm_plugin_detach(w->filter, 0);
    assert_true(fake_client_last(&w->client)->released);
    expect_deleted();
}

/* A timer for what it says is done in its last calls would outlive it. */
static void test_its_streams_are_done_as_it_ends_with_its_worker(void **state) {
    (void)state;
    start("streams");
    run_stream("yes");
    run_stream("yes");
    assert_int_equal(seat()->vm->waiting_count, 2);
    vx_pwasm_plugin_detach(w->filter, 0);
    assert_int_equal(said("stream deleted"), 2);
    expect_deleted();
    assert_true(vx_timer_wheel_next_ns(&w->wheel, w->now_ns) == UINT64_MAX);
}

static void expect_death(const char *config, unsigned after_ms) {
    w->logged[0] = '\0';
    start(config);
    begin_end();
    run_for(after_ms + 1);
    assert_int_equal(atomic_load(&seat()->shared.traps), 1);
    assert_non_null(strstr(w->logged, "it was about to end"));
    assert_int_equal(said(": deleted"), 0);
    expect_end();
}

static void test_it_may_die_of_it(void **state) {
    (void)state;
    expect_death("trap", 25);
    expect_death("trap-at-once", 0);
    expect_death("trap-delete", 0);
}

/* Streams */

static void test_streams_are_waited_for(void **state) {
    (void)state;
    start("none");
    run_stream("");
    assert_int_equal(said("stream deleted"), 1);
    run_stream("yes");
    run_stream("yes");
    run_stream("never");
    assert_int_equal(seat()->vm->waiting_count, 3);
    assert_non_null(vx_pwasm_vm_find(seat()->vm, 3));
    run_for(27);
    assert_int_equal(said("stream deleted"), 3);
    assert_int_equal(seat()->vm->waiting_count, 1);
    pass(1000 * ms);
    assert_int_equal(said("stream deleted"), 4);
    assert_int_equal(seat()->vm->waiting_count, 0);
    begin_end();
    expect_deleted();
}

static void test_the_root_waits_for_its_streams(void **state) {
    (void)state;
    start("none");
    run_stream("yes");
    begin_end();
    expect_waiting();
    run_for(27);
    assert_int_equal(said("stream deleted"), 1);
    expect_deleted();
    w->logged[0] = '\0';
    start("none");
    run_stream("never");
    pass(500 * ms);
    run_stream("never");
    begin_end();
    expect_waiting();
    pass(501 * ms);
    assert_int_equal(said("stream deleted"), 1);
    expect_waiting();
    pass(501 * ms);
    assert_int_equal(said("stream deleted"), 2);
    expect_deleted();
}

static void test_not_too_many_streams_are_waited_for(void **state) {
    (void)state;
    start("none");
    for (unsigned i = 0; i < VX_PWASM_WAITING_MAX; i++)
        run_stream("never");
    assert_int_equal(seat()->vm->waiting_count, VX_PWASM_WAITING_MAX);
    assert_non_null(vx_pwasm_vm_find(seat()->vm, 2));
    run_stream("never");
    assert_int_equal(seat()->vm->waiting_count, VX_PWASM_WAITING_MAX);
    assert_null(vx_pwasm_vm_find(seat()->vm, 2));
    vx_pwasm_plugin_order(w->filter, VX_PWASM_ORDER_CUT);
    run_words();
    assert_true(seat()->state == VX_PWASM_SEAT_ENDED);
    expect_end();
}

static void test_streams_that_wait_die_with_the_instance(void **state) {
    (void)state;
    start("trap");
    run_stream("never");
    begin_end();
    run_for(26);
    assert_int_equal(said("stream deleted"), 0);
    expect_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_who_asks_for_no_time_gets_none),
        TEST(test_it_is_waited_for_while_it_ticks),
        TEST(test_it_is_waited_for_while_it_calls),
        TEST(test_it_is_not_waited_for_longer_than_the_limit),
        TEST(test_a_limit_of_nothing_is_no_time),
        TEST(test_who_never_took_part_is_not_waited_for),
        TEST(test_it_is_cut_short_by_order),
        TEST(test_an_order_that_is_too_late),
        TEST(test_it_ends_with_its_worker),
        TEST(test_its_streams_are_done_as_it_ends_with_its_worker),
        TEST(test_it_may_die_of_it),
        TEST(test_streams_are_waited_for),
        TEST(test_the_root_waits_for_its_streams),
        TEST(test_not_too_many_streams_are_waited_for),
        TEST(test_streams_that_wait_die_with_the_instance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
