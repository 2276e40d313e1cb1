/* SPDX-License-Identifier: Apache-2.0 */
/* Every key that is a number, a size, a word: its default, what is accepted and what it becomes, what is refused and
 * where. And what holds for every mapping: unknown, repeated, missing and empty keys, and features not built yet. */
#include "admin/yaml/read.h"

#include "yaml_test.h"

/* One key that becomes a number. `fragment` has %s for the value and goes into `around`. */
struct number_key {
    const char *around, *fragment;
    bool in_route, in_backend;
    size_t offset, bytes;
    uint64_t standard;
    struct {
        const char *text;
        uint64_t value;
    } good[5];
    const char *bad[8];
};

#define OF(type, field)  offsetof(type, field), sizeof(((type *)0)->field)
#define S                (uint64_t)1000000000
#define IN_CONFIG(field) false, false, OF(struct vx_config, field)
#define IN_A_ROUTE(f)    true, false, OF(struct vx_config_route, f)
#define IN_A_BACKEND(f)  false, true, OF(struct vx_config_backend, f)

static const struct number_key numbers[] = {
    {IN_FILE,
     "workers: %s",
     IN_CONFIG(workers),
     0,
     {{"auto", 0}, {"1", 1}, {"1024", 1024}},
     {"0", "1025", "-1", "two", "'4'", "1.0", "[]"}},
    {IN_FILE,
     "shutdown: { drain: %s }",
     IN_CONFIG(drain_ns),
     30 * S,
     {{"0", 0}, {"500ms", S / 2}, {"1d", 86400 * S}},
     {"30", "1d1ms", "-1s", "30sec", "{}"}},
    {IN_FILE,
     "timeouts: { header: %s }",
     IN_CONFIG(timeouts.header_ns),
     10 * S,
     {{"1ms", S / 1000}, {"1m30s", 90 * S}, {"'5s'", 5 * S}, {"1d", 86400 * S}},
     {"0", "0s", "25h", "5", "1.5s", "5 s", "[5s]"}},
    {IN_FILE,
     "timeouts: { idle: %s }",
     IN_CONFIG(timeouts.idle_ns),
     75 * S,
     {{"1h", 3600 * S}},
     {"0", "2d", "x"}},
    {IN_FILE,
     "timeouts: { body: %s }",
     IN_CONFIG(timeouts.body_ns),
     60 * S,
     {{"1h", 3600 * S}},
     {"0", "2d", "x"}},
    {IN_FILE,
     "timeouts: { write: %s }",
     IN_CONFIG(timeouts.write_ns),
     60 * S,
     {{"1h", 3600 * S}},
     {"0", "2d", "x"}},
    {IN_FILE,
     "timeouts: { handshake: %s }",
     IN_CONFIG(timeouts.handshake_ns),
     10 * S,
     {{"1h", 3600 * S}},
     {"0", "61m", "x"}},
    {IN_FILE,
     "limits: { header_bytes: %s }",
     IN_CONFIG(limits.header_bytes),
     65536,
     {{"1KiB", 1024}, {"8192", 8192}, {"1MiB", 1048576}},
     {"1023", "1048577", "64k", "64KB", "64 KiB", "-1", "0.5MiB"}},
    {IN_FILE,
     "limits: { headers: %s }",
     IN_CONFIG(limits.headers),
     128,
     {{"1", 1}, {"4096", 4096}},
     {"0", "4097", "1KiB"}},
    {IN_FILE,
     "limits: { uri_bytes: %s }",
     IN_CONFIG(limits.uri_bytes),
     8192,
     {{"64", 64}, {"64KiB", 65536}},
     {"63", "2MiB", "x"}},
    {IN_FILE,
     "limits: { body_bytes: %s }",
     IN_CONFIG(limits.body_bytes),
     0,
     {{"0", 0}, {"1", 1}, {"1048576GiB", (uint64_t)1 << 50}},
     {"1048577GiB", "1TiB", "x"}},
    {IN_FILE,
     "limits: { buffered_body: %s }",
     IN_CONFIG(limits.buffered_body_bytes),
     1048576,
     {{"0", 0}, {"1GiB", 1 << 30}},
     {"2GiB", "x"}},
    {IN_FILE,
     "limits: { connections: %s }",
     IN_CONFIG(limits.connections),
     0,
     {{"0", 0}, {"100000000", 100000000}},
     {"100000001", "x"}},
    {IN_FILE,
     "limits: { concurrent_streams: %s }",
     IN_CONFIG(limits.concurrent_streams),
     128,
     {{"1", 1}, {"65535", 65535}},
     {"0", "65536", "x"}},
    {IN_FILE,
     "limits: { glitches: %s }",
     IN_CONFIG(limits.glitches_a_minute),
     1000,
     {{"0", 0}, {"1000000", 1000000}},
     {"1000001", "x"}},
    {IN_FILE,
     "normalize: { merge_slashes: %s }",
     IN_CONFIG(merge_slashes),
     0,
     {{"true", 1}, {"off", 0}, {"yes", 1}},
     {"1", "'true'", "maybe", "[]"}},
    {IN_FILE,
     "access_log: { format: %s }",
     IN_CONFIG(access_log.json),
     1,
     {{"json", 1}, {"combined", 0}, {"'json'", 1}},
     {"JSON", "xml", "''", "[]"}},
    {IN_ROUTE,
     "balance: %s",
     IN_A_ROUTE(balance),
     VX_BALANCE_PEAK_EWMA,
     {{"peak_ewma", VX_BALANCE_PEAK_EWMA},
      {"round_robin", VX_BALANCE_ROUND_ROBIN},
      {"least_request", VX_BALANCE_LEAST_REQUEST},
      {"random", VX_BALANCE_RANDOM}},
     {"least_conn", "Random", "1", "{}"}},
    {IN_ROUTE,
     "timeouts: { connect: %s }",
     IN_A_ROUTE(connect_timeout_ns),
     5 * S,
     {{"1ms", S / 1000}, {"1h", 3600 * S}},
     {"0", "61m", "5"}},
    {IN_ROUTE,
     "timeouts: { response: %s }",
     IN_A_ROUTE(response_timeout_ns),
     60 * S,
     {{"1ms", S / 1000}, {"1d", 86400 * S}},
     {"0", "25h", "5"}},
    {IN_ROUTE,
     "timeouts: { idle: %s }",
     IN_A_ROUTE(idle_timeout_ns),
     60 * S,
     {{"1ms", S / 1000}, {"1d", 86400 * S}},
     {"0", "25h", "5"}},
    {IN_ROUTE, "pool: { idle: %s }", IN_A_ROUTE(pool_idle_ns), 60 * S, {{"1s", S}}, {"0", "25h", "5"}},
    {IN_ROUTE,
     "pool: { max_idle: %s }",
     IN_A_ROUTE(pool_max_idle),
     64,
     {{"0", 0}, {"65535", 65535}},
     {"65536", "x"}},
    {IN_ROUTE,
     "pool: { max_age: %s }",
     IN_A_ROUTE(pool_max_age_ns),
     3600 * S,
     {{"0", 0}, {"30d", 2592000 * S}},
     {"31d", "5"}},
    {IN_ROUTE,
     "pool: { max_requests: %s }",
     IN_A_ROUTE(pool_max_requests),
     0,
     {{"0", 0}, {"1000", 1000}, {"4294967295", 4294967295}},
     {"4294967296", "1s"}},
    {IN_ROUTE,
     "queue: { length: %s }",
     IN_A_ROUTE(queue_length),
     1024,
     {{"0", 0}, {"1000000", 1000000}},
     {"1000001", "x"}},
    {IN_ROUTE, "queue: { timeout: %s }", IN_A_ROUTE(queue_timeout_ns), 5 * S, {{"1s", S}}, {"0", "61m", "5"}},
    {IN_ROUTE,
     "retries: { attempts: %s }",
     IN_A_ROUTE(retry_attempts),
     2,
     {{"0", 0}, {"10", 10}},
     {"11", "x"}},
    {IN_ROUTE,
     "retries: { budget: %s }",
     IN_A_ROUTE(retry_budget_percent),
     20,
     {{"0%", 0}, {"100%", 100}, {"'5%'", 5}},
     {"101%", "20", "0.2", "2.5%"}},
    {IN_ROUTE,
     "circuit_breaker: { failures: %s }",
     IN_A_ROUTE(breaker.failures),
     5,
     {{"0", 0}, {"1000", 1000}},
     {"1001", "x"}},
    {IN_ROUTE,
     "circuit_breaker: { failure_rate: %s }",
     IN_A_ROUTE(breaker.failure_rate_percent),
     50,
     {{"0%", 0}, {"100%", 100}},
     {"101%", "50"}},
    {IN_ROUTE,
     "circuit_breaker: { open_for: %s }",
     IN_A_ROUTE(breaker.open_for_ns),
     10 * S,
     {{"1ms", S / 1000}, {"1h", 3600 * S}},
     {"0", "61m", "5"}},
    {IN_ROUTE,
     "circuit_breaker: { half_open_requests: %s }",
     IN_A_ROUTE(breaker.half_open_requests),
     3,
     {{"1", 1}, {"1000", 1000}},
     {"0", "1001"}},
    {IN_ROUTE,
     "health_check: { interval: %s }",
     IN_A_ROUTE(health_check.interval_ns),
     5 * S,
     {{"2s", 2 * S}, {"1h", 3600 * S}},
     {"9ms", "61m", "5"}},
    {IN_ROUTE,
     "health_check: { interval: 1h, timeout: %s }",
     IN_A_ROUTE(health_check.timeout_ns),
     2 * S,
     {{"1ms", S / 1000}, {"1h", 3600 * S}},
     {"0", "61m", "5"}},
    {IN_ROUTE,
     "health_check: { healthy: %s }",
     IN_A_ROUTE(health_check.healthy),
     2,
     {{"1", 1}, {"1000", 1000}},
     {"0", "1001"}},
    {IN_ROUTE,
     "health_check: { unhealthy: %s }",
     IN_A_ROUTE(health_check.unhealthy),
     3,
     {{"1", 1}, {"1000", 1000}},
     {"0", "1001"}},
    {IN_BACKEND,
     "id: %s",
     IN_A_BACKEND(id),
     1,
     {{"0", 0}, {"7", 7}, {"4294967295", 4294967295}},
     {"4294967296", "-1", "a"}},
    {IN_BACKEND, "weight: %s", IN_A_BACKEND(weight), 1, {{"1", 1}, {"65535", 65535}}, {"0", "65536", "'1'"}},
    {IN_BACKEND,
     "max_connections: %s",
     IN_A_BACKEND(max_connections),
     0,
     {{"0", 0}, {"1000000", 1000000}},
     {"1000001", "x"}},
};

