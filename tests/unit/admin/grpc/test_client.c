/* SPDX-License-Identifier: Apache-2.0 */
/* A unary call of ours over an HTTP client without connections: what is sent, and how each kind of answer ends it. */
#include "admin/grpc/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/heap.h"
#include "support/fake_upstream.h"

static struct fake_client client;
static struct vx_heap memory;
static const struct vx_target target;
static struct vx_grpc_ask ask;
static char result[256]; /* "code|text|message" */
static unsigned done_count;

static void done(struct vx_grpc_ask *a, enum vx_grpc_code code, struct vx_slice text,
                 struct vx_slice message) {
    assert_ptr_equal(a, &ask);
    snprintf(result, sizeof result, "%d|%.*s|%.*s", (int)code, VX_SLICE_ARG(text), VX_SLICE_ARG(message));
    done_count++;
}

static bool start(void) {
    struct vx_grpc_ask_options options = {
        .client = &client.port,
        .target = &target,
        .memory = &memory.source,
        .path = "/test.Service/Echo",
        .answer_bytes = 100,
    };
    const char *why = NULL;
    memset(&ask, 0, sizeof ask);
    ask.done = done;
    char *room = vx_grpc_ask_room(&ask, 5);
    assert_non_null(room);
    memcpy(room, "hello", 5);
    if (vx_grpc_ask_start(&ask, &options, &why, 7))
        return true;
    assert_non_null(why);
    return false;
}

static int setup(void **state) {
    (void)state;
    memory = vx_heap(malloc, free, 1024);
    fake_client_init(&client);
    done_count = 0;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fake_client_free(&client);
    return 0;
}

/* Answers with these bytes and trailers. */
static void finish(struct vx_slice body, const char *status, const char *message) {
    struct vx_header items[2] = {
        {"grpc-status", status, (uint32_t)strlen(status), 11, VX_HEADER_GRPC_STATUS, 0},
        {"grpc-message", message, (uint32_t)strlen(message), 12, VX_HEADER_OTHER, 0}};
    struct vx_headers trailers = {items, UINT64_C(1) << VX_HEADER_GRPC_STATUS | 1, 2, 2};
    struct fake_upstream *u = fake_client_last(&client);
    u->body_waits = true;
    fake_upstream_answer(u, 200, "", 8);
    u->body_waits = false;
    u->rest = body;
    u->answer_trailers = &trailers;
    u->up.stream.events->on_readable(u->up.stream.user, 8);
    assert_true(u->released);
    assert_int_equal(done_count, 1);
}

static void answered(void **state) {
    (void)state;
    assert_true(start());
    struct fake_upstream *u = fake_client_last(&client);
    assert_string_equal(u->path, "/test.Service/Echo");
    assert_string_equal(u->fields, "host: localhost\nte: trailers\ncontent-type: application/grpc\n");
    assert_true(u->finished);
    assert_int_equal(u->body_len, 10);
    assert_memory_equal(u->body, "\0\0\0\0\5hello", 10);
    finish(VX_SLICE("\0\0\0\0\2ok"), "0", "");
    assert_string_equal(result, "0||ok");
}

static void server_says_no(void **state) {
    (void)state;
    assert_true(start());
    finish(VX_SLICE_NONE, "9", "not%0Anow");
    assert_string_equal(result, "9|not\nnow|");
}

static void status_in_the_head(void **state) {
    (void)state;
    assert_true(start());
    struct fake_upstream *u = fake_client_last(&client);
    fake_upstream_add_field(u, "grpc-status", "12");
    fake_upstream_answer(u, 200, "", 8);
    assert_string_equal(result, "12||");
}

static void cut_message(void **state) {
    (void)state;
    assert_true(start());
    finish(VX_SLICE("\0\0\0\0\5o"), "0", "");
    assert_string_equal(result, "13|the message was cut|o");
}

static void too_long_an_answer(void **state) {
    (void)state;
    assert_true(start());
    finish(VX_SLICE("\0\0\0\0\145x"), "0", "");
    assert_int_equal(strncmp(result, "8|", 2), 0);
}

static void no_grpc(void **state) {
    (void)state;
    assert_true(start());
    fake_upstream_answer(fake_client_last(&client), 404, "", 8);
    assert_string_equal(result, "13|what answered does not speak gRPC|");
    assert_true(start());
    fake_upstream_answer(fake_client_last(&client), 200, "", 8);
    assert_string_equal(result, "13|the answer is not gRPC's|");
}

static void breaks(void **state) {
    (void)state;
    assert_true(start());
    fake_upstream_fail(fake_client_last(&client), VX_ERR_BACKEND_RESET, 8);
    assert_string_equal(result, "13|backend_reset|");
    assert_true(start());
    struct fake_upstream *u = fake_client_last(&client);
    u->body_broken = true;
    fake_upstream_answer(u, 200, "", 8);
    assert_int_equal(strncmp(result, "13|the connection broke", 23), 0);
}

static void slow_server(void **state) {
    (void)state;
    client.room = 3;
    assert_true(start());
    struct fake_upstream *u = fake_client_last(&client);
    assert_false(u->finished);
    fake_upstream_writable(u, 100, 8);
    assert_true(u->finished);
    assert_int_equal(u->body_len, 10);
    vx_grpc_ask_cancel(&ask);
    assert_true(u->released);
    assert_int_equal(done_count, 0);
}

static void cannot_open(void **state) {
    (void)state;
    client.refuse = 1;
    client.with = VX_ERR_CONNECT_FAILED;
    assert_false(start());
    assert_int_equal(done_count, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(answered),    TEST(server_says_no),     TEST(status_in_the_head),
        TEST(cut_message), TEST(too_long_an_answer), TEST(no_grpc),
        TEST(breaks),      TEST(slow_server),        TEST(cannot_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
