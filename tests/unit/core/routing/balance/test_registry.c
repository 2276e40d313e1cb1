/* SPDX-License-Identifier: Apache-2.0 */
/* Who keeps whose state across sets, when memory comes back, and what happens without memory. */
#include "unit/core/routing/balance/fixture.h"

static void same_identity_keeps_its_state(void **state) {
    struct fixture *f = fixture_new(10, VX_BALANCE_PEAK_EWMA);
    (void)state;
    const struct vx_backend_set *old = fixture_build(f, 0);
    uint64_t keys[10];
    for (uint32_t i = 0; i < 10; i++) {
        keys[i] = vx_backend_set_key(old, i);
        fixture_set_ewma(old, i, (float)(100 * i + 1));
    }
    /* The same backends in another order, with other weights. */
    for (uint32_t i = 0; i < 5; i++) {
        struct vx_backend_endpoint e = f->endpoints[i];
        f->endpoints[i] = f->endpoints[9 - i];
        f->endpoints[9 - i] = e;
        f->backends[i].weight = 7;
    }
    const struct vx_backend_set *fresh = fixture_build(f, 1);
    fixture_drop(f, 0);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(vx_backend_set_key(fresh, i), keys[9 - i]);
        assert_float_equal(fixture_ewma(fresh, i), (float)(100 * (9 - i) + 1), 0);
        assert_false(fixture_marked(fresh, i));
    }
    fixture_free(f);
}

static void another_identity_is_another_backend(void **state) {
    (void)state;
    for (int change = 0; change < 7; change++) {
        struct fixture *f = fixture_new(2, VX_BALANCE_PEAK_EWMA);
        uint64_t key = vx_backend_set_key(fixture_build(f, 0), 0);
        fixture_set_ewma(f->set, 0, 77);
        struct vx_backend_endpoint *e = &f->endpoints[0];
        switch (change) {
        case 0:
            f->backends[0].id = 99;
            break;
        case 1:
            f->backends[0].address_text = VX_SLICE("other:80");
            break;
        case 2:
            e->address.ip[3] = 200;
            break;
        case 3:
            e->address.port = 81;
            break;
        case 4:
            e->address.kind = VX_ADDRESS_IP6;
            break;
        case 5:
            f->route.name = VX_SLICE("another route");
            break;
        default: /* nothing changed, to see that the test could fail */
            break;
        }
        const struct vx_backend_set *fresh = fixture_build(f, 1);
        assert_int_equal(vx_backend_set_key(fresh, 0) == key, change == 6);
        fixture_free(f);
    }
}

/* Two addresses of one name may be alike; each has a slot of its own, and both are found again. */
static void equal_endpoints_have_a_slot_each(void **state) {
    struct fixture *f = fixture_new(3, VX_BALANCE_PEAK_EWMA);
    (void)state;
    f->endpoints[2] = f->endpoints[1];
    const struct vx_backend_set *old = fixture_build(f, 0);
    assert_int_not_equal(vx_backend_set_key(old, 1), vx_backend_set_key(old, 2));
    const struct vx_backend_set *fresh = fixture_build(f, 1);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(vx_backend_set_key(fresh, i), vx_backend_set_key(old, i));
    fixture_free(f);
}

static void dropped_state_is_forgotten(void **state) {
    struct fixture *f = fixture_new(3, VX_BALANCE_PEAK_EWMA);
    (void)state;
    uint64_t key = vx_backend_set_key(fixture_build(f, 0), 2);
    fixture_set_ewma(f->set, 0, 50);
    fixture_drop(f, 0);
    assert_int_equal(f->registry.group_count, 0);
    fixture_build(f, 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(vx_backend_set_key(f->set, i) > key); /* keys are never given twice */
        assert_float_equal(fixture_ewma(f->set, i), 0, 0);
    }
    fixture_free(f);
}

/* A slot that left all sets is used again, but not while a request without snapshot is still active on it. */
static void slots_are_reused_when_idle(void **state) {
    struct fixture *f = fixture_new(8, VX_BALANCE_ROUND_ROBIN);
    (void)state;
    fixture_build(f, 0);
    struct vx_backend_ticket tunnel;
    do {
        tunnel = fixture_pick(f);
        if (tunnel.index != 7)
            vx_backend_ticket_end(&tunnel, VX_OUTCOME_NEUTRAL, f->now_ns);
    } while (tunnel.index != 7);
    vx_backend_ticket_detach(&tunnel);
    struct vx_backend_slot *slot_7 = f->set->places[7].slot, *slot_6 = f->set->places[6].slot;
    f->count = 6;
    fixture_build(f, 1);
    fixture_drop(f, 0);
    /* Two new backends: one gets the free slot, the other one a new page. */
    f->count = 8;
    f->backends[6].id = 60;
    f->backends[7].id = 70;
    const struct vx_backend_set *fresh = fixture_build(f, 0);
    assert_ptr_equal(fresh->places[6].slot, slot_6);
    assert_ptr_not_equal(fresh->places[7].slot, slot_7);
    assert_int_equal(fixture_active(fresh, 6), 0);
    vx_backend_ticket_end(&tunnel, VX_OUTCOME_NEUTRAL, f->now_ns);
    f->backends[7].id = 71;
    assert_ptr_equal(fixture_build(f, 2)->places[7].slot, slot_7);
    fixture_free(f);
}

