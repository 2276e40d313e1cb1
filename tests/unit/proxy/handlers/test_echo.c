/* SPDX-License-Identifier: Apache-2.0 */
/* The echo backend: short answers, status, delay, bytes, and the mirrored request with its body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/handlers/echo.h"
#include "support/fake_downstream.h"

enum { LARGE_BYTES = 1000 * 1000 };

static struct vx_echo echo;
static struct vx_timer_wheel wheel;
static struct fake_downstream f;
static char large[LARGE_BYTES];

static const uint64_t ms = 1000000, start_ns = 5000000000;

static int setup(void **state) {
    (void)state;
    vx_timer_wheel_init(&wheel, start_ns);
    vx_echo_init(&echo, &wheel, 9001);
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 2654435761u >> 13);
    return 0;
}

static void ask(enum vx_method method, const char *path) {
    fake_downstream_init(&f, method, path);
    fake_downstream_begin(&f, &echo.handler, start_ns);
}

static void check_text(uint16_t status, const char *text) {
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.status, status);
    assert_string_equal(f.fields, "content-type: text/plain; charset=utf-8\nx-echo-port: 9001\n");
    struct vx_slice body = fake_downstream_body(&f);
    if (!vx_slice_eq(body, vx_slice_of(text))) {
        print_error("body `%.*s`, not `%s`\n", VX_SLICE_ARG(body), text);
        fail();
    }
    fake_downstream_free(&f);
}

static void greeting(void **state) {
    (void)state;
    ask(VX_METHOD_GET, "/");
    check_text(200, "Hello from the echo backend on port 9001.\n");
    ask(VX_METHOD_HEAD, "/");
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.body_bytes, strlen("Hello from the echo backend on port 9001.\n"));
    fake_downstream_free(&f);
}

static void statuses(void **state) {
    (void)state;
    ask(VX_METHOD_GET, "/status/503");
    check_text(503, "503 Service Unavailable\n");
    ask(VX_METHOD_POST, "/status/201");
    check_text(201, "201 Created\n");
    const uint16_t empty[] = {204, 304};
    for (unsigned i = 0; i < 2; i++) {
        ask(VX_METHOD_GET, i ? "/status/304" : "/status/204");
        fake_downstream_check_done(&f);
        assert_int_equal(f.response.status, empty[i]);
        assert_int_equal(f.body_len, 0);
        fake_downstream_free(&f);
    }
    const char *const wrong[] = {"/status/",    "/status/100", "/status/600",
                                 "/status/20x", "/status/-1",  "/status/99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ask(VX_METHOD_GET, wrong[i]);
        check_text(400, "/status/ takes a status from 200 to 599.\n");
    }
}

static void delays(void **state) {
    (void)state;
    ask(VX_METHOD_GET, "/delay/500ms");
    assert_false(f.responded);
    vx_timer_wheel_run(&wheel, start_ns + 499 * ms);
    assert_false(f.responded);
    vx_timer_wheel_run(&wheel, start_ns + 502 * ms);
    check_text(200, "waited 500ms\n");

    ask(VX_METHOD_GET, "/delay/0s");
    assert_false(f.responded);
    vx_timer_wheel_run(&wheel, start_ns + 510 * ms);
    check_text(200, "waited 0s\n");

    const char *const wrong[] = {"/delay/",     "/delay/5",   "/delay/5h",
                                 "/delay/601s", "/delay/11m", "/delay/ms"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ask(VX_METHOD_GET, wrong[i]);
        check_text(400, "/delay/ takes a duration up to ten minutes, as 20ms, 5s or 1m.\n");
    }
}

static void client_leaves_while_waiting(void **state) {
    (void)state;
    ask(VX_METHOD_GET, "/delay/1m");
    f.down.stream.events->on_failed(f.down.stream.user, start_ns);
    assert_int_equal(f.released, 1);
    vx_timer_wheel_run(&wheel, start_ns + 120000 * ms); /* a timer left behind would fire into freed memory */
    assert_false(f.responded);
    fake_downstream_free(&f);
}

/* Lets an answer through in pieces of `room` bytes; returns how often on_readable was asked for. */
static unsigned pump(size_t room) {
    unsigned turns = 0;
    while (!f.released) {
        if (f.again) {
            f.again = 0;
            turns++;
            f.room = room;
            f.down.stream.events->on_readable(f.down.stream.user, 0);
        } else {
            fake_downstream_writable(&f, room);
        }
    }
    return turns;
}