static const char *field_base(const struct number_key *k, const struct vx_config *config) {
    if (k->in_backend)
        return (const char *)&config->routes[0].backends[0];
    return k->in_route ? (const char *)&config->routes[0] : (const char *)config;
}

static uint64_t number_at(const struct number_key *k, const struct vx_config *config) {
    uint64_t value = 0;
    memcpy(&value, field_base(k, config) + k->offset, k->bytes); /* little endian, as all our targets */
    return value;
}

static void numbers_become_fields(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        const struct number_key *k = &numbers[i];
        struct vx_config *config = must_read(LISTENER ROUTE);
        if (number_at(k, config) != k->standard)
            fail_msg("%s: the default is %lu", k->fragment, number_at(k, config));
        vx_config_free(config);
        for (size_t g = 0; g < 5 && k->good[g].text; g++) {
            config = must_read(fill(k->around, k->fragment, k->good[g].text));
            if (number_at(k, config) != k->good[g].value)
                fail_msg("%s: %s became %lu", k->fragment, k->good[g].text, number_at(k, config));
            vx_config_free(config);
        }
    }
}

static void numbers_are_refused_at_their_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        const struct number_key *k = &numbers[i];
        for (size_t b = 0; b < 8 && k->bad[b]; b++) {
            char marked[64];
            snprintf(marked, sizeof(marked), "@@%s", k->bad[b]);
            must_refuse(fill(k->around, k->fragment, marked), "` must be ");
        }
        must_refuse(fill(k->around, k->fragment, "@@~"), "has no value");
    }
}

