/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin on one worker, with clock, client and streams in the test's hand: failures and restarts, taking part and
 * leaving, calls of its own. The plugin is tests/guests/probe.c. */
#include "filters/proxy_wasm/plugin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/exchange/snapshot.h"
#include "core/routing/balance/registry.h"
#include "core/routing/balance/set.h"
#include "filters/proxy_wasm/host.h"
#include "support/fake_filter_stream.h"
#include "support/fake_upstream.h"
#include "support/guest.h"

enum { MIB = 1024 * 1024, WORDS_MAX = 8 };

static const uint64_t ms = 1000000;

struct word {
    void (*run)(void *arg, uint64_t now_ns);
    void *arg;
};

struct world {
    struct vx_wasm_engine *engine;
    struct vx_pwasm_hub hub;
    struct vx_filter_worker worker;
    struct vx_timer_wheel wheel;
    struct fake_client client;
    struct word words[WORDS_MAX]; /* posted to the worker */
    unsigned word_count;
    uint64_t now_ns;
    struct vx_chunk_source heap;
    struct vx_arena arena;
    char memory[16384];
    struct vx_backend_registry registry;
    struct vx_config_route config;
    struct vx_config_backend backend;
    struct vx_target target;
    struct vx_route route;
    struct vx_snapshot snapshot;
    struct vx_snapshot_users users;
    struct vx_filter *filter;
    struct vx_filter_stream stream, other;
};

static struct world *w; /* the test's own */

static void *take(struct vx_chunk_source *self, size_t bytes) {
    (void)self;
    return malloc(bytes);
}

static void give(struct vx_chunk_source *self, void *chunk, size_t bytes) {
    (void)self;
    (void)bytes;
    free(chunk);
}

static const struct vx_snapshot *snapshot(const struct vx_filter_worker *self) {
    return &VX_CONTAINER_OF(self, struct world, worker)->snapshot;
}

static bool post(const struct vx_filter_worker *self, void (*run)(void *arg, uint64_t now_ns), void *arg) {
    struct world *to = VX_CONTAINER_OF(self, struct world, worker);
    if (to->word_count == WORDS_MAX)
        return false;
    to->words[to->word_count++] = (struct word){run, arg};
    return true;
}

static uint64_t wall_ns(void) {
    return 1700000000u * UINT64_C(1000000000);
}

static void pass(uint64_t ns) {
    w->now_ns += ns;
    vx_timer_wheel_run(&w->wheel, w->now_ns);
}

static void make_route(void) {
    struct vx_backend_endpoint endpoint = {.backend = &w->backend};
    w->heap = (struct vx_chunk_source){take, give, 4096};
    vx_arena_init(&w->arena, w->memory, sizeof w->memory, &w->heap);
    w->config = (struct vx_config_route){.name = VX_SLICE("auth"),
                                         .balance = VX_BALANCE_ROUND_ROBIN,
                                         .backends = &w->backend,
                                         .backend_count = 1};
    w->backend = (struct vx_config_backend){.id = 1, .weight = 1, .address_text = VX_SLICE("10.0.0.1:80")};
    vx_backend_registry_init(&w->registry, &w->heap, 1);
    w->target = (struct vx_target){.name = w->backend.address_text};
    w->route = (struct vx_route){.config = &w->config, .targets = &w->target};
    w->route.set = vx_backend_set_build(&w->registry, &w->arena, &w->config, &endpoint, 1, 1);
    w->users.count = 1;
    w->snapshot =
        (struct vx_snapshot){.routes = &w->route, .route_count = 1, .worker_count = 1, .users = &w->users};
    atomic_store(&w->snapshot.workers_left, 1);
}

