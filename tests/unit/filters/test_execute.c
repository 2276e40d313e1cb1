/* SPDX-License-Identifier: Apache-2.0 */
/* `execute` filters in real exchanges: every way they can end, and that nothing stays of a run. */
#include "filters/execute.h"

#include <stdio.h>

#include "filters/filters.h"
#include "support/guest.h"
#include "unit/core/exchange/fixture.h"

struct executed {
    struct fixture *x;
    struct vx_filter_engine *engine;
    struct vx_filter_worker worker;
    struct vx_filter *filter;
    struct vx_filter_chain chain;
    struct vx_log_port log;
    unsigned lines;
    char last[512];
};

static void write_log(const struct vx_log_port *self, enum vx_log_level level, struct vx_slice text) {
    struct executed *t = (struct executed *)((char *)(uintptr_t)self - offsetof(struct executed, log));
    (void)level;
    t->lines++;
    snprintf(t->last, sizeof t->last, "%.*s", VX_SLICE_ARG(text));
}

static bool post(const struct vx_filter_worker *self, void (*run)(void *, uint64_t), void *arg) {
    (void)self, (void)run, (void)arg;
    return false;
}

static uint64_t wall_ns(void) {
    return 1;
}

static struct vx_filter *load(struct executed *t, const char *guest, bool fails_open,
                              struct vx_config_error *error) {
    struct vx_config_filter config = {
        .name = vx_slice_of(guest),
        .fails_open = fails_open,
        .limits = {
            .memory_bytes = 1 << 20, .time_ns = 5000000, .start_time_ns = 10000000000, .body_bytes = 1000}};
    struct vx_slice binary = vx_guest_load(guest);
    struct vx_filter *filter = t->engine->load(t->engine, &config, binary, error);
    vx_guest_free(binary);
    return filter;
}

static struct executed *executed_new(const char *guest, bool fails_open) {
    static const struct vx_config_wasm wasm = {.instances = 16, .cache_path = {"off", 3}};
    struct executed *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->x = fixture_new();
    fixture_start(t->x);
    t->log = (struct vx_log_port){.least = VX_LOG_INFO, .write = write_log};
    t->engine = vx_filters_new(&t->log);
    assert_non_null(t->engine);
    t->worker = (struct vx_filter_worker){.client = &t->x->client.port, .post = post, .wall_ns = wall_ns};
    t->engine->attach(t->engine, 0, &t->worker);
    t->engine->configure(t->engine, &wasm);
    struct vx_config_error error;
    t->filter = load(t, guest, fails_open, &error);
    if (!t->filter)
        fail_msg("%s", error.text);
    t->chain = (struct vx_filter_chain){&t->filter, 1};
    t->x->made[0].chain = &t->chain;
    return t;
}

static void executed_free(struct executed *t) {
    t->engine->drop(t->engine, t->filter);
    vx_filters_free(t->engine);
    free(t);
}

/* A request with the header; the status that the client gets, 200 where it comes to the backend. */
static uint16_t ask(struct executed *t, const char *x_do) {
    struct fixture *x = t->x;
    unsigned before = x->client.count;
    x->f.released = 0;
    fixture_request(x, VX_METHOD_GET, "/api/x");
    if (x_do)
        fake_downstream_add_field(&x->f, "X-Do", x_do);
    fixture_begin(x);
    if (x->client.count > before)
        fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    fake_downstream_check_done(&x->f);
    return x->f.response.status;
}

/* The same as the only request of a proxy. */
static uint16_t ask_once(const char *x_do, enum vx_error_code error) {
    struct executed *t = executed_new("decide", false);
    uint16_t status = ask(t, x_do);
    assert_int_equal(t->x->record.error, error);
    fixture_free(t->x);
    executed_free(t);
    return status;
}

static void test_statuses(void **state) {
    (void)state;
    assert_int_equal(ask_once(NULL, VX_ERR_NONE), 200);
    assert_int_equal(ask_once("200", VX_ERR_NONE), 200);
    assert_int_equal(ask_once("400", VX_ERR_FILTER_ANSWERED), 400);
    assert_int_equal(ask_once("599", VX_ERR_FILTER_ANSWERED), 599);
    static const char *const failures[] = {"0", "1", "199", "201", "302", "399", "600", "4000000000"};
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        assert_int_equal(ask_once(failures[i], VX_ERR_FILTER_FAILED), 500);
}

