/* SPDX-License-Identifier: Apache-2.0 */
/* Files: the configuration itself, what it names, where relative paths start; and the line that `vortex check` prints.
 */
#include "admin/yaml/load.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/file.h"
#include "yaml_test.h"

static char folder[64];

static char *in_folder(const char *name) {
    static char path[160];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, true);
    assert_int_equal(fclose(file), 0);
}

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/vortex-test-load-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    static const char *const names[] = {"vortex.yaml", "cert.pem", "key.pem", "pipe", "sub/vortex.yaml"};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        unlink(in_folder(names[i]));
    rmdir(in_folder("sub"));
    return rmdir(folder);
}

#define TLS  "listeners: [{address: '127.0.0.1:8443', tls: {cert: cert.pem, key: key.pem}}]\n"
#define PATH "vortex.yaml"

static void refuse_file(const char *text, uint32_t line, uint32_t column, const char *says) {
    struct vx_config_error error;
    write_file(PATH, text);
    assert_null(vx_yaml_load(in_folder(PATH), &error));
    if (!strstr(error.text, says) || error.place.line != line || error.place.column != column)
        fail_msg("%u:%u: %s", error.place.line, error.place.column, error.text);
}

static void accept_file(const char *text) {
    struct vx_config_error error;
    write_file(PATH, text);
    struct vx_config *config = vx_yaml_load(in_folder(PATH), &error);
    if (!config)
        fail_msg("%u:%u: %s", error.place.line, error.place.column, error.text);
    vx_config_free(config);
}

static void named_files_must_be_there(void **state) {
    (void)state;
    refuse_file(TLS ROUTE, 1, 53, "cert.pem: No such file or directory; relative paths start at the folder");
    write_file("cert.pem", "");
    refuse_file(TLS ROUTE, 1, 68, "key.pem: No such file");
    write_file("key.pem", "");
    accept_file(TLS ROUTE);
    refuse_file(LISTENER "routes: [{match: {}, tls: {ca: /nowhere/ca.pem}, backends: [{address: 'a:1'}]}]\n",
                2, 32, "cannot read /nowhere/ca.pem");
    refuse_file(LISTENER "routes: [{match: {}, tls: {ca: .}, backends: [{address: 'a:1'}]}]\n", 2, 32,
                "is a folder");
    refuse_file("access_log: {path: nowhere/access.log}\n" LISTENER ROUTE, 1, 20, "nowhere is missing");
    refuse_file("access_log: {path: '.'}\n" LISTENER ROUTE, 1, 20, "is a folder");
    accept_file("access_log: {path: access.log}\n" LISTENER ROUTE);
    refuse_file("listeners: [{address: 'unix:/nowhere/a.sock'}]\n" ROUTE, 1, 23, "/nowhere is missing");
    refuse_file("metrics: {address: 'unix:nowhere/a.sock'}\n" LISTENER ROUTE, 1, 20, "nowhere is missing");
    accept_file("listeners: [{address: 'unix:a.sock'}, {address: 'unix:@a'}]\n" ROUTE);
    accept_file("access_log: {path: /vortex-access.log}\n" LISTENER ROUTE);
}

/* Values are judged before files, in the whole file. */
static void files_come_last(void **state) {
    (void)state;
    unlink(in_folder("cert.pem"));
    refuse_file(TLS ROUTE "workers: 0\n", 3, 10, "`workers` must be");
}

static void named_pipe_does_not_block(void **state) {
    (void)state;
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    accept_file("listeners: [{address: '127.0.0.1:8443', tls: {cert: pipe, key: pipe}}]\n" ROUTE);
}

static void unreadable_file(void **state) {
    (void)state;
    write_file("cert.pem", "");
    write_file("key.pem", "");
    assert_int_equal(chmod(in_folder("key.pem"), 0), 0);
    if (geteuid() == 0) /* root reads whatever its mode */
        accept_file(TLS ROUTE);
    else
        refuse_file(TLS ROUTE, 1, 68, "Permission denied");
}

static void the_file_itself(void **state) {
    (void)state;
    struct vx_config_error error;
    assert_null(vx_yaml_load("/nowhere/vortex.yaml", &error));
    assert_string_equal(error.text, "cannot open the file: No such file or directory");
    assert_int_equal(error.place.line, 1);
    assert_int_equal(error.place.column, 1);
    assert_null(vx_yaml_load("/tmp", &error));
    assert_string_equal(error.text, "cannot read the file: Is a directory");
    refuse_file("", 1, 1, "the file is empty");
}