static void ewma_decay(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0}, {"0.25", 0.25}, {"0.999999999", 0.999999999}};
    struct vx_config *config = must_read(LISTENER ROUTE);
    assert_true(config->routes[0].ewma_decay == 0.5);
    vx_config_free(config);
    for (size_t i = 0; i < 3; i++) {
        config = must_read(fill(IN_ROUTE, "ewma_decay: %s", good[i].text));
        assert_true(config->routes[0].ewma_decay == good[i].value);
        vx_config_free(config);
    }
    static const char *const bad[] = {"@@1", "@@-0.1", "@@1.5", "@@'0.5'", "@@half", "@@50%"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        must_refuse(fill(IN_ROUTE, "ewma_decay: %s", bad[i]), "must be a number from 0 to below 1");
}

static void unknown_keys(void **state) {
    (void)state;
    must_refuse("@@lisen: []\n" ROUTE, "unknown key `lisen` in the file; did you mean `listeners`?");
    must_refuse(fill(IN_FILE, "%s", "@@Workers: 1"), "did you mean `workers`?");
    must_refuse(fill(IN_FILE, "%s", "@@frobnicate: 1"), "it may have `workers`, `listeners`");
    must_refuse(fill(IN_FILE, "%s", "@@'': 1"), "unknown key ``");
    must_refuse(fill(IN_FILE, "%s", "timeouts: {@@headers: 1s}"),
                "unknown key `headers` in timeouts; did you mean `header`");
    must_refuse(fill(IN_ROUTE, "%s", "@@timeout: 1s"), "in a route; did you mean `timeouts`?");
    must_refuse(fill(IN_ROUTE, "%s", "retries: {@@attempt: 1}"), "did you mean `attempts`?");
    must_refuse(fill(IN_BACKEND, "%s", "@@wieght: 1"), "in a backend; did you mean `weight`?");
    must_refuse("listeners: [{address: '1.1.1.1:1', @@adress: 2}]\n" ROUTE,
                "in a listener; did you mean `address`?");
    must_refuse("listeners: [{address: '1.1.1.1:1', tls: {@@ca: 2}}]\n" ROUTE, "in a listener's tls");
}

