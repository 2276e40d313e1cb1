/* SPDX-License-Identifier: Apache-2.0 */
/* YAML as JSON: what JSON knows stays what it is, everything else becomes text. */
#include "admin/yaml/json.h"

#include "yaml_test.h"

static void expect(const char *yaml, const char *json) {
    char memory[16 * 1024];
    struct vx_arena arena;
    struct vx_config_error error;
    vx_arena_init(&arena, memory, sizeof memory, NULL);
    const struct vx_yaml_node *node = vx_yaml_read_tree(vx_slice_of(yaml), &arena, &error);
    if (!node)
        fail_msg("%s: %s", yaml, error.text);
    assert_slice(vx_yaml_to_json(node, &arena), json);
}

static void scalars(void **state) {
    (void)state;
    static const char *const same[] = {"0",   "-1",   "12",   "1.5",   "-0.25",
                                       "1e9", "1E-3", "true", "false", "null"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        expect(same[i], same[i]);
    static const char *const text[] = {"01",   "1.",  ".5",  "1e", "1e+",   "--1", "0x10", "1_000",
                                       "True", "yes", "off", "+1", "1.5.2", "inf", "10s"};
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        char quoted[32];
        snprintf(quoted, sizeof quoted, "\"%s\"", text[i]);
        expect(text[i], quoted);
    }
    expect("~", "null");
    expect("'12'", "\"12\"");
    expect("'true'", "\"true\"");
    expect("''", "\"\"");
    expect("\"a\\\"b\\\\c\\n\\t\\x01\"", "\"a\\\"b\\\\c\\n\\u0009\\u0001\"");
    expect("'\xc3\xa4/'", "\"\xc3\xa4/\"");
}

static void collections(void **state) {
    (void)state;
    expect("{}", "{}");
    expect("[]", "[]");
    expect("b: 1\na: [x, 2, {c: }]\n", "{\"b\":1,\"a\":[\"x\",2,{\"c\":null}]}");
    expect("'k\"': &v [1]\nagain: *v\n", "{\"k\\\"\":[1],\"again\":[1]}");
    expect("text: |\n  one\n  two\n", "{\"text\":\"one\\ntwo\\n\"}");
}

static void no_memory(void **state) {
    (void)state;
    struct vx_yaml_node node = {.kind = VX_YAML_SCALAR, .text = VX_SLICE("text")};
    struct vx_arena arena;
    vx_arena_init(&arena, NULL, 0, NULL);
    assert_null(vx_yaml_to_json(&node, &arena).ptr);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),
        cmocka_unit_test(collections),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
