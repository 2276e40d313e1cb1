/* SPDX-License-Identifier: Apache-2.0 */
/* The tables themselves: every key that is text, a path or an address; that bounds fit the fields; and that
 * docs/configuration.md says of each key what the table does. */
#include "admin/yaml/schema.h"

#include <stdlib.h>

#include "admin/yaml/scalar.h"
#include "support/file.h"
#include "yaml_test.h"

static void listener_addresses(void **state) {
    (void)state;
    static const char *const good[][2] = {{"0.0.0.0:80", "0.0.0.0:80"},
                                          {"'[::]:443'", "[::]:443"},
                                          {"unix:/run/v.sock", "unix:/run/v.sock"},
                                          {"unix:run/v.sock", "unix:/etc/vortex/run/v.sock"},
                                          {"unix:@vortex", "unix:@vortex"}};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        char out[VX_ADDRESS_TEXT_MAX];
        struct vx_config *config = must_read(fill("%s" ROUTE, "listeners: [{address: %s}]\n", good[i][0]));
        assert_int_equal(config->listener_count, 1);
        vx_address_format(&config->listeners[0].address, out);
        assert_string_equal(out, good[i][1]);
        assert_int_equal(config->listeners[0].place.column, 23);
        assert_false(config->listeners[0].tls || config->listeners[0].proxy_protocol);
        vx_config_free(config);
    }
    static const char *const bad[][2] = {{"@@localhost:80", "no name is looked up"},
                                         {"@@127.0.0.1", "ends in a port"},
                                         {"@@'127.0.0.1:0'", "a port from 1 to 65535"},
                                         {"@@':80'", "all of this machine's"},
                                         {"@@'*:80'", "all of this machine's"},
                                         {"@@'unix:'", "a UNIX socket"},
                                         {"@@[]", "found a list"},
                                         {"@@80", "must be an address"},
                                         {"@@''", "must be an address"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        must_refuse(fill("%s" ROUTE, "listeners: [{address: %s}]\n", bad[i][0]), bad[i][1]);
    char text[256] = "@@unix:";
    memset(text + 7, 'a', 96); /* fits by itself, and not below /etc/vortex/ */
    must_refuse(fill("%s" ROUTE, "listeners: [{address: %s}]\n", text), "at most 107 bytes");
    must_refuse("listeners: [@@{proxy_protocol: on}]\n" ROUTE, "`address` is missing in a listener");
    must_refuse("listeners: [{address: '1.1.1.1:1', proxy_protocol: @@2}]\n" ROUTE,
                "must be `true` or `false`");
    must_refuse("listeners: @@{address: '1.1.1.1:1'}\n" ROUTE, "must be a list; found a mapping");
    must_refuse("listeners: [@@'1.1.1.1:1']\n" ROUTE, "each of `listeners` must be a mapping");
    must_refuse("listeners:\n  -@@\n" ROUTE, "each of `listeners` must be a mapping; found nothing");
    struct vx_config *config = must_read("listeners: [{address: '1.1.1.1:1', proxy_protocol: true}]\n" ROUTE);
    assert_true(config->listeners[0].proxy_protocol);
    vx_config_free(config);
}

static void match(void **state) {
    (void)state;
    struct vx_config *config = must_read(LISTENER ROUTE);
    const struct vx_config_match *m = &config->routes[0].match;
    assert_true(config->routes[0].has_match);
    assert_slice(m->host, "*");
    assert_int_equal(m->path.len + m->path_prefix.len + m->method.len + m->header_count, 0);
    vx_config_free(config);
    config = must_read(fill(IN_MATCH, "%s",
                            "host: '*.Example.ORG.', path_prefix: /v1/, method: GET,"
                            " headers: {X-Version: 2, X-Name: 'a b', x-empty: ''}"));
    m = &config->routes[0].match;
    assert_slice(m->host, "*.example.org");
    assert_slice(m->path_prefix, "/v1/");
    assert_slice(m->method, "GET");
    assert_int_equal(m->header_count, 3);
    assert_slice(m->headers[0].name, "x-version");
    assert_slice(m->headers[0].value, "2");
    assert_slice(m->headers[1].value, "a b");
    assert_slice(m->headers[2].value, "");
    vx_config_free(config);
    config =
        must_read(fill(IN_MATCH, "%s", "host: '[2001:DB8::1]', path: '/a%2Fb', path_prefix: '', method: ''"));
    assert_slice(config->routes[0].match.host, "[2001:db8::1]");
    assert_slice(config->routes[0].match.path, "/a%2Fb");
    vx_config_free(config);

    static const char *const bad[][2] = {
        {"host: @@'a:80'", "without a port"},
        {"host: @@'a.*'", "must be a host"},
        {"host: @@'*a'", "must be a host"},
        {"host: @@'http://a'", "must be a host"},
        {"path: @@a", "begins with `/`"},
        {"path: @@'/a?b'", "without `?`"},
        {"path: @@/a/../b", "no `.` and `..` segments"},
        {"path: @@'/%61'", "no escapes of letters"},
        {"path_prefix: @@'/a b'", "percent-encoded"},
        {"path_prefix: @@api", "begins with `/`"},
        {"path: /a, path_prefix: @@/b", "not both"},
        {"method: @@get", "in capital letters"},
        {"method: @@'G T'", "in capital letters"},
        {"headers: @@[a]", "a mapping of header names"},
        {"headers: {@@'a b': c}", "a header name"},
        {"headers: {@@'': c}", "a header name"},
        {"headers: {a: @@[b]}", "must be text"},
        {"headers: {a: @@~}", "must be text"},
        {"headers: {a: @@\"b\\r\\nc\"}", "no control characters"},
        {"headers: {a: @@' b'}", "no spaces around"},
        {"headers: {X-A: b, @@x-a: c}", "asked for twice"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        must_refuse(fill(IN_MATCH, "%s", bad[i][0]), bad[i][1]);
    must_refuse(fill(IN_MATCH, "%s", "@@header: {}"), "did you mean `headers`?");
}

static void route_texts(void **state) {
    (void)state;
    struct vx_config *config = must_read(
        fill(IN_ROUTE, "%s",
             "rewrite: {path_prefix: /v2, host: 'b.example:8080'}, circuit_breaker: off, retries: off"));
    const struct vx_config_route *r = &config->routes[0];
    assert_slice(r->name, "main");
    assert_slice(r->rewrite_path_prefix, "/v2");
    assert_slice(r->rewrite_host, "b.example:8080");
    assert_int_equal(r->breaker.failures + r->breaker.failure_rate_percent + r->retry_attempts, 0);
    assert_int_equal(r->redirect_to.len, 0);
    assert_false(r->tls.enabled || r->health_check.enabled);
    assert_int_equal(r->place.line, 3);
    assert_int_equal(r->place.column, 3);
    vx_config_free(config);

    config = must_read(
        fill(IN_ROUTE, "%s", "rewrite: {path_prefix: '', host: ''}, health_check: {path: '/h?x=1'}"));
    r = &config->routes[0];
    assert_null(r->rewrite_path_prefix.ptr);
    assert_int_equal(r->rewrite_host.len, 0);
    assert_true(r->health_check.enabled);
    assert_slice(r->health_check.path, "/h?x=1");
    assert_int_equal(r->breaker.failures, 5);
    vx_config_free(config);

    static const char *const bad[][2] = {
        {"rewrite: {path_prefix: @@v2}", "begins with `/`"},
        {"rewrite: {host: @@'a b'}", "a host with or without port"},
        {"rewrite: {host: @@'unix:/x'}", "a host with or without port"},
        {"health_check: {path: @@healthz}", "begins with `/`"},
        {"health_check: {path: @@\"/a\\r\\nb\"}", "begins with `/`"},
        {"tls: {server_name: @@'a:1'}", "a host name or an IP address"},
        {"tls: @@5", "must be a mapping, or `on` or `off`"},
        {"tls: {ca: @@\"a\\0b\"}", "the path of a file"},
        {"tls: {ca: @@[a]}", "the path of a file"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        must_refuse(fill(IN_ROUTE, "%s", bad[i][0]), bad[i][1]);
    must_refuse(LISTENER "routes: [{name: @@'a b', match: {}, backends: []}]\n", "without white space");
    must_refuse(LISTENER "routes: [{name: @@[], match: {}, backends: []}]\n",
                "`name` must be text; found a list");
}

static void redirects(void **state) {
    (void)state;
    static const char around[] = LISTENER "routes: [{name: r, match: {}, redirect: %s}]\n";
    struct vx_config *config =
        must_read(fill(around, "%s", "{to: 'https://example.org/new?a=b', code: 308}"));
    assert_slice(config->routes[0].redirect_to, "https://example.org/new?a=b");
    assert_int_equal(config->routes[0].redirect_code, 308);
    assert_int_equal(config->routes[0].backend_count, 0);
    vx_config_free(config);
    config = must_read(fill(around, "%s", "{to: /new}"));
    assert_int_equal(config->routes[0].redirect_code, 302);
    vx_config_free(config);
    must_refuse(fill(around, "%s", "{to: /new, code: @@300}"), "`301`, `302`, `303`, `307` or `308`");
    must_refuse(fill(around, "%s", "{to: @@new}"), "a URL such as");
    must_refuse(fill(around, "%s", "{to: @@''}"), "a URL such as");
    must_refuse(fill(around, "%s", "{to: @@\"/a\\r\\nSet-Cookie: x\"}"), "a URL such as");
    must_refuse(fill(around, "%s", "{to: @@'https://a b/'}"), "a URL such as");
    must_refuse(fill(around, "%s", "@@/new"), "`redirect` must be a mapping");
}

static void backends(void **state) {
    (void)state;
    struct vx_config *config =
        must_read(LISTENER "routes:\n"
                           "- name: r\n"
                           "  match: {}\n"
                           "  backends:\n"
                           "  - { address: 'Api.Example.org:443', ai_models: [gpt-4, 3.5, 'a b'] }\n"
                           "  - { address: 'unix:run/b.sock', id: 9 }\n"
                           "  - { address: '[::1]:80', ai_models: [] }\n");
    const struct vx_config_backend *b = config->routes[0].backends;
    assert_int_equal(config->routes[0].backend_count, 3);
    assert_int_equal(b[0].address.kind, VX_ADDRESS_NAME);
    assert_slice(b[0].address.text, "Api.Example.org");
    assert_slice(b[0].address_text, "Api.Example.org:443");
    assert_int_equal(b[0].ai_model_count, 3);
    assert_slice(b[0].ai_models[1], "3.5");
    assert_slice(b[1].address.text, "/etc/vortex/run/b.sock");
    assert_slice(b[1].address_text, "unix:run/b.sock");
    assert_int_equal(b[2].address.kind, VX_ADDRESS_IP6);
    assert_int_equal(b[2].ai_model_count, 0);
    assert_int_equal(b[2].place.line, 8);
    assert_int_equal(b[2].place.column, 5);
    vx_config_free(config);
    must_refuse(fill(IN_BACKEND, "%s", "ai_models: @@gpt-4"), "`ai_models` must be a list");
    must_refuse(fill(IN_BACKEND, "%s", "ai_models: [a, @@'']"), "each of `ai_models` must be a model's name");
    must_refuse(fill(IN_BACKEND, "%s", "ai_models: [a, @@[b]]"), "each of `ai_models` must be text");
    must_refuse(fill(IN_BACKEND, "%s", "ai_models: [@@~]"), "an item of `ai_models` has no value");
    must_refuse(LISTENER "routes: [{name: r, match: {}, backends: [{address: @@'h'}]}]\n", "ends in a port");
}

static void paths(void **state) {
    (void)state;
    struct vx_config *config =
        must_read("listeners:\n"
                  "- address: 0.0.0.0:8443\n"
                  "  tls: { certificates: [{cert: a.pem, key: a.key},\n"
                  "                        {cert: /b.pem, key: ../b.key}], client_ca: ca.pem }\n" ROUTE);
    const struct vx_config_listener *l = &config->listeners[0];
    assert_true(l->tls);
    assert_int_equal(l->certificate_count, 2);
    assert_slice(l->certificates[0].cert_path, "/etc/vortex/a.pem");
    assert_slice(l->certificates[0].key_path, "/etc/vortex/a.key");
    assert_slice(l->certificates[1].cert_path, "/b.pem");
    assert_slice(l->certificates[1].key_path, "/etc/vortex/../b.key");
    assert_int_equal(l->certificates[0].place.line, 3);
    assert_int_equal(l->certificates[0].place.column, 32);
    assert_int_equal(l->certificates[1].place.line, 4);
    assert_int_equal(l->certificates[1].key_place.line, 4);
    assert_int_equal(l->certificates[1].key_place.column, 45);
    assert_slice(l->client_ca_path, "/etc/vortex/ca.pem");
    assert_slice(config->path, CONFIG_PATH);
    vx_config_free(config);
    config = must_read(
        fill(IN_ROUTE, "%s", "tls: {ca: ca.pem, server_name: api.internal, cert: c.pem, key: k.pem}"));
    const struct vx_config_backend_tls *tls = &config->routes[0].tls;
    assert_true(tls->enabled);
    assert_slice(tls->ca_path, "/etc/vortex/ca.pem");
    assert_slice(tls->server_name, "api.internal");
    assert_slice(tls->cert_path, "/etc/vortex/c.pem");
    assert_slice(tls->key_path, "/etc/vortex/k.pem");
    vx_config_free(config);
    config = must_read(fill(IN_ROUTE, "%s", "tls: on"));
    assert_true(config->routes[0].tls.enabled);
    assert_int_equal(config->routes[0].tls.ca_path.len, 0);
    vx_config_free(config);
}

static void admin(void **state) {
    (void)state;
    struct vx_config *config = must_read("admin: {socket: run/a.sock}\n" LISTENER ROUTE);
    assert_slice(config->admin_socket, "/etc/vortex/run/a.sock");
    assert_int_equal(config->admin_place.line, 1);
    assert_int_equal(config->admin_place.column, 17);
    vx_config_free(config);
    config = must_read("admin: off\n" LISTENER ROUTE);
    assert_int_equal(config->admin_socket.len, 0);
    vx_config_free(config);
    must_refuse(fill(IN_FILE, "%s", "admin: @@on"), "`socket` is missing in admin");
    must_refuse(fill(IN_FILE, "%s", "admin: {socket: @@''}"), "must be the path of a file");
}

static void file_sections(void **state) {
    (void)state;
    struct vx_config *config = must_read(LISTENER ROUTE);
    assert_int_equal(config->admin_socket.len, 0);
    char out[VX_ADDRESS_TEXT_MAX];
    vx_address_format(&config->metrics_address, out);
    assert_string_equal(out, "127.0.0.1:9091");
    assert_int_equal(config->metrics_place.line, 0);
    assert_false(config->access_log.enabled);
    assert_int_equal(config->trusted_proxy_count, 0);
    vx_config_free(config);

    config = must_read("metrics: {address: '[::1]:9000'}\naccess_log: {path: log/a.log}\n"
                       "trusted_proxies: [10.0.0.0/8, '::1', 192.0.2.77/24]\n" LISTENER ROUTE);
    vx_address_format(&config->metrics_address, out);
    assert_string_equal(out, "[::1]:9000");
    assert_int_equal(config->metrics_place.line, 1);
    assert_int_equal(config->metrics_place.column, 20);
    assert_true(config->access_log.enabled && config->access_log.json);
    assert_slice(config->access_log.path, "/etc/vortex/log/a.log");
    assert_int_equal(config->trusted_proxy_count, 3);
    assert_int_equal(config->trusted_proxies[0].bits, 8);
    assert_int_equal(config->trusted_proxies[1].bits, 128);
    assert_memory_equal(config->trusted_proxies[2].address.ip, "\xc0\x00\x02\x00", 4);
    vx_config_free(config);

    config = must_read("metrics: off\naccess_log: on\n" LISTENER ROUTE);
    assert_int_equal(config->metrics_address.kind, VX_ADDRESS_NONE);
    assert_true(config->access_log.enabled);
    assert_slice(config->access_log.path, "stdout");
    vx_config_free(config);
    config = must_read("metrics: on\naccess_log: {path: stderr}\n" LISTENER ROUTE);
    assert_int_equal(config->metrics_address.port, 9091);
    assert_slice(config->access_log.path, "stderr");
    vx_config_free(config);
    config = must_read("access_log: off\n" LISTENER ROUTE);
    assert_false(config->access_log.enabled);
    vx_config_free(config);

    must_refuse(fill(IN_FILE, "%s", "metrics: {address: @@9091}"), "must be an address");
    must_refuse(fill(IN_FILE, "%s", "metrics: {address: @@'localhost:9091'}"), "no name is looked up");
    must_refuse(fill(IN_FILE, "%s", "trusted_proxies: [@@10.0.0.0/33]"),
                "each of `trusted_proxies` must be an IP address");
    must_refuse(fill(IN_FILE, "%s", "trusted_proxies: [@@private]"), "each of `trusted_proxies`");
    must_refuse(fill(IN_FILE, "%s", "trusted_proxies: [@@{}]"), "found a mapping");
    must_refuse(fill(IN_FILE, "%s", "access_log: {path: @@\"a\\tb\"}"),
                "the path of a file, `stdout` or `stderr`");
}

static void filters(void **state) {
    (void)state;
    struct vx_config *config = must_read(fill(
        IN_ROUTE
        "filters:\n- {name: auth, wasm: f/auth.wasm}\n"
        "- {name: b, wasm: /b.wasm, config: {keys: [1, x]}, vm_config: text, root_id: r, vm_id: v,\n"
        "   on_failure: open, on_headers_pause: body_continues,\n"
        "   limits: {memory: 1MiB, time: 1ms, start_time: 1s, end_time: 0s, pause_time: 2s, body: 2KiB}}\n",
        "%s", "filters: [b]"));
    const struct vx_config_filter *f = config->filters;
    assert_int_equal(config->filter_count, 2);
    assert_slice(f->wasm_path, "/etc/vortex/f/auth.wasm");
    assert_int_equal(f->place.line, 6);
    assert_int_equal(f->wasm_place.column, 22);
    assert_false(f->fails_open || f->body_continues || f->config.len || f->root_id.len || f->vm_id.len);
    assert_int_equal(f->limits.memory_bytes, 64 << 20);
    assert_int_equal(f->limits.time_ns, 10000000);
    assert_int_equal(f->limits.start_time_ns, 10000000000);
    assert_int_equal(f->limits.end_time_ns, 10000000000);
    assert_int_equal(f->limits.pause_time_ns, 300000000000);
    assert_int_equal(f->limits.body_bytes, 1 << 20);
    assert_false(f->limits.of_plugins);
    f++;
    assert_slice(f->config, "{\"keys\":[1,\"x\"]}");
    assert_slice(f->vm_config, "text");
    assert_slice(f->root_id, "r");
    assert_slice(f->vm_id, "v");
    assert_true(f->fails_open && f->body_continues);
    assert_int_equal(f->limits.pause_time_ns, 2000000000);
    assert_int_equal(f->limits.body_bytes, 2048);
    assert_true(f->limits.of_plugins);
    const struct vx_config_route *r = &config->routes[0];
    assert_true(r->filters_given);
    assert_int_equal(r->filter_count, 1);
    assert_slice(r->filters[0].name, "b");
    assert_int_equal(r->filters[0].place.line, 4);
    vx_config_free(config);

    config = must_read(LISTENER ROUTE "filters: [{name: a, wasm: a.wasm}]\n");
    assert_false(config->routes[0].filters_given);
    vx_config_free(config);
    config = must_read(fill(IN_ROUTE, "%s", "filters: []"));
    assert_true(config->routes[0].filters_given);
    vx_config_free(config);
    must_refuse(fill(IN_FILE, "%s", "filters: [@@{name: a}]"), "`wasm` is missing in a filter");
    must_refuse(fill(IN_FILE, "%s", "filters: [{name: a, wasm: a.wasm, on_failure: @@ajar}]"),
                "must be `closed` or `open`");
    must_refuse(fill(IN_FILE, "%s", "filters: [{name: a, wasm: a.wasm, config: @@}]"), "has no value");
    must_refuse(fill(IN_ROUTE, "%s", "filters: [@@auth]"), "there is no filter named `auth`");
    must_refuse(fill(IN_ROUTE, "%s", "filters: @@auth"), "must be a list");
}

/* --- The tables ------------------------------------------------------------------------------------------------ */

typedef void visitor(const struct vx_yaml_shape *shape, const struct vx_yaml_key *row, const char *path,
                     void *user);

static void visit(const struct vx_yaml_shape *shape, const char *path, visitor *each, void *user) {
    for (uint32_t i = 0; i < shape->key_count; i++) {
        const struct vx_yaml_key *row = &shape->keys[i];
        char at[256];
        snprintf(at, sizeof(at), "%s%s%s%s", path, path[0] ? "." : "", row->name,
                 row->type == VX_YAML_LIST_OF && row->element->shape ? "[]" : "");
        each(shape, row, at, user);
        if (row->shape)
            visit(row->shape, at, each, user);
        else if (row->element && row->element->shape)
            visit(row->element->shape, at, each, user);
    }
}

static bool read_bound(enum vx_yaml_type type, const char *text, uint64_t *out) {
    struct vx_slice s = vx_slice_of(text);
    return type == VX_YAML_COUNT      ? vx_yaml_read_count(s, out)
           : type == VX_YAML_DURATION ? vx_yaml_read_duration(s, out)
           : type == VX_YAML_SIZE     ? vx_yaml_read_size(s, out)
                                      : vx_yaml_read_percent(s, out);
}

static void check_bounds(const struct vx_yaml_shape *shape, const struct vx_yaml_key *row, const char *path,
                         void *user) {
    uint64_t low = 0, high = 0;
    (void)shape;
    ++*(int *)user;
    if (row->type > VX_YAML_PERCENT || row->type == VX_YAML_FLAG)
        return;
    if (!read_bound(row->type, row->low, &low) || !read_bound(row->type, row->high, &high) || low > high)
        fail_msg("%s: the bounds cannot be read", path);
    if (row->bytes < 8 && high >> (8 * row->bytes))
        fail_msg("%s: the highest value does not fit %u bytes", path, row->bytes);
}

/* `off` zeroes fields by their size, which for conditions is not that of the field. */
static void check_off(const struct vx_yaml_shape *shape, const struct vx_yaml_key *row, const char *path,
                      void *user) {
    (void)shape;
    (void)user;
    if (!row->can_be_off || row->shape->apart)
        return;
    for (uint32_t i = 0; i < row->shape->key_count; i++)
        if (row->shape->keys[i].type == VX_YAML_CONDITIONS)
            fail_msg("%s cannot be off: %s is an array", path, row->shape->keys[i].name);
}

static void only_plain_groups_can_be_off(void **state) {
    (void)state;
    visit(&vx_yaml_root, "", check_off, NULL);
}

static void bounds_fit_their_fields(void **state) {
    int keys = 0;
    (void)state;
    visit(&vx_yaml_root, "", check_bounds, &keys);
    assert_true(keys > 70);
}

/* The line of the documentation's table about the key: | `key` | type | default | bounds | ... */
static const char *find_line(const char *doc, const char *path, char line[1024]) {
    char start[300];
    snprintf(start, sizeof(start), "\n| `%s` |", path);
    const char *at = strstr(doc, start);
    if (!at)
        return NULL;
    size_t n = strcspn(at + 1, "\n");
    snprintf(line, 1024, "%.*s", (int)n, at + 1);
    return line;
}

struct documented {
    const char *doc;
    unsigned keys;
};

static void check_documented(const struct vx_yaml_shape *shape, const struct vx_yaml_key *row,
                             const char *path, void *user) {
    struct documented *d = user;
    char line[1024], cell[300];
    (void)shape;
    d->keys++;
    if (!find_line(d->doc, path, line))
        fail_msg("docs/configuration.md has no line `| `%s` |`", path);
    if (row->standard) {
        snprintf(cell, sizeof(cell), "| `%s` |", row->standard);
        if (!strstr(line, cell))
            fail_msg("%s: the default in docs/configuration.md is not %s: %s", path, row->standard, line);
    }
    if (row->required && !strstr(line, "| required |"))
        fail_msg("%s: docs/configuration.md does not say `required`: %s", path, line);
    if (row->low) {
        snprintf(cell, sizeof(cell), " `%s` to %s`%s`", row->low,
                 row->type == VX_YAML_FRACTION ? "below " : "", row->high);
        if (!strstr(line, cell))
            fail_msg("%s: docs/configuration.md does not say%s: %s", path, cell, line);
    }
    for (const struct vx_yaml_word *w = row->words; w && w->text; w++) {
        snprintf(cell, sizeof(cell), "`%s`", w->text);
        if (!strstr(line, cell) && !vx_yaml_find_unbuilt(shape, vx_slice_of(row->name)))
            fail_msg("%s: docs/configuration.md does not say %s: %s", path, cell, line);
    }
}

static void documentation_agrees(void **state) {
    (void)state;
    size_t bytes;
    char *doc = vx_test_read_file("docs/configuration.md", &bytes);
    struct documented d = {doc, 0};
    visit(&vx_yaml_root, "", check_documented, &d);
    /* And it tells of no other: only keys begin a line like this. */
    unsigned lines = 0;
    for (const char *at = doc; (at = strstr(at, "\n| `")) != NULL; at++)
        lines++;
    assert_int_equal(lines, d.keys);
    free(doc);
}

/* Every example in the documentation that is a whole file is read as one. */
static void documented_examples_are_right(void **state) {
    (void)state;
    size_t bytes;
    char *doc = vx_test_read_file("docs/configuration.md", &bytes);
    int seen = 0;
    char *at = doc;
    while ((at = strstr(at, "\n```yaml\n")) != NULL) {
        char *text = at + strlen("\n```yaml\n"), *end = strstr(text, "\n```");
        assert_non_null(end);
        end[1] = '\0';
        at = end + 2;
        if (!strstr(text, "listeners:") || !strstr(text, "routes:"))
            continue;
        vx_config_free(must_read(text));
        seen++;
    }
    free(doc);
    assert_true(seen >= 2);
}

static void protocols(void **state) {
    (void)state;
    struct vx_config *config = must_read(fill(IN_ROUTE, "%s", "protocol: http2"));
    assert_true(config->routes[0].http2);
    vx_config_free(config);
    config = must_read(fill(IN_ROUTE, "%s", "protocol: http1"));
    assert_false(config->routes[0].http2);
    vx_config_free(config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listener_addresses),
        cmocka_unit_test(match),
        cmocka_unit_test(route_texts),
        cmocka_unit_test(redirects),
        cmocka_unit_test(backends),
        cmocka_unit_test(paths),
        cmocka_unit_test(admin),
        cmocka_unit_test(file_sections),
        cmocka_unit_test(filters),
        cmocka_unit_test(bounds_fit_their_fields),
        cmocka_unit_test(only_plain_groups_can_be_off),
        cmocka_unit_test(documentation_agrees),
        cmocka_unit_test(documented_examples_are_right),
        cmocka_unit_test(protocols),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
