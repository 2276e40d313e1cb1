/* SPDX-License-Identifier: Apache-2.0 */
/* See runtime.h. */
#include "proxy/runtime/runtime.h"

/* Tasks that defer each other for ever must not keep the worker from its sockets. */
enum { TASKS_PER_ROUND = 4096 };

bool vx_runtime_run_tasks(struct vx_runtime *rt) {
    for (unsigned i = 0; i < TASKS_PER_ROUND; i++) {
        struct vx_list *node = vx_list_pop_front(&rt->tasks);
        if (!node)
            break;
        struct vx_task *t = VX_CONTAINER_OF(node, struct vx_task, link);
        t->run(t, rt->now_ns);
    }
    for (struct vx_list *node; (node = vx_list_pop_front(&rt->later));)
        vx_list_push_back(&rt->tasks, node);
    return !vx_list_empty(&rt->tasks);
}