/* Larger than the reader's first buffer, and no size is known beforehand. */
static void from_a_pipe(void **state) {
    (void)state;
    int ends[2];
    char path[64];
    struct vx_config_error error;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        static char comment[100];
        bool good = true;
        memset(comment, '#', sizeof(comment) - 1);
        comment[sizeof(comment) - 1] = '\n';
        for (int i = 0; i < 3000; i++)
            good = good && write(ends[1], comment, sizeof(comment)) == (ssize_t)sizeof(comment);
        good =
            good && write(ends[1], LISTENER ROUTE, strlen(LISTENER ROUTE)) == (ssize_t)strlen(LISTENER ROUTE);
        _exit(!good);
    }
    close(ends[1]);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
    struct vx_config *config = vx_yaml_load(path, &error);
    if (!config) {
        fail_msg("%s", error.text);
        return;
    }
    assert_int_equal(config->listeners[0].place.line, 3001);
    vx_config_free(config);
    close(ends[0]);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void relative_paths(void **state) {
    (void)state;
    struct vx_config_error error;
    char before[4096];
    static const char text[] =
        LISTENER "routes: [{match: {}, tls: {ca: ca.pem}, backends: [{address: 'a:1'}]}]\n";
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(folder), 0);
    static const char *const rows[][2] = {
        {"vortex.yaml", "ca.pem"}, {"./vortex.yaml", "./ca.pem"}, {"sub/vortex.yaml", "sub/ca.pem"}};
    for (size_t i = 0; i < 3; i++) {
        struct vx_config *config = vx_yaml_parse(rows[i][0], VX_SLICE(text), &error);
        assert_non_null(config);
        assert_slice(config->routes[0].tls.ca_path, in_folder(rows[i][1]));
        assert_slice(config->path, rows[i][0]);
        vx_config_free(config);
    }
    assert_int_equal(chdir("/"), 0);
    struct vx_config *config = vx_yaml_parse("vortex.yaml", VX_SLICE(text), &error);
    assert_slice(config->routes[0].tls.ca_path, "/ca.pem");
    vx_config_free(config);
    config = vx_yaml_parse("/vortex.yaml", VX_SLICE(text), &error);
    assert_slice(config->routes[0].tls.ca_path, "/ca.pem");
    vx_config_free(config);
    assert_int_equal(chdir(before), 0);
}

static void error_lines(void **state) {
    (void)state;
    struct vx_config_error error = {.place = {12, 7}, .text = "what is wrong"};
    char out[64], small[16];
    assert_int_equal(vx_config_error_format("a.yaml", &error, out, sizeof(out)), 26);
    assert_string_equal(out, "a.yaml:12:7: what is wrong");
    assert_int_equal(vx_config_error_format("a.yaml", &error, small, sizeof(small)), 15);
    assert_string_equal(small, "a.yaml:12:7: wh");
    error.place.line = 0;
    vx_config_error_format("a.yaml", &error, out, sizeof(out));
    assert_string_equal(out, "a.yaml: what is wrong");
}

/* The file that `make run` starts with; its certificates may not have been made yet. */
static void vortex_yaml_of_the_tree(void **state) {
    (void)state;
    struct vx_config_error error;
    size_t bytes;
    char *text = vx_test_read_file("vortex.yaml", &bytes);
    struct vx_config *config = vx_yaml_parse("vortex.yaml", vx_slice(text, bytes), &error);
    free(text);
    if (!config) {
        fail_msg("vortex.yaml:%u:%u: %s", error.place.line, error.place.column, error.text);
        return;
    }
    assert_int_equal(config->listener_count, 2);
    assert_int_equal(config->listeners[0].address.port, 8443);
    assert_true(config->listeners[0].tls);
    assert_int_equal(config->listeners[1].address.port, 8080);
    assert_int_equal(config->route_count, 1);
    assert_slice(config->routes[0].name, "main-routing-topology");
    assert_int_equal(config->routes[0].backend_count, 2);
    assert_int_equal(config->routes[0].backends[0].address.port, 9001);
    assert_int_equal(config->routes[0].backends[1].address.port, 9002);
    vx_config_free(config);
}

