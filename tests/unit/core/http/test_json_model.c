/* SPDX-License-Identifier: Apache-2.0 */
/* The model of a JSON body: found, absent, and every kind of text that is no JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/http/json_model.h"
#include "support/http_check.h"

static const char none[] = "(none)";
static const char invalid[] = "(invalid)";

static void check_bytes(const char *bytes, size_t len, const char *want) {
    struct vx_test_arena memory;
    struct vx_slice model = VX_SLICE_NONE;
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    vx_test_arena_init(&memory, SIZE_MAX);
    enum vx_json_model_result result = vx_json_model(vx_slice(copy, len), &memory.arena, &model);
    if (want == none)
        assert_int_equal(result, VX_JSON_MODEL_NONE);
    else if (want == invalid)
        assert_int_equal(result, VX_JSON_MODEL_INVALID);
    else if (result != VX_JSON_MODEL_FOUND || !vx_slice_eq(model, vx_slice_of(want)))
        fail_msg("%s: got %d %.*s, want %s", bytes, result, VX_SLICE_ARG(model), want);
    free(copy);
    vx_test_arena_end(&memory);
}

static void check(const char *text, const char *want) {
    check_bytes(text, strlen(text), want);
}

static void finds_the_model(void **state) {
    (void)state;
    check("{\"model\":\"gpt-4\"}", "gpt-4");
    check(" \t\r\n{ \"model\" : \"gpt-4\" , \"n\" : 1 } \n", "gpt-4");
    check("{\"messages\":[{\"role\":\"user\",\"content\":\"{\\\"model\\\":\\\"x\\\"}\"}],\"model\":\"a\"}",
          "a");
    check("{\"a\":{\"model\":\"x\"},\"b\":[{\"model\":\"y\"}],\"model\":\"z\"}", "z");
    check("{\"model\":\"a\",\"model\":\"b\"}", "b");
    check("{\"model\":\"\"}", "");
    check("{\"model\":\"a long model name that takes more than one vector\"}",
          "a long model name that takes more than one vector");
    check("{\"model\":\"\xc3\xa9\"}", "\xc3\xa9");
}

static void resolves_escapes(void **state) {
    (void)state;
    check("{\"model\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t");
    check("{\"model\":\"gpt\\u002d4\"}", "gpt-4");
    check("{\"model\":\"\\u00e9\\u20AC\\ud83d\\uDE00\"}", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    check("{\"model\":\"\\ud83d\"}", "\xef\xbf\xbd");
    check("{\"model\":\"\\ude00x\"}", "\xef\xbf\xbdx");
    check("{\"model\":\"\\ud83d\\u0041\"}", "\xef\xbf\xbd"
                                            "A");
    check("{\"model\":\"\\ud83d\\ud83d\\ude00\"}", "\xef\xbf\xbd\xf0\x9f\x98\x80");
    check("{\"\\u006dodel\":\"a\"}", "a");
    check("{\"\\u006d\\u006f\\u0064\\u0065\\u006c\":\"a\"}", "a");
    check("{\"\\u006dodels\":\"a\"}", none);
    check("{\"model\":\"a\",\"mode\\u006C\":\"b\"}", "b");
    check("{\"model\":\"a\",\"\\\\n\":\"b\"}", "a");
}

static void finds_none(void **state) {
    (void)state;
    check("{}", none);
    check("[]", none);
    check("\"model\"", none);
    check("1", none);
    check("null", none);
    check("[\"model\",\"x\"]", none);
    check("[{\"model\":\"x\"}]", none);
    check("{\"Model\":\"x\"}", none);
    check("{\"models\":\"x\"}", none);
    check("{\"mode\":\"x\"}", none);
    check("{\"model\":1}", none);
    check("{\"model\":null}", none);
    check("{\"model\":[\"x\"]}", none);
    check("{\"model\":{\"model\":\"x\"}}", none);
    check("{\"model\":\"a\",\"model\":7}", none);
    check("{\"a\":\"model\"}", none);
}

static void takes_all_json(void **state) {
    (void)state;
    check("[0,-0,1,-1,10,0.5,-0.5e+10,1E5,1e-5,123456789012345678901234567890]", none);
    check("[true,false,null,\"\",[],{},[[]],{\"\":{}}]", none);
    check("{\"a\":[1,{\"b\":[]}],\"c\":{\"d\":\"e\"}}", none);
    check("[\"\\u0000\\uFFFF\\ud800\"]", none);
    check("\"\x7f\x80\xff\"", none);
}

static void refuses_what_is_no_json(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "{]",
        "[}",
        "[1}",
        "{\"a\":1]",
        "{\"model\":\"x\"",
        "{\"model\":\"x",
        "{\"model\":\"x\"}}",
        "{\"model\":\"x\"} x",
        "{\"model\":\"x\"},",
        "{\"model\" \"x\"}",
        "{\"model\":}",
        "{\"model\"}",
        "{model:\"x\"}",
        "{'model':'x'}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{1:2}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[,]",
        "tru",
        "True",
        "truex",
        "nul",
        "nulll",
        "falsee",
        "NaN",
        "Infinity",
        "undefined",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e5",
        "1e",
        "1e+",
        "0x1",
        "1_0",
        "--1",
        "00",
        "-01",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u123g\"",
        "\"\\u\"",
        "\"\\",
        "\"a\nb\"",
        "\"\t\"",
        "\"\x01\"",
        "// c\n1",
        "/* c */1",
        "\xef\xbb\xbf{}",
        "1 1",
        "{}{}",
        "[]]",
        "\x0b{}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check(bad[i], invalid);
    check_bytes("{}\0", 3, invalid);
    check_bytes("\"\0\"", 3, invalid);
}

