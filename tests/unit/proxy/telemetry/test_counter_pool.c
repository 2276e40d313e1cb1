/* SPDX-License-Identifier: Apache-2.0 */
/* Cells of counters: apart from each other, zero when taken, reused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/telemetry/counter_pool.h"

enum { WORKERS = 3, ITEMS = 2000, CELL = 24 };

static struct vx_counter_pool pool;
static void *items[ITEMS];

static void cells_are_apart(void **state) {
    (void)state;
    vx_counter_pool_init(&pool, CELL, WORKERS);
    for (unsigned i = 0; i < ITEMS; i++) {
        items[i] = vx_counter_pool_take(&pool);
        assert_non_null(items[i]);
    }
    for (unsigned i = 0; i < ITEMS; i++)
        for (uint32_t w = 0; w < WORKERS; w++)
            memset(vx_counter_cell(&pool, items[i], w), (int)(i * WORKERS + w), CELL);
    for (unsigned i = 0; i < ITEMS; i++)
        for (uint32_t w = 0; w < WORKERS; w++) {
            const unsigned char *cell = vx_counter_cell(&pool, items[i], w);
            assert_int_equal((uintptr_t)cell % 8, 0);
            for (unsigned b = 0; b < CELL; b++)
                assert_int_equal(cell[b], (unsigned char)(i * WORKERS + w));
        }
    vx_counter_pool_destroy(&pool);
}

static void workers_share_no_page(void **state) {
    (void)state;
    vx_counter_pool_init(&pool, CELL, WORKERS);
    void *item = vx_counter_pool_take(&pool);
    assert_true((char *)vx_counter_cell(&pool, item, 1) - (char *)item >= 4096);
    vx_counter_pool_destroy(&pool);
}

static void given_back_and_reused(void **state) {
    (void)state;
    static const char zero[CELL];
    vx_counter_pool_init(&pool, CELL, WORKERS);
    for (unsigned i = 0; i < 10; i++) {
        items[i] = vx_counter_pool_take(&pool);
        for (uint32_t w = 0; w < WORKERS; w++)
            memset(vx_counter_cell(&pool, items[i], w), 0xff, CELL);
    }
    for (unsigned i = 0; i < 10; i++)
        vx_counter_pool_give(&pool, items[i]);
    for (unsigned round = 0; round < 10; round++) {
        void *item = vx_counter_pool_take(&pool);
        unsigned known = 0;
        for (unsigned i = 0; i < 10; i++)
            known += items[i] == item;
        assert_int_equal(known, 1);
        for (uint32_t w = 0; w < WORKERS; w++)
            assert_memory_equal(vx_counter_cell(&pool, item, w), zero, CELL);
    }
    vx_counter_pool_destroy(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_apart),
        cmocka_unit_test(workers_share_no_page),
        cmocka_unit_test(given_back_and_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