static int setup(void **state) {
    (void)state;
    struct vx_wasm_settings settings = {.instances = 20};
    w = calloc(1, sizeof *w);
    w->engine = vx_wasm_engine_new(&settings);
    if (!w->engine || !vx_pwasm_hub_init(&w->hub, NULL))
        return -1;
    w->now_ns = 1000 * ms;
    vx_timer_wheel_init(&w->wheel, w->now_ns);
    fake_client_init(&w->client);
    make_route();
    w->worker = (struct vx_filter_worker){.wheel = &w->wheel,
                                          .client = &w->client.port,
                                          .snapshot = snapshot,
                                          .post = post,
                                          .wall_ns = wall_ns};
    w->hub.crews[0].worker = &w->worker;
    w->hub.crew_count = 1;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fake_client_free(&w->client);
    assert_int_equal(w->users.count, 1); /* nobody holds the snapshot any more */
    vx_backend_set_drop(&w->registry, w->route.set);
    vx_backend_registry_destroy(&w->registry);
    vx_arena_reset(&w->arena);
    vx_pwasm_hub_free(&w->hub);
    vx_wasm_engine_free(w->engine);
    free(w);
    return 0;
}

static void begin(const char *config) {
    struct vx_slice binary = vx_guest_load("probe");
    struct vx_wasm_module module;
    struct vx_wasm_text why = {""};
    struct vx_config_filter settings = {
        .name = VX_SLICE("probe"),
        .config = vx_slice_of(config),
        .limits = {8 * MIB, 50 * ms, 1000 * ms, 1000},
    };
    assert_true(vx_wasm_module_load(&module, w->engine, binary, vx_pwasm_imports(), &why));
    w->filter = vx_pwasm_plugin_new(&w->hub, &settings, &module, &why);
    if (!w->filter)
        fail_msg("%s", why.text);
    vx_guest_free(binary);
}

static void enter(void) {
    w->filter->ops->enter(w->filter, 0, w->now_ns);
}

static void end(void) {
    w->filter->ops->leave(w->filter, 0);
    vx_pwasm_plugin_free(w->filter);
}

static struct vx_pwasm_seat *seat(void) {
    return &VX_CONTAINER_OF(w->filter, struct vx_pwasm_plugin, filter)->seats[0];
}

static void *open_stream(struct vx_filter_stream *s, const char *what) {
    fake_filter_stream_init(s);
    fake_add(s, &s->request.headers, "x-do", what);
    fake_add(s, &s->request.headers, "x-to", "auth");
    return w->filter->ops->open(w->filter, 0, s, w->now_ns);
}

static enum vx_filter_verdict show_head(void *context) {
    return w->filter->ops->on_headers(context, VX_FILTER_REQUEST, true, w->now_ns);
}

static void close_stream(void *context) {
    w->filter->ops->close(context, w->now_ns);
}

static void run_to_its_death(void) {
    void *context = open_stream(&w->stream, "trap");
    assert_non_null(context);
    assert_int_equal(show_head(context), VX_FILTER_FAILED);
    close_stream(context);
}

/* From a failure to the next instance, the back-off being `back_off_ms`. */
static void come_back(unsigned back_off_ms) {
    pass((back_off_ms - 1) * ms);
    vx_pwasm_plugin_tend(w->filter);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_WAITING);
    pass(3 * ms);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_ASKED);
    pass(50 * ms);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_ASKED); /* the control thread has not looked */
    vx_pwasm_plugin_tend(w->filter);
    pass(15 * ms);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_READY);
}

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
    pass(61000 * ms);
    run_to_its_death(); /* it has lived for a minute: the row begins anew */
    assert_int_equal(atomic_load(&seat()->shared.isolated), 0);
    come_back(100);
    end();
}

static void test_ends_in_every_state(void **state) {
    (void)state;
    begin("tick");
    vx_pwasm_plugin_free(w->filter); /* never entered */
    begin("");
    enter();
    run_to_its_death();
    end(); /* waiting */
    begin("");
    enter();
    run_to_its_death();
    pass(102 * ms);
    vx_pwasm_plugin_tend(w->filter);
    end(); /* one is delivered that nobody took */
    begin("");
    enter();
    run_to_its_death();
    w->filter->ops->leave(w->filter, 0);
    pass(1000 * ms);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_WAITING); /* nobody needs it now */
    enter();
    pass(2 * ms);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_ASKED);
    end();
}

