/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin on one worker: failures and restarts, taking part and ending, calls of its own. */
#include "unit/filters/proxy_wasm/plugin_world.h"

static void test_stream_passes(void **state) {
    (void)state;
    begin("");
    enter();
    void *context = open_stream(&w->stream, "nothing");
    assert_int_equal(show_head(context), VX_FILTER_CONTINUE);
    struct vx_slice value;
    assert_true(vx_field_map_find(&w->stream.maps[0], VX_SLICE("x-end"), &value));
    assert_false(w->filter->ops->may_resume(context));
    w->filter->ops->log(context, w->now_ns);
    close_stream(context);
    end();
}

static void test_failure_takes_its_streams_and_is_mended(void **state) {
    (void)state;
    begin("");
    enter();
    void *waits = open_stream(&w->other, "nothing");
    assert_int_equal(show_head(waits), VX_FILTER_CONTINUE);
    run_to_its_death();
    assert_int_equal(w->other.failed, 1);
    assert_null(open_stream(&w->stream, "nothing"));
    assert_int_equal(w->filter->ops->on_body(waits, VX_FILTER_REQUEST, 1, true, w->now_ns), VX_FILTER_FAILED);
    assert_false(w->filter->ops->may_resume(waits));
    close_stream(waits); /* the dead instance's last stream */
    come_back(100);
    void *context = open_stream(&w->stream, "nothing");
    assert_non_null(context);
    assert_int_equal(show_head(context), VX_FILTER_CONTINUE);
    close_stream(context);
    assert_int_equal(atomic_load(&seat()->shared.traps), 1);
    end();
}

static void test_failures_in_a_row_are_isolated(void **state) {
    (void)state;
    static const unsigned back_offs[] = {100, 200, 400, 800, 1600};
    begin("");
    enter();
    for (int i = 0; i < 5; i++) {
        assert_int_equal(atomic_load(&seat()->shared.isolated), 0);
        run_to_its_death();
        if (i < 4)
            come_back(back_offs[i]);
    }
    assert_int_equal(atomic_load(&seat()->shared.isolated), 1);
    come_back(back_offs[4]);
    pass(59000 * ms);
    assert_int_equal(atomic_load(&seat()->shared.isolated), 1);
    pass(2000 * ms);
    assert_int_equal(atomic_load(&seat()->shared.isolated), 0);
    run_to_its_death(); /* it has lived for a minute: the row begins anew */
    assert_int_equal(atomic_load(&seat()->shared.isolated), 0);
    come_back(100);
    end();
}

static void test_who_has_lived_for_a_minute_did_not_fail_in_a_row(void **state) {
    (void)state;
    begin("");
    enter();
    for (unsigned i = 0; i < 4; i++) {
        run_to_its_death();
        come_back(100U << i);
    }
    pass(60000 * ms);
    run_to_its_death();
    assert_int_equal(atomic_load(&seat()->shared.isolated), 0);
    come_back(100);
    end();
}

static void test_ends_in_every_state(void **state) {
    (void)state;
    begin("tick");
    end(); /* never entered */
    begin("");
    enter();
    run_to_its_death();
    end(); /* waiting */
    begin("");
    enter();
    run_to_its_death();
    pass(102 * ms);
    assert_true(vx_pwasm_plugin_start_one(w->filter));
    end(); /* one is delivered that nobody took */
}

static void test_ticks_from_when_it_takes_part(void **state) {
    (void)state;
    begin("tick");
    void *context;
    pass(100 * ms);
    enter();
    context = open_stream(&w->stream, "wait-for-tick");
    assert_int_equal(show_head(context), VX_FILTER_PAUSE);
    assert_true(w->filter->ops->may_resume(context));
    assert_int_equal(w->stream.continued[0], 0);
    pass(25 * ms);
    assert_int_equal(w->stream.continued[0], 1);
    close_stream(context);
    end();
}

static void test_word_of_a_queue(void **state) {
    (void)state;
    begin("queue");
    enter();
    void *context = open_stream(&w->stream, "enqueue");
    assert_int_equal(show_head(context), VX_FILTER_CONTINUE);
    assert_int_equal(w->word_count, 1);
    close_stream(context);
    run_words();
    uint32_t id;
    struct vx_pwasm_item *item;
    assert_true(vx_pwasm_queue_find(w->hub.shared, VX_SLICE("probe"), VX_SLICE("jobs"), &id));
    assert_int_equal(vx_pwasm_queue_pop(w->hub.shared, id, &item), VX_PWASM_EMPTY); /* it was taken */
    context = open_stream(&w->stream, "enqueue");
    show_head(context);
    close_stream(context);
    struct word word = w->words[0];
    w->word_count = 0;
    end();
    word.run(word.arg, w->now_ns); /* to one that has gone */
}

/* Calls */

