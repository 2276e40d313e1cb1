/* SPDX-License-Identifier: Apache-2.0 */
/* Key and digest of WebSocket's handshake, with the example of RFC 6455 §1.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "proxy/http2/websocket.h"

static struct vx_slice value_of(const struct vx_headers *h, const char *name) {
    const struct vx_header *field = vx_headers_find_name(h, vx_slice_of(name));
    return field ? vx_header_value(field) : VX_SLICE_NONE;
}

static void test_the_digest_of_a_key(void **state) {
    (void)state;
    char memory[4096];
    struct vx_arena arena;
    struct vx_headers request = {.count = 0}, response = {.count = 0};
    vx_arena_init(&arena, memory, sizeof memory, NULL);
    assert_true(vx_websocket_add_accept(&response, &request, &arena));
    assert_int_equal(response.count, 0); /* nobody asked for a proof */
    assert_true(vx_headers_add(&request, &arena, VX_HEADER_OTHER, VX_SLICE("Sec-WebSocket-Key"),
                               VX_SLICE("dGhlIHNhbXBsZSBub25jZQ==")));
    assert_true(vx_websocket_add_accept(&response, &request, &arena));
    assert_true(
        vx_slice_eq(value_of(&response, "sec-websocket-accept"), VX_SLICE("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    vx_websocket_strip_accept(&response);
    assert_null(value_of(&response, "sec-websocket-accept").ptr);
}

static void test_a_key_of_our_own(void **state) {
    (void)state;
    char memory[4096];
    struct vx_arena arena;
    struct vx_random random = {7};
    struct vx_request one = {.version = VX_HTTP_2}, two = {.version = VX_HTTP_2};
    vx_arena_init(&arena, memory, sizeof memory, NULL);
    assert_true(
        vx_headers_add(&one.headers, &arena, VX_HEADER_OTHER, VX_SLICE("sec-websocket-key"), VX_SLICE("x")));
    assert_true(vx_websocket_add_key(&one, &arena, &random));
    assert_true(vx_websocket_add_key(&two, &arena, &random));
    struct vx_slice a = value_of(&one.headers, "sec-websocket-key"),
                    b = value_of(&two.headers, "sec-websocket-key");
    assert_int_equal(a.len, 24);
    assert_memory_equal(a.ptr + 22, "==", 2); /* 16 bytes */
    assert_false(vx_slice_eq(a, b));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_digest_of_a_key),
        cmocka_unit_test(test_a_key_of_our_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
