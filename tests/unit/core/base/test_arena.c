/* SPDX-License-Identifier: Apache-2.0 */
/* Copies and joins in an arena, with and without memory for them; and a buffer that moves to another block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/base/block.h"
#include "support/http_check.h"

static void joins_parts_in_their_order(void **state) {
    (void)state;
    const struct vx_slice parts[] = {VX_SLICE("a"), VX_SLICE_NONE, VX_SLICE("bc"), VX_SLICE("")};
    assert_true(vx_slice_eq(vx_arena_join(&vx_test_memory.arena, parts, 4), VX_SLICE("abc")));
    assert_true(vx_slice_eq(vx_arena_copy(&vx_test_memory.arena, parts[2]), VX_SLICE("bc")));
}

/* Empty text is text: only NULL says that there was no memory. */
static void joins_nothing_to_empty_text(void **state) {
    (void)state;
    struct vx_slice none = vx_arena_join(&vx_test_memory.arena, NULL, 0);
    assert_non_null(none.ptr);
    assert_int_equal(none.len, 0);
}

static void says_that_there_is_no_memory(void **state) {
    (void)state;
    struct vx_test_arena empty;
    vx_test_arena_init(&empty, 0);
    const struct vx_slice parts[] = {VX_SLICE("a"), VX_SLICE("b")};
    assert_null(vx_arena_join(&empty.arena, parts, 2).ptr);
    vx_test_arena_end(&empty);
}

static void a_buffer_takes_along_what_it_holds(void **state) {
    (void)state;
    struct vx_chunk_source *source = &vx_test_memory.source;
    struct vx_buffer b = {0};
    assert_true(vx_buffer_renew(&b, source, 5));
    assert_int_equal(vx_buffer_len(&b), 0);
    for (uint32_t i = 0; i < 5; i++)
        b.block->data[i] = (char)('1' + i);
    b.start = 2;
    b.end = 5;
    struct vx_block *first = vx_block_hold(b.block);
    assert_true(vx_buffer_renew(&b, source, 100000));
    assert_true(vx_slice_eq(vx_buffer_slice(&b), VX_SLICE("345")));
    assert_true(vx_buffer_room(&b) >= 99997);
    assert_int_equal(first->holders, 1); /* the buffer has let go of it */
    vx_block_drop(first);
    vx_buffer_release(&b);
}

static void a_buffer_without_memory_stays_as_it_is(void **state) {
    (void)state;
    struct vx_buffer b = {0};
    assert_true(vx_buffer_renew(&b, &vx_test_memory.source, 5));
    struct vx_block *block = b.block;
    b.end = 5;
    struct vx_test_arena empty;
    vx_test_arena_init(&empty, 0);
    assert_false(vx_buffer_renew(&b, &empty.source, 10));
    assert_ptr_equal(b.block, block);
    assert_int_equal(vx_buffer_len(&b), 5);
    vx_test_arena_end(&empty);
    vx_buffer_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_parts_in_their_order),
        cmocka_unit_test(joins_nothing_to_empty_text),
        cmocka_unit_test(says_that_there_is_no_memory),
        cmocka_unit_test(a_buffer_takes_along_what_it_holds),
        cmocka_unit_test(a_buffer_without_memory_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, vx_test_memory_begin, vx_test_memory_end);
}
