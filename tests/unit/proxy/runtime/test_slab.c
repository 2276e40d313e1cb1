/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks are kept and reused up to the bound; other sizes go through; the counters tell what is in use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "core/base/block.h"
#include "proxy/runtime/slab.h"

static void reuses_the_warmest_chunk(void **state) {
    (void)state;
    struct vx_slab s;
    assert_true(vx_slab_init(&s, 4096, 3 * 4096));
    void *a = s.source.take(&s.source, 4096), *b = s.source.take(&s.source, 100);
    assert_non_null(a);
    assert_int_equal(s.used_bytes, 2 * 4096);
    memset(a, 1, 4096);
    memset(b, 1, 4096);
    s.source.give(&s.source, a, 4096);
    s.source.give(&s.source, b, 100);
    assert_int_equal(s.used_bytes, 0);
    assert_int_equal(vx_slab_kept_bytes(&s), 2 * 4096);
    assert_ptr_equal(s.source.take(&s.source, 4096), b);
    memset(b, 2, 4096);
    assert_int_equal(s.malloc_total, 2);
    assert_int_equal(s.taken_total, 3);
    s.source.give(&s.source, b, 4096);
    vx_slab_free(&s);
}

static void keeps_no_more_than_the_bound(void **state) {
    (void)state;
    struct vx_slab s;
    void *chunks[8];
    assert_true(vx_slab_init(&s, 4096, 3 * 4096 + 100));
    for (int i = 0; i < 8; i++)
        chunks[i] = s.source.take(&s.source, 4096);
    for (int i = 0; i < 8; i++)
        s.source.give(&s.source, chunks[i], 4096);
    assert_int_equal(s.kept_count, 3);
    vx_slab_free(&s);
    assert_true(vx_slab_init(&s, 4096, 0));
    chunks[0] = s.source.take(&s.source, 4096);
    s.source.give(&s.source, chunks[0], 4096);
    assert_int_equal(s.kept_count, 0);
    vx_slab_free(&s);
}

static void larger_sizes_come_from_malloc(void **state) {
    (void)state;
    struct vx_slab s;
    assert_true(vx_slab_init(&s, VX_SLAB_BLOCK_BYTES, 1 << 20));
    struct vx_block *b = vx_block_take(&s.source, 100000);
    assert_non_null(b);
    assert_true(b->bytes >= 100000);
    memset(b->data, 1, b->bytes);
    assert_true(s.used_bytes >= 100000);
    vx_block_drop(b);
    assert_int_equal(s.used_bytes, 0);
    assert_int_equal(s.kept_count, 0);
    b = vx_block_take(&s.source, 1);
    assert_true(b->bytes >= 16 * 1024);
    memset(b->data, 1, b->bytes);
    vx_block_drop(b);
    assert_int_equal(s.kept_count, 1);
    vx_slab_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reuses_the_warmest_chunk),
        cmocka_unit_test(keeps_no_more_than_the_bound),
        cmocka_unit_test(larger_sizes_come_from_malloc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