static void bytes(void **state) {
    (void)state;
    ask(VX_METHOD_GET, "/bytes/100");
    fake_downstream_check_done(&f);
    assert_int_equal(f.body_len, 100);
    assert_string_equal(f.fields, "content-type: application/octet-stream\nx-echo-port: 9001\n");
    fake_downstream_free(&f);

    ask(VX_METHOD_GET, "/bytes/0");
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.body_bytes, 0);
    fake_downstream_free(&f);

    ask(VX_METHOD_HEAD, "/bytes/1024GiB");
    fake_downstream_check_done(&f);
    assert_true(f.response.body_bytes == (uint64_t)1 << 40);
    fake_downstream_free(&f);

    const char *const wrong[] = {"/bytes/", "/bytes/1025GiB", "/bytes/1kB", "/bytes/1099511627777",
                                 "/bytes/x"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ask(VX_METHOD_GET, wrong[i]);
        check_text(400, "/bytes/ takes a size up to 1024GiB, as 100, 64KiB or 10MiB.\n");
    }
}

static void many_bytes_take_turns(void **state) {
    (void)state;
    /* A reader that takes everything at once still lets others have their turn. */
    ask(VX_METHOD_GET, "/bytes/1MiB");
    assert_int_equal(f.released, 0);
    assert_int_equal(pump(SIZE_MAX), 3);
    fake_downstream_check_done(&f);
    assert_int_equal(f.body_len, 1048576);
    fake_downstream_free(&f);

    fake_downstream_init(&f, VX_METHOD_GET, "/bytes/300000");
    f.room = 0;
    fake_downstream_begin(&f, &echo.handler, start_ns);
    assert_int_equal(pump(1000), 0);
    fake_downstream_check_done(&f);
    assert_int_equal(f.body_len, 300000);
    fake_downstream_free(&f);
}

static void mirrored_head(void **state) {
    (void)state;
    fake_downstream_init(&f, VX_METHOD_GET, "/some/path?q=1");
    fake_downstream_add_field(&f, "Host", "example.org");
    fake_downstream_add_field(&f, "X-Gone", "1");
    fake_downstream_add_field(&f, "Accept", "*/*");
    vx_headers_remove_name(&f.request.headers, VX_SLICE("x-gone"));
    fake_downstream_begin(&f, &echo.handler, start_ns);
    check_text(200, "GET /some/path?q=1 HTTP/1.1\nHost: example.org\nAccept: */*\n\n");
}

static void head_of_a_mirrored_request(void **state) {
    (void)state;
    fake_downstream_init(&f, VX_METHOD_HEAD, "/x");
    f.request.version = VX_HTTP_10;
    fake_downstream_begin(&f, &echo.handler, start_ns);
    fake_downstream_check_done(&f);
    assert_int_equal(f.response.body_bytes, strlen("HEAD /x HTTP/1.0\n\n"));
    fake_downstream_free(&f);
}

static void small_body_has_a_length(void **state) {
    (void)state;
    fake_downstream_init(&f, VX_METHOD_POST, "/");
    fake_downstream_add_body(&f, VX_SLICE("one "));
    fake_downstream_add_body(&f, VX_SLICE("two"));
    f.request.framing = VX_BODY_CHUNKED;
    f.request.expects_continue = true;
    f.body_waits = true;
    fake_downstream_begin(&f, &echo.handler, start_ns);
    assert_int_equal(f.interim_count, 1);
    assert_int_equal(f.interims[0], 100);
    assert_false(f.responded);
    f.body_waits = false;
    f.down.stream.events->on_readable(f.down.stream.user, start_ns);
    assert_int_equal(f.response.framing, VX_BODY_LENGTH);
    check_text(200, "POST / HTTP/1.1\n\none two");
}

/* The large body, in pieces of uneven length. */
static void add_large_body(void) {
    for (size_t at = 0, n = 1; at < sizeof large; n++) {
        size_t len = n < FAKE_PIECES ? n * 7000 : sizeof large - at;
        if (len > sizeof large - at)
            len = sizeof large - at;
        fake_downstream_add_body(&f, vx_slice(large + at, len));
        at += len;
    }
}

