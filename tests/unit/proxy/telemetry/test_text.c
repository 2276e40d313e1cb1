/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and escapes as the pages and logs show them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/telemetry/text.h"
#include "support/check_json.h"

static void check_text(struct vx_text *text, const char *wanted) {
    assert_false(text->failed);
    if (!vx_slice_eq(vx_slice(text->data, text->len), vx_slice_of(wanted))) {
        print_error("`%.*s`, not `%s`\n", (int)text->len, text->data, wanted);
        fail();
    }
    vx_text_free(text);
}

static void grows(void **state) {
    (void)state;
    struct vx_text text = {0};
    for (int i = 0; i < 100000; i++)
        vx_text_add(&text, VX_SLICE("abc"));
    vx_text_add(&text, VX_SLICE_NONE);
    assert_int_equal(text.len, 300000);
    for (size_t i = 0; i < text.len; i++)
        assert_int_equal(text.data[i], "abc"[i % 3]);
    vx_text_free(&text);
    assert_null(text.data);
}

static void too_large(void **state) {
    (void)state;
    struct vx_text text = {0};
    vx_text_add(&text, VX_SLICE("x"));
    assert_null(vx_text_room(&text, SIZE_MAX - 10));
    assert_true(text.failed);
    vx_text_add(&text, VX_SLICE("y"));
    assert_int_equal(text.len, 1);
    vx_text_free(&text);
}

static void unsigned_numbers(void **state) {
    (void)state;
    const uint64_t numbers[] = {0,   1,    9,     10,         99,          100,       101,
                                999, 1000, 12345, UINT32_MAX, 10000000000, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "%llu", (unsigned long long)numbers[i]);
        struct vx_text text = {0};
        vx_text_u64(&text, numbers[i]);
        check_text(&text, wanted);
    }
}