static void repeated_keys(void **state) {
    (void)state;
    must_refuse("workers: 1\n" LISTENER "@@workers: 2\n" ROUTE, "`workers` stands twice, first in line 1");
    must_refuse(fill(IN_FILE, "%s", "timeouts: {idle: 1s, @@idle: 1s}"), "stands twice");
    must_refuse(fill(IN_MATCH, "%s", "headers: {a: b, @@a: c}"), "asked for twice");
    must_refuse(fill(IN_ROUTE, "%s", "filters: [], @@filters: []"), "stands twice");
}

static void missing_keys(void **state) {
    (void)state;
    must_refuse("@@workers: 1\n", "`listeners` is missing in the file");
    must_refuse("@@" LISTENER, "`routes` is missing in the file");
    must_refuse("@@" ROUTE, "`listeners` is missing in the file");
    must_refuse(LISTENER "routes: [{name: r, match: {}, backends: [@@{id: 1}]}]\n",
                "`address` is missing in a backend");
    must_refuse(LISTENER "routes: [{match: {}, redirect: @@{code: 301}}]\n", "`to` is missing in redirect");
    must_refuse("@@[]\n", "must be a mapping with `listeners` and `routes`");
    must_refuse("@@just text\n", "must be a mapping with `listeners` and `routes`");
    must_refuse("", "the file is empty");
    must_refuse(LISTENER "routes: @@[]\n", "`routes` is empty; there must be at least one");
    must_refuse(ROUTE "listeners: @@[]\n", "`listeners` is empty; there must be at least one");
}

static void wrong_kinds(void **state) {
    (void)state;
    must_refuse(fill(IN_FILE, "%s", "timeouts: @@5s"), "`timeouts` must be a mapping; found `5s`");
    must_refuse(fill(IN_FILE, "%s", "timeouts: @@[5s]"), "`timeouts` must be a mapping; found a list");
    must_refuse(fill(IN_FILE, "%s", "timeouts:@@"), "`timeouts` has no value");
    must_refuse(fill(IN_FILE, "%s", "trusted_proxies: @@10.0.0.0/8"), "`trusted_proxies` must be a list");
    must_refuse(fill(IN_FILE, "%s", "metrics: @@5"),
                "`metrics` must be a mapping, or `on` or `off`; found `5`");
    must_refuse(fill(IN_FILE, "%s", "metrics: @@'off'"), "found `\"off\"`");
    must_refuse(LISTENER "routes: [@@x]\n", "each of `routes` must be a mapping");
    must_refuse(LISTENER "routes: @@{}\n", "`routes` must be a list; found a mapping");
    must_refuse(fill(IN_FILE, "%s", "shutdown: {drain: @@30}"), "found `30`, which lacks its unit");
    must_refuse(fill(IN_ROUTE, "%s", "retries: {budget: @@20}"),
                "such as `20%`; found `20`, which lacks its unit");
}