static void test_ticks_only_while_it_takes_part(void **state) {
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
    w->filter->ops->leave(w->filter, 0);
    uint64_t calls = seat()->vm->now_ns;
    pass(200 * ms);
    assert_true(seat()->vm->now_ns == calls);
    enter();
    pass(25 * ms);
    assert_true(seat()->vm->now_ns > calls);
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
    w->words[0].run(w->words[0].arg, w->now_ns);
    w->word_count = 0;
    uint32_t id;
    struct vx_pwasm_item *item;
    assert_true(vx_pwasm_queue_find(w->hub.shared, VX_SLICE("probe"), VX_SLICE("jobs"), &id));
    assert_int_equal(vx_pwasm_queue_pop(w->hub.shared, id, &item), VX_PWASM_EMPTY); /* it was taken */
    context = open_stream(&w->stream, "enqueue");
    show_head(context);
    close_stream(context);
    end();
    w->words[0].run(w->words[0].arg, w->now_ns); /* to one that has gone */
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
    assert_int_equal(w->users.count, 2);
    fake_upstream_answer(u, 200, "alice", w->now_ns);
    assert_int_equal(w->stream.continued[0], 1);
    assert_int_equal(w->stream.reviewed, 1);
    struct vx_slice value;
    assert_true(vx_field_map_find(&w->stream.maps[0], VX_SLICE("x-answer"), &value));
    assert_true(vx_slice_eq(value, VX_SLICE("alice")));
    assert_true(u->released);
    finish_call(context);
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

static void leave_plugin(struct vx_snapshot *s, uint32_t worker) {
    (void)s;
    w->filter->ops->leave(w->filter, worker);
}

/* As the control thread does, only at once. */
static void free_plugin(struct vx_snapshot *s) {
    (void)s;
    vx_pwasm_plugin_free(w->filter);
}

/* A reload has taken the plugin out, and only this call keeps it. */
static struct fake_upstream *last_call(void) {
    begin("");
    enter();
    close_stream(call_out());
    w->snapshot.left = leave_plugin;
    w->snapshot.unused = free_plugin;
    vx_snapshot_drop(&w->snapshot, 0);
    assert_int_equal(w->users.count, 1);
    return fake_client_last(&w->client);
}

static void expect_plugin_gone(void) {
    assert_int_equal(w->users.count, 0);
    w->users.count = 1;
    atomic_store(&w->snapshot.workers_left, 1);
}

static void test_plugin_goes_with_its_last_call(void **state) {
    (void)state;
    struct fake_upstream *u = last_call();
    fake_upstream_answer(u, 200, "alice", w->now_ns);
    expect_plugin_gone();
    fake_upstream_fail(last_call(), VX_ERR_BACKEND_RESET, w->now_ns);
    expect_plugin_gone();
    last_call();
    pass(2001 * ms);
    expect_plugin_gone();
}

static void test_plugin_that_dies_goes_with_its_last_call(void **state) {
    (void)state;
    last_call();
    run_to_its_death();
    assert_int_equal(w->users.count, 1); /* while it died, its callers were still in it */
    pass(ms);
    expect_plugin_gone();
}

static void test_plugin_that_dies_goes_before_its_last_call(void **state) {
    (void)state;
    begin("");
    enter();
    close_stream(call_out());
    run_to_its_death();
    assert_int_equal(w->users.count, 2);
    end(); /* the call's snapshot is a later one */
    assert_int_equal(w->users.count, 1);
    pass(ms);
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
    w->filter->ops->leave(w->filter, 0);
    assert_true(fake_client_last(&w->client)->released);
    enter();
    pass(2 * ms); /* it fails, for it was not heard to its end */
    assert_true(vx_list_empty(&seat()->vm->calls));
    end();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_stream_passes),
        TEST(test_failure_takes_its_streams_and_is_mended),
        TEST(test_failures_in_a_row_are_isolated),
        TEST(test_ends_in_every_state),
        TEST(test_ticks_only_while_it_takes_part),
        TEST(test_word_of_a_queue),
        TEST(test_call_is_sent_and_answered),
        TEST(test_failures_of_calls),
        TEST(test_call_that_cannot_begin_or_takes_too_long),
        TEST(test_plugin_goes_with_its_last_call),
        TEST(test_plugin_that_dies_goes_with_its_last_call),
        TEST(test_plugin_that_dies_goes_before_its_last_call),
        TEST(test_answer_larger_than_the_limit),
        TEST(test_calls_end_with_the_instance),
        TEST(test_call_at_start_waits_for_the_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
