/* SPDX-License-Identifier: Apache-2.0 */
/* Two equal configurations, then one field after the other changed: none may go unseen. */
#include "core/config/diff.h"

#include "config_test.h"

static struct sample before, after;

static struct vx_config_diff compare(void) {
    struct vx_config_diff diff;
    assert_true(vx_config_diff(&before.config, &after.config, &before.scratch, &diff));
    fill_sample(&before);
    fill_sample(&after);
    return diff;
}

static int setup(void **state) {
    (void)state;
    fill_sample(&before);
    fill_sample(&after);
    return 0;
}

static void equal(void **state) {
    (void)state;
    static const struct vx_config_diff none;
    after.listeners[0].place.line++;
    after.certificates[0].place.line++;
    after.certificates[0].key_place.line++;
    after.routes[0].place.line++;
    after.backends[0].place.line++;
    after.filters[0].place.line++;
    after.filters[0].wasm_place.line++;
    after.uses[0].place.line++;
    after.config.metrics_place.line++;
    after.config.path = VX_SLICE("/other");
    struct vx_config_diff diff = compare();
    assert_memory_equal(&diff, &none, sizeof(diff));
}

static void with_prefix(struct vx_prefix **prefixes, uint32_t *count) {
    static struct vx_prefix one = {{.kind = VX_ADDRESS_IP4, .ip = {10}}, 8};
    *prefixes = &one;
    *count = 1;
}

static void with_port(struct vx_config_xdp *xdp) {
    static uint16_t one = 1900;
    xdp->amplification_ports = &one;
    xdp->amplification_port_count = 1;
}