/* It needs none, so what is wrong with it is something else. */
static void zero_lacks_no_unit(void **state) {
    (void)state;
    struct vx_config_error error;
    const char *text = fill(IN_FILE, "%s", "timeouts: {header: 0}");
    assert_null(vx_yaml_parse(CONFIG_PATH, vx_slice_of(text), &error));
    assert_non_null(strstr(error.text, "found `0`"));
    assert_null(strstr(error.text, "unit"));
}

static void too_long(void **state) {
    (void)state;
    static char text[256 * 1024];
    size_t n = (size_t)snprintf(text, sizeof(text), LISTENER "routes: [{name: r, match: {headers: @@{");
    for (int i = 0; i < 33; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "h%d: x, ", i);
    snprintf(text + n, sizeof(text) - n, "}}, backends: [{address: 'a:1'}]}]\n");
    must_refuse(text, "`headers` must be at most 32 long");
    n = (size_t)snprintf(text, sizeof(text), "%s", ROUTE "listeners: @@[");
    for (int i = 0; i < 257; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "{address: '127.0.0.1:%d'}, ", 1000 + i);
    snprintf(text + n, sizeof(text) - n, "]\n");
    must_refuse(text, "`listeners` must be at most 256 long");
}

/* A few aliases stand for so many routes that filling them would take gigabytes. */
static void expansion_is_bounded(void **state) {
    (void)state;
    static char text[64 * 1024];
    size_t n =
        (size_t)snprintf(text, sizeof(text), LISTENER "routes:\n- name: a\n  match: {}\n  backends: &b\n");
    n += (size_t)snprintf(text + n, sizeof(text) - n, "  - &one {address: 'h:1'}\n");
    for (int i = 0; i < 4000; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "  - *one\n");
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "- {name: r%d, backends: *b}\n", i);
    struct vx_config_error error;
    assert_null(vx_yaml_parse(CONFIG_PATH, vx_slice(text, n), &error));
    assert_non_null(strstr(error.text, "more than 1000000 values"));
}

static void not_built_yet(void **state) {
    (void)state;
    static const char *const file[] = {"tracing: {endpoint: x}", "kubernetes: {watch: true}",
                                       "kubernetes: on", "kubernetes: [a]"};
    for (size_t i = 0; i < sizeof(file) / sizeof(*file); i++) {
        char marked[128], says[128];
        snprintf(marked, sizeof(marked), "@@%s", file[i]);
        snprintf(says, sizeof(says), "`%.*s` is not available in this version; remove it",
                 (int)(strchr(file[i], ':') - file[i]), file[i]);
        must_refuse(fill(IN_FILE, "%s", marked), says);
    }
    must_refuse(fill(IN_ROUTE, "%s", "protocol: @@http3"), "must be `http1` or `http2`");
    must_refuse("listeners: [{address: '1.1.1.1:1', @@http3: true}]\n" ROUTE,
                "`http3` is not available in this version");
}

/* What asks for nothing is accepted, so that a file may say that it does without. */
static void not_asked_for(void **state) {
    (void)state;
    static const char *const file[] = {"filters: []",
                                       "rate_limit: off",
                                       "admin: no",
                                       "tracing: off",
                                       "tracing: ''",
                                       "kubernetes: off",
                                       "kubernetes: {watch: false, namespaces: [], kubeconfig: ''}",
                                       "kubernetes: {namespaces: [a]}"};
    for (size_t i = 0; i < sizeof(file) / sizeof(*file); i++)
        vx_config_free(must_read(fill(IN_FILE, "%s", file[i])));
    vx_config_free(must_read(fill(IN_ROUTE, "%s", "protocol: http1, filters: [], rate_limit: off")));
    vx_config_free(must_read("listeners: [{address: '1.1.1.1:1', http3: false}]\n" ROUTE));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_become_fields),
        cmocka_unit_test(numbers_are_refused_at_their_place),
        cmocka_unit_test(ewma_decay),
        cmocka_unit_test(unknown_keys),
        cmocka_unit_test(repeated_keys),
        cmocka_unit_test(missing_keys),
        cmocka_unit_test(wrong_kinds),
        cmocka_unit_test(zero_lacks_no_unit),
        cmocka_unit_test(too_long),
        cmocka_unit_test(expansion_is_bounded),
        cmocka_unit_test(not_built_yet),
        cmocka_unit_test(not_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