/* The whole example of the interface, which asks for much that does not exist yet. */
static void the_full_example_stops_at_http3(void **state) {
    (void)state;
    must_refuse(
        "workers: auto\n"
        "listeners:\n"
        "  - address: 0.0.0.0:8443\n"
        "    tls: { cert: certs/cert.pem, key: certs/key.pem }\n"
        "    @@http3: true\n"
        "  - address: 0.0.0.0:8080\n"
        "    proxy_protocol: false\n"
        "routes:\n"
        "  - name: main-routing-topology\n"
        "    match: { host: \"*\", path_prefix: / }\n"
        "    backends:\n"
        "      - { id: 1, address: 127.0.0.1:9001, ai_models: [gpt-4], weight: 1, max_connections: 0 }\n"
        "    protocol: http1\n"
        "    filters: [auth]\n"
        "tracing: { endpoint: http://127.0.0.1:4318, sample: 1.0, service_name: vortex }\n",
        "`http3` is not available in this version; remove it");
}

/* The same example without those keys: everything else in it is right. */
static void the_rest_of_the_full_example(void **state) {
    (void)state;
    struct vx_config *config = must_read(
        "workers: auto\n"
        "listeners:\n"
        "  - address: 0.0.0.0:8443\n"
        "    tls: { cert: certs/cert.pem, key: certs/key.pem }\n"
        "  - address: 0.0.0.0:8080\n"
        "    proxy_protocol: false\n"
        "routes:\n"
        "  - name: main-routing-topology\n"
        "    match: { host: \"*\", path_prefix: / }\n"
        "    backends:\n"
        "      - { id: 1, address: 127.0.0.1:9001, ai_models: [gpt-4, gpt-3.5-turbo], weight: 1, "
        "max_connections: 0 }\n"
        "      - { id: 2, address: 127.0.0.1:9002, ai_models: [claude-3-opus] }\n"
        "    protocol: http1\n"
        "    tls: { ca: ca.pem, server_name: api.internal, cert: c.pem, key: k.pem }\n"
        "    balance: peak_ewma\n"
        "    ewma_decay: 0.5\n"
        "    rewrite: { path_prefix: /v2, host: \"\" }\n"
        "    timeouts: { connect: 1s, response: 30s, idle: 60s }\n"
        "    pool: { idle: 60s, max_idle: 64 }\n"
        "    retries: { attempts: 2, budget: 20% }\n"
        "    circuit_breaker: { failures: 5, failure_rate: 50%, open_for: 10s, half_open_requests: 3 }\n"
        "    health_check: { path: /healthz, interval: 5s, healthy: 2, unhealthy: 3 }\n"
        "  - name: httpbin\n"
        "    backends: [ { id: 1, address: 127.0.0.1:9100 } ]\n"
        "trusted_proxies: [10.0.0.0/8]\n"
        "metrics: { address: 127.0.0.1:9091 }\n"
        "kubernetes: { watch: false, namespaces: [], kubeconfig: \"\" }\n"
        "access_log: { path: stdout, format: json }\n"
        "shutdown: { drain: 30s }\n"
        "timeouts: { header: 10s, idle: 75s, body: 60s, write: 60s, handshake: 10s }\n"
        "limits: { header_bytes: 64KiB, headers: 128, body_bytes: 0, buffered_body: 1MiB, connections: 0, "
        "concurrent_streams: 128 }\n");
    assert_int_equal(config->route_count, 2);
    assert_false(config->routes[1].has_match);
    assert_int_equal(config->routes[0].connect_timeout_ns, 1000000000);
    vx_config_free(config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(named_files_must_be_there),
        cmocka_unit_test(files_come_last),
        cmocka_unit_test(named_pipe_does_not_block),
        cmocka_unit_test(unreadable_file),
        cmocka_unit_test(the_file_itself),
        cmocka_unit_test(from_a_pipe),
        cmocka_unit_test(relative_paths),
        cmocka_unit_test(error_lines),
        cmocka_unit_test(vortex_yaml_of_the_tree),
        cmocka_unit_test(the_full_example_stops_at_http3),
        cmocka_unit_test(the_rest_of_the_full_example),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