#define CHANGED(setting, change)                                                                             \
    do {                                                                                                     \
        change;                                                                                              \
        struct vx_config_diff diff = compare();                                                              \
        assert_int_equal(diff.settings, 1u << VX_SETTING_##setting);                                         \
        assert_int_equal(diff.listeners_changed + diff.routes_changed, 0);                                   \
    } while (0)

static void settings(void **state) {
    (void)state;
    CHANGED(WORKERS, after.config.workers = 3);
    CHANGED(TRUSTED_PROXIES, after.config.trusted_proxy_count = 0);
    CHANGED(TRUSTED_PROXIES, after.proxies[0].bits = 9);
    CHANGED(TRUSTED_PROXIES, after.proxies[0].address.ip[0] = 11);
    CHANGED(BANS, after.config.bans.enabled = true);
    CHANGED(BANS, after.config.bans.after++);
    CHANGED(BANS, after.config.bans.within_ns++);
    CHANGED(BANS, after.config.bans.duration_ns++);
    CHANGED(BANS, after.config.bans.max_duration_ns++);
    CHANGED(BANS, after.config.bans.sweep_interval_ns++);
    CHANGED(BANS, after.config.bans.interface = VX_SLICE("eth0"));
    CHANGED(BANS, with_prefix(&after.config.bans.never, &after.config.bans.never_count));
    CHANGED(BANS, with_prefix(&after.config.bans.xdp.drop, &after.config.bans.xdp.drop_count));
    CHANGED(BANS, with_prefix(&after.config.bans.xdp.spare, &after.config.bans.xdp.spare_count));
    CHANGED(BANS, after.config.bans.xdp.mode = VX_XDP_GENERIC);
    CHANGED(BANS, after.config.bans.xdp.keep_attached = true);
    CHANGED(BANS, after.config.bans.xdp.pin = VX_SLICE("off"));
    CHANGED(BANS, after.config.bans.xdp.malformed = true);
    CHANGED(BANS, after.config.bans.xdp.fragments = true);
    CHANGED(BANS, after.config.bans.xdp.amplification = true);
    CHANGED(BANS, with_port(&after.config.bans.xdp));
    CHANGED(BANS, after.config.bans.xdp.syn_rate++);
    CHANGED(BANS, after.config.bans.xdp.udp_rate++);
    CHANGED(BANS, after.config.bans.xdp.connection_rate++);
    CHANGED(METRICS, after.config.metrics_address.port++);
    CHANGED(METRICS, after.config.metrics_address = (struct vx_address){0});
    CHANGED(ADMIN, after.config.admin_socket = VX_SLICE("/a"));
    CHANGED(ACCESS_LOG, after.config.access_log.enabled = false);
    CHANGED(ACCESS_LOG, after.config.access_log.path = VX_SLICE("stderr"));
    CHANGED(ACCESS_LOG, after.config.access_log.json = false);
    CHANGED(SHUTDOWN, after.config.drain_ns++);
    CHANGED(TIMEOUTS, after.config.timeouts.header_ns++);
    CHANGED(TIMEOUTS, after.config.timeouts.idle_ns++);
    CHANGED(TIMEOUTS, after.config.timeouts.body_ns++);
    CHANGED(TIMEOUTS, after.config.timeouts.write_ns++);
    CHANGED(TIMEOUTS, after.config.timeouts.handshake_ns++);
    CHANGED(LIMITS, after.config.limits.header_bytes++);
    CHANGED(LIMITS, after.config.limits.headers++);
    CHANGED(LIMITS, after.config.limits.uri_bytes++);
    CHANGED(LIMITS, after.config.limits.body_bytes++);
    CHANGED(LIMITS, after.config.limits.buffered_body_bytes++);
    CHANGED(LIMITS, after.config.limits.connections++);
    CHANGED(LIMITS, after.config.limits.concurrent_streams++);
    CHANGED(LIMITS, after.config.limits.glitches_a_minute++);
    CHANGED(WASM, after.config.wasm.instances++);
    CHANGED(WASM, after.config.wasm.cache_path = VX_SLICE("off"));
    CHANGED(NORMALIZE, after.config.merge_slashes = true);
    CHANGED(RATE_LIMIT, after.config.default_limit.requests++);
    CHANGED(RATE_LIMIT, after.config.rate_store.sentinel_user = VX_SLICE("x"));
    CHANGED(RATE_LIMIT, after.config.rate_store.sentinel_password = VX_SLICE("x"));
    CHANGED(RATE_LIMIT_MEMORY, after.config.rate_store.memory_bytes++);
    before.config.access_log.enabled = after.config.access_log.enabled = false;
    after.config.access_log.path = VX_SLICE("unused");
    assert_int_equal(compare().settings, 0);
}

static void filters(void **state) {
    (void)state;
    CHANGED(FILTERS, after.config.filter_count = 1);
    CHANGED(FILTERS, after.filters[1].name = VX_SLICE("x"));
    CHANGED(FILTERS, after.filters[1].wasm_path = VX_SLICE("/x"));
    CHANGED(FILTERS, after.filters[1].config = VX_SLICE("x"));
    CHANGED(FILTERS, after.filters[1].vm_config = VX_SLICE("x"));
    CHANGED(FILTERS, after.filters[1].root_id = VX_SLICE("x"));
    CHANGED(FILTERS, after.filters[1].vm_id = VX_SLICE("x"));
    CHANGED(FILTERS, after.filters[1].fails_open = true);
    CHANGED(FILTERS, after.filters[1].body_continues = true);
    CHANGED(FILTERS, after.filters[1].limits.memory_bytes++);
    CHANGED(FILTERS, after.filters[1].limits.time_ns++);
    CHANGED(FILTERS, after.filters[1].limits.start_time_ns++);
    CHANGED(FILTERS, after.filters[1].limits.end_time_ns++);
    CHANGED(FILTERS, after.filters[1].limits.pause_time_ns++);
    CHANGED(FILTERS, after.filters[1].limits.body_bytes++);
    CHANGED(FILTERS, after.filters[1].limits.of_plugins = true);
}
#undef CHANGED

static void setting_words(void **state) {
    (void)state;
    assert_string_equal(vx_config_setting_key(VX_SETTING_WORKERS), "workers");
    assert_false(vx_config_setting_live(VX_SETTING_WORKERS));
    assert_string_equal(vx_config_setting_key(VX_SETTING_NORMALIZE), "normalize");
    assert_true(vx_config_setting_live(VX_SETTING_LIMITS));
}

static void listeners(void **state) {
    (void)state;
#define CHANGED(change)                                                                                      \
    do {                                                                                                     \
        change;                                                                                              \
        struct vx_config_diff diff = compare();                                                              \
        assert_int_equal(diff.listeners_changed, 1);                                                         \
        assert_int_equal(diff.listeners_added + diff.listeners_removed + diff.settings, 0);                  \
    } while (0)
    CHANGED(after.listeners[0].tls = true);
    CHANGED(after.listeners[0].proxy_protocol = true);
    CHANGED(after.listeners[1].certificate_count = 1);
    CHANGED(after.listeners[1].client_ca_path = VX_SLICE("/ca"));
    CHANGED(after.certificates[1].cert_path = VX_SLICE("/x"));
    CHANGED(after.certificates[0].key_path = VX_SLICE("/x"));
#undef CHANGED
    after.listeners[0].address = address("0.0.0.0:80");
    struct vx_config_diff diff = compare();
    assert_int_equal(diff.listeners_added, 1);
    assert_int_equal(diff.listeners_removed, 1);
    assert_int_equal(diff.listeners_changed, 0);
    after.config.listener_count = 1;
    diff = compare();
    assert_int_equal(diff.listeners_removed, 1);
    assert_int_equal(diff.listeners_added, 0);
    struct vx_address wanted = address("0.0.0.0:8443"), unknown = address("0.0.0.0:1");
    assert_ptr_equal(vx_config_find_listener(&after.config, &wanted), &after.listeners[1]);
    assert_null(vx_config_find_listener(&after.config, &unknown));
}

static void routes(void **state) {
    (void)state;
    struct vx_config_route *r = &after.routes[0];
#define CHANGED(change)                                                                                      \
    do {                                                                                                     \
        change;                                                                                              \
        struct vx_config_diff diff = compare();                                                              \
        if (diff.routes_changed == 0)                                                                        \
            fail_msg("unseen: %s", #change);                                                                 \
        assert_int_equal(diff.routes_added + diff.routes_removed + diff.settings, 0);                        \
    } while (0)
    CHANGED(r->has_match = false);
    CHANGED(r->match.host = VX_SLICE("a"));
    CHANGED(r->match.path = VX_SLICE("/a"));
    CHANGED(r->match.path_prefix = VX_SLICE("/a"));
    CHANGED(r->match.method = VX_SLICE("PUT"));
    CHANGED(r->match.header_count = 0);
    CHANGED(after.headers[0].name = VX_SLICE("x-b"));
    CHANGED(after.headers[0].value = VX_SLICE("c"));
    CHANGED(r->backend_count = 1);
    CHANGED(after.backends[1].id++);
    CHANGED(after.backends[1].address.port++);
    CHANGED(after.backends[1].address_text = VX_SLICE("x"));
    CHANGED(after.backends[1].weight++);
    CHANGED(after.backends[1].max_connections++);
    CHANGED(after.backends[1].ai_model_count = 1);
    CHANGED(after.models[1] = VX_SLICE("x"));
    CHANGED(r->tls.enabled = true);
    CHANGED(r->tls.ca_path = VX_SLICE("x"));
    CHANGED(r->tls.server_name = VX_SLICE("x"));
    CHANGED(r->tls.cert_path = VX_SLICE("x"));
    CHANGED(r->tls.key_path = VX_SLICE("x"));
    CHANGED(r->balance = VX_BALANCE_RANDOM);
    CHANGED(r->ewma_decay = 0.25);
    CHANGED(r->http2 = true);
    CHANGED(r->rewrite_path_prefix = VX_SLICE("/x"));
    CHANGED(r->rewrite_host = VX_SLICE("x"));
    CHANGED(r->redirect_to = VX_SLICE("/x"));
    CHANGED(r->redirect_code = 301);
    CHANGED(r->connect_timeout_ns++);
    CHANGED(r->response_timeout_ns++);
    CHANGED(r->idle_timeout_ns++);
    CHANGED(r->pool_idle_ns++);
    CHANGED(r->pool_max_age_ns++);
    CHANGED(r->pool_max_requests++);
    CHANGED(r->pool_max_idle++);
    CHANGED(r->queue_length++);
    CHANGED(r->queue_timeout_ns++);
    CHANGED(r->retry_attempts++);
    CHANGED(r->retry_budget_percent++);
    CHANGED(r->filters_given = false);
    CHANGED(r->filter_count = 1);
    CHANGED(after.uses[1].name = VX_SLICE("x"));
    CHANGED(r->breaker.failures++);
    CHANGED(r->breaker.failure_rate_percent++);
    CHANGED(r->breaker.open_for_ns++);
    CHANGED(r->breaker.half_open_requests++);
    CHANGED(r->health_check.enabled = true);
    CHANGED(r->health_check.path = VX_SLICE("/x"));
    CHANGED(r->health_check.interval_ns++);
    CHANGED(r->health_check.timeout_ns++);
    CHANGED(r->health_check.healthy++);
    CHANGED(r->health_check.unhealthy++);
#undef CHANGED
    r->name = VX_SLICE("new");
    struct vx_config_diff diff = compare();
    assert_int_equal(diff.routes_added, 1);
    assert_int_equal(diff.routes_removed, 1);
    assert_int_equal(diff.routes_changed, 0);
    after.config.route_count = 2;
    diff = compare();
    assert_int_equal(diff.routes_removed, 1);
    struct vx_config_route swapped = after.routes[0]; /* the order alone changes no route */
    after.routes[0] = after.routes[1];
    after.routes[1] = swapped;
    assert_int_equal(compare().routes_changed, 0);
}

static void limits_of_routes(void **state) {
    (void)state;
    struct vx_config_rate_limit *l = &after.routes[0].rate_limit;
#define CHANGED(change)                                                                                      \
    do {                                                                                                     \
        change;                                                                                              \
        assert_int_equal(compare().routes_changed, 1);                                                       \
    } while (0)
    CHANGED(l->enabled = true);
    CHANGED(l->requests++);
    CHANGED(l->per_ns++);
    CHANGED(l->burst++);
    CHANGED(l->key_count = 1);
    CHANGED(after.limit_keys[1] = VX_SLICE("x"));
    CHANGED(l->cost_text = VX_SLICE("x"));
    CHANGED(l->scope = VX_SLICE("x"));
#undef CHANGED
}

/* A field that joins one of these structs must join diff.c and the lists above. */
static void structs_are_as_compared(void **state) {
    (void)state;
    assert_int_equal(sizeof(struct vx_config_listener), 96);
    assert_int_equal(sizeof(struct vx_config_route), 560);
    assert_int_equal(sizeof(struct vx_config_filter), 176);
}

static void no_memory(void **state) {
    (void)state;
    struct vx_config_diff diff;
    vx_arena_init(&before.scratch, before.memory, 8, NULL);
    assert_false(vx_config_diff(&before.config, &after.config, &before.scratch, &diff));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(equal, setup),
        cmocka_unit_test_setup(settings, setup),
        cmocka_unit_test_setup(filters, setup),
        cmocka_unit_test_setup(setting_words, setup),
        cmocka_unit_test_setup(listeners, setup),
        cmocka_unit_test_setup(routes, setup),
        cmocka_unit_test_setup(structs_are_as_compared, setup),
        cmocka_unit_test_setup(no_memory, setup),
        cmocka_unit_test_setup(limits_of_routes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
