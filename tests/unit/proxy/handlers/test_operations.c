/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics listener's pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/handlers/operations.h"
#include "support/check_json.h"
#include "support/fake_downstream.h"

static struct vx_operations operations;
static struct fake_downstream f;
static struct json_object json;
static enum vx_readiness readiness;
static size_t page_bytes;
static bool page_fails;

static bool render(void *user, struct vx_text *page) {
    assert_ptr_equal(user, &page_bytes);
    for (size_t i = 0; i < page_bytes; i++)
        vx_text_add(page, i % 10 == 9 ? VX_SLICE("\n") : VX_SLICE("x"));
    return !page_fails;
}

static enum vx_readiness is_ready(void *user) {
    assert_ptr_equal(user, &page_bytes);
    return readiness;
}

static int setup(void **state) {
    (void)state;
    vx_operations_init(&operations, &(struct vx_operations_source){
                                        .user = &page_bytes, .metrics = render, .readiness = is_ready});
    readiness = VX_READY;
    page_bytes = 100;
    page_fails = false;
    return 0;
}

static void ask(enum vx_method method, const char *path) {
    fake_downstream_init(&f, method, path);
    fake_downstream_begin(&f, &operations.handler, 0);
}

static void check_json_answer(uint16_t status) {
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.status, status);
    assert_non_null(strstr(f.fields, "content-type: application/json\n"));
    assert_true(json_read(&json, fake_downstream_body(&f)));
}

static void healthz(void **state) {
    (void)state;
    for (int i = VX_STARTING; i <= VX_DRAINING; i++) {
        readiness = (enum vx_readiness)i;
        ask(VX_METHOD_GET, "/healthz");
        check_json_answer(200);
        json_check(&json, "status", "alive");
        fake_downstream_free(&f);
    }
}

static void readyz(void **state) {
    (void)state;
    ask(VX_METHOD_GET, "/readyz");
    check_json_answer(200);
    json_check(&json, "status", "ready");
    fake_downstream_free(&f);

    readiness = VX_DRAINING;
    ask(VX_METHOD_GET, "/readyz?verbose");
    check_json_answer(503);
    json_check(&json, "error", "Service Unavailable");
    json_check(&json, "status", "draining");
    fake_downstream_free(&f);

    readiness = VX_STARTING;
    ask(VX_METHOD_HEAD, "/readyz");
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.status, 503);
    assert_true(f.response.body_bytes > 0);
    fake_downstream_free(&f);
}

static void metrics(void **state) {
    (void)state;
    ask(VX_METHOD_GET, "/metrics");
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.status, 200);
    assert_string_equal(f.fields, "content-type: text/plain; version=0.0.4; charset=utf-8\n");
    assert_int_equal(f.body_len, 100);
    assert_int_equal(operations.pages, 0);
    fake_downstream_free(&f);

    ask(VX_METHOD_HEAD, "/metrics");
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.body_bytes, 100);
    assert_int_equal(operations.pages, 0);
    fake_downstream_free(&f);
}

static void large_page_in_pieces(void **state) {
    (void)state;
    page_bytes = 300000;
    fake_downstream_init(&f, VX_METHOD_GET, "/metrics");
    f.room = 1000;
    fake_downstream_begin(&f, &operations.handler, 0);
    unsigned events = 0;
    while (!f.released) {
        assert_int_equal(operations.pages, 1);
        fake_downstream_writable(&f, 7777);
        events++;
    }
    assert_int_equal(events, (300000 - 1000 + 7776) / 7777);
    fake_downstream_check_done(&f);
    for (size_t i = 0; i < f.body_len; i++)
        assert_int_equal(f.body[i], i % 10 == 9 ? '\n' : 'x');
    assert_int_equal(operations.pages, 0);
    fake_downstream_free(&f);
}

static void reader_goes_away(void **state) {
    (void)state;
    fake_downstream_init(&f, VX_METHOD_GET, "/metrics");
    f.room = 10;
    fake_downstream_begin(&f, &operations.handler, 0);
    assert_int_equal(operations.pages, 1);
    f.down.stream.events->on_failed(f.down.stream.user, 0);
    assert_int_equal(f.released, 1);
    assert_int_equal(operations.pages, 0);
    fake_downstream_free(&f);
}

static void slow_readers_are_bounded(void **state) {
    (void)state;
    static struct fake_downstream slow[VX_OPERATIONS_PAGES_MAX];
    for (unsigned i = 0; i < VX_OPERATIONS_PAGES_MAX; i++) {
        fake_downstream_init(&slow[i], VX_METHOD_GET, "/metrics");
        slow[i].room = 0;
        fake_downstream_begin(&slow[i], &operations.handler, 0);
        assert_int_equal(slow[i].response.status, 200);
    }
    ask(VX_METHOD_GET, "/metrics");
    check_json_answer(503);
    fake_downstream_free(&f);
    for (unsigned i = 0; i < VX_OPERATIONS_PAGES_MAX; i++) {
        fake_downstream_writable(&slow[i], SIZE_MAX);
        fake_downstream_check_done(&slow[i]);
        fake_downstream_free(&slow[i]);
    }
    ask(VX_METHOD_GET, "/metrics");
    assert_int_equal(f.response.status, 200);
    fake_downstream_free(&f);
}

static void page_without_memory(void **state) {
    (void)state;
    page_fails = true;
    ask(VX_METHOD_GET, "/metrics");
    check_json_answer(503);
    json_check(&json, "error", "Service Unavailable");
    assert_int_equal(operations.pages, 0);
    fake_downstream_free(&f);
}

static void unknown_paths_and_methods(void **state) {
    (void)state;
    const char *const unknown[] = {"/", "/metrics/", "/Metrics", "/healthz/x", "*"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        ask(i % 2 ? VX_METHOD_GET : VX_METHOD_POST, unknown[i]);
        check_json_answer(404);
        json_check(&json, "error", "Not Found");
        fake_downstream_free(&f);
    }
    ask(VX_METHOD_POST, "/metrics");
    check_json_answer(405);
    assert_non_null(strstr(f.fields, "allow: GET, HEAD\n"));
    json_check(&json, "error", "Method Not Allowed");
    fake_downstream_free(&f);
}

static void no_memory_for_the_request(void **state) {
    (void)state;
    fake_downstream_init(&f, VX_METHOD_GET, "/metrics");
    f.out_of_memory = true;
    vx_arena_alloc(&f.arena, sizeof f.first - 8);
    fake_downstream_begin(&f, &operations.handler, 0);
    assert_int_equal(f.released, 1);
    assert_false(f.responded);
    fake_downstream_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(healthz, setup),
        cmocka_unit_test_setup(readyz, setup),
        cmocka_unit_test_setup(metrics, setup),
        cmocka_unit_test_setup(large_page_in_pieces, setup),
        cmocka_unit_test_setup(reader_goes_away, setup),
        cmocka_unit_test_setup(slow_readers_are_bounded, setup),
        cmocka_unit_test_setup(page_without_memory, setup),
        cmocka_unit_test_setup(unknown_paths_and_methods, setup),
        cmocka_unit_test_setup(no_memory_for_the_request, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
