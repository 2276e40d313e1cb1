/* SPDX-License-Identifier: Apache-2.0 */
/* What a generation is made of, who uses it, and that all of it goes with its last user. */
#include "core/routing/balance/set.h"
#include "core/routing/table.h"
#include "unit/proxy/control/control_test.h"

struct world {
    struct control_world *control;
    struct vx_generation_sources sources;
    struct vx_setup *setup;
    unsigned unused, released;
};

static void unused(struct vx_snapshot *snapshot) {
    ((struct world *)snapshot->owner)->unused++;
}

static void released(struct vx_snapshot *snapshot) {
    ((struct world *)snapshot->owner)->released++;
}

static struct world start(const char *backend, const char *rest) {
    struct world w = {.control = control_start()};
    struct vx_control *c = &w.control->c;
    struct vx_config_error error;
    control_configure(w.control, "a.sock", "m.sock", backend, rest);
    w.setup = vx_setup_load(c->path, c->tickets, NULL, &error);
    assert_non_null(w.setup);
    w.sources = (struct vx_generation_sources){.registry = &c->registry,
                                               .pools = &c->pools,
                                               .metrics = c->metrics,
                                               .names = &c->names,
                                               .workers = 3};
    return w;
}

static struct vx_generation *build(struct world *w, uint64_t version) {
    struct vx_generation *g = vx_generation_new(&w->sources, w->setup, version, 1);
    assert_non_null(g);
    g->snapshot.owner = w;
    g->snapshot.unused = unused;
    g->snapshot.released = released;
    return g;
}

static void end(struct world *w) {
    assert_int_equal(w->setup->holders, 1); /* no generation holds it any more */
    assert_int_equal(w->setup->keepers, 1);
    vx_setup_drop(w->setup);
    control_end(w->control);
}

static void test_it_says_all_of_a_target(void **state) {
    (void)state;
    struct world w =
        start("127.0.0.1:9",
              "    timeouts: { connect: 2s, response: 3s, idle: 4s }\n    pool: { idle: 5s, max_idle: 6 }\n");
    struct vx_generation *g = build(&w, 7);
    assert_int_equal(g->snapshot.version, 7);
    assert_int_equal(g->snapshot.route_count, 1);
    const struct vx_target *t = &g->snapshot.routes[0].targets[0];
    assert_int_equal(t->address.port, 9);
    assert_true(vx_slice_eq(t->name, VX_SLICE("127.0.0.1:9")));
    assert_true(vx_slice_eq(t->server_name, VX_SLICE("127.0.0.1")));
    assert_int_equal(t->connect_timeout_ns, UINT64_C(2000000000));
    assert_int_equal(t->response_timeout_ns, UINT64_C(3000000000));
    assert_int_equal(t->idle_timeout_ns, UINT64_C(4000000000));
    assert_int_equal(t->pool_idle_ns, UINT64_C(5000000000));
    assert_int_equal(t->max_idle, 6);
    assert_non_null(t->shared);
    assert_int_equal(g->pools_used[t->pool / 64] >> (t->pool % 64) & 1, 1);
    struct vx_request request = {.path = VX_SLICE("/x"), .host = VX_SLICE("h"), .method = VX_METHOD_GET};
    assert_int_equal(vx_route_table_find(g->snapshot.table, &request), 0);
    vx_generation_free(g);
    end(&w);
}

static void test_the_last_of_all_workers_tells(void **state) {
    (void)state;
    struct world w = start("127.0.0.1:9", "");
    struct vx_generation *g = build(&w, 1);
    vx_snapshot_hold(&g->snapshot, 1);
    vx_snapshot_drop(&g->snapshot, 0);
    vx_snapshot_drop(&g->snapshot, 1);
    vx_snapshot_drop(&g->snapshot, 2);
    assert_int_equal(w.unused, 0); /* worker 1 has one more user */
    vx_snapshot_drop(&g->snapshot, 1);
    assert_int_equal(w.unused, 1);
    assert_int_equal(w.released, 1);
    vx_generation_free(g);
    end(&w);
}

static void test_who_keeps_it_delays_its_end_only(void **state) {
    (void)state;
    struct world w = start("127.0.0.1:9", "");
    struct vx_generation *g = build(&w, 1);
    vx_snapshot_keep(&g->snapshot, 1);
    for (uint32_t i = 0; i < 3; i++)
        vx_snapshot_drop(&g->snapshot, i);
    assert_int_equal(w.unused, 1);
    assert_int_equal(w.released, 0);
    assert_int_equal(w.setup->holders, 2);
    vx_generation_retire(g);
    assert_int_equal(w.setup->holders, 1);
    assert_int_equal(w.setup->keepers, 2);
    vx_snapshot_keep(&g->snapshot, 1); /* the keeper may have another one */
    vx_snapshot_release(&g->snapshot, 1);
    assert_int_equal(w.released, 0);
    vx_snapshot_release(&g->snapshot, 1);
    assert_int_equal(w.released, 1);
    vx_generation_free(g);
    end(&w);
}

static void test_pools_are_shared_between_generations_and_freed_with_the_last(void **state) {
    (void)state;
    struct world w = start("127.0.0.1:9", "");
    struct vx_generation *a = build(&w, 1), *b = build(&w, 2);
    uint32_t pool = a->snapshot.routes[0].targets[0].pool;
    assert_int_equal(b->snapshot.routes[0].targets[0].pool, pool);
    assert_ptr_equal(a->snapshot.routes[0].metrics, b->snapshot.routes[0].metrics);
    assert_int_equal(w.control->c.pools.entries[pool].users, 2);
    vx_generation_free(a);
    assert_int_equal(w.control->c.pools.entries[pool].users, 1);
    vx_generation_free(b);
    assert_int_equal(w.control->c.pools.entries[pool].users, 0);
    end(&w);
}

static void test_a_name_without_addresses_has_no_endpoints_yet(void **state) {
    (void)state;
    struct world w = start("nowhere.invalid:80", "");
    struct vx_generation *g = build(&w, 1);
    assert_int_equal(vx_backend_set_count(g->snapshot.routes[0].set), 0);
    vx_generation_free(g);
    end(&w);
}

static void test_a_redirect_has_no_backends(void **state) {
    (void)state;
    struct world w =
        start("127.0.0.1:9", "  - { name: s, match: { path: /s }, redirect: { to: \"https://x/\" } }\n");
    struct vx_generation *g = build(&w, 1);
    assert_non_null(g->snapshot.routes[0].set);
    assert_null(g->snapshot.routes[1].set);
    vx_generation_free(g);
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_says_all_of_a_target),
        cmocka_unit_test(test_the_last_of_all_workers_tells),
        cmocka_unit_test(test_who_keeps_it_delays_its_end_only),
        cmocka_unit_test(test_pools_are_shared_between_generations_and_freed_with_the_last),
        cmocka_unit_test(test_a_name_without_addresses_has_no_endpoints_yet),
        cmocka_unit_test(test_a_redirect_has_no_backends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
