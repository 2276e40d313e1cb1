/* SPDX-License-Identifier: Apache-2.0 */
/* The table that workers look into: what is blocked is found, what is not is not, full groups, and readers beside the
 * writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "core/base/random.h"
#include "core/config/model.h"
#include "core/limit/ban_table.h"

enum { CLIENTS = 64 };

static struct vx_ban_table *new_table(void) {
    struct vx_ban_table *t = malloc(sizeof *t);
    void *memory = calloc(1, vx_ban_table_bytes(CLIENTS));
    assert_true(t && memory);
    vx_ban_table_init(t, memory, CLIENTS, (struct vx_hash_key){1, 2});
    return t;
}

static void free_table(struct vx_ban_table *t) {
    free(t->slots);
    free(t);
}

static void block(struct vx_ban_table *t, uint64_t client, uint64_t until_ns) {
    struct vx_ban ban = {.client = client, .until_ns = until_ns};
    assert_true(t->list.block(&t->list, &ban));
}

static void blocked_until(void **state) {
    (void)state;
    struct vx_ban_table *t = new_table();
    assert_false(vx_ban_table_has(t, 5, 0));
    block(t, 5, 100);
    assert_true(vx_ban_table_has(t, 5, 99));
    assert_false(vx_ban_table_has(t, 5, 100));
    assert_false(vx_ban_table_has(t, 6, 99));
    block(t, 5, 200);
    assert_true(vx_ban_table_has(t, 5, 199));
    assert_int_equal(t->used, 1);
    t->list.unblock(&t->list, 5);
    assert_false(vx_ban_table_has(t, 5, 0));
    assert_int_equal(t->used, 0);
    t->list.unblock(&t->list, 5);
    assert_int_equal(t->used, 0);
    assert_false(vx_ban_table_has(t, 0, 0));
    free_table(t);
}

/* In a full group the ban that ends first makes room. */
static void full_group(void **state) {
    (void)state;
    struct vx_ban_table *t = new_table();
    for (uint64_t client = 1; client <= 10u * CLIENTS; client++)
        block(t, client, 1000 + client);
    assert_int_equal(t->used, CLIENTS);
    uint32_t kept = 0;
    for (uint64_t client = 1; client <= 10u * CLIENTS; client++)
        kept += vx_ban_table_has(t, client, 0);
    assert_int_equal(kept, CLIENTS);
    assert_true(vx_ban_table_has(t, 10u * CLIENTS, 0));
    t->list.apply(&t->list, NULL, NULL, 0);
    assert_int_equal(t->used, 0);
    free_table(t);
}

/* Against a plain model, until the group of a client would be full. */
static void like_a_model(void **state) {
    (void)state;
    struct vx_ban_table *t = new_table();
    struct vx_random random = {7};
    uint64_t until[8] = {0};
    for (int step = 0; step < 100000; step++) {
        uint64_t client = 1 + vx_random_below(&random, 7);
        if (vx_random_below(&random, 3)) {
            until[client] = vx_random_below(&random, 1000);
            block(t, client, until[client]);
        } else {
            until[client] = 0;
            t->list.unblock(&t->list, client);
        }
        uint64_t asked = 1 + vx_random_below(&random, 7), now = vx_random_below(&random, 1000);
        assert_int_equal(vx_ban_table_has(t, asked, now), until[asked] > now);
    }
    free_table(t);
}

struct readers {
    struct vx_ban_table *table;
    _Atomic bool stop;
    _Atomic uint64_t wrong;
};

/* Client 1 is always banned, client 2 never, whatever comes and goes around them. */
static void *read_all_the_time(void *arg) {
    struct readers *r = arg;
    while (!atomic_load(&r->stop)) {
        r->wrong += !vx_ban_table_has(r->table, 1, 10);
        r->wrong += vx_ban_table_has(r->table, 2, 10);
    }
    return NULL;
}

static void readers_beside_the_writer(void **state) {
    (void)state;
    struct readers r = {.table = new_table()};
    struct vx_random random = {3};
    pthread_t threads[2];
    block(r.table, 1, UINT64_MAX);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all_the_time, &r), 0);
    for (int step = 0; step < 200000; step++) {
        uint64_t client = 3 + vx_random_below(&random, 500);
        if (step % 2)
            block(r.table, client, 1000 + client);
        else
            r.table->list.unblock(&r.table->list, client);
        /* As an end that is over: the slot says no for a client that has one. */
        block(r.table, 2, 5);
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(r.wrong, 0);
    free_table(r.table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocked_until),
        cmocka_unit_test(full_group),
        cmocka_unit_test(like_a_model),
        cmocka_unit_test(readers_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
