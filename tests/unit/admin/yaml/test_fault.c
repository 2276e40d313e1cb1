/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences about errors: cut where they must be, harmless on a terminal, with hints that are not guesses. */
#include "admin/yaml/fault.h"

#include "yaml_test.h"

static void long_text_is_cut(void **state) {
    (void)state;
    struct vx_config_error error;
    char text[2 * sizeof(error.text)];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_false(vx_yaml_fault(&error, (struct vx_place){3, 4}, "%s", text));
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    assert_int_equal(error.place.line, 3);
    assert_int_equal(error.place.column, 4);
}

static void quotes(void **state) {
    (void)state;
    assert_string_equal(vx_yaml_quote(VX_SLICE("plain")).text, "plain");
    assert_string_equal(vx_yaml_quote(VX_SLICE_NONE).text, "");
    assert_string_equal(vx_yaml_quote(VX_SLICE("a\x1b[2J\n\x7f")).text, "a?[2J??");
    char text[200];
    memset(text, 'a', sizeof(text));
    assert_int_equal(strlen(vx_yaml_quote(vx_slice(text, 63)).text), 63);
    struct vx_yaml_quote cut = vx_yaml_quote(vx_slice(text, sizeof(text)));
    assert_int_equal(strlen(cut.text), 63);
    assert_string_equal(cut.text + 60, "...");
    memcpy(text + 58, "\xe2\x82\xac", 3); /* the cut at 60 would fall into this character */
    cut = vx_yaml_quote(vx_slice(text, sizeof(text)));
    assert_int_equal(strlen(cut.text), 61);
    assert_string_equal(cut.text + 57, "a...");
}

static void nearest(void **state) {
    (void)state;
    static const char *const names[] = {"listeners", "routes", NULL,        "limits",
                                        "timeouts",  "tls",    "access_log"};
    static const struct {
        const char *text, *meant;
    } rows[] = {
        {"lisen", "listeners"},
        {"listener", "listeners"},
        {"Routes", "routes"},
        {"rotues", "routes"},
        {"timeout", "timeouts"},
        {"limit", "limits"},
        {"tsl", "tls"},
        {"access-log", "access_log"},
        {"accesslog", "access_log"},
        {"backends", NULL},
        {"x", NULL},
        {"", NULL},
        {"certificate", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *hint = vx_yaml_nearest(vx_slice_of(rows[i].text), names, sizeof(names) / sizeof(*names));
        if (!hint != !rows[i].meant || (hint && strcmp(hint, rows[i].meant) != 0))
            fail_msg("%s: %s, not %s", rows[i].text, hint ? hint : "nothing",
                     rows[i].meant ? rows[i].meant : "nothing");
    }
    char text[1000];
    memset(text, 'l', sizeof(text));
    assert_null(vx_yaml_nearest(vx_slice(text, sizeof(text)), names, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(long_text_is_cut), cmocka_unit_test(quotes),
                                       cmocka_unit_test(nearest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
