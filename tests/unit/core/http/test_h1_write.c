/* SPDX-License-Identifier: Apache-2.0 */
/* Heads as they are written: from received fields in runs, with fields removed and added, framed by `how` alone; and
 * never past the room there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/http/h1_write.h"
#include "support/http_check.h"

enum { OUT_BYTES = 4096 };

static struct vx_request parsed_request(const char *head) {
    struct vx_h1_parser parser;
    struct vx_request req;
    struct vx_error error;
    size_t head_bytes;
    vx_h1_parser_init(&parser);
    assert_int_equal(vx_h1_parse_request(&parser, &vx_test_limits, vx_slice_of(head), &vx_test_memory.arena,
                                         &req, &head_bytes, &error),
                     VX_H1_DONE);
    return req;
}

static struct vx_response parsed_response(const char *head) {
    struct vx_h1_parser parser;
    struct vx_response resp;
    struct vx_error error;
    size_t head_bytes;
    vx_h1_parser_init(&parser);
    assert_int_equal(vx_h1_parse_response(&parser, &vx_test_limits, vx_slice_of(head), &vx_test_memory.arena,
                                          VX_METHOD_GET, &resp, &head_bytes, &error),
                     VX_H1_DONE);
    return resp;
}

/* What is written with each amount of room: nothing, until it fits; and the upper bound is one. */
static void check_request(const struct vx_request *req, const struct vx_h1_request_write *how,
                          const char *want) {
    size_t len = strlen(want);
    for (size_t room = 0; room <= len + 2; room++) {
        char *out = malloc(room ? room : 1);
        assert_non_null(out);
        size_t n = vx_h1_write_request_head(out, room, req, how);
        assert_int_equal(n, room < len ? 0 : len);
        if (n && memcmp(out, want, len) != 0)
            fail_msg("wrote\n%.*swant\n%s", (int)n, out, want);
        free(out);
    }
    assert_true(vx_h1_request_head_max(req, how) >= len);
}

static void check_response(const struct vx_response *resp, const struct vx_h1_response_write *how,
                           const char *want) {
    size_t len = strlen(want);
    for (size_t room = 0; room <= len + 2; room++) {
        char *out = malloc(room ? room : 1);
        assert_non_null(out);
        size_t n = vx_h1_write_response_head(out, room, resp, how);
        assert_int_equal(n, room < len ? 0 : len);
        if (n && memcmp(out, want, len) != 0)
            fail_msg("wrote\n%.*swant\n%s", (int)n, out, want);
        free(out);
    }
    assert_true(vx_h1_response_head_max(resp, how) >= len);
}

static void add(struct vx_headers *h, const char *name, const char *value) {
    struct vx_slice text = vx_slice_of(name);
    assert_true(vx_headers_add(h, &vx_test_memory.arena, vx_header_id_of(text), text, vx_slice_of(value)));
}

static void forwards_a_request(void **state) {
    (void)state;
    struct vx_request req =
        parsed_request("GET /a/../b?c=d HTTP/1.1\r\nHost: x\r\nA:1\r\nB:  2  \r\nC: 3\r\n\r\n");
    struct vx_h1_request_write how = {.framing = VX_BODY_NONE};
    check_request(&req, &how, "GET /b?c=d HTTP/1.1\r\nHost: x\r\nA:1\r\nB:  2\r\nC: 3\r\n\r\n");
    how.target = VX_SLICE("/other");
    check_request(&req, &how, "GET /other HTTP/1.1\r\nHost: x\r\nA:1\r\nB:  2\r\nC: 3\r\n\r\n");
    how.target = VX_SLICE_NONE;
    req.query = VX_SLICE("");
    vx_headers_remove_name(&req.headers, VX_SLICE("a"));
    add(&req.headers, "via", "1.1 vortex");
    add(&req.headers, "empty", "");
    check_request(&req, &how,
                  "GET /b? HTTP/1.1\r\nHost: x\r\nB:  2\r\nC: 3\r\nvia: 1.1 vortex\r\nempty: \r\n\r\n");
    vx_headers_remove(&req.headers, VX_HEADER_HOST);
    vx_headers_remove_name(&req.headers, VX_SLICE("c"));
    check_request(&req, &how, "GET /b? HTTP/1.1\r\nB:  2\r\nvia: 1.1 vortex\r\nempty: \r\n\r\n");
}

static void frames_a_request_by_how_alone(void **state) {
    (void)state;
    static const char head[] =
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nA: 1\r\nConnection: a, b\r\n"
        "Keep-Alive: 5\r\nProxy-Connection: c\r\nUpgrade: d\r\nB: 2\r\n\r\n";
    struct vx_request req = parsed_request(head);
    struct vx_h1_request_write how = {.framing = VX_BODY_NONE};
    check_request(&req, &how, "POST / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\n\r\n");
    how.framing = VX_BODY_LENGTH;
    check_request(&req, &how, "POST / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nContent-Length: 0\r\n\r\n");
    how.body_bytes = UINT64_MAX;
    check_request(
        &req, &how,
        "POST / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nContent-Length: 18446744073709551615\r\n\r\n");
    how.framing = VX_BODY_CHUNKED;
    check_request(&req, &how,
                  "POST / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nTransfer-Encoding: chunked\r\n\r\n");
    how.connection = VX_H1_CONNECTION_CLOSE;
    check_request(&req, &how,
                  "POST / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nTransfer-Encoding: chunked\r\n"
                  "Connection: close\r\n\r\n");
    how = (struct vx_h1_request_write){.framing = VX_BODY_NONE, .upgrade = VX_SLICE("websocket")};
    check_request(&req, &how,
                  "POST / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nUpgrade: websocket\r\n"
                  "Connection: upgrade\r\n\r\n");
}

