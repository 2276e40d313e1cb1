/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of pairs: what is written is read again, and no hostile length is believed. */
#include "filters/proxy_wasm/pairs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct vx_field fields[VX_FIELD_MAP_PAIRS_MAX];

static bool reads(const char *bytes, size_t n, uint32_t *count) {
    /* In memory of its own size, so that a sanitizer sees the first byte too far. */
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, bytes, n);
    bool fine = vx_pwasm_pairs_read(vx_slice(copy, n), fields, count);
    free(copy);
    return fine;
}

static void test_written_lists_are_read(void **state) {
    (void)state;
    uint8_t room[256];
    size_t bytes = vx_pwasm_pairs_bytes(3, 4 + 5 + 0 + 1 + 2 + 0);
    struct vx_pwasm_pairs p = vx_pwasm_pairs_begin(room, 3, bytes);
    assert_true(vx_pwasm_pairs_put(&p, VX_SLICE("NaMe"), VX_SLICE("VaLue"), true));
    assert_true(vx_pwasm_pairs_put(&p, VX_SLICE(""), VX_SLICE("x"), false));
    assert_false(vx_pwasm_pairs_full(&p));
    assert_true(vx_pwasm_pairs_put(&p, VX_SLICE("Ab"), VX_SLICE_NONE, false));
    assert_true(vx_pwasm_pairs_full(&p));
    assert_ptr_equal(p.text, room + bytes);
    uint32_t count;
    assert_true(vx_pwasm_pairs_read(vx_slice((const char *)room, bytes), fields, &count));
    assert_int_equal(count, 3);
    assert_true(vx_slice_eq(fields[0].name, VX_SLICE("name")));
    assert_true(vx_slice_eq(fields[0].value, VX_SLICE("VaLue")));
    assert_int_equal(fields[1].name.len, 0);
    assert_true(vx_slice_eq(fields[2].name, VX_SLICE("Ab")));
    assert_int_equal(fields[2].value.len, 0);
}

/* What is longer, or more, than what was measured is not written. */
static void test_no_list_goes_beyond_its_room(void **state) {
    (void)state;
    size_t bytes = vx_pwasm_pairs_bytes(2, 2 + 4);
    uint8_t *room = malloc(bytes); /* a sanitizer knows its end */
    assert_non_null(room);
    struct vx_pwasm_pairs p = vx_pwasm_pairs_begin(room, 2, bytes);
    assert_true(vx_pwasm_pairs_put(&p, VX_SLICE("a"), VX_SLICE("bc"), false));
    assert_false(vx_pwasm_pairs_put(&p, VX_SLICE("d"), VX_SLICE("efg"), false));
    assert_true(vx_pwasm_pairs_put(&p, VX_SLICE("d"), VX_SLICE("e"), false));
    assert_false(vx_pwasm_pairs_full(&p)); /* a byte is left */
    assert_false(vx_pwasm_pairs_put(&p, VX_SLICE_NONE, VX_SLICE_NONE, false));
    free(room);
}

static void test_empty_lists(void **state) {
    (void)state;
    uint32_t count = 9;
    assert_true(reads("", 0, &count));
    assert_int_equal(count, 0);
    assert_true(reads("\0\0\0\0", 4, &count));
    assert_int_equal(count, 0);
    assert_int_equal(vx_pwasm_pairs_bytes(0, 0), 0);
}

static void test_hostile_lengths_are_refused(void **state) {
    (void)state;
    uint32_t count;
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
        {"\0\0\0", 3},
        {"\1\0\0\0", 4},
        {"\xff\xff\xff\xff", 4},
        {"\0\0\0\x80", 4},
        {"\1\0\0\0\1\0\0\0\1\0\0\0a\0b", 15},           /* the last zero is missing */
        {"\1\0\0\0\1\0\0\0\1\0\0\0axb\0", 16},          /* the first one is none */
        {"\1\0\0\0\1\0\0\0\1\0\0\0a\0b\0c", 17},        /* a byte too many */
        {"\1\0\0\0\xff\xff\xff\xff\1\0\0\0a\0b\0", 16}, /* a name without end */
        {"\1\0\0\0\1\0\0\0\xfe\xff\xff\xff"
         "a\0b\0",
         16},                                   /* a value whose end wraps around */
        {"\2\0\0\0\1\0\0\0\1\0\0\0a\0b\0", 16}, /* one pair of two */
        {"\1\4\0\0", 4},                        /* 1025 */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(reads(bad[i].bytes, bad[i].n, &count));
    assert_true(reads("\1\0\0\0\1\0\0\0\1\0\0\0a\0b\0", 16, &count));
}

static void test_size_is_bounded(void **state) {
    (void)state;
    size_t n = VX_FIELD_MAP_BYTES_MAX + 1;
    char *large = calloc(1, n);
    uint32_t count;
    assert_non_null(large);
    large[0] = 1;
    uint32_t len = (uint32_t)(n - 4 - 8 - 2);
    memcpy(large + 4, &len, 4);
    assert_false(vx_pwasm_pairs_read(vx_slice(large, n), fields, &count));
    len--;
    memcpy(large + 4, &len, 4);
    assert_true(vx_pwasm_pairs_read(vx_slice(large, n - 1), fields, &count));
    assert_int_equal(fields[0].name.len, len);
    free(large);
}

static void test_as_many_pairs_as_may_be(void **state) {
    (void)state;
    size_t n = vx_pwasm_pairs_bytes(VX_FIELD_MAP_PAIRS_MAX, 0);
    uint8_t *room = malloc(n);
    uint32_t count;
    assert_non_null(room);
    struct vx_pwasm_pairs p = vx_pwasm_pairs_begin(room, VX_FIELD_MAP_PAIRS_MAX, n);
    for (int i = 0; i < VX_FIELD_MAP_PAIRS_MAX; i++)
        assert_true(vx_pwasm_pairs_put(&p, VX_SLICE_NONE, VX_SLICE_NONE, true));
    assert_true(vx_pwasm_pairs_full(&p));
    assert_true(vx_pwasm_pairs_read(vx_slice((const char *)room, n), fields, &count));
    assert_int_equal(count, VX_FIELD_MAP_PAIRS_MAX);
    free(room);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_lists_are_read),
        cmocka_unit_test(test_empty_lists),
        cmocka_unit_test(test_hostile_lengths_are_refused),
        cmocka_unit_test(test_size_is_bounded),
        cmocka_unit_test(test_as_many_pairs_as_may_be),
        cmocka_unit_test(test_no_list_goes_beyond_its_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
