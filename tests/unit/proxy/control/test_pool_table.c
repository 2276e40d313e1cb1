/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers stay with identities; what connections still count in outlives its number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "proxy/control/pool_table.h"

static uint32_t take(struct vx_pool_table *t, uint64_t key, uint64_t identity) {
    uint32_t index;
    assert_true(vx_pool_table_take(t, key, identity, &index));
    return index;
}

static void test_the_same_backend_keeps_its_number(void **state) {
    (void)state;
    struct vx_pool_table t = {0};
    uint32_t a = take(&t, 1, 0), b = take(&t, 2, 0), a_tls = take(&t, 1, 77);
    assert_int_not_equal(a, b);
    assert_int_not_equal(a, a_tls); /* spoken to in another way: another pool */
    struct vx_target_shared *shared = t.entries[a].shared;
    assert_int_equal(take(&t, 1, 0), a); /* the next generation */
    vx_pool_table_give(&t, a);           /* the one before goes */
    assert_ptr_equal(t.entries[a].shared, shared);
    vx_pool_table_give(&t, a);
    vx_pool_table_give(&t, b);
    vx_pool_table_give(&t, a_tls);
    vx_pool_table_free(&t);
}

static void test_a_number_is_used_again_with_counters_of_its_own(void **state) {
    (void)state;
    struct vx_pool_table t = {0};
    uint32_t a = take(&t, 1, 0);
    struct vx_target_shared *before = t.entries[a].shared;
    atomic_store(&before->connections, 1); /* a tunnel that outlives its backend */
    vx_pool_table_give(&t, a);
    vx_pool_table_collect(&t);
    uint32_t b = take(&t, 2, 0);
    assert_int_equal(b, a);
    assert_ptr_not_equal(t.entries[b].shared, before);
    assert_int_equal(atomic_load(&t.entries[b].shared->connections), 0);
    vx_target_hold(before);
    vx_target_give_place(before);
    vx_pool_table_collect(&t);
    assert_int_equal(t.retired_count, 1);
    vx_target_let_go(before);
    vx_pool_table_collect(&t);
    assert_int_equal(t.retired_count, 0);
    vx_pool_table_give(&t, b);
    vx_pool_table_free(&t);
}

static void test_many_come_and_go(void **state) {
    (void)state;
    struct vx_pool_table t = {0};
    for (unsigned round = 0; round < 50; round++) {
        uint32_t indexes[20];
        for (unsigned i = 0; i < 20; i++)
            indexes[i] = take(&t, round * 20 + i, 0);
        for (unsigned i = 0; i < 20; i++)
            vx_pool_table_give(&t, indexes[i]);
        vx_pool_table_collect(&t);
    }
    assert_int_equal(t.count, 20); /* numbers do not grow with reloads */
    vx_pool_table_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_backend_keeps_its_number),
        cmocka_unit_test(test_a_number_is_used_again_with_counters_of_its_own),
        cmocka_unit_test(test_many_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
