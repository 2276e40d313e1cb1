/* SPDX-License-Identifier: Apache-2.0 */
/* A declared length, and bodies without one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/http/body_left.h"

static void a_declared_length_binds(void **state) {
    (void)state;
    struct vx_body_left left = vx_body_left_of(VX_BODY_LENGTH, 5);
    assert_int_equal(vx_body_left_cut(&left, VX_SLICE("abc")).len, 3);
    vx_body_left_count(&left, 3);
    assert_int_equal(left.bytes, 2);
    assert_int_equal(vx_body_left_cut(&left, VX_SLICE("defgh")).len, 2);
    vx_body_left_count(&left, 2);
    assert_int_equal(left.bytes, 0);
    assert_int_equal(vx_body_left_cut(&left, VX_SLICE("f")).len, 0);
}

static void other_bodies_have_any_length(void **state) {
    (void)state;
    static const enum vx_framing framings[] = {VX_BODY_NONE, VX_BODY_CHUNKED, VX_BODY_UNTIL_CLOSE};
    for (size_t i = 0; i < sizeof framings / sizeof *framings; i++) {
        struct vx_body_left left = vx_body_left_of(framings[i], 5);
        assert_int_equal(vx_body_left_cut(&left, VX_SLICE("abcdefg")).len, 7);
        vx_body_left_count(&left, 7);
        assert_int_equal(left.bytes, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_declared_length_binds),
        cmocka_unit_test(other_bodies_have_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
