/* SPDX-License-Identifier: Apache-2.0 */
/* Byte classes against the grammars they stand for, and the searches at every length and offset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/http/bytes.h"

#define DIGITS  "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static void check_class(enum vx_byte_class class, const char *members, bool obs_text, bool blank) {
    for (int c = 0; c < 256; c++) {
        bool want =
            (c && strchr(members, c)) || (obs_text && c >= 0x80) || (blank && (c == ' ' || c == '\t'));
        if (vx_byte_is((char)c, class) != want)
            fail_msg("byte %#x in class %d: want %d", c, class, want);
    }
}

static void classes(void **state) {
    (void)state;
    check_class(VX_BYTE_TOKEN, "!#$%&'*+-.^_`|~" DIGITS LETTERS, false, false);
    check_class(VX_BYTE_UNRESERVED, "-._~" DIGITS LETTERS, false, false);
    check_class(VX_BYTE_REG_NAME, "-._~!$&'()*+,;=" DIGITS LETTERS, false, false);
    check_class(VX_BYTE_UPPER, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", false, false);
    check_class(VX_BYTE_DIGIT, DIGITS, false, false);
    check_class(VX_BYTE_HEX, DIGITS "abcdefABCDEF", false, false);
    check_class(VX_BYTE_QUOTED, "!#$%&'()*+,-./:;<=>?@[]^_`{|}~" DIGITS LETTERS, true, true);
    check_class(VX_BYTE_ESCAPED, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" DIGITS LETTERS, true, true);
}

static void hex_digits(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[2] = {(char)c, '\0'}, *end;
        long value = strtol(text, &end, 16);
        assert_int_equal(vx_byte_hex((char)c), c && end == text + 1 ? value : -1);
    }
}

static void token_lengths(void **state) {
    (void)state;
    for (size_t len = 0; len < 70; len++) {
        char *p = malloc(len ? len : 1);
        assert_non_null(p);
        memset(p, 'x', len);
        assert_int_equal(vx_bytes_token_len(p, p + len), len);
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                p[at] = (char)c;
                assert_int_equal(vx_bytes_token_len(p, p + len),
                                 vx_byte_is((char)c, VX_BYTE_TOKEN) ? len : at);
            }
            p[at] = 'x';
        }
        free(p);
    }
}

/* `are` holds for a text exactly where `is` holds for each of its bytes, wherever the odd one stands. */
static void every_byte_everywhere(bool (*are)(const char *p, const char *end), bool (*is)(int c)) {
    for (size_t len = 0; len < 70; len++) {
        char *p = malloc(len ? len : 1);
        assert_non_null(p);
        memset(p, 'x', len);
        assert_true(are(p, p + len));
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                p[at] = (char)c;
                assert_int_equal(are(p, p + len), is(c));
            }
            p[at] = 'x';
        }
        free(p);
    }
}

static bool is_of_lower_tokens(int c) {
    return vx_byte_is((char)c, VX_BYTE_TOKEN) && !vx_byte_is((char)c, VX_BYTE_UPPER);
}

static void lower_tokens(void **state) {
    (void)state;
    every_byte_everywhere(vx_bytes_are_lower_token, is_of_lower_tokens);
}

static void searches(void **state) {
    (void)state;
    for (size_t len = 0; len < 70; len++) {
        char *p = malloc(len ? len : 1);
        assert_non_null(p);
        memset(p, 'x', len);
        assert_ptr_equal(vx_bytes_find(p, p + len, 'y'), p + len);
        for (size_t at = 0; at < len; at++) {
            p[at] = 'y';
            assert_ptr_equal(vx_bytes_find(p, p + len, 'y'), p + at);
            assert_ptr_equal(vx_bytes_find_either(p, p + len, 'z', 'y'), p + at);
            p[len - 1] = 'z';
            assert_ptr_equal(vx_bytes_find_either(p, p + len, 'z', 'y'), p + at);
            p[at] = p[len - 1] = 'x';
        }
        free(p);
    }
}

static bool is_of_values(int c) {
    return c == '\t' || (c >= ' ' && c != 0x7f);
}

static void values(void **state) {
    (void)state;
    every_byte_everywhere(vx_bytes_are_value, is_of_values);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes),      cmocka_unit_test(hex_digits), cmocka_unit_test(token_lengths),
        cmocka_unit_test(lower_tokens), cmocka_unit_test(searches),   cmocka_unit_test(values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
