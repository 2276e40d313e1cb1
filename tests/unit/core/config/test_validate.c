/* SPDX-License-Identifier: Apache-2.0 */
/* A valid configuration, broken in one way after the other; each is told with its place. */
#include "config_test.h"

static struct sample s;

static void expect_valid(void) {
    struct vx_config_error error;
    if (!vx_config_validate(&s.config, &s.scratch, &error))
        fail_msg("%u:%u: %s", error.place.line, error.place.column, error.text);
    fill_sample(&s);
}

static void expect(uint32_t line, const char *says) {
    struct vx_config_error error = {.text = ""};
    if (vx_config_validate(&s.config, &s.scratch, &error))
        fail_msg("accepted, and should say `%s`", says);
    if (!strstr(error.text, says) || error.place.line != line)
        fail_msg("line %u, not %u: `%s` should say `%s`", error.place.line, line, error.text, says);
    fill_sample(&s);
}

static int setup(void **state) {
    (void)state;
    fill_sample(&s);
    return 0;
}

static void the_sample_is_valid(void **state) {
    (void)state;
    expect_valid();
}

static void listeners(void **state) {
    (void)state;
    s.config.listener_count = 0;
    expect(1, "`listeners` is empty");
    s.listeners[1].address = address("0.0.0.0:8080");
    expect(11, "the listener on 0.0.0.0:8080 is there already, in line 10");
    s.listeners[1].address = address("127.0.0.1:8080");
    expect(11, "the listener on 127.0.0.1:8080 takes the same connections as the one in line 10");
    s.listeners[0].address = address("[::]:8443");
    s.listeners[1].address = address("[::1]:8443");
    expect(11, "takes the same connections");
    s.listeners[0].address = address("unix:/run/a");
    s.listeners[1].address = address("unix:/run/a");
    expect(11, "is there already");
    s.listeners[0].address = address("[::]:8443");
    expect_valid(); /* each takes its own family then */
    s.listeners[0].address = address("127.0.0.1:8443");
    s.listeners[1].address = address("127.0.0.2:8443");
    expect_valid();
    s.listeners[0].address.kind = VX_ADDRESS_NONE;
    expect(10, "must be an IP address");
    s.listeners[0].address = address("localhost:8080");
    expect(10, "must be an IP address");
    s.listeners[1].certificate_count = 0;
    expect(11, "needs a certificate");
}

static void use_admin(struct vx_slice path) {
    s.config.admin_socket = path;
    s.config.admin_place = (struct vx_place){60, 1};
}

static void admin(void **state) {
    (void)state;
    static char long_path[VX_ADDRESS_UNIX_MAX_BYTES + 2];
    memset(long_path, 'x', sizeof long_path - 1);
    use_admin(VX_SLICE("/a"));
    expect_valid();
    use_admin(vx_slice_of(long_path));
    expect(60, "at most 107 bytes");
    use_admin(VX_SLICE("/a"));
    s.listeners[0].address = address("unix:/a");
    expect(60, "the address of a listener");
    use_admin(VX_SLICE("/a"));
    s.config.metrics_address = address("unix:/a");
    expect(60, "of the metrics");
}

