/* SPDX-License-Identifier: Apache-2.0 */
/* What the log says a reload changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "proxy/control/changes.h"

static const char *describe(const struct vx_config_diff *diff) {
    static char text[VX_CHANGES_TEXT_MAX];
    vx_changes_describe(diff, text);
    return text;
}

static const char *ignored(const struct vx_config_diff *diff) {
    static char text[VX_CHANGES_TEXT_MAX];
    vx_changes_describe_ignored(diff, text);
    return text;
}

static void names_what_differs(void **state) {
    (void)state;
    assert_string_equal(describe(&(struct vx_config_diff){0}), "nothing");
    assert_string_equal(describe(&(struct vx_config_diff){.listeners_added = 1, .listeners_changed = 2}),
                        "listeners +1 ~2");
    assert_string_equal(
        describe(&(struct vx_config_diff){.routes_removed = 3,
                                          .settings = 1u << VX_SETTING_LIMITS | 1u << VX_SETTING_TIMEOUTS}),
        "routes -3, timeouts, limits");
}

static void tells_what_waits_for_a_restart(void **state) {
    (void)state;
    struct vx_config_diff diff = {.settings = 1u << VX_SETTING_WORKERS | 1u << VX_SETTING_LIMITS};
    assert_string_equal(describe(&diff), "limits");
    assert_string_equal(ignored(&diff), "workers");
    diff.settings = 1u << VX_SETTING_LIMITS;
    assert_string_equal(ignored(&diff), "");
}

static void everything_at_once_fits(void **state) {
    (void)state;
    struct vx_config_diff diff = {.listeners_added = UINT32_MAX,
                                  .listeners_removed = UINT32_MAX,
                                  .listeners_changed = UINT32_MAX,
                                  .routes_added = UINT32_MAX,
                                  .routes_removed = UINT32_MAX,
                                  .routes_changed = UINT32_MAX,
                                  .settings = UINT32_MAX};
    assert_true(strlen(describe(&diff)) < VX_CHANGES_TEXT_MAX - 1); /* none of it is cut off */
    assert_true(strlen(ignored(&diff)) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_what_differs),
        cmocka_unit_test(tells_what_waits_for_a_restart),
        cmocka_unit_test(everything_at_once_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
