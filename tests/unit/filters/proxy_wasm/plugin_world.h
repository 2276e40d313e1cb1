/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin on one worker, with clock, client and streams in the test's hand. The plugin is one of tests/guests. */
#ifndef VX_TESTS_PROXY_WASM_PLUGIN_WORLD_H
#define VX_TESTS_PROXY_WASM_PLUGIN_WORLD_H

#include "filters/proxy_wasm/plugin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/heap.h"
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
    uint64_t now_ns, turn_ns;
    unsigned clock_reads; /* at the beginning and the end of a turn */
    struct vx_heap heap;
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
    struct vx_log_port log;
    char logged[4096]; /* all lines, each with a newline */
};

static struct world *w; /* the test's own */

static inline bool post(const struct vx_filter_worker *self, void (*run)(void *arg, uint64_t now_ns),
                        void *arg) {
    struct world *to = VX_CONTAINER_OF(self, struct world, worker);
    if (to->word_count == WORDS_MAX)
        return false;
    to->words[to->word_count++] = (struct word){run, arg};
    return true;
}

static inline uint64_t wall_ns(void) {
    return 1700000000u * UINT64_C(1000000000);
}

/* By which turns are measured. A turn takes `turn_ns`. */
static inline uint64_t clock_ns(void) {
    return ++w->clock_reads * w->turn_ns;
}

static inline void pass(uint64_t ns) {
    w->now_ns += ns;
    vx_timer_wheel_run(&w->wheel, w->now_ns);
}

static inline void make_route(void) {
    struct vx_backend_endpoint endpoint = {.backend = &w->backend};
    w->heap = vx_heap(malloc, free, 4096);
    vx_arena_init(&w->arena, w->memory, sizeof w->memory, &w->heap.source);
    w->config = (struct vx_config_route){.name = VX_SLICE("auth"),
                                         .balance = VX_BALANCE_ROUND_ROBIN,
                                         .backends = &w->backend,
                                         .backend_count = 1};
    w->backend = (struct vx_config_backend){.id = 1, .weight = 1, .address_text = VX_SLICE("10.0.0.1:80")};
    vx_backend_registry_init(&w->registry, &w->heap.source, 1);
    w->target = (struct vx_target){.name = w->backend.address_text};
    w->route = (struct vx_route){.config = &w->config, .targets = &w->target};
    w->route.set = vx_backend_set_build(&w->registry, &w->arena, &w->config, &endpoint, 1, 1);
    w->snapshot = (struct vx_snapshot){.routes = &w->route, .route_count = 1};
    vx_snapshot_begin(&w->snapshot, &w->users, 1);
}

static inline void write_log(const struct vx_log_port *self, enum vx_log_level level, struct vx_slice text) {
    struct world *to = VX_CONTAINER_OF(self, struct world, log);
    size_t n = strlen(to->logged);
    (void)level;
    snprintf(to->logged + n, sizeof to->logged - n, "%.*s\n", VX_SLICE_ARG(text));
}

/* How often a line of the log ends in `text`. */
static inline unsigned said(const char *text) {
    unsigned count = 0;
    char line[256];
    snprintf(line, sizeof line, "%s\n", text);
    for (const char *at = w->logged; (at = strstr(at, line)); at++)
        count++;
    return count;
}

static inline int setup(void **state) {
    (void)state;
    struct vx_wasm_settings settings = {.instances = 20};
    w = calloc(1, sizeof *w);
    w->engine = vx_wasm_engine_new(&settings);
    w->log = (struct vx_log_port){.least = VX_LOG_INFO, .write = write_log};
    if (!w->engine || !vx_pwasm_hub_init(&w->hub, &w->log))
        return -1;
    w->now_ns = 1000 * ms;
    vx_timer_wheel_init(&w->wheel, w->now_ns);
    fake_client_init(&w->client);
    make_route();
    w->worker = (struct vx_filter_worker){
        .wheel = &w->wheel, .client = &w->client.port, .post = post, .wall_ns = wall_ns};
    vx_pwasm_hub_attach(&w->hub, 0, &w->worker);
    w->hub.crews[0].turns.clock_ns = clock_ns;
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    fake_client_free(&w->client);
    assert_int_equal(w->users.keepers, 1); /* nobody keeps the snapshot any more */
    vx_pwasm_hub_detach(&w->hub, 0);
    vx_backend_set_drop(&w->registry, w->route.set);
    vx_backend_registry_destroy(&w->registry);
    vx_arena_reset(&w->arena);
    vx_pwasm_hub_free(&w->hub);
    vx_wasm_engine_free(w->engine);
    free(w);
    return 0;
}

