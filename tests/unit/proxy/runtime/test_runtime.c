/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks run once, in order, also those deferred by tasks, and never keep a round from ending. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "proxy/runtime/runtime.h"

struct counted {
    struct vx_task task;
    struct vx_runtime *rt;
    struct counted *next;
    unsigned runs, order;
    bool again;
};

static unsigned order;

static void run(struct vx_task *t, uint64_t now_ns) {
    struct counted *c = VX_CONTAINER_OF(t, struct counted, task);
    assert_int_equal(now_ns, 77);
    c->runs++;
    c->order = ++order;
    if (c->next)
        vx_runtime_defer(c->rt, &c->next->task);
    if (c->again)
        vx_runtime_defer(c->rt, t);
}

static void start(struct vx_runtime *rt, struct counted *c, unsigned count) {
    *rt = (struct vx_runtime){.now_ns = 77};
    vx_list_init(&rt->tasks);
    vx_list_init(&rt->later);
    order = 0;
    for (unsigned i = 0; i < count; i++) {
        c[i] = (struct counted){.rt = rt};
        vx_task_init(&c[i].task, run);
    }
}

static void runs_each_once_in_order(void **state) {
    (void)state;
    struct vx_runtime rt;
    struct counted c[3];
    start(&rt, c, 3);
    vx_runtime_defer(&rt, &c[1].task);
    vx_runtime_defer(&rt, &c[0].task);
    vx_runtime_defer(&rt, &c[1].task);
    vx_runtime_defer(&rt, &c[2].task);
    vx_task_cancel(&c[2].task);
    assert_false(vx_runtime_run_tasks(&rt));
    assert_int_equal(c[1].order, 1);
    assert_int_equal(c[0].order, 2);
    assert_int_equal(c[0].runs + c[1].runs, 2);
    assert_int_equal(c[2].runs, 0);
    assert_false(vx_runtime_run_tasks(&rt));
    assert_int_equal(order, 2);
}

static void runs_what_tasks_defer(void **state) {
    (void)state;
    struct vx_runtime rt;
    struct counted c[2];
    start(&rt, c, 2);
    c[0].next = &c[1];
    vx_runtime_defer(&rt, &c[0].task);
    assert_false(vx_runtime_run_tasks(&rt));
    assert_int_equal(c[1].runs, 1);
}

static void an_endless_task_leaves_the_round(void **state) {
    (void)state;
    struct vx_runtime rt;
    struct counted c[1];
    start(&rt, c, 1);
    c[0].again = true;
    vx_runtime_defer(&rt, &c[0].task);
    assert_true(vx_runtime_run_tasks(&rt));
    assert_true(c[0].runs > 100);
    c[0].again = false;
    assert_false(vx_runtime_run_tasks(&rt));
}

static void what_is_for_the_next_round_waits(void **state) {
    (void)state;
    struct vx_runtime rt;
    struct counted c[2];
    start(&rt, c, 2);
    vx_runtime_defer_next(&rt, &c[0].task);
    vx_runtime_defer_next(&rt, &c[0].task);
    vx_runtime_defer(&rt, &c[1].task);
    assert_true(vx_runtime_run_tasks(&rt));
    assert_int_equal(c[0].runs, 0);
    assert_int_equal(c[1].runs, 1);
    assert_false(vx_runtime_run_tasks(&rt));
    assert_int_equal(c[0].runs, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_each_once_in_order),
        cmocka_unit_test(runs_what_tasks_defer),
        cmocka_unit_test(an_endless_task_leaves_the_round),
        cmocka_unit_test(what_is_for_the_next_round_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
