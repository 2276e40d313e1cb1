/* SPDX-License-Identifier: Apache-2.0 */
/* One message of a body, however it is cut into pieces, and everything that is not one. */
#include "admin/grpc/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct vx_grpc_budget budget;
static struct vx_grpc_reader reader;
static struct vx_grpc_status status;

static int setup(void **state) {
    (void)state;
    budget = (struct vx_grpc_budget){.limit_bytes = 100000};
    reader = (struct vx_grpc_reader){.budget = &budget, .limit_bytes = 60000};
    status = (struct vx_grpc_status){VX_GRPC_OK, NULL};
    return 0;
}

static int teardown(void **state) {
    (void)state;
    vx_grpc_reader_free(&reader);
    assert_int_equal(budget.held_bytes, 0);
    return 0;
}

static bool feed(struct vx_slice bytes) {
    return vx_grpc_reader_feed(&reader, bytes, &status);
}

static void in_pieces(void **state) {
    (void)state;
    static const char body[] = "\0\0\0\0\5hello";
    for (size_t i = 0; i < sizeof body - 1; i++) {
        assert_false(vx_grpc_reader_end(&reader, &status));
        assert_int_equal(status.code, i ? VX_GRPC_INTERNAL : VX_GRPC_UNIMPLEMENTED);
        assert_true(feed(vx_slice(body + i, 1)));
    }
    assert_true(vx_grpc_reader_end(&reader, &status));
    assert_true(vx_slice_eq(vx_grpc_reader_message(&reader), VX_SLICE("hello")));
    assert_int_equal(budget.held_bytes, 5);
}

static void empty_message(void **state) {
    (void)state;
    assert_true(feed(VX_SLICE("\0\0\0\0\0")));
    assert_true(vx_grpc_reader_end(&reader, &status));
    assert_int_equal(vx_grpc_reader_message(&reader).len, 0);
}

static void grows_with_what_comes(void **state) {
    (void)state;
    static char piece[20000];
    char prefix[VX_GRPC_PREFIX_BYTES];
    memset(piece, 'x', sizeof piece);
    vx_grpc_write_prefix(prefix, 60000);
    assert_true(feed(vx_slice(prefix, sizeof prefix)));
    assert_int_equal(budget.held_bytes, 0);
    assert_true(feed(vx_slice(piece, 1)));
    assert_true(budget.held_bytes < 20000);
    for (unsigned i = 0; i < 3; i++)
        assert_true(feed(vx_slice(piece, i == 2 ? 19999 : 20000)));
    assert_true(vx_grpc_reader_end(&reader, &status));
    assert_int_equal(budget.held_bytes, 60000);
    for (size_t i = 0; i < 60000; i++)
        assert_int_equal(vx_grpc_reader_message(&reader).ptr[i], 'x');
}

static void too_long(void **state) {
    (void)state;
    char prefix[VX_GRPC_PREFIX_BYTES];
    vx_grpc_write_prefix(prefix, 60001);
    assert_false(feed(vx_slice(prefix, sizeof prefix)));
    assert_int_equal(status.code, VX_GRPC_RESOURCE_EXHAUSTED);
}

static void compressed(void **state) {
    (void)state;
    assert_false(feed(VX_SLICE("\1\0\0\0\1x")));
    assert_int_equal(status.code, VX_GRPC_INTERNAL);
}

static void second_message(void **state) {
    (void)state;
    assert_false(feed(VX_SLICE("\0\0\0\0\1xy")));
    assert_int_equal(status.code, VX_GRPC_UNIMPLEMENTED);
}

static void shared_budget(void **state) {
    (void)state;
    static char piece[50000];
    struct vx_grpc_reader other = reader;
    char prefix[VX_GRPC_PREFIX_BYTES];
    vx_grpc_write_prefix(prefix, 60000);
    assert_true(feed(vx_slice(prefix, sizeof prefix)) && feed(vx_slice(piece, sizeof piece)));
    assert_true(vx_grpc_reader_feed(&other, vx_slice(prefix, sizeof prefix), &status));
    assert_false(vx_grpc_reader_feed(&other, vx_slice(piece, sizeof piece), &status) &&
                 vx_grpc_reader_feed(&other, vx_slice(piece, 1), &status));
    assert_int_equal(status.code, VX_GRPC_RESOURCE_EXHAUSTED);
    vx_grpc_reader_free(&other);
    assert_true(budget.held_bytes >= 50000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_message, setup, teardown),
        cmocka_unit_test_setup_teardown(grows_with_what_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(compressed, setup, teardown),
        cmocka_unit_test_setup_teardown(second_message, setup, teardown),
        cmocka_unit_test_setup_teardown(shared_budget, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