static void collect_waits_for_tunnels(void **state) {
    struct fixture *f = fixture_new(2, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    struct vx_backend_ticket tunnel = fixture_pick(f);
    vx_backend_ticket_detach(&tunnel);
    fixture_drop(f, 0);
    vx_backend_registry_collect(&f->registry);
    assert_int_equal(f->registry.group_count, 1);
    vx_backend_ticket_end(&tunnel, VX_OUTCOME_FAILURE, f->now_ns);
    vx_backend_registry_collect(&f->registry);
    assert_int_equal(f->registry.group_count, 0);
    fixture_free(f);
}

/* Backends that come one by one, each with a reload, still share lines. */
static void growth_stays_packed(void **state) {
    struct fixture *f = fixture_new(1, VX_BALANCE_PEAK_EWMA);
    (void)state;
    fixture_build(f, 0);
    for (int i = 0; i < 16; i++) {
        fixture_add_backends(f, 1);
        fixture_build(f, 1 - i % 2);
        fixture_drop(f, i % 2);
    }
    const struct vx_backend_set *set = f->sets[0] ? f->sets[0] : f->sets[1];
    assert_int_equal(vx_backend_set_count(set), 17);
    assert_int_equal(set->all.line_count, 3);
    assert_int_equal(set->all.member_count, 17);
    fixture_free(f);
}

static void many_routes(void **state) {
    enum { ROUTES = 500 };
    static char names[ROUTES][8];
    static const struct vx_backend_set *sets[ROUTES];
    struct fixture *f = fixture_new(2, VX_BALANCE_PEAK_EWMA);
    (void)state;
    for (uint32_t i = 0; i < ROUTES; i++) {
        memcpy(names[i], &i, sizeof i);
        f->route.name = vx_slice(names[i], sizeof i);
        sets[i] = vx_backend_set_build(&f->registry, &f->arenas[0], &f->route, f->endpoints, 2, f->now_ns);
        assert_non_null(sets[i]);
        fixture_set_ewma(sets[i], 1, (float)(i + 1));
    }
    assert_int_equal(f->registry.group_count, ROUTES);
    for (uint32_t i = 0; i < ROUTES; i++) {
        f->route.name = vx_slice(names[i], sizeof i);
        const struct vx_backend_set *again =
            vx_backend_set_build(&f->registry, &f->arenas[1], &f->route, f->endpoints, 2, f->now_ns);
        assert_float_equal(fixture_ewma(again, 1), (float)(i + 1), 0);
        vx_backend_set_drop(&f->registry, again);
        vx_backend_set_drop(&f->registry, sets[i]);
    }
    assert_int_equal(f->registry.group_count, 0);
    fixture_free(f);
}

/* Memory refused at each allocation in turn: no set, nothing lost, and the next try works on the same state. */
static void out_of_memory(void **state) {
    static const struct vx_slice models[] = {{"a", 1}, {"b", 1}};
    struct fixture *f = fixture_new(9, VX_BALANCE_ROUND_ROBIN);
    (void)state;
    for (uint32_t i = 0; i < 9; i++) {
        f->backends[i].ai_models = (struct vx_slice *)models;
        f->backends[i].ai_model_count = 1 + i % 2;
    }
    fixture_build(f, 0);
    fixture_set_ewma(f->set, 0, 42);
    fixture_add_backends(f, 100);
    bool built = false;
    for (long allowed = 0; !built; allowed++) {
        f->memory.refuse_after = allowed;
        const struct vx_backend_set *set =
            vx_backend_set_build(&f->registry, &f->arenas[1], &f->route, f->endpoints, f->count, f->now_ns);
        built = set != NULL;
        f->sets[1] = set;
        assert_int_equal(f->registry.group_count, 1);
        for (const struct vx_backend_page *p = f->set->group->pages; p; p = p->next)
            for (uint32_t i = 0; i < p->lane_count; i++)
                assert_int_equal(p->identities[i].index, UINT32_MAX);
        if (!built)
            vx_arena_reset(&f->arenas[1]);
        assert_true(allowed < 100);
    }
    f->memory.refuse_after = -1;
    assert_float_equal(fixture_ewma(f->sets[1], 0), 42, 0);
    assert_float_equal(fixture_ewma(f->sets[1], 108), 42, 0);
    fixture_free(f);
}

static void out_of_memory_for_the_first_route(void **state) {
    (void)state;
    for (long allowed = 0; allowed < 4; allowed++) {
        struct fixture *f = fixture_new(2, VX_BALANCE_PEAK_EWMA);
        f->memory.refuse_after = allowed;
        assert_null(
            vx_backend_set_build(&f->registry, &f->arenas[0], &f->route, f->endpoints, f->count, f->now_ns));
        f->memory.refuse_after = -1;
        fixture_free(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_identity_keeps_its_state),
        cmocka_unit_test(another_identity_is_another_backend),
        cmocka_unit_test(equal_endpoints_have_a_slot_each),
        cmocka_unit_test(dropped_state_is_forgotten),
        cmocka_unit_test(slots_are_reused_when_idle),
        cmocka_unit_test(collect_waits_for_tunnels),
        cmocka_unit_test(growth_stays_packed),
        cmocka_unit_test(many_routes),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(out_of_memory_for_the_first_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
