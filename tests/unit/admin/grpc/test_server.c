/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC calls over a downstream without a connection: what is answered, what is refused, what happens when the client goes
 * at each point. */
#include "admin/grpc/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/fake_downstream.h"

static struct vx_grpc_server server;
static struct fake_downstream f;
static struct vx_grpc_call *waiting; /* of method Later */
static char seen[64];                /* the message of the last run */
static unsigned runs;

static void answer(struct vx_grpc_call *call, struct vx_slice message) {
    char *room = vx_grpc_answer_room(call, message.len);
    assert_non_null(room);
    if (message.len)
        memcpy(room, message.ptr, message.len);
    vx_grpc_answer(call);
}

static void run(void *user, const struct vx_grpc_method *method, struct vx_grpc_call *call,
                struct vx_slice message) {
    assert_ptr_equal(user, &runs);
    assert_true(message.len < sizeof seen);
    if (message.len)
        memcpy(seen, message.ptr, message.len);
    seen[message.len] = '\0';
    runs++;
    const char *about = method->about;
    if (about[0] == 'e')
        answer(call, message);
    else if (about[0] == 'f')
        vx_grpc_fail(call, VX_GRPC_FAILED_PRECONDITION, VX_SLICE("not\nnow"));
    else
        waiting = call;
}

static const struct vx_grpc_method methods[] = {
    {VX_SLICE("Echo"), "e"},
    {VX_SLICE("Fail"), "f"},
    {VX_SLICE("Later"), "l"},
};

static const struct vx_grpc_service service = {
    .name = VX_SLICE("test.Service"),
    .methods = methods,
    .method_count = 3,
    .limits = {.message_bytes = 50, .held_bytes = 100, .calls = 2},
    .run = run,
};

static void prepare(struct fake_downstream *down, const char *path) {
    fake_downstream_init(down, VX_METHOD_POST, path);
    down->request.version = VX_HTTP_2;
    fake_downstream_add_field(down, "content-type", "application/grpc");
}

static int setup(void **state) {
    (void)state;
    vx_grpc_server_init(&server, &service, &runs);
    waiting = NULL;
    runs = 0;
    prepare(&f, "/test.Service/Echo");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fake_downstream_free(&f);
    assert_int_equal(server.calls, 0);
    assert_int_equal(server.budget.held_bytes, 0);
    return 0;
}

static void use(const char *path) {
    fake_downstream_free(&f);
    prepare(&f, path);
}

static void ask(struct vx_slice body) {
    if (body.len)
        fake_downstream_add_body(&f, body);
    fake_downstream_begin(&f, &server.handler, 0);
}

/* The call ended with this status in the head. */
static void check_failed(const char *grpc_status) {
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.status, 200);
    assert_non_null(strstr(f.fields, "content-type: application/grpc\n"));
    assert_non_null(strstr(f.fields, grpc_status));
    assert_int_equal(f.body_len, 0);
    assert_false(f.trailers_sent);
}

static void answers(void **state) {
    (void)state;
    ask(VX_SLICE("\0\0\0\0\5hello"));
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.status, 200);
    assert_int_equal(f.response.framing, VX_BODY_CHUNKED);
    assert_true(vx_slice_eq(fake_downstream_body(&f), VX_SLICE("\0\0\0\0\5hello")));
    assert_string_equal(f.trailer_fields, "grpc-status: 0\n");
    assert_string_equal(seen, "hello");
}

static void slow_client(void **state) {
    (void)state;
    f.room = 2;
    ask(VX_SLICE("\0\0\0\0\5hello"));
    assert_int_equal(f.released, 0);
    for (unsigned i = 0; !f.released; i++) {
        assert_true(i < 5);
        fake_downstream_writable(&f, 3);
    }
    fake_downstream_check_done(&f);
    assert_int_equal(f.body_len, 10);
}

static void message_in_pieces(void **state) {
    (void)state;
    f.body_waits = true;
    fake_downstream_add_body(&f, VX_SLICE("\0\0"));
    ask(VX_SLICE("\0\0\3ab"));
    assert_int_equal(runs, 0);
    fake_downstream_add_body(&f, VX_SLICE("c"));
    f.body_waits = false;
    f.down.stream.events->on_readable(f.down.stream.user, 0);
    fake_downstream_check_done(&f);
    assert_string_equal(seen, "abc");
}

static void method_fails(void **state) {
    (void)state;
    use("/test.Service/Fail");
    ask(VX_SLICE("\0\0\0\0\0"));
    check_failed("grpc-status: 9\ngrpc-message: not%0Anow\n");
}

static void answer_later(void **state) {
    (void)state;
    use("/test.Service/Later");
    ask(VX_SLICE("\0\0\0\0\1x"));
    assert_false(f.responded);
    answer(waiting, VX_SLICE("done"));
    fake_downstream_check_done(&f);
    assert_int_equal(f.body_len, 9);
}

static void client_goes_while_it_runs(void **state) {
    (void)state;
    for (unsigned fails = 0; fails < 2; fails++) {
        use("/test.Service/Later");
        ask(VX_SLICE("\0\0\0\0\1x"));
        f.down.stream.events->on_failed(f.down.stream.user, 0);
        assert_int_equal(f.released, 1);
        assert_int_equal(server.calls, 1);
        if (fails)
            vx_grpc_fail(waiting, VX_GRPC_INTERNAL, VX_SLICE("nobody hears it"));
        else
            answer(waiting, VX_SLICE("nobody hears it"));
        assert_int_equal(server.calls, 0);
        assert_false(f.responded);
    }
}

