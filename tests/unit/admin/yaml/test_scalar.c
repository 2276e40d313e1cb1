/* SPDX-License-Identifier: Apache-2.0 */
/* The forms of numbers: each accepted form with its value, and near misses that are refused. */
#include "admin/yaml/scalar.h"

#include "yaml_test.h"

typedef bool reader(struct vx_slice text, uint64_t *out);

struct row {
    const char *text;
    uint64_t value;
};

static void check_all(const char *what, reader *read, const struct row *good, size_t good_count,
                      const char *const *bad, size_t bad_count) {
    for (size_t i = 0; i < good_count; i++) {
        uint64_t value = 0;
        if (!read(vx_slice_of(good[i].text), &value))
            fail_msg("%s %s refused", what, good[i].text);
        assert_int_equal(value, good[i].value);
    }
    for (size_t i = 0; i < bad_count; i++) {
        uint64_t value;
        if (read(vx_slice_of(bad[i]), &value))
            fail_msg("%s %s accepted", what, bad[i]);
    }
}
#define COUNT_OF(array)        (sizeof(array) / sizeof(*(array)))
#define CHECK(read, good, bad) check_all(#read, read, good, COUNT_OF(good), bad, COUNT_OF(bad))

static void counts(void **state) {
    (void)state;
    static const struct row good[] = {
        {"0", 0}, {"7", 7}, {"4294967296", 4294967296}, {"18446744073709551615", UINT64_MAX}};
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      "01",
                                      "00",
                                      "1.0",
                                      "1e3",
                                      " 1",
                                      "1 ",
                                      "0x1",
                                      "1_0",
                                      "one",
                                      "18446744073709551616",
                                      "99999999999999999999"};
    CHECK(vx_yaml_read_count, good, bad);
}

static void durations(void **state) {
    (void)state;
    static const struct row good[] = {
        {"0", 0},
        {"0s", 0},
        {"1ms", 1000000},
        {"500ms", 500000000},
        {"5s", 5000000000},
        {"1m", 60000000000},
        {"2h", 7200000000000},
        {"1d", 86400000000000},
        {"1m30s", 90000000000},
        {"1d2h3m4s5ms", 93784005000000},
        {"213503d", 18446659200000000000u},
    };
    static const char *const bad[] = {"",
                                      "5",
                                      "5 s",
                                      "s",
                                      "5S",
                                      "5sec",
                                      "5us",
                                      "5ns",
                                      "1.5s",
                                      "-5s",
                                      "5s5",
                                      "5s1m",
                                      "5s5s",
                                      "1h 30m",
                                      "5w",
                                      "05s",
                                      "213504d",
                                      "5m5",
                                      "ms",
                                      "1ms1s",
                                      "999999999999999999d",
                                      "5s\n",
                                      "213503d23h59m"};
    CHECK(vx_yaml_read_duration, good, bad);
}

static void sizes(void **state) {
    (void)state;
    static const struct row good[] = {{"0", 0},          {"65536", 65536},     {"64KiB", 65536},
                                      {"1MiB", 1048576}, {"2GiB", 2147483648}, {"0MiB", 0}};
    static const char *const bad[] = {"",        "KiB",           "64k", "64K",    "64KB",  "64kib",
                                      "64 KiB",  "1TiB",          "-1",  "1.5MiB", "1MiBs", "064KiB",
                                      "64KiB64", "17179869184GiB"};
    CHECK(vx_yaml_read_size, good, bad);
}

static void percentages(void **state) {
    (void)state;
    static const struct row good[] = {{"0%", 0}, {"20%", 20}, {"100%", 100}, {"250%", 250}};
    static const char *const bad[] = {"", "%", "20", "20 %", "2.5%", "-1%", "20%%", "020%"};
    CHECK(vx_yaml_read_percent, good, bad);
}

static void flags(void **state) {
    (void)state;
    static const char *const on[] = {"true", "True", "on", "yes", "YES"};
    static const char *const off[] = {"false", "FALSE", "off", "Off", "no"};
    static const char *const neither[] = {"", "1", "0", "y", "n", "enabled", "true ", "t"};
    bool value;
    for (size_t i = 0; i < 5; i++) {
        assert_true(vx_yaml_read_flag(vx_slice_of(on[i]), &value) && value);
        assert_true(vx_yaml_read_flag(vx_slice_of(off[i]), &value) && !value);
    }
    for (size_t i = 0; i < sizeof(neither) / sizeof(*neither); i++)
        assert_false(vx_yaml_read_flag(vx_slice_of(neither[i]), &value));
}

static void fractions(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0}, {"1", 1}, {"0.5", 0.5}, {"0.999999999", 0.999999999}, {"12.25", 12.25}};
    static const char *const bad[] = {"",    ".5",  "0.",   "-0.5", "0,5", "1e-3", "0.1234567890",
                                      "nan", "inf", "0.5 ", "00.5"};
    double value;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_true(vx_yaml_read_fraction(vx_slice_of(good[i].text), &value));
        assert_true(value == good[i].value);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (vx_yaml_read_fraction(vx_slice_of(bad[i]), &value))
            fail_msg("%s accepted", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts), cmocka_unit_test(durations),
                                       cmocka_unit_test(sizes),  cmocka_unit_test(percentages),
                                       cmocka_unit_test(flags),  cmocka_unit_test(fractions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