static void *call_out(void) {
    void *context = open_stream(&w->stream, "call");
    assert_int_equal(show_head(context), VX_FILTER_PAUSE);
    assert_true(w->filter->ops->may_resume(context));
    return context;
}

static void finish_call(void *context) {
    assert_false(w->filter->ops->may_resume(context));
    close_stream(context);
    end();
}

static void test_call_is_sent_and_answered(void **state) {
    (void)state;
    begin("");
    enter();
    void *context = call_out();
    struct fake_upstream *u = fake_client_last(&w->client);
    assert_string_equal(u->path, "/check");
    assert_non_null(strstr(u->fields, "x-asked: yes\n"));
    assert_non_null(strstr(u->fields, "host: auth.example\n"));
    assert_int_equal(u->framing, VX_BODY_LENGTH);
    assert_int_equal(u->body_len, 8);
    assert_true(u->finished);
    assert_int_equal(w->users.keepers, 3); /* the plugin, and the call */
    fake_upstream_answer(u, 200, "alice", w->now_ns);
    assert_int_equal(w->stream.continued[0], 1);
    assert_int_equal(w->users.keepers, 2);
    assert_int_equal(w->stream.reviewed, 1);
    struct vx_slice value;
    assert_true(vx_field_map_find(&w->stream.maps[0], VX_SLICE("x-answer"), &value));
    assert_true(vx_slice_eq(value, VX_SLICE("alice")));
    assert_true(u->released);
    finish_call(context);
}

/* As of any other request: one of a connection's failures counts for all that it fails. */
static void test_a_failure_that_calls_share_counts_once(void **state) {
    (void)state;
    w->config.breaker.failures = 1;
    begin("");
    enter();
    for (int shares = 1; shares >= 0; shares--) {
        void *context = call_out();
        struct fake_upstream *u = fake_client_last(&w->client);
        u->shares = shares;
        fake_upstream_fail(u, VX_ERR_BACKEND_RESET, w->now_ns);
        assert_int_equal(vx_backend_set_stats(w->route.set, 0).breaker,
                         shares ? VX_BREAKER_CLOSED : VX_BREAKER_OPEN);
        close_stream(context);
    }
    end();
}

static void expect_failure(enum vx_error_code error, uint16_t status, const char *body) {
    begin("");
    enter();
    void *context = call_out();
    fake_upstream_fail(fake_client_last(&w->client), error, w->now_ns);
    assert_int_equal(w->stream.answer_status, status);
    assert_string_equal(w->stream.answer_body, body);
    finish_call(context);
}

static void test_failures_of_calls(void **state) {
    (void)state;
    expect_failure(VX_ERR_CONNECT_FAILED, 401, "upstream connect error or disconnect/reset before headers");
    expect_failure(VX_ERR_CONNECT_TIMEOUT, 401, "upstream request timeout");
    expect_failure(VX_ERR_BACKEND_RESET, 502, "no answer");
}

static void test_call_that_cannot_begin_or_takes_too_long(void **state) {
    (void)state;
    begin("");
    enter();
    w->client.refuse = 1;
    void *context = call_out();
    assert_int_equal(w->stream.answers, 0); /* not while the guest runs */
    pass(2 * ms);
    assert_int_equal(w->stream.answer_status, 401);
    close_stream(context);
    context = call_out();
    pass(2001 * ms);
    assert_string_equal(w->stream.answer_body, "upstream request timeout");
    finish_call(context);
}

static void note_unused(struct vx_snapshot *s) {
    s->owner = s;
}

/* A call that lasts keeps the snapshot, but not the plugin from its end. */
static void test_call_does_not_keep_the_plugin(void **state) {
    (void)state;
    begin("");
    enter();
    close_stream(call_out());
    w->snapshot.unused = note_unused;
    vx_snapshot_drop(&w->snapshot, 0);
    assert_ptr_equal(w->snapshot.owner, &w->snapshot);
    assert_int_equal(w->users.keepers, 2);
    begin_end();
    assert_true(fake_client_last(&w->client)->released);
    assert_int_equal(w->users.keepers, 0);
    w->users.keepers = 1;
    expect_end();
}

static void test_calls_go_by_the_newest_snapshot_with_the_plugin(void **state) {
    (void)state;
    struct vx_snapshot newer = w->snapshot;
    struct vx_snapshot_users users;
    begin("");
    enter();
    vx_snapshot_begin(&newer, &users, 1);
    w->filter->ops->enter(w->filter, 0, &newer, w->now_ns);
    assert_int_equal(w->users.keepers, 1);
    void *context = call_out();
    assert_int_equal(users.keepers, 3);
    close_stream(context);
    end();
    assert_int_equal(users.keepers, 1);
}

static void test_plugin_that_dies_drops_its_calls(void **state) {
    (void)state;
    begin("");
    enter();
    close_stream(call_out());
    run_to_its_death();
    assert_int_equal(w->users.keepers, 2);
    end();
}