static void bounds_the_depth(void **state) {
    (void)state;
    char text[2 * (VX_JSON_MODEL_DEPTH + 1)];
    for (size_t depth = VX_JSON_MODEL_DEPTH; depth <= VX_JSON_MODEL_DEPTH + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        check_bytes(text, 2 * depth, depth > VX_JSON_MODEL_DEPTH ? invalid : none);
        check_bytes(text, 2 * depth - 1, invalid);
    }
    for (size_t i = 0; i < VX_JSON_MODEL_DEPTH; i += 7) {
        memset(text, '[', VX_JSON_MODEL_DEPTH);
        memset(text + VX_JSON_MODEL_DEPTH, ']', VX_JSON_MODEL_DEPTH);
        text[VX_JSON_MODEL_DEPTH + i] = '}';
        check_bytes(text, 2 * (size_t)VX_JSON_MODEL_DEPTH, invalid);
    }
}

/* Cut anywhere, a text is no JSON; and a string may end at any place of a vector. */
static void cut_and_padded(void **state) {
    (void)state;
    static const char text[] =
        "{\"a\":[1.5e3,\"\\u00e9\",true],\"model\":\"gpt\\u002d4\",\"b\":{\"c\":null}}";
    for (size_t len = 0; len < sizeof text - 1; len++)
        check_bytes(text, len, invalid);
    for (size_t pad = 0; pad < 70; pad++) {
        char body[256] = "{\"p\":\"";
        size_t n = strlen(body);
        memset(body + n, 'p', pad);
        static const char rest[] = "\",\"model\":\"m\"}";
        memcpy(body + n + pad, rest, sizeof rest);
        check(body, "m");
    }
}

static void says_when_there_is_no_memory(void **state) {
    (void)state;
    struct vx_arena empty;
    struct vx_slice model;
    vx_arena_init(&empty, NULL, 0, NULL);
    assert_int_equal(vx_json_model(VX_SLICE("{\"model\":\"a\"}"), &empty, &model), VX_JSON_MODEL_FOUND);
    assert_int_equal(vx_json_model(VX_SLICE("{\"model\":\"\\n\"}"), &empty, &model), VX_JSON_MODEL_NO_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_model),
        cmocka_unit_test(resolves_escapes),
        cmocka_unit_test(finds_none),
        cmocka_unit_test(takes_all_json),
        cmocka_unit_test(refuses_what_is_no_json),
        cmocka_unit_test(bounds_the_depth),
        cmocka_unit_test(cut_and_padded),
        cmocka_unit_test(says_when_there_is_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