static void check_large_echo(void) {
    static const char head[] = "PUT /up HTTP/1.1\n\n";
    fake_downstream_check_done(&f);
    assert_int_equal(f.body_len, sizeof head - 1 + sizeof large);
    assert_memory_equal(f.body, head, sizeof head - 1);
    assert_memory_equal(f.body + sizeof head - 1, large, sizeof large);
    assert_int_equal(f.consumed, sizeof large);
    fake_downstream_free(&f);
}

static void large_body_is_streamed(void **state) {
    (void)state;
    fake_downstream_init(&f, VX_METHOD_PUT, "/up");
    add_large_body();
    fake_downstream_begin(&f, &echo.handler, start_ns);
    assert_int_equal(f.response.framing, VX_BODY_LENGTH);
    pump(SIZE_MAX);
    check_large_echo();

    fake_downstream_init(&f, VX_METHOD_PUT, "/up");
    add_large_body();
    f.request.framing = VX_BODY_CHUNKED;
    f.room = 5;
    fake_downstream_begin(&f, &echo.handler, start_ns);
    assert_int_equal(f.response.framing, VX_BODY_CHUNKED);
    /* What the client does not take is not pulled: only the gathered part is in memory. */
    assert_int_equal(f.body_len, 5);
    assert_true(f.consumed <= 16 * 1024);
    pump(4099);
    check_large_echo();
}

static void trailers_come_back(void **state) {
    (void)state;
    struct vx_header item = {"x-sum", "1", 1, 5, VX_HEADER_OTHER, 0};
    fake_downstream_init(&f, VX_METHOD_PUT, "/up");
    add_large_body();
    f.request.framing = VX_BODY_CHUNKED;
    f.trailers = (struct vx_headers){.items = &item, .count = 1, .capacity = 1};
    fake_downstream_begin(&f, &echo.handler, start_ns);
    pump(SIZE_MAX);
    assert_true(f.trailers_sent);
    check_large_echo();
}

static void broken_bodies(void **state) {
    (void)state;
    /* While it is gathered: no answer. */
    fake_downstream_init(&f, VX_METHOD_POST, "/x");
    fake_downstream_add_body(&f, VX_SLICE("half"));
    f.body_broken = true;
    fake_downstream_begin(&f, &echo.handler, start_ns);
    assert_int_equal(f.released, 1);
    assert_false(f.responded);
    fake_downstream_free(&f);

    /* While it is mirrored: the answer stays unfinished. */
    fake_downstream_init(&f, VX_METHOD_POST, "/x");
    fake_downstream_add_body(&f, vx_slice(large, 20000));
    f.body_broken = true;
    fake_downstream_begin(&f, &echo.handler, start_ns);
    assert_int_equal(f.released, 1);
    assert_true(f.responded);
    assert_false(f.finished);
    fake_downstream_free(&f);
}

static void no_memory(void **state) {
    (void)state;
    const char *const paths[] = {"/", "/mirror", "/bytes/5", "/delay/5ms", "/status/200"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        for (size_t left = 8; left <= sizeof f.first; left += 8) {
            fake_downstream_init(&f, VX_METHOD_GET, paths[i]);
            f.out_of_memory = true;
            vx_arena_alloc(&f.arena, sizeof f.first - left);
            fake_downstream_begin(&f, &echo.handler, start_ns);
            if (!f.released)
                f.down.stream.events->on_failed(f.down.stream.user, start_ns);
            assert_int_equal(f.released, 1);
            fake_downstream_free(&f);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(greeting, setup),
        cmocka_unit_test_setup(statuses, setup),
        cmocka_unit_test_setup(delays, setup),
        cmocka_unit_test_setup(client_leaves_while_waiting, setup),
        cmocka_unit_test_setup(bytes, setup),
        cmocka_unit_test_setup(many_bytes_take_turns, setup),
        cmocka_unit_test_setup(mirrored_head, setup),
        cmocka_unit_test_setup(head_of_a_mirrored_request, setup),
        cmocka_unit_test_setup(small_body_has_a_length, setup),
        cmocka_unit_test_setup(large_body_is_streamed, setup),
        cmocka_unit_test_setup(trailers_come_back, setup),
        cmocka_unit_test_setup(broken_bodies, setup),
        cmocka_unit_test_setup(no_memory, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
