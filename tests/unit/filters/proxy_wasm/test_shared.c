/* SPDX-License-Identifier: Apache-2.0 */
/* Shared data and queues: statuses, bounds, scopes, and several threads at once. */
#include "filters/proxy_wasm/shared.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct world {
    struct vx_pwasm_shared *shared;
    struct vx_pwasm_scope *scope;
};

static int setup(void **state) {
    static struct world w;
    w.shared = vx_pwasm_shared_new();
    w.scope = w.shared ? vx_pwasm_scope_hold(w.shared, VX_SLICE("auth")) : NULL;
    *state = &w;
    return w.scope ? 0 : -1;
}

static int teardown(void **state) {
    struct world *w = *state;
    vx_pwasm_scope_drop(w->scope);
    vx_pwasm_shared_free(w->shared);
    return 0;
}

static void expect_stored(struct vx_pwasm_scope *scope, const char *key, const char *want) {
    struct vx_pwasm_value value;
    assert_int_equal(vx_pwasm_shared_get(scope, vx_slice_of(key), &value), VX_PWASM_OK);
    assert_int_not_equal(value.cas, 0);
    assert_true(vx_slice_eq(vx_slice(value.data, value.len), vx_slice_of(want)));
    free(value.data);
}

static void test_values(void **state) {
    struct world *w = *state;
    struct vx_pwasm_value value;
    assert_int_equal(vx_pwasm_shared_get(w->scope, VX_SLICE("a"), &value), VX_PWASM_NOT_FOUND);
    assert_int_equal(vx_pwasm_shared_set(w->scope, VX_SLICE("a"), VX_SLICE("1"), 0), VX_PWASM_OK);
    expect_stored(w->scope, "a", "1");
    assert_int_equal(vx_pwasm_shared_set(w->scope, VX_SLICE("a"), VX_SLICE(""), 0), VX_PWASM_OK);
    expect_stored(w->scope, "a", "");
    assert_int_equal(vx_pwasm_shared_set(w->scope, VX_SLICE(""), VX_SLICE("empty key"), 0), VX_PWASM_OK);
    expect_stored(w->scope, "", "empty key");
}

static void test_compare_and_swap(void **state) {
    struct world *w = *state;
    struct vx_pwasm_value value;
    assert_int_equal(vx_pwasm_shared_set(w->scope, VX_SLICE("k"), VX_SLICE("1"), 77),
                     VX_PWASM_OK); /* absent */
    assert_int_equal(vx_pwasm_shared_get(w->scope, VX_SLICE("k"), &value), VX_PWASM_OK);
    free(value.data);
    assert_int_equal(vx_pwasm_shared_set(w->scope, VX_SLICE("k"), VX_SLICE("2"), value.cas), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_shared_set(w->scope, VX_SLICE("k"), VX_SLICE("3"), value.cas),
                     VX_PWASM_CAS_MISMATCH);
    expect_stored(w->scope, "k", "2");
    assert_int_equal(vx_pwasm_shared_set(w->scope, VX_SLICE("k"), VX_SLICE("4"), 0), VX_PWASM_OK);
    expect_stored(w->scope, "k", "4");
}

static void test_scopes_are_apart_and_end(void **state) {
    struct world *w = *state;
    struct vx_pwasm_value value;
    struct vx_pwasm_scope *other = vx_pwasm_scope_hold(w->shared, VX_SLICE("other"));
    assert_int_equal(vx_pwasm_shared_set(other, VX_SLICE("x"), VX_SLICE("1"), 0), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_shared_get(w->scope, VX_SLICE("x"), &value), VX_PWASM_NOT_FOUND);
    assert_ptr_equal(vx_pwasm_scope_hold(w->shared, VX_SLICE("other")), other);
    vx_pwasm_scope_drop(other);
    expect_stored(other, "x", "1"); /* one hold is left */
    vx_pwasm_scope_drop(other);
    other = vx_pwasm_scope_hold(w->shared, VX_SLICE("other"));
    assert_int_equal(vx_pwasm_shared_get(other, VX_SLICE("x"), &value), VX_PWASM_NOT_FOUND);
    vx_pwasm_scope_drop(other);
}

static void test_many_keys_and_a_full_scope(void **state) {
    struct world *w = *state;
    struct vx_pwasm_scope *scope = vx_pwasm_scope_hold(w->shared, VX_SLICE("full"));
    char key[16];
    for (int i = 0; i < 1000; i++) {
        size_t n = (size_t)snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(vx_pwasm_shared_set(scope, vx_slice(key, n), vx_slice(key, n), 0), VX_PWASM_OK);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        expect_stored(scope, key, key);
    }
    size_t bytes = VX_PWASM_SCOPE_BYTES_MAX / 2;
    char *large = calloc(1, bytes);
    assert_int_equal(vx_pwasm_shared_set(scope, VX_SLICE("l1"), vx_slice(large, bytes), 0), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_shared_set(scope, VX_SLICE("l2"), vx_slice(large, bytes), 0),
                     VX_PWASM_INTERNAL_FAILURE);
    assert_int_equal(vx_pwasm_shared_set(scope, VX_SLICE("l1"), vx_slice(large, bytes), 0), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_shared_set(scope, VX_SLICE("l1"), VX_SLICE("small"), 0), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_shared_set(scope, VX_SLICE("l2"), vx_slice(large, bytes), 0), VX_PWASM_OK);
    free(large);
    vx_pwasm_scope_drop(scope);
}