static inline void begin_guest(const char *guest, const char *config, uint64_t end_time_ns) {
    struct vx_slice binary = vx_guest_load(guest);
    struct vx_wasm_module module;
    struct vx_wasm_text why = {""};
    struct vx_config_filter settings = {
        .name = vx_slice_of(guest),
        .config = vx_slice_of(config),
        .limits = {.memory_bytes = 8 * MIB,
                   .time_ns = 50 * ms,
                   .start_time_ns = 1000 * ms,
                   .body_bytes = 1000,
                   .end_time_ns = end_time_ns},
    };
    assert_true(vx_wasm_module_load(&module, w->engine, binary, vx_pwasm_imports(), &why));
    w->filter = vx_pwasm_plugin_new(&w->hub, &settings, &module, &why);
    if (!w->filter)
        fail_msg("%s", why.text);
    vx_guest_free(binary);
}

static inline void begin(const char *config) {
    begin_guest("probe", config, 0);
}

static inline void enter(void) {
    w->filter->ops->enter(w->filter, 0, &w->snapshot, w->now_ns);
}

/* What was posted to the worker. */
static inline void run_words(void) {
    for (unsigned i = 0; i < w->word_count; i++)
        w->words[i].run(w->words[i].arg, w->now_ns);
    w->word_count = 0;
}

/* Its last hold is dropped, and the worker hears of it. */
static inline void begin_end(void) {
    vx_pwasm_plugin_order(w->filter, VX_PWASM_ORDER_END);
    run_words();
}

static inline void expect_end(void) {
    assert_true(vx_pwasm_plugin_has_ended(w->filter));
    vx_pwasm_plugin_free(w->filter);
    assert_int_equal(w->users.keepers, 1);
}

static inline void end(void) {
    begin_end();
    expect_end();
}

static inline struct vx_pwasm_seat *seat(void) {
    return &VX_CONTAINER_OF(w->filter, struct vx_pwasm_plugin, filter)->seats[0];
}

static inline void *open_stream(struct vx_filter_stream *s, const char *what) {
    fake_filter_stream_init(s);
    fake_add(s, &s->request.headers, "x-do", what);
    fake_add(s, &s->request.headers, "x-to", "auth");
    return w->filter->ops->open(w->filter, 0, s, w->now_ns);
}

static inline enum vx_filter_verdict show_head(void *context) {
    return w->filter->ops->on_headers(context, VX_FILTER_REQUEST, true, w->now_ns);
}

static inline void close_stream(void *context) {
    w->filter->ops->close(context, w->now_ns);
}

static inline void run_to_its_death(void) {
    void *context = open_stream(&w->stream, "trap");
    assert_non_null(context);
    assert_int_equal(show_head(context), VX_FILTER_FAILED);
    close_stream(context);
}

/* From a failure to the next instance, the back-off being `back_off_ms`. */
static inline void come_back(unsigned back_off_ms) {
    pass((back_off_ms - 1) * ms);
    vx_pwasm_plugin_start_one(w->filter);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_WAITING);
    pass(3 * ms);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_ASKED);
    pass(50 * ms);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_ASKED); /* the control thread has not looked */
    vx_pwasm_plugin_start_one(w->filter);
    pass(15 * ms);
    assert_int_equal(seat()->state, VX_PWASM_SEAT_READY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
