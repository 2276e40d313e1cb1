/* SPDX-License-Identifier: Apache-2.0 */
/* Codes and messages as they stand in trailers. */
#include "admin/grpc/status.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void codes(void **state) {
    (void)state;
    enum vx_grpc_code code;
    for (unsigned i = 0; i <= VX_GRPC_CODE_MAX; i++) {
        assert_true(vx_grpc_code_parse(vx_grpc_code_text((enum vx_grpc_code)i), &code));
        assert_int_equal(code, i);
    }
    const char *const bad[] = {"", "17", "-1", "00", "1 ", "x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(vx_grpc_code_parse(vx_slice_of(bad[i]), &code));
}

static void check_encoded(struct vx_slice text, const char *expected) {
    char out[256], back[256];
    size_t n = vx_grpc_encode_message(out, text);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(out, expected, n);
    assert_true(vx_slice_eq(vx_slice(back, vx_grpc_decode_message(back, vx_slice(out, n))), text));
}

static void messages(void **state) {
    (void)state;
    check_encoded(VX_SLICE(""), "");
    check_encoded(VX_SLICE("plain ~ text"), "plain ~ text");
    check_encoded(VX_SLICE("100%"), "100%25");
    check_encoded(VX_SLICE("a\nb\0c"), "a%0Ab%00c");
    check_encoded(VX_SLICE("\xc3\xa9\x7f"), "%C3%A9%7F");
}

static void bad_escapes_stay(void **state) {
    (void)state;
    char out[32];
    const char *const texts[] = {"%", "%4", "%zz", "%4z!", "a%"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t n = vx_grpc_decode_message(out, vx_slice_of(texts[i]));
        assert_true(vx_slice_eq(vx_slice(out, n), vx_slice_of(texts[i])));
    }
    assert_int_equal(vx_grpc_decode_message(out, VX_SLICE("%4a%4A")), 2);
    assert_memory_equal(out, "JJ", 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes),
        cmocka_unit_test(messages),
        cmocka_unit_test(bad_escapes_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
