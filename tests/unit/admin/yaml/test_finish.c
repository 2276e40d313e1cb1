/* SPDX-License-Identifier: Apache-2.0 */
/* Rules within one mapping: either-or, and defaults that come from other keys. */
#include "admin/yaml/finish.h"

#include "yaml_test.h"

#define IN_TLS "listeners: [{address: '127.0.0.1:8443', tls: %s}]\n" ROUTE

static void listener_tls(void **state) {
    (void)state;
    struct vx_config *config = must_read(fill(IN_TLS, "%s", "{cert: c.pem, key: k.pem}"));
    const struct vx_config_listener *l = &config->listeners[0];
    assert_true(l->tls);
    assert_int_equal(l->certificate_count, 1);
    assert_slice(l->certificates[0].cert_path, "/etc/vortex/c.pem");
    assert_slice(l->certificates[0].key_path, "/etc/vortex/k.pem");
    assert_int_equal(l->certificates[0].place.line, 1);
    assert_int_equal(l->certificates[0].place.column, 53);
    assert_int_equal(l->certificates[0].key_place.line, 1);
    assert_int_equal(l->certificates[0].key_place.column, 65);
    assert_int_equal(l->client_ca_path.len, 0);
    vx_config_free(config);
    config = must_read(fill(IN_TLS, "%s", "off"));
    assert_false(config->listeners[0].tls);
    assert_int_equal(config->listeners[0].certificate_count, 0);
    vx_config_free(config);

    static const char *const bad[][2] = {
        {"@@{}", "needs `cert` and `key`, or a list"},
        {"@@on", "needs `cert` and `key`, or a list"},
        {"@@{certificates: []}", "needs `cert` and `key`, or a list"},
        {"@@{client_ca: ca.pem}", "needs `cert` and `key`, or a list"},
        {"@@{cert: c.pem}", "`key` is missing in a listener's tls"},
        {"@@{key: k.pem}", "`cert` is missing in a listener's tls"},
        {"@@{cert: c.pem, key: k.pem, certificates: [{cert: a, key: b}]}", "either `cert` and `key` or"},
        {"{certificates: [@@{cert: a}]}", "`key` is missing in a certificate"},
        {"{certificates: [@@{key: a}]}", "`cert` is missing in a certificate"},
        {"{certificates: [{cert: @@'', key: b}]}", "the path of a file"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        must_refuse(fill(IN_TLS, "%s", bad[i][0]), bad[i][1]);
}

static void names_come_from_the_match(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"match: {}", "*/"},
        {"match: {host: API.example.org}", "api.example.org/"},
        {"match: {host: '*.a.org', path_prefix: /v1}", "*.a.org/v1"},
        {"match: {path: /exact}", "*/exact"},
        {"match: {path: /exact}, name: ''", "*/exact"},
        {"match: {path: /exact}, name: own", "own"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct vx_config *config =
            must_read(fill(LISTENER "routes: [{%s, backends: [{address: 'a:1'}]}]\n", "%s", rows[i][0]));
        assert_slice(config->routes[0].name, rows[i][1]);
        vx_config_free(config);
    }
    must_refuse(LISTENER "routes: [@@{backends: [{address: 'a:1'}]}]\n",
                "`name` is missing in a route without `match`");
    must_refuse(LISTENER "routes:\n"
                         "- {match: {method: GET}, backends: [{address: 'a:1'}]}\n"
                         "- @@{match: {method: PUT}, backends: [{address: 'a:1'}]}\n",
                "two routes are named `*/`, the other one in line 3");
}

static void ids_come_from_the_position(void **state) {
    (void)state;
    struct vx_config *config =
        must_read(LISTENER "routes: [{name: r, match: {}, backends: ["
                           "{address: 'a:1'}, {address: 'b:1', id: 0}, {address: 'c:1'}]}]\n");
    assert_int_equal(config->routes[0].backends[0].id, 1);
    assert_int_equal(config->routes[0].backends[1].id, 0);
    assert_int_equal(config->routes[0].backends[2].id, 3);
    vx_config_free(config);
    must_refuse(LISTENER "routes: [{name: r, match: {}, backends: ["
                         "{address: 'a:1', id: 2}, @@{address: 'b:1'}]}]\n",
                "two backends of this route have the id 2, the other one in line 2");
}

static void health_check_timeout(void **state) {
    (void)state;
    struct vx_config *config = must_read(fill(IN_ROUTE, "%s", "health_check: {interval: 500ms}"));
    assert_int_equal(config->routes[0].health_check.timeout_ns, 500000000);
    vx_config_free(config);
    config = must_read(fill(IN_ROUTE, "%s", "health_check: {interval: 1m}"));
    assert_int_equal(config->routes[0].health_check.timeout_ns, 2000000000);
    vx_config_free(config);
    must_refuse(fill(IN_ROUTE, "%s", "health_check: {interval: 1s, timeout: @@2s}"),
                "not be longer than `interval`");
}

static void uri_bytes(void **state) {
    (void)state;
    struct vx_config *config = must_read(fill(IN_FILE, "%s", "limits: {header_bytes: 4KiB}"));
    assert_int_equal(config->limits.uri_bytes, 4096);
    vx_config_free(config);
    must_refuse(fill(IN_FILE, "%s", "limits: {uri_bytes: @@8KiB, header_bytes: 4KiB}"),
                "not be more than `header_bytes`");
}

static void one_kind_of_path(void **state) {
    (void)state;
    must_refuse(fill(IN_MATCH, "%s", "path_prefix: @@/b, path: /a"), "either `path` or `path_prefix`");
    vx_config_free(must_read(fill(IN_MATCH, "%s", "path_prefix: '', path: /a")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listener_tls),
        cmocka_unit_test(names_come_from_the_match),
        cmocka_unit_test(ids_come_from_the_position),
        cmocka_unit_test(health_check_timeout),
        cmocka_unit_test(uri_bytes),
        cmocka_unit_test(one_kind_of_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