static const struct vx_pwasm_listener nobody = {0}, somebody = {.vm = 5, .worker = 1};

static void test_queues(void **state) {
    struct world *w = *state;
    struct vx_pwasm_item *item;
    struct vx_pwasm_listener tell;
    uint32_t id, again, found;
    assert_true(vx_pwasm_queue_register(w->scope, VX_SLICE("jobs"), nobody, &id));
    assert_true(id > 0);
    assert_true(vx_pwasm_queue_register(w->scope, VX_SLICE("jobs"), somebody, &again));
    assert_int_equal(id, again);
    assert_true(vx_pwasm_queue_find(w->shared, VX_SLICE("auth"), VX_SLICE("jobs"), &found));
    assert_int_equal(id, found);
    assert_false(vx_pwasm_queue_find(w->shared, VX_SLICE("auth"), VX_SLICE("none"), &found));
    assert_false(vx_pwasm_queue_find(w->shared, VX_SLICE("nobody"), VX_SLICE("jobs"), &found));
    assert_int_equal(vx_pwasm_queue_pop(w->shared, id, &item), VX_PWASM_EMPTY);
    assert_int_equal(vx_pwasm_queue_pop(w->shared, id + 1, &item), VX_PWASM_NOT_FOUND);
    assert_int_equal(vx_pwasm_queue_pop(w->shared, 0, &item), VX_PWASM_NOT_FOUND);
    assert_int_equal(vx_pwasm_queue_push(w->shared, 0, VX_SLICE("x"), &tell), VX_PWASM_NOT_FOUND);
    assert_int_equal(vx_pwasm_queue_push(w->shared, id, VX_SLICE("first"), &tell), VX_PWASM_OK);
    assert_int_equal(tell.vm, 5);
    assert_int_equal(tell.worker, 1);
    assert_int_equal(vx_pwasm_queue_push(w->shared, id, VX_SLICE(""), &tell), VX_PWASM_OK);
    assert_int_equal(tell.vm, 0);                             /* a word is on its way */
    assert_false(vx_pwasm_queue_tell(w->shared, id, nobody)); /* somebody else listens */
    for (int i = 0; i < 2; i++)
        assert_true(vx_pwasm_queue_tell(w->shared, id, somebody));
    assert_false(vx_pwasm_queue_tell(w->shared, id, somebody));
    assert_int_equal(vx_pwasm_queue_push(w->shared, id, VX_SLICE("third"), &tell), VX_PWASM_OK);
    assert_int_equal(tell.vm, 5);
    vx_pwasm_queue_untold(w->shared, id);
    static const char *const want[] = {"first", "", "third"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(vx_pwasm_queue_pop(w->shared, id, &item), VX_PWASM_OK);
        assert_true(vx_slice_eq(vx_slice(item->data, item->len), vx_slice_of(want[i])));
        free(item);
    }
    assert_int_equal(vx_pwasm_queue_pop(w->shared, id, &item), VX_PWASM_EMPTY);
}

static void test_queues_end_with_their_scope(void **state) {
    struct world *w = *state;
    struct vx_pwasm_listener tell;
    uint32_t id, next;
    struct vx_pwasm_scope *scope = vx_pwasm_scope_hold(w->shared, VX_SLICE("brief"));
    assert_true(vx_pwasm_queue_register(scope, VX_SLICE("q"), nobody, &id));
    assert_int_equal(vx_pwasm_queue_push(w->shared, id, VX_SLICE("left"), &tell), VX_PWASM_OK);
    vx_pwasm_scope_drop(scope);
    assert_int_equal(vx_pwasm_queue_push(w->shared, id, VX_SLICE("x"), &tell), VX_PWASM_NOT_FOUND);
    assert_true(vx_pwasm_queue_register(w->scope, VX_SLICE("q"), nobody, &next));
    assert_int_not_equal(next, id); /* who still has the old number does not reach it */
    assert_int_equal(vx_pwasm_queue_push(w->shared, id, VX_SLICE("x"), &tell), VX_PWASM_NOT_FOUND);
    assert_int_equal(vx_pwasm_queue_push(w->shared, next, VX_SLICE("y"), &tell), VX_PWASM_OK);
    struct vx_pwasm_item *item;
    assert_int_equal(vx_pwasm_queue_pop(w->shared, id, &item), VX_PWASM_NOT_FOUND);
    assert_false(vx_pwasm_queue_tell(w->shared, id, nobody));
}

