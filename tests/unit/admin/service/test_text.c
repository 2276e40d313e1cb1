/* SPDX-License-Identifier: Apache-2.0 */
/* Valid UTF-8 stays, everything else becomes `?`. */
#include "admin/service/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void check(struct vx_slice in, const char *expected) {
    char *out = vx_admin_text(in);
    assert_non_null(out);
    assert_string_equal(out, expected);
    free(out);
}

static void valid_text_stays(void **state) {
    (void)state;
    check(VX_SLICE_NONE, "");
    check(VX_SLICE("plain\n"), "plain\n");
    check(VX_SLICE("\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf"),
          "\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf");
    check(VX_SLICE("\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"), "\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf");
}

static void the_rest_does_not(void **state) {
    (void)state;
    check(VX_SLICE("a\0b"), "a?b");
    check(VX_SLICE("\x80\xbf"), "??");
    check(VX_SLICE("\xc0\xaf \xc1\xbf"), "?? ??");
    check(VX_SLICE("\xc3"), "?");
    check(VX_SLICE("\xc3x"), "?x");
    check(VX_SLICE("\xe0\x9f\xbf"), "???");
    check(VX_SLICE("\xed\xa0\x80"), "???");
    check(VX_SLICE("\xf0\x8f\xbf\xbf"), "????");
    check(VX_SLICE("\xf4\x90\x80\x80"), "????");
    check(VX_SLICE("\xf5\x80\x80\x80"), "????");
    check(VX_SLICE("\xe2\x82"), "??");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_text_stays),
        cmocka_unit_test(the_rest_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