static void client_goes_while_it_sends(void **state) {
    (void)state;
    f.body_waits = true;
    ask(VX_SLICE("\0\0\0\0\5he"));
    f.down.stream.events->on_failed(f.down.stream.user, 0);
    assert_int_equal(f.released, 1);
    assert_int_equal(runs, 0);
}

static void body_breaks(void **state) {
    (void)state;
    f.body_broken = true;
    ask(VX_SLICE("\0\0\0\0\5he"));
    assert_int_equal(f.released, 1);
    assert_int_equal(runs, 0);
}

static void client_goes_while_it_reads(void **state) {
    (void)state;
    f.room = 3;
    ask(VX_SLICE("\0\0\0\0\5hello"));
    f.down.stream.events->on_failed(f.down.stream.user, 0);
    assert_int_equal(f.released, 1);
}

static void bad_messages(void **state) {
    (void)state;
    static const struct {
        struct vx_slice body;
        const char *expected;
    } cases[] = {
        {VX_SLICE(""), "grpc-status: 12\ngrpc-message: no message"},
        {VX_SLICE("\0\0\0"), "grpc-status: 13\ngrpc-message: the message was cut"},
        {VX_SLICE("\0\0\0\0\2x"), "grpc-status: 13\ngrpc-message: the message was cut"},
        {VX_SLICE("\1\0\0\0\1x"), "grpc-status: 13\ngrpc-message: the message is compressed"},
        {VX_SLICE("\0\0\0\0\63x"), "grpc-status: 8\ngrpc-message: the message is larger"},
        {VX_SLICE("\0\377\377\377\377"), "grpc-status: 8\ngrpc-message: the message is larger"},
        {VX_SLICE("\0\0\0\0\1xy"), "grpc-status: 12\ngrpc-message: more than one"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        use("/test.Service/Echo");
        ask(cases[i].body);
        check_failed(cases[i].expected);
    }
    assert_int_equal(runs, 0);
}

static void unknown_methods(void **state) {
    (void)state;
    const char *const paths[] = {"/",
                                 "*",
                                 "",
                                 "/test.Service",
                                 "/test.Service/",
                                 "/test.Service/echo",
                                 "/test.Service/Echo/x",
                                 "/test.ServiceX/Echo",
                                 "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        use(paths[i]);
        ask(VX_SLICE("\0\0\0\0\0"));
        check_failed("grpc-status: 12\n");
    }
}

static void content_types(void **state) {
    (void)state;
    static const struct {
        const char *type;
        bool taken;
    } cases[] = {
        {"application/grpc", true},     {"application/grpc+proto", true},
        {"application/grpc;x=y", true}, {"application/grpc+json", false},
        {"application/grpcx", false},   {"application/grpc-web", false},
        {"application/json", false},    {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        use("/test.Service/Echo");
        f.request.headers.count = 0;
        fake_downstream_add_field(&f, "content-type", cases[i].type);
        ask(VX_SLICE("\0\0\0\0\0"));
        fake_downstream_check_done(&f);
        assert_int_equal(f.response.status, cases[i].taken ? 200 : 415);
    }
}

static void compression_is_refused(void **state) {
    (void)state;
    fake_downstream_add_field(&f, "grpc-encoding", "gzip");
    ask(VX_SLICE("\1\0\0\0\1x"));
    check_failed("grpc-accept-encoding: identity\ngrpc-status: 12\n");
    use("/test.Service/Echo");
    fake_downstream_add_field(&f, "grpc-encoding", "identity");
    ask(VX_SLICE("\0\0\0\0\1x"));
    assert_string_equal(f.trailer_fields, "grpc-status: 0\n");
}

static void plain_http(void **state) {
    (void)state;
    f.request.version = VX_HTTP_11;
    f.room = 10;
    ask(VX_SLICE("\0\0\0\0\0"));
    while (!f.released)
        fake_downstream_writable(&f, 50);
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.status, 505);

    use("/test.Service/Echo");
    f.request.method = VX_METHOD_GET;
    ask(VX_SLICE_NONE);
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.status, 405);
    assert_non_null(strstr(f.fields, "allow: POST\n"));
}

static void too_many_calls(void **state) {
    (void)state;
    static struct fake_downstream more[2];
    struct vx_grpc_call *calls[2];
    for (unsigned i = 0; i < 2; i++) {
        prepare(&more[i], "/test.Service/Later");
        fake_downstream_add_body(&more[i], VX_SLICE("\0\0\0\0\0"));
        fake_downstream_begin(&more[i], &server.handler, 0);
        calls[i] = waiting;
    }
    ask(VX_SLICE("\0\0\0\0\0"));
    check_failed("grpc-status: 8\n");
    for (unsigned i = 0; i < 2; i++) {
        answer(calls[i], VX_SLICE_NONE);
        fake_downstream_check_done(&more[i]);
        fake_downstream_free(&more[i]);
    }
}

static void no_memory_in_the_arena(void **state) {
    (void)state;
    f.out_of_memory = true;
    vx_arena_alloc(&f.arena, sizeof f.first - 8);
    ask(VX_SLICE("\0\0\0\0\0"));
    assert_int_equal(f.released, 1);
    assert_false(f.responded);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(answers),
        TEST(slow_client),
        TEST(message_in_pieces),
        TEST(method_fails),
        TEST(answer_later),
        TEST(client_goes_while_it_runs),
        TEST(client_goes_while_it_sends),
        TEST(body_breaks),
        TEST(client_goes_while_it_reads),
        TEST(bad_messages),
        TEST(unknown_methods),
        TEST(content_types),
        TEST(compression_is_refused),
        TEST(plain_http),
        TEST(too_many_calls),
        TEST(no_memory_in_the_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