static void test_answer_of_a_status(void **state) {
    (void)state;
    struct executed *t = executed_new("decide", false);
    assert_int_equal(ask(t, "403"), 403);
    assert_int_equal(t->x->f.body_len, 21);
    assert_memory_equal(t->x->f.body, "{\"error\":\"Forbidden\"}", 21);
    assert_non_null(strstr(t->x->f.fields, "content-type: application/json\n"));
    fixture_free(t->x);
    executed_free(t);
}

static void test_guests_that_misbehave(void **state) {
    (void)state;
    static const char *const words[] = {"trap", "loop", "deep"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct executed *t = executed_new("decide", false);
        assert_int_equal(ask(t, words[i]), 500);
        assert_int_equal(t->lines, 1);
        assert_non_null(strstr(t->last, "filter decide: "));
        fixture_free(t->x);
        executed_free(t);
    }
    assert_int_equal(ask_once("grow", VX_ERR_NONE), 200); /* it only gets no more */
    assert_int_equal(ask_once("linger", VX_ERR_NONE), 200);
}

static void test_host_functions(void **state) {
    (void)state;
    struct executed *t = executed_new("decide", false);
    assert_int_equal(ask(t, "add"), 200);
    assert_non_null(strstr(fixture_up(t->x)->fields, "x-added: yes\n"));
    fixture_free(t->x);
    executed_free(t);
    assert_int_equal(ask_once("answer", VX_ERR_FILTER_ANSWERED), 418);
}

/* The fixture counts on one record a proxy, so a loop of requests resets it. */
static uint16_t ask_again(struct executed *t, const char *x_do) {
    fake_downstream_free(&t->x->f);
    t->x->records = 0;
    t->x->client.count = 0;
    return ask(t, x_do);
}

static void ask_often(const char *guest, const char *x_do, unsigned times) {
    struct executed *t = executed_new(guest, false);
    assert_int_equal(ask(t, x_do), 200);
    for (unsigned i = 0; i < times; i++) {
        free(fixture_up(t->x)->body);
        assert_int_equal(ask_again(t, x_do), 200);
    }
    fixture_free(t->x);
    executed_free(t);
}

static void test_nothing_stays_of_a_run(void **state) {
    (void)state;
    ask_often("decide", "runs", 50);
    ask_often("slim", NULL, 3 * VX_WASM_SLIM_SERIES);
}

/* There is no allocator yet then; in particular not the one of the run before, which has gone. */
static void test_a_start_function_that_asks_for_something(void **state) {
    (void)state;
    struct executed *t = executed_new("asks_at_start", false);
    assert_int_equal(ask(t, NULL), 200);
    free(fixture_up(t->x)->body);
    assert_int_equal(ask_again(t, NULL), 200);
    fixture_free(t->x);
    executed_free(t);
}

/* What it says when it is tried is not kept for the first request, and the requests that it sends then go with it. */
static void test_a_start_function_that_speaks(void **state) {
    (void)state;
    struct executed *t = executed_new("speaks_at_start", false);
    const struct vx_execute *e = (const struct vx_execute *)t->filter;
    assert_string_equal(t->last, "filter speaks_at_start: hello");
    assert_int_equal(t->lines, 1);
    assert_true(vx_list_empty(&e->seats[0].vm.calls));
    assert_int_equal(ask(t, NULL), 200);
    assert_int_equal(t->lines, 2);
    fixture_free(t->x);
    executed_free(t);
}

static void test_isolation(void **state) {
    (void)state;
    struct executed *t = executed_new("decide", true);
    const struct vx_execute *e = (const struct vx_execute *)t->filter;
    const struct vx_execute_shared *shared = &e->seats[0].shared;
    assert_int_equal(ask(t, "trap"), 200); /* it fails open */
    for (unsigned i = 0; i < 9; i++) {
        free(fixture_up(t->x)->body);
        assert_int_equal(ask_again(t, "trap"), 200);
    }
    assert_int_equal(shared->traps, 5); /* then it is left alone */
    assert_int_equal(shared->isolated, 1);
    t->x->now_ns += 100 * 1000000;
    free(fixture_up(t->x)->body);
    assert_int_equal(ask_again(t, "trap"), 200);
    assert_int_equal(shared->traps, 6);
    t->x->now_ns += 200 * 1000000;
    free(fixture_up(t->x)->body);
    assert_int_equal(ask_again(t, "200"), 200);
    assert_int_equal(shared->isolated, 0);
    for (unsigned i = 0; i < 4; i++) { /* the row has begun anew */
        free(fixture_up(t->x)->body);
        assert_int_equal(ask_again(t, "trap"), 200);
    }
    assert_int_equal(shared->traps, 10);
    assert_int_equal(shared->isolated, 0);
    fixture_free(t->x);
    executed_free(t);
}