/* Their places are used again, their numbers are not. */
static void test_queue_numbers_are_given_once(void **state) {
    struct world *w = *state;
    uint32_t seen[3 * VX_PWASM_QUEUES_MAX], count = 0, id;
    for (int round = 0; round < 3; round++) {
        struct vx_pwasm_scope *scope = vx_pwasm_scope_hold(w->shared, VX_SLICE("many"));
        for (int i = 0;; i++) {
            char name[16];
            snprintf(name, sizeof name, "q%d", i);
            if (!vx_pwasm_queue_register(scope, vx_slice_of(name), nobody, &id))
                break;
            seen[count++] = id;
        }
        vx_pwasm_scope_drop(scope);
    }
    assert_in_range(count, 3 * (VX_PWASM_QUEUES_MAX - 8), 3 * VX_PWASM_QUEUES_MAX);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = i + 1; k < count; k++)
            assert_int_not_equal(seen[i], seen[k]);
}

static void test_item_that_could_not_be_delivered(void **state) {
    struct world *w = *state;
    struct vx_pwasm_listener tell;
    struct vx_pwasm_item *one, *two;
    uint32_t id;
    struct vx_pwasm_scope *scope = vx_pwasm_scope_hold(w->shared, VX_SLICE("fails"));
    assert_true(vx_pwasm_queue_register(scope, VX_SLICE("q"), nobody, &id));
    vx_pwasm_queue_push(w->shared, id, VX_SLICE("1"), &tell);
    vx_pwasm_queue_push(w->shared, id, VX_SLICE("2"), &tell);
    assert_int_equal(vx_pwasm_queue_pop(w->shared, id, &one), VX_PWASM_OK);
    vx_pwasm_queue_unpop(w->shared, id, one);
    assert_int_equal(vx_pwasm_queue_pop(w->shared, id, &one), VX_PWASM_OK);
    assert_int_equal(one->data[0], '1');
    assert_int_equal(vx_pwasm_queue_pop(w->shared, id, &two), VX_PWASM_OK);
    vx_pwasm_queue_unpop(w->shared, id, two); /* into an empty one, which goes on */
    vx_pwasm_queue_push(w->shared, id, VX_SLICE("3"), &tell);
    free(one);
    for (int i = '2'; i <= '3'; i++) {
        assert_int_equal(vx_pwasm_queue_pop(w->shared, id, &two), VX_PWASM_OK);
        assert_int_equal(two->data[0], i);
        if (i == '2')
            free(two);
    }
    vx_pwasm_scope_drop(scope);
    vx_pwasm_queue_unpop(w->shared, id, two); /* its queue has gone: so has it */
}

enum { THREADS = 4, ROUNDS = 2000 };

static void *increment(void *arg) {
    struct world *w = arg;
    struct vx_pwasm_listener tell;
    uint32_t id;
    vx_pwasm_queue_find(w->shared, VX_SLICE("auth"), VX_SLICE("tickets"), &id);
    for (int i = 0; i < ROUNDS;) {
        struct vx_pwasm_value value = {0};
        uint32_t n = 0;
        if (vx_pwasm_shared_get(w->scope, VX_SLICE("count"), &value) == VX_PWASM_OK)
            memcpy(&n, value.data, sizeof n);
        free(value.data);
        n++;
        struct vx_slice next = vx_slice((const char *)&n, sizeof n);
        if (vx_pwasm_shared_set(w->scope, VX_SLICE("count"), next, value.cas) == VX_PWASM_OK) {
            vx_pwasm_queue_push(w->shared, id, next, &tell);
            i++;
        }
    }
    return NULL;
}

static void test_threads_count_right(void **state) {
    struct world *w = *state;
    pthread_t threads[THREADS];
    struct vx_pwasm_value value;
    uint32_t id, n = 0;
    assert_int_equal(
        vx_pwasm_shared_set(w->scope, VX_SLICE("count"), vx_slice((const char *)&n, sizeof n), 0),
        VX_PWASM_OK);
    assert_true(vx_pwasm_queue_register(w->scope, VX_SLICE("tickets"), somebody, &id));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, increment, w), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(vx_pwasm_shared_get(w->scope, VX_SLICE("count"), &value), VX_PWASM_OK);
    memcpy(&n, value.data, sizeof n);
    free(value.data);
    assert_int_equal(n, THREADS * ROUNDS);
    struct vx_pwasm_item *item;
    for (n = 0; vx_pwasm_queue_pop(w->shared, id, &item) == VX_PWASM_OK; n++)
        free(item);
    assert_int_equal(n, THREADS * ROUNDS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_compare_and_swap),
        cmocka_unit_test(test_scopes_are_apart_and_end),
        cmocka_unit_test(test_many_keys_and_a_full_scope),
        cmocka_unit_test(test_queues),
        cmocka_unit_test(test_queues_end_with_their_scope),
        cmocka_unit_test(test_queue_numbers_are_given_once),
        cmocka_unit_test(test_item_that_could_not_be_delivered),
        cmocka_unit_test(test_threads_count_right),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