static void test_word_of_its_end_waits_for_a_full_inbox(void **state) {
    (void)state;
    begin("");
    enter();
    w->word_count = WORDS_MAX;
    vx_pwasm_plugin_order(w->filter, VX_PWASM_ORDER_END);
    w->word_count = 0;
    run_words();
    assert_int_equal(seat()->state, VX_PWASM_SEAT_READY);
    assert_false(vx_pwasm_plugin_has_ended(w->filter)); /* that asks again */
    assert_int_equal(w->word_count, 1);
    run_words();
    expect_end();
}

/* As when its worker has drained while others still have it. */
static void test_so_does_word_of_its_end_on_one_worker(void **state) {
    (void)state;
    begin("");
    enter();
    w->word_count = WORDS_MAX;
    vx_pwasm_plugin_order_on(w->filter, 0, VX_PWASM_ORDER_END);
    w->word_count = 0;
    vx_pwasm_plugin_tend(w->filter);
    assert_int_equal(w->word_count, 1);
    vx_pwasm_plugin_tend(w->filter);
    assert_int_equal(w->word_count, 1);
    run_words();
    assert_int_equal(vx_pwasm_plugin_ending(w->filter), 0);
    expect_end();
}

static void ask_for_another(void) {
    begin("");
    enter();
    run_to_its_death();
    pass(102 * ms);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_ASKED);
}

static void test_no_instance_is_started_for_who_ends(void **state) {
    (void)state;
    ask_for_another();
    vx_pwasm_plugin_order_on(w->filter, 0, VX_PWASM_ORDER_END);
    run_words();
    assert_false(vx_pwasm_plugin_start_one(w->filter));
    assert_null(atomic_load(&seat()->shared.delivered));
    expect_end();
    ask_for_another();
    vx_pwasm_plugin_detach(w->filter, 0);
    assert_false(vx_pwasm_plugin_start_one(w->filter));
    assert_null(atomic_load(&seat()->shared.delivered));
    expect_end();
}

static void test_end_of_the_worker_is_the_end_of_its_part(void **state) {
    (void)state;
    begin("tick");
    enter();
    close_stream(call_out());
    run_to_its_death();
    come_back(100);
    close_stream(call_out());
    vx_pwasm_plugin_order(w->filter, VX_PWASM_ORDER_END);
    assert_int_equal(w->word_count, 1); /* which nobody will hear */
    w->word_count = 0;
    vx_pwasm_plugin_detach(w->filter, 0);
    expect_end();
}

static void test_answer_larger_than_the_limit(void **state) {
    (void)state;
    static char large[2000];
    begin("");
    enter();
    void *context = call_out();
    memset(large, 'x', sizeof large - 1);
    fake_upstream_answer(fake_client_last(&w->client), 200, large, w->now_ns);
    assert_int_equal(w->stream.answer_status, 502);
    finish_call(context);
}

static void test_calls_end_with_the_instance(void **state) {
    (void)state;
    begin("");
    enter();
    void *context = call_out();
    struct fake_upstream *u = fake_client_last(&w->client);
    void *victim = open_stream(&w->other, "trap");
    assert_int_equal(show_head(victim), VX_FILTER_FAILED);
    assert_true(u->released);
    close_stream(victim);
    close_stream(context);
    come_back(100);
    end();
}

static void test_call_at_start_waits_for_the_worker(void **state) {
    (void)state;
    begin("call auth");
    assert_int_equal(w->client.count, 0);
    enter();
    pass(2 * ms);
    assert_string_equal(fake_client_last(&w->client)->path, "/at-start");
    end();
    assert_true(fake_client_last(&w->client)->released);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_stream_passes),
        TEST(test_failure_takes_its_streams_and_is_mended),
        TEST(test_failures_in_a_row_are_isolated),
        TEST(test_who_has_lived_for_a_minute_did_not_fail_in_a_row),
        TEST(test_ends_in_every_state),
        TEST(test_ticks_from_when_it_takes_part),
        TEST(test_word_of_a_queue),
        TEST(test_call_is_sent_and_answered),
        TEST(test_a_failure_that_calls_share_counts_once),
        TEST(test_failures_of_calls),
        TEST(test_call_that_cannot_begin_or_takes_too_long),
        TEST(test_call_does_not_keep_the_plugin),
        TEST(test_calls_go_by_the_newest_snapshot_with_the_plugin),
        TEST(test_plugin_that_dies_drops_its_calls),
        TEST(test_word_of_its_end_waits_for_a_full_inbox),
        TEST(test_so_does_word_of_its_end_on_one_worker),
        TEST(test_no_instance_is_started_for_who_ends),
        TEST(test_end_of_the_worker_is_the_end_of_its_part),
        TEST(test_answer_larger_than_the_limit),
        TEST(test_calls_end_with_the_instance),
        TEST(test_call_at_start_waits_for_the_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