static void refuse(struct executed *t, const char *wasm, size_t bytes, const char *says) {
    struct vx_config_filter config = {
        .name = VX_SLICE("bad"),
        .wasm_place = {3, 4},
        .limits = {
            .memory_bytes = 1 << 20, .time_ns = 1000000, .start_time_ns = 1000000000, .body_bytes = 1000}};
    struct vx_config_error error = {.text = ""};
    assert_null(t->engine->load(t->engine, &config, vx_slice(wasm, bytes), &error));
    assert_int_equal(error.place.line, 3);
    if (!strstr(error.text, says))
        fail_msg("`%s` does not say `%s`", error.text, says);
}

static void test_modules_that_are_none(void **state) {
    (void)state;
    /* (module (func (export "execute") (param i32))) */
    static const char wrong_type[] = "\0asm\1\0\0\0\1\5\1`\1\177\0\3\2\1\0\7\13\1\7execute\0\0\n\4\1\2\0\13";
    struct executed *t = executed_new("pass", false);
    refuse(t, "not a module", 12, "filter bad: ");
    refuse(t, wrong_type, sizeof wrong_type - 1, "its `execute` must take nothing and return an i32");
    assert_int_equal(ask(t, NULL), 200);
    fixture_free(t->x);
    executed_free(t);
}

static void test_settings_for_plugins_are_refused(void **state) {
    (void)state;
    struct executed *t = executed_new("pass", false);
    struct vx_config_filter base = {
        .name = VX_SLICE("bad"),
        .limits = {
            .memory_bytes = 1 << 20, .time_ns = 1000000, .start_time_ns = 1000000000, .body_bytes = 1000}};
    struct vx_config_filter each[6] = {base, base, base, base, base, base};
    each[0].config = each[1].vm_config = each[2].root_id = each[3].vm_id = VX_SLICE("x");
    each[4].body_continues = each[5].limits.of_plugins = true;
    struct vx_slice binary = vx_guest_load("pass");
    struct vx_config_error error = {.text = ""};
    /* Also where all else is as in one that is there already. */
    struct vx_filter *without = t->engine->load(t->engine, &base, binary, &error);
    assert_non_null(without);
    for (unsigned i = 0; i < 6; i++) {
        error.text[0] = '\0';
        assert_null(t->engine->load(t->engine, &each[i], binary, &error));
        assert_non_null(strstr(error.text, "for Proxy-WASM plugins"));
    }
    t->engine->drop(t->engine, without);
    vx_guest_free(binary);
    assert_int_equal(ask(t, NULL), 200);
    fixture_free(t->x);
    executed_free(t);
}

static void test_one_module_is_held_once(void **state) {
    (void)state;
    struct executed *t = executed_new("pass", false);
    struct vx_config_error error;
    struct vx_filter *same = load(t, "pass", false, &error), *other = load(t, "pass", true, &error);
    assert_ptr_equal(same, t->filter);
    assert_ptr_not_equal(other, t->filter);
    t->engine->drop(t->engine, same);
    t->engine->drop(t->engine, other);
    assert_int_equal(ask(t, NULL), 200);
    fixture_free(t->x);
    executed_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_answer_of_a_status),
        cmocka_unit_test(test_guests_that_misbehave),
        cmocka_unit_test(test_host_functions),
        cmocka_unit_test(test_nothing_stays_of_a_run),
        cmocka_unit_test(test_a_start_function_that_asks_for_something),
        cmocka_unit_test(test_a_start_function_that_speaks),
        cmocka_unit_test(test_isolation),
        cmocka_unit_test(test_modules_that_are_none),
        cmocka_unit_test(test_settings_for_plugins_are_refused),
        cmocka_unit_test(test_one_module_is_held_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
