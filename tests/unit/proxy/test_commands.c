/* SPDX-License-Identifier: Apache-2.0 */
/* What a command line's arguments may be, and what `check` answers. The commands as a whole are tested from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "proxy/commands.h"

static void test_ports(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", "0", "65536", "99999999999999999999", "-1", "+1", " 1", "1 ", "0x10", "80a", "4294967297"};
    uint16_t port;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(vx_command_parse_port(bad[i], &port));
    assert_true(vx_command_parse_port("1", &port) && port == 1);
    assert_true(vx_command_parse_port("65535", &port) && port == 65535);
    assert_true(vx_command_parse_port("0080", &port) && port == 80);
}

static void test_check_answers_by_its_exit_code(void **state) {
    (void)state;
    assert_int_equal(vx_command_check("tests/fuzz/corpus/config/example-small"), 0);
    assert_int_equal(vx_command_check("tests/fuzz/corpus/config/unknown"), 2);
    assert_int_equal(vx_command_check("/nonexistent/vortex.yaml"), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_check_answers_by_its_exit_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