static void names_te_in_connection(void **state) {
    (void)state;
    struct vx_request req =
        parsed_request("GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    struct vx_h1_request_write how = {.framing = VX_BODY_NONE};
    vx_headers_strip_hop_by_hop(&req.headers);
    check_request(&req, &how, "GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: te\r\n\r\n");
    how.connection = VX_H1_CONNECTION_CLOSE;
    check_request(&req, &how, "GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: close, te\r\n\r\n");
    vx_headers_remove(&req.headers, VX_HEADER_TE);
    check_request(&req, &how, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

static void forwards_a_response(void **state) {
    (void)state;
    struct vx_response resp =
        parsed_response("HTTP/1.0 200 Fine\r\nServer: y\r\nContent-Length: 5\r\nA: 1\r\n\r\n");
    struct vx_h1_response_write how = {.framing = VX_BODY_LENGTH, .body_bytes = 5};
    check_response(&resp, &how, "HTTP/1.1 200 Fine\r\nServer: y\r\nA: 1\r\nContent-Length: 5\r\n\r\n");
    how = (struct vx_h1_response_write){.framing = VX_BODY_UNTIL_CLOSE, .connection = VX_H1_CONNECTION_CLOSE};
    check_response(&resp, &how, "HTTP/1.1 200 Fine\r\nServer: y\r\nA: 1\r\nConnection: close\r\n\r\n");
    how =
        (struct vx_h1_response_write){.framing = VX_BODY_CHUNKED, .connection = VX_H1_CONNECTION_KEEP_ALIVE};
    check_response(&resp, &how,
                   "HTTP/1.1 200 Fine\r\nServer: y\r\nA: 1\r\nTransfer-Encoding: chunked\r\n"
                   "Connection: keep-alive\r\n\r\n");
    how = (struct vx_h1_response_write){.framing = VX_BODY_NONE, .body_bytes = 7, .declare_length = true};
    check_response(&resp, &how, "HTTP/1.1 200 Fine\r\nServer: y\r\nA: 1\r\nContent-Length: 7\r\n\r\n");
    how.date = VX_SLICE("now");
    check_response(&resp, &how,
                   "HTTP/1.1 200 Fine\r\nServer: y\r\nA: 1\r\nDate: now\r\nContent-Length: 7\r\n\r\n");
    how = (struct vx_h1_response_write){.framing = VX_BODY_NONE};
    resp.reason = VX_SLICE("");
    resp.status = 404;
    check_response(&resp, &how, "HTTP/1.1 404 \r\nServer: y\r\nA: 1\r\n\r\n");
    resp.reason = VX_SLICE_NONE;
    check_response(&resp, &how, "HTTP/1.1 404 Not Found\r\nServer: y\r\nA: 1\r\n\r\n");
    resp.status = 101;
    how.upgrade = VX_SLICE("websocket");
    check_response(&resp, &how,
                   "HTTP/1.1 101 Switching Protocols\r\nServer: y\r\nA: 1\r\nUpgrade: websocket\r\n"
                   "Connection: upgrade\r\n\r\n");
}

static void writes_the_last_chunk(void **state) {
    (void)state;
    struct vx_headers trailers = {0};
    add(&trailers, "grpc-status", "0");
    add(&trailers, "digest", "x");
    vx_headers_remove_name(&trailers, VX_SLICE("digest"));
    add(&trailers, "e", "f");
    static const char want[] = "0\r\ngrpc-status: 0\r\ne: f\r\n\r\n";
    char out[OUT_BYTES];
    assert_int_equal(vx_h1_write_last_chunk(out, 5, NULL), 5);
    assert_memory_equal(out, "0\r\n\r\n", 5);
    assert_int_equal(vx_h1_write_last_chunk(out, 4, NULL), 0);
    assert_true(vx_h1_last_chunk_max(NULL) >= 5);
    assert_int_equal(vx_h1_write_last_chunk(out, sizeof out, &trailers), sizeof want - 1);
    assert_memory_equal(out, want, sizeof want - 1);
    assert_int_equal(vx_h1_write_last_chunk(out, sizeof want - 2, &trailers), 0);
    assert_true(vx_h1_last_chunk_max(&trailers) >= sizeof want - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards_a_request),     cmocka_unit_test(frames_a_request_by_how_alone),
        cmocka_unit_test(names_te_in_connection), cmocka_unit_test(forwards_a_response),
        cmocka_unit_test(writes_the_last_chunk),
    };
    return cmocka_run_group_tests(tests, vx_test_memory_begin, vx_test_memory_end);
}