static void milliseconds(void **state) {
    (void)state;
    const struct {
        uint64_t ns;
        const char *wanted;
    } cases[] = {{0, "0.000"},
                 {999, "0.000"},
                 {1000, "0.001"},
                 {12345, "0.012"},
                 {1234567, "1.234"},
                 {999999999, "999.999"},
                 {60000000000, "60000.000"},
                 {UINT64_MAX, "18446744073709.551"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[VX_TEXT_U64_MAX + 4];
        size_t len = vx_format_ms(out, cases[i].ns);
        assert_true(vx_slice_eq(vx_slice(out, len), vx_slice_of(cases[i].wanted)));
    }
}

static void seconds(void **state) {
    (void)state;
    const struct {
        uint64_t ns;
        const char *wanted;
    } cases[] = {{0, "0"},           {1, "0.000000001"},      {1500000000, "1.5"},
                 {20000000, "0.02"}, {3600000000000, "3600"}, {UINT64_MAX, "18446744073.709551615"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vx_text text = {0};
        vx_text_seconds(&text, cases[i].ns);
        check_text(&text, cases[i].wanted);
    }
}

static void labels(void **state) {
    (void)state;
    struct vx_text text = {0};
    vx_text_label(&text, VX_SLICE("a\\b\"c\nd{}é,"));
    check_text(&text, "a\\\\b\\\"c\\nd{}é,");
    vx_text_label(&text, VX_SLICE_NONE);
    check_text(&text, "");
}

/* The text of `s` as JSON, checked for its length bound. */
static struct vx_slice as_json(struct vx_slice s) {
    static char out[4096];
    memset(out, '#', sizeof out);
    char *end = vx_format_json(out, s);
    assert_true(end - out <= (ptrdiff_t)(6 * s.len));
    assert_int_equal(*end, '#'); /* nothing is written behind the end */
    return vx_slice(out, (size_t)(end - out));
}

static void check_json(const char *s, size_t len, const char *wanted) {
    /* At every alignment and with every rest of a block of eight. */
    for (size_t before = 0; before < 16; before++) {
        char in[512];
        memset(in, 'x', before);
        memcpy(in + before, s, len);
        memset(in + before + len, 'y', 16);
        struct vx_slice got = as_json(vx_slice(in, before + len + 16));
        char all[512];
        snprintf(all, sizeof all, "%.*s%s%.*s", (int)before, "xxxxxxxxxxxxxxxx", wanted, 16,
                 "yyyyyyyyyyyyyyyy");
        if (!vx_slice_eq(got, vx_slice_of(all))) {
            print_error("`%.*s`, not `%s`\n", VX_SLICE_ARG(got), all);
            fail();
        }
    }
}

#define JSON(in, wanted) check_json(in, sizeof(in) - 1, wanted)

static void json_escapes(void **state) {
    (void)state;
    JSON("", "");
    JSON("plain text, with / and 'quotes'", "plain text, with / and 'quotes'");
    JSON("\"", "\\\"");
    JSON("\\", "\\\\");
    JSON("\b\f\n\r\t", "\\b\\f\\n\\r\\t");
    JSON("\0\x01\x1f", "\\u0000\\u0001\\u001f");
    JSON("\x7f", "\\u007f");
    JSON("\x1b[2J", "\\u001b[2J");
}

static void json_utf8(void **state) {
    (void)state;
    JSON("\u00a0é\u07ff", "\u00a0é\u07ff");
    JSON("\u0800€\ud7ff\ue000\uffff", "\u0800€\ud7ff\ue000\uffff");
    JSON("\U00010000😀\U0010ffff", "\U00010000😀\U0010ffff");
    /* C1 control characters. */
    JSON("\xc2\x80\xc2\x9b\xc2\x9f", "\\u0080\\u009b\\u009f");
    /* Bytes that belong to no valid sequence (RFC 3629 §4). */
    JSON("\x80", "\\u0080");
    JSON("caf\xe9", "caf\\u00e9");
    JSON("\xc0\xaf", "\\u00c0\\u00af"); /* overlong `/` */
    JSON("\xc1\xbf", "\\u00c1\\u00bf");
    JSON("\xe0\x9f\xbf", "\\u00e0\\u009f\\u00bf"); /* overlong */
    JSON("\xed\xa0\x80", "\\u00ed\\u00a0\\u0080"); /* surrogate */
    JSON("\xf0\x8f\xbf\xbf", "\\u00f0\\u008f\\u00bf\\u00bf");
    JSON("\xf4\x90\x80\x80", "\\u00f4\\u0090\\u0080\\u0080"); /* above U+10FFFF */
    JSON("\xf5\xff\xfe", "\\u00f5\\u00ff\\u00fe");
    JSON("\xe2\x82", "\\u00e2\\u0082"); /* cut short */
    JSON("\xe2\x82\"", "\\u00e2\\u0082\\\"");
}

/* A sequence that the end of the text cuts, which the padded cases above do not have. */
static void json_ends_inside_a_sequence(void **state) {
    (void)state;
    const char *const cut[] = {"\xc3", "\xe2\x82", "\xf0\x9f\x98"};
    for (size_t i = 0; i < 3; i++) {
        /* In memory of its own, so that a read beyond it shows under the sanitizer. */
        size_t len = strlen(cut[i]);
        char *copy = malloc(len);
        assert_non_null(copy);
        memcpy(copy, cut[i], len);
        assert_int_equal(as_json(vx_slice(copy, len)).len, 6 * len);
        free(copy);
    }
}

static void json_any_bytes_make_valid_text(void **state) {
    (void)state;
    static struct json_object object;
    uint64_t seed = 42;
    for (int round = 0; round < 20000; round++) {
        char in[64], line[512];
        size_t len = 0;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        for (uint64_t n = seed >> 58; len < n; len++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            /* Many lead and continuation bytes, some quotes and control characters. */
            static const unsigned char likely[] = {0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98,
                                                   0x80, 0xc2, 0xed, '"',  '\\', 0};
            in[len] = (char)(seed >> 63 ? likely[(seed >> 40) % sizeof likely] : seed >> 50);
        }
        struct vx_slice escaped = as_json(vx_slice(in, len));
        int n = snprintf(line, sizeof line, "{\"a\":\"%.*s\"}", VX_SLICE_ARG(escaped));
        assert_true(n > 0 && (size_t)n < sizeof line);
        assert_true(json_read(&object, vx_slice(line, (size_t)n)));
    }
}

static void combined_escapes(void **state) {
    (void)state;
    static const char in[] = "a\"b\\c\n\x7f\xc3\xa9 0123456789";
    char out[4 * sizeof in];
    char *end = vx_format_combined(out, vx_slice(in, sizeof in - 1));
    assert_true(vx_slice_eq(vx_slice(out, (size_t)(end - out)),
                            VX_SLICE("a\\x22b\\x5Cc\\x0A\\x7F\\xC3\\xA9 0123456789")));
    assert_ptr_equal(vx_format_combined(out, VX_SLICE_NONE), out);
}

static void formatted(void **state) {
    (void)state;
    struct vx_text text = {0};
    vx_text_format(&text, "%d of %s", 3, "five");
    vx_text_format(&text, "%s", "");
    for (unsigned i = 0; i < 1000; i++)
        vx_text_format(&text, ", %05u", i);
    assert_int_equal(text.len, strlen("3 of five") + 7000);
    assert_memory_equal(text.data + text.len - 14, ", 00998, 00999", 14);
    text.failed = true;
    vx_text_format(&text, "more");
    assert_int_equal(text.len, strlen("3 of five") + 7000);
    vx_text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formatted),
        cmocka_unit_test(grows),
        cmocka_unit_test(too_large),
        cmocka_unit_test(unsigned_numbers),
        cmocka_unit_test(milliseconds),
        cmocka_unit_test(seconds),
        cmocka_unit_test(labels),
        cmocka_unit_test(json_escapes),
        cmocka_unit_test(json_utf8),
        cmocka_unit_test(json_ends_inside_a_sequence),
        cmocka_unit_test(json_any_bytes_make_valid_text),
        cmocka_unit_test(combined_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