static void metrics(void **state) {
    (void)state;
    static const char *const pairs[][2] = {{"127.0.0.1:9091", "127.0.0.1:9091"},
                                           {"0.0.0.0:9091", "127.0.0.1:9091"},
                                           {"127.0.0.1:9091", "0.0.0.0:9091"},
                                           {"[::]:9091", "127.0.0.1:9091"},
                                           {"127.0.0.1:9091", "[::]:9091"},
                                           {"[::]:9091", "[::1]:9091"},
                                           {"unix:/m", "unix:/m"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
        s.listeners[0].address = address(pairs[i][0]);
        s.config.metrics_address = address(pairs[i][1]);
        expect(50, "collide");
    }
    s.listeners[0].address = address("127.0.0.1:9091");
    s.config.metrics_place.line = 0; /* the default: nothing in the file to point at */
    expect(10, "the metrics on 127.0.0.1:9091 and the listener on 127.0.0.1:9091 collide");
    s.listeners[0].address = address("127.0.0.1:9091");
    s.config.metrics_address.kind = VX_ADDRESS_NONE;
    expect_valid();
    s.listeners[0].address = address("[::1]:9091");
    expect_valid();
}

static void routes(void **state) {
    (void)state;
    s.config.route_count = 0;
    expect(1, "`routes` is empty");
    s.routes[2].name = VX_SLICE("main");
    expect(40, "two routes are named `main`, the other one in line 20");
    s.routes[1].name = VX_SLICE("");
    expect(30, "`name` must be a name");
    s.routes[0].has_match = false;
    s.routes[1] = s.routes[2];
    s.routes[1].name = VX_SLICE("other");
    expect(20, "no route has a `match`");
    s.routes[0].backend_count = 0;
    expect(20, "has no `backends`");
    s.routes[0].redirect_to = VX_SLICE("/x");
    expect(20, "either `backends` or `redirect`");
    s.routes[1].has_match = false;
    expect(30, "needs a `match`");
    s.routes[1].rewrite_host = VX_SLICE("a");
    expect(30, "`rewrite` does nothing");
    s.routes[1].rewrite_path_prefix = VX_SLICE("/a");
    expect(30, "`rewrite` does nothing");
    s.routes[1].redirect_code = 200;
    expect(30, "301, 302, 303, 307 or 308");
    s.routes[1].redirect_to = VX_SLICE("a b");
    expect(30, "`redirect.to` must be a URL");
    s.routes[0].rewrite_path_prefix = VX_SLICE("x");
    expect(20, "`rewrite.path_prefix` must be a path");
    s.routes[0].rewrite_host = VX_SLICE("a b");
    expect(20, "`rewrite.host` must be a host");
}

static void matches(void **state) {
    (void)state;
    s.routes[0].match.path = VX_SLICE("/x");
    expect(20, "either `path` or `path_prefix`");
    s.routes[0].match.host = VX_SLICE("a:80");
    expect(20, "`host` must be");
    s.routes[0].match.path_prefix = VX_SLICE("x");
    expect(20, "`path_prefix` must be");
    s.routes[1].match.path = VX_SLICE("/a/../b");
    expect(30, "`path` must be");
    s.routes[0].match.method = VX_SLICE("get");
    expect(20, "`method` must be");
    s.headers[0].name = VX_SLICE("a b");
    expect(20, "`headers` must be a header name");
    s.headers[0].value = VX_SLICE("a\n");
    expect(20, "`headers` must be a header value");
    s.routes[0].match.path_prefix = VX_SLICE("/a//b");
    expect_valid();
    s.routes[0].match.path_prefix = VX_SLICE("/a//b");
    s.config.merge_slashes = true;
    expect(20, "`/a//b` can match nothing");
}

static void identical_matches(void **state) {
    (void)state;
    s.routes[1].match = s.routes[0].match;
    expect(30, "route `moved` matches exactly what `main` in line 20 does");
    s.routes[1].match = s.routes[0].match;
    s.routes[1].match.method = VX_SLICE("PUT");
    expect_valid();
    s.routes[0].match = (struct vx_config_match){.host = VX_SLICE("*"), .path_prefix = VX_SLICE("/")};
    s.routes[1].match = (struct vx_config_match){.host = VX_SLICE("*")};
    expect(30, "matches exactly");
    s.routes[2].has_match = true; /* without one they may be alike */
    s.routes[2].match = s.routes[1].match;
    expect(40, "route `group` matches exactly what `moved` in line 30 does");
}

static void backends(void **state) {
    (void)state;
    s.backends[1].id = 1;
    expect(23, "two backends of this route have the id 1, the other one in line 22");
    s.backends[1].weight = 0;
    expect(23, "`weight` must be at least 1");
    s.backends[0].address.kind = VX_ADDRESS_NONE;
    expect(22, "needs an `address`");
    s.models[1] = VX_SLICE("");
    expect(22, "`ai_models` must be");
    s.routes[0].tls = (struct vx_config_backend_tls){.enabled = true, .place = {25, 9}};
    expect_valid();
    s.routes[0].tls = (struct vx_config_backend_tls){.enabled = true, .place = {25, 9}};
    s.backends[1].address = address("unix:/run/b");
    expect(25, "`server_name` is needed");
    s.routes[0].tls =
        (struct vx_config_backend_tls){.enabled = true, .place = {25, 9}, .server_name = VX_SLICE("a")};
    s.backends[1].address = address("unix:/run/b");
    expect_valid();
    s.routes[0].tls =
        (struct vx_config_backend_tls){.enabled = true, .place = {25, 9}, .cert_path = VX_SLICE("/c")};
    expect(25, "belong together");
    s.routes[0].tls =
        (struct vx_config_backend_tls){.enabled = true, .place = {25, 9}, .key_path = VX_SLICE("/k")};
    expect(25, "belong together");
    s.routes[0].tls =
        (struct vx_config_backend_tls){.enabled = true, .place = {25, 9}, .server_name = VX_SLICE("a:1")};
    expect(25, "`server_name` must be");
}

static void policies(void **state) {
    (void)state;
    s.routes[0].ewma_decay = 1;
    expect(20, "`ewma_decay`");
    s.routes[0].ewma_decay = -0.1;
    expect(20, "`ewma_decay`");
    s.routes[0].ewma_decay = __builtin_nan("");
    expect(20, "`ewma_decay`");
    s.routes[0].connect_timeout_ns = 0;
    expect(20, "timeouts must be longer than 0");
    s.routes[0].response_timeout_ns = 0;
    expect(20, "timeouts must be longer than 0");
    s.routes[0].idle_timeout_ns = 0;
    expect(20, "timeouts must be longer than 0");
    s.routes[0].breaker.open_for_ns = 0;
    expect(20, "`open_for`");
    s.routes[0].breaker.half_open_requests = 0;
    expect(20, "`half_open_requests`");
    s.routes[0].breaker = (struct vx_config_breaker){0};
    expect_valid();
    s.routes[0].health_check.timeout_ns = 6; /* off: nobody looks */
    expect_valid();
    struct vx_config_health_check good = s.routes[0].health_check;
    good.enabled = true;
    for (int i = 0; i < 5; i++) {
        struct vx_config_health_check *h = &s.routes[0].health_check;
        *h = good;
        h->timeout_ns = i == 0 ? 0 : i == 1 ? 6 : 2;
        h->healthy = i != 2;
        h->unhealthy = i != 3;
        h->path = i == 4 ? VX_SLICE("x") : VX_SLICE("/");
        expect(20, i == 4 ? "`health_check.path` must be" : "not longer than its interval");
    }
    s.routes[0].health_check = good;
    expect_valid();
}

static void limits_and_timeouts(void **state) {
    (void)state;
    s.config.limits.uri_bytes = 65537;
    expect(1, "`limits.uri_bytes`");
    s.config.limits.headers = 0;
    expect(1, "`limits`");
    s.config.limits.uri_bytes = 0;
    expect(1, "`limits`");
    uint64_t *timeouts[] = {&s.config.timeouts.header_ns, &s.config.timeouts.idle_ns,
                            &s.config.timeouts.body_ns, &s.config.timeouts.write_ns,
                            &s.config.timeouts.handshake_ns};
    for (size_t i = 0; i < 5; i++) {
        *timeouts[i] = 0;
        expect(1, "`timeouts` must be longer than 0");
    }
}

static void bans(void **state) {
    (void)state;
    const struct vx_config_bans good = {.enabled = true,
                                        .after = 1,
                                        .within_ns = 1,
                                        .duration_ns = 2,
                                        .max_duration_ns = 2,
                                        .sweep_interval_ns = 1};
    s.config.bans = good;
    expect_valid();
    s.config.bans = good;
    s.config.bans.after = 0;
    expect(1, "must not be 0");
    s.config.bans = good;
    s.config.bans.sweep_interval_ns = 0;
    expect(1, "must not be 0");
    s.config.bans = good;
    s.config.bans.max_duration_ns = 1;
    expect(1, "`bans.max_duration`");
    s.config.bans = good;
    s.config.bans.interface = VX_SLICE("a b");
    expect(1, "`bans.interface` must be the name of a network interface");
    s.config.bans = (struct vx_config_bans){.enabled = false};
    expect_valid();
}

static void rate_limits(void **state) {
    (void)state;
    struct vx_config_rate_limit *l = &s.routes[0].rate_limit;
#define EXPECT(change, says)                                                                                 \
    do {                                                                                                     \
        l->enabled = true;                                                                                   \
        change;                                                                                              \
        expect(29, says);                                                                                    \
    } while (0)
    l->enabled = true;
    expect_valid();
    EXPECT(l->requests = 0, "must not be 0");
    EXPECT(l->per_ns = 0, "must not be 0");
    EXPECT(l->burst = 0, "must not be 0");
    EXPECT(l->per_ns = UINT64_C(1) << 60, "a burst of 5 at this rate takes more than 104 days to earn");
    EXPECT(l->key_texts[1] = VX_SLICE("ip"), "`key` must be `client_ip`, `route` or a header");
    EXPECT(l->cost_text = VX_SLICE("x-tokens"), "`cost` must be a header");
#undef EXPECT
    s.config.default_limit = (struct vx_config_rate_limit){.enabled = true, .place = {60, 1}};
    expect(60, "must not be 0");
}

static void filters(void **state) {
    (void)state;
    s.filters[1].name = VX_SLICE("auth");
    s.routes[0].filter_count = 0;
    expect(61, "two filters are named `auth`, the other one in line 60");
    s.filters[1].name = VX_SLICE("a b");
    expect(61, "`name` must be");
    s.filters[0].limits.time_ns = 0;
    expect(60, "must not be 0");
    s.uses[1].name = VX_SLICE("other");
    expect(28, "there is no filter named `other`");
    s.uses[1].name = s.uses[0].name;
    expect(28, "the filter `rewrite` stands twice in this route");
    s.routes[0].filter_count = 0; /* none, and all in the others */
    expect_valid();
}

/* A route without a list of its own gets all there are. */
static void too_many_filters(void **state) {
    (void)state;
    static struct vx_config_filter many[VX_CONFIG_FILTERS_MAX + 1];
    static char names[VX_CONFIG_FILTERS_MAX + 1];
    for (uint32_t i = 0; i < VX_CONFIG_FILTERS_MAX + 1; i++) {
        names[i] = (char)('A' + i);
        many[i] = s.filters[0];
        many[i].name = vx_slice(&names[i], 1);
    }
    s.routes[0].filters_given = false;
    s.routes[0].filter_count = 0;
    s.config.filters = many;
    s.config.filter_count = VX_CONFIG_FILTERS_MAX + 1;
    expect(20, "a request may pass at most 32 filters");
}

static void no_memory(void **state) {
    (void)state;
    vx_arena_init(&s.scratch, s.memory, 16, NULL);
    expect(1, "not enough memory");
    vx_arena_init(&s.scratch, s.memory, 64, NULL);
    expect(1, "not enough memory");
}

/* What does not fit the text is cut, and the text always ends. */
static void long_texts_are_cut(void **state) {
    static char name[129], path[2049];
    (void)state;
    memset(name, 'n', 128);
    memset(path, 'p', 2048);
    path[0] = path[1] = '/';
    s.config.merge_slashes = true;
    s.routes[0].match.path_prefix = vx_slice(path, 2048);
    struct vx_config_error error;
    assert_false(vx_config_validate(&s.config, &s.scratch, &error));
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    s.config.merge_slashes = false;
    s.routes[0].match.path_prefix = VX_SLICE("/");
    s.routes[0].name = s.routes[1].name = vx_slice(name, 128);
    expect(30, "give each a `name` of its own");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_sample_is_valid, setup),
        cmocka_unit_test_setup(listeners, setup),
        cmocka_unit_test_setup(admin, setup),
        cmocka_unit_test_setup(metrics, setup),
        cmocka_unit_test_setup(routes, setup),
        cmocka_unit_test_setup(matches, setup),
        cmocka_unit_test_setup(identical_matches, setup),
        cmocka_unit_test_setup(backends, setup),
        cmocka_unit_test_setup(policies, setup),
        cmocka_unit_test_setup(limits_and_timeouts, setup),
        cmocka_unit_test_setup(bans, setup),
        cmocka_unit_test_setup(rate_limits, setup),
        cmocka_unit_test_setup(filters, setup),
        cmocka_unit_test_setup(too_many_filters, setup),
        cmocka_unit_test_setup(no_memory, setup),
        cmocka_unit_test_setup(long_texts_are_cut, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
