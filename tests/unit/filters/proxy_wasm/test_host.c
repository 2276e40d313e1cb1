/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions, called in a guest's place on its memory: statuses, what is written where, and bad pointers. */
#include "filters/proxy_wasm/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/exchange/snapshot.h"
#include "filters/proxy_wasm/call.h"
#include "filters/proxy_wasm/hub.h"
#include "filters/proxy_wasm/pairs.h"
#include "support/fake_filter_stream.h"
#include "support/guest.h"

/* Places in the guest's memory. */
enum { OUT1 = 16, OUT2 = 24, OUT3 = 32, TEXT = 1024, MORE = 8192, END = 65536 };

struct world {
    struct vx_wasm_engine *engine;
    struct vx_pwasm_hub hub;
    struct vx_pwasm_plan plan;
    struct vx_pwasm_vm vm;
    struct vx_filter_stream stream;
    char logged[512];
    struct vx_log_port log;
};

static struct world *w; /* the test's own */

static void write_log(const struct vx_log_port *self, enum vx_log_level level, struct vx_slice text) {
    struct world *to = VX_CONTAINER_OF(self, struct world, log);
    snprintf(to->logged, sizeof to->logged, "%d %.*s", (int)level, VX_SLICE_ARG(text));
}

static int setup(void **state) {
    (void)state;
    w = calloc(1, sizeof *w);
    struct vx_wasm_settings settings = {.instances = 4};
    struct vx_wasm_text why;
    struct vx_wasm_module module;
    struct vx_slice binary = vx_guest_load("allocator");
    w->log = (struct vx_log_port){.least = VX_LOG_INFO, .write = write_log};
    w->engine = vx_wasm_engine_new(&settings);
    if (!w->engine || !vx_pwasm_hub_init(&w->hub, &w->log) ||
        !vx_wasm_module_load(&module, w->engine, binary, vx_pwasm_imports(), &why) ||
        !vx_pwasm_code_init(&w->plan.code, &module, &why))
        return -1;
    vx_guest_free(binary);
    w->plan.name = VX_SLICE("tester");
    w->plan.root_id = VX_SLICE("root");
    w->plan.config = VX_SLICE("plugin config");
    w->plan.vm_config = VX_SLICE("vm config");
    w->plan.body_bytes = 1000;
    w->plan.hub = &w->hub;
    w->plan.scope = vx_pwasm_scope_hold(w->hub.shared, w->plan.name);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    vx_pwasm_scope_drop(w->plan.scope);
    vx_wasm_module_unload(&w->plan.code.module);
    vx_pwasm_hub_free(&w->hub);
    vx_wasm_engine_free(w->engine);
    free(w);
    return 0;
}

static int open_vm(void **state) {
    (void)state;
    struct vx_wasm_fault fault;
    vx_pwasm_vm_lend(&w->vm, &w->plan, NULL, 0);
    fake_filter_stream_init(&w->stream);
    w->vm.root.stream = &w->stream;
    if (!vx_wasm_instance_open(&w->vm.sandbox, &w->plan.code.module, &w->vm, END, UINT64_C(60000000000),
                               &fault))
        return -1;
    return vx_wasm_instance_function(&w->vm.sandbox, w->plan.code.allocator, &w->vm.allocator) ? 0 : -1;
}

static int close_vm(void **state) {
    (void)state;
    vx_pwasm_calls_drop(&w->vm);
    vx_wasm_instance_close(&w->vm.sandbox);
    return 0;
}

/* Puts text into the guest's memory; its length. */
static uint32_t put(uint32_t at, const char *text, size_t n) {
    memcpy(vx_wasm_instance_bytes(&w->vm.sandbox, at, n), text, n);
    return (uint32_t)n;
}

static uint32_t put_text(uint32_t at, const char *text) {
    return put(at, text, strlen(text));
}

static uint32_t word(uint32_t at) {
    uint32_t n;
    memcpy(&n, vx_wasm_instance_bytes(&w->vm.sandbox, at, 4), 4);
    return n;
}

/* The value announced at OUT1 and OUT2. */
static struct vx_slice given(void) {
    struct vx_slice s;
    assert_true(vx_pwasm_read(&w->vm, word(OUT1), word(OUT2), &s));
    return s;
}

static void expect_given(const char *want) {
    struct vx_slice s = given();
    if (!vx_slice_eq(s, vx_slice_of(want)))
        fail_msg("`%.*s` instead of `%s`", VX_SLICE_ARG(s), want);
}

#define CALL(function, ...) vx_pwasm_host_##function(&w->vm, (const uint32_t[12]){__VA_ARGS__})

static enum vx_pwasm_status get_value(uint32_t map, const char *name) {
    return CALL(get_header_map_value, map, TEXT, put_text(TEXT, name), OUT1, OUT2);
}

static enum vx_pwasm_status get_property(const char *path, size_t n) {
    return CALL(get_property, TEXT, put(TEXT, path, n), OUT1, OUT2);
}

static void test_log_and_time(void **state) {
    (void)state;
    assert_int_equal(CALL(log, 3, TEXT, put_text(TEXT, "careful")), VX_PWASM_OK);
    assert_string_equal(w->logged, "2 filter tester: careful");
    assert_int_equal(CALL(log, 0, TEXT, put_text(TEXT, "trace")), VX_PWASM_OK);
    assert_string_equal(w->logged, "2 filter tester: careful");
    assert_int_equal(CALL(log, 6, TEXT, 1), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(get_log_level, OUT1), VX_PWASM_OK);
    assert_int_equal(word(OUT1), VX_PWASM_LEVEL_INFO);
    assert_int_equal(CALL(get_current_time_nanoseconds, OUT1), VX_PWASM_OK);
    assert_int_not_equal(word(OUT1 + 4), 0);
}

static void test_log_is_bounded(void **state) {
    (void)state;
    int written = 0;
    for (int i = 0; i < 300; i++) {
        w->logged[0] = '\0';
        CALL(log, 2, TEXT, put_text(TEXT, "again"));
        written += w->logged[0] != '\0';
    }
    assert_int_equal(written, 100);
    w->vm.now_ns += UINT64_C(1000000000);
    CALL(log, 2, TEXT, put_text(TEXT, "later"));
    assert_string_equal(w->logged, "1 filter tester: later (and 200 lines more held back)");
}

static void test_fields_are_read(void **state) {
    (void)state;
    assert_int_equal(get_value(0, "X-TWICE"), VX_PWASM_OK);
    expect_given("one");
    assert_int_equal(get_value(0, ":path"), VX_PWASM_OK);
    expect_given("/some/path?a=b");
    assert_int_equal(get_value(0, "host"), VX_PWASM_OK);
    expect_given("example.org");
    assert_int_equal(get_value(0, "absent"), VX_PWASM_NOT_FOUND);
    w->plan.code.version = VX_PWASM_0_1_0;
    assert_int_equal(get_value(0, "absent"), VX_PWASM_OK);
    w->plan.code.version = VX_PWASM_0_2_0;
    assert_int_equal(word(OUT1), 0);
    assert_int_equal(word(OUT2), 0);
    for (uint32_t map = 1; map < 10; map++)
        assert_int_equal(get_value(map, "x"), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(get_header_map_size, 0, OUT1), VX_PWASM_OK);
    assert_int_equal(CALL(get_header_map_size, 2, OUT1), VX_PWASM_BAD_ARGUMENT);
}

/* A request that never got a response is logged too, and the log callback asks for it like for any other. */
static void test_what_never_came_is_not_found_when_it_is_logged(void **state) {
    (void)state;
    w->vm.logging = true;
    for (uint32_t map = 1; map < VX_PWASM_MAP_COUNT; map++)
        assert_int_equal(get_value(map, "x"), VX_PWASM_NOT_FOUND);
    assert_int_equal(get_value(VX_PWASM_MAP_COUNT, "x"), VX_PWASM_BAD_ARGUMENT);
    w->plan.code.version = VX_PWASM_0_1_0;
    assert_int_equal(get_value(2, "x"), VX_PWASM_OK);
    w->plan.code.version = VX_PWASM_0_2_0;
    assert_int_equal(word(OUT2), 0);
    assert_int_equal(CALL(get_header_map_pairs, 2, OUT1, OUT2), VX_PWASM_OK);
}

static void test_pairs_are_read_and_assigned(void **state) {
    (void)state;
    static struct vx_field fields[VX_FIELD_MAP_PAIRS_MAX];
    uint32_t count;
    assert_int_equal(CALL(get_header_map_pairs, 0, OUT1, OUT2), VX_PWASM_OK);
    assert_true(vx_pwasm_pairs_read(given(), fields, &count));
    assert_int_equal(count, 7); /* four pseudo fields, without host */
    assert_true(vx_slice_eq(fields[0].name, VX_SLICE(":authority")));
    assert_true(vx_slice_eq(fields[5].name, VX_SLICE("x-twice")));
    assert_int_equal(CALL(get_header_map_pairs, 2, OUT1, OUT2), VX_PWASM_OK);
    assert_int_equal(word(OUT1) | word(OUT2), 0);
    assert_int_equal(CALL(get_header_map_pairs, 8, OUT1, OUT2), VX_PWASM_BAD_ARGUMENT);
    uint32_t n = put(TEXT,
                     "\1\0\0\0\3\0\0\0\1\0\0\0x-a\0"
                     "1\0",
                     18);
    assert_int_equal(CALL(set_header_map_pairs, 0, TEXT, n), VX_PWASM_OK);
    assert_int_equal(get_value(0, "x-a"), VX_PWASM_OK);
    assert_int_equal(get_value(0, "x-twice"), VX_PWASM_NOT_FOUND);
    assert_int_equal(get_value(0, ":path"), VX_PWASM_OK);
    assert_int_equal(CALL(set_header_map_pairs, 0, TEXT, n - 1), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(set_header_map_pairs, 2, TEXT, n), VX_PWASM_BAD_ARGUMENT);
}

static void test_fields_are_written(void **state) {
    (void)state;
    uint32_t name = put_text(TEXT, "x-twice"), value = put_text(MORE, "three");
    assert_int_equal(CALL(add_header_map_value, 0, TEXT, name, MORE, value), VX_PWASM_OK);
    assert_int_equal(CALL(replace_header_map_value, 0, TEXT, name, MORE, value), VX_PWASM_OK);
    assert_int_equal(get_value(0, "x-twice"), VX_PWASM_OK);
    expect_given("three");
    name = put_text(TEXT, "x-twice");
    assert_int_equal(CALL(remove_header_map_value, 0, TEXT, name), VX_PWASM_OK);
    assert_int_equal(CALL(remove_header_map_value, 0, TEXT, name), VX_PWASM_OK);
    assert_int_equal(get_value(0, "x-twice"), VX_PWASM_NOT_FOUND);
    name = put_text(TEXT, "x-bad");
    value = put_text(MORE, "a\r\nb: c");
    assert_int_equal(CALL(add_header_map_value, 0, TEXT, name, MORE, value), VX_PWASM_BAD_ARGUMENT);
    w->stream.writable[0] = false;
    value = put_text(MORE, "fine");
    assert_int_equal(CALL(add_header_map_value, 0, TEXT, name, MORE, value), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(remove_header_map_value, 0, TEXT, name), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(add_header_map_value, 77, TEXT, name, MORE, value), VX_PWASM_BAD_ARGUMENT);
}

static void test_buffers(void **state) {
    (void)state;
    for (uint32_t type = 0; type < VX_PWASM_BUFFER_COUNT + 1; type++) {
        static const enum vx_pwasm_status want[] = {
            VX_PWASM_OK,        VX_PWASM_OK, VX_PWASM_OK,        VX_PWASM_OK,        VX_PWASM_NOT_FOUND,
            VX_PWASM_NOT_FOUND, VX_PWASM_OK, VX_PWASM_NOT_FOUND, VX_PWASM_NOT_FOUND, VX_PWASM_BAD_ARGUMENT};
        assert_int_equal(CALL(get_buffer_bytes, type, 0, 0, OUT1, OUT2), want[type]);
        assert_int_equal(CALL(get_buffer_status, type, OUT1, OUT2), want[type]);
    }
    assert_int_equal(CALL(set_buffer_bytes, VX_PWASM_REQUEST_BODY, 0, 0, TEXT, 1), VX_PWASM_BAD_ARGUMENT);
    w->stream.has_body[0] = true;
    memcpy(w->stream.body[0], "0123456789", 10);
    w->stream.body_len[0] = 10;
    assert_int_equal(CALL(get_buffer_status, 0, OUT1, OUT3), VX_PWASM_OK);
    assert_int_equal(word(OUT1), 10);
    assert_int_equal(CALL(get_buffer_bytes, 0, 2, 3, OUT1, OUT2), VX_PWASM_OK);
    expect_given("234");
    assert_int_equal(CALL(get_buffer_bytes, 0, 8, UINT32_MAX, OUT1, OUT2), VX_PWASM_OK);
    expect_given("89");
    assert_int_equal(CALL(get_buffer_bytes, 0, 10, 5, OUT1, OUT2), VX_PWASM_OK);
    expect_given("");
    assert_int_equal(CALL(get_buffer_bytes, 0, UINT32_MAX, 5, OUT1, OUT2), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(get_buffer_bytes, 9, 0, 5, OUT1, OUT2), VX_PWASM_BAD_ARGUMENT);
    uint32_t n = put_text(TEXT, "ab");
    assert_int_equal(CALL(set_buffer_bytes, 0, 0, 0, TEXT, n), VX_PWASM_OK);
    assert_int_equal(CALL(set_buffer_bytes, 0, 3, 2, TEXT, n), VX_PWASM_OK);
    assert_int_equal(CALL(set_buffer_bytes, 0, 999, 7, TEXT, n), VX_PWASM_OK);
    assert_memory_equal(w->stream.body[0], "ab0ab3456789ab", 14);
    assert_int_equal(CALL(set_buffer_bytes, 0, 0, UINT32_MAX, TEXT, n), VX_PWASM_OK);
    assert_int_equal(w->stream.body_len[0], 2);
    assert_int_equal(CALL(set_buffer_bytes, VX_PWASM_VM_CONFIGURATION, 0, 0, TEXT, n), VX_PWASM_NOT_FOUND);
}

static void test_configuration(void **state) {
    (void)state;
    assert_int_equal(CALL(get_buffer_bytes, VX_PWASM_PLUGIN_CONFIGURATION, 0, 99, OUT1, OUT2),
                     VX_PWASM_NOT_FOUND);
    assert_int_equal(CALL(get_configuration, OUT1, OUT2), VX_PWASM_OK);
    expect_given("vm config");
    w->vm.configuring = true;
    assert_int_equal(CALL(get_configuration, OUT1, OUT2), VX_PWASM_OK);
    expect_given("plugin config");
    assert_int_equal(CALL(get_buffer_bytes, VX_PWASM_PLUGIN_CONFIGURATION, 0, 99, OUT1, OUT2), VX_PWASM_OK);
    expect_given("plugin config");
    assert_int_equal(CALL(get_buffer_bytes, VX_PWASM_VM_CONFIGURATION, 3, 99, OUT1, OUT2), VX_PWASM_OK);
    expect_given("config");
}

static void test_streams_go_on_end_and_answer(void **state) {
    (void)state;
    assert_int_equal(CALL(continue_stream, 0), VX_PWASM_OK);
    assert_int_equal(CALL(continue_stream, 1), VX_PWASM_OK);
    assert_int_equal(CALL(continue_stream, 2), VX_PWASM_OK);
    assert_int_equal(CALL(continue_stream, 3), VX_PWASM_UNIMPLEMENTED);
    assert_int_equal(CALL(continue_stream, 4), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(continue_request, 0), VX_PWASM_OK);
    assert_int_equal(CALL(continue_response, 0), VX_PWASM_OK);
    assert_int_equal(w->stream.continued[0], 2);
    assert_int_equal(w->stream.continued[1], 2);
    assert_int_equal(CALL(close_stream, 9), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(close_stream, 2), VX_PWASM_OK);
    assert_int_equal(CALL(close_stream, 3), VX_PWASM_OK);
    assert_int_equal(w->stream.closed, 0); /* connections are not a plugin's */
    assert_int_equal(CALL(close_stream, 1), VX_PWASM_OK);
    assert_int_equal(w->stream.closed, 1);
    assert_int_equal(CALL(clear_route_cache, 0), VX_PWASM_OK);
    uint32_t n = put_text(TEXT, "clear_route_cache");
    assert_int_equal(CALL(call_foreign_function, TEXT, n, 0, 0, 0, 0), VX_PWASM_OK);
    assert_int_equal(w->stream.rerouted, 2);
    assert_int_equal(CALL(call_foreign_function, TEXT, n - 1, 0, 0, OUT1, OUT2), VX_PWASM_NOT_FOUND);
    n = put_text(TEXT, "the body");
    uint32_t pairs = put(MORE, "\1\0\0\0\1\0\0\0\1\0\0\0a\0b\0", 16);
    assert_int_equal(CALL(send_local_response, 199, 0, 0, TEXT, n, 0, 0, UINT32_MAX), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(send_local_response, 600, 0, 0, TEXT, n, 0, 0, UINT32_MAX), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(send_local_response, 403, 0, 0, TEXT, n, MORE, pairs - 1, 7),
                     VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(send_local_response, 403, 0, 0, TEXT, n, MORE, pairs, 7), VX_PWASM_OK);
    assert_int_equal(w->stream.answer_status, 403);
    assert_int_equal(w->stream.answer_grpc, 7);
    assert_int_equal(w->stream.answer_fields, 1);
    assert_string_equal(w->stream.answer_body, "the body");
}

static void test_root_context_has_no_stream(void **state) {
    (void)state;
    w->vm.root.stream = NULL;
    assert_int_equal(get_value(0, "host"), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(get_header_map_pairs, 0, OUT1, OUT2), VX_PWASM_OK);
    assert_int_equal(word(OUT2), 0);
    assert_int_equal(CALL(continue_stream, 0), VX_PWASM_OK);
    assert_int_equal(CALL(continue_request, 0), VX_PWASM_OK);
    assert_int_equal(CALL(continue_stream, 3), VX_PWASM_UNIMPLEMENTED);
    assert_int_equal(CALL(close_stream, 0), VX_PWASM_OK);
    assert_int_equal(CALL(close_stream, 4), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(send_local_response, 200, 0, 0, 0, 0, 0, 0, 0), VX_PWASM_OK);
    assert_int_equal(CALL(send_local_response, 99, 0, 0, 0, 0, 0, 0, 0), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(get_buffer_bytes, 0, 0, 9, OUT1, OUT2), VX_PWASM_OK);
    assert_int_equal(word(OUT2), 0);
    assert_int_equal(CALL(set_buffer_bytes, 0, 0, 0, TEXT, 4), VX_PWASM_NOT_FOUND);
    assert_int_equal(CALL(set_header_map_pairs, 0, 0, 0), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(get_header_map_size, 0, OUT1), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(set_property, TEXT, 4, TEXT, 4), VX_PWASM_NOT_FOUND);
    assert_int_equal(get_property("request\0path", 12), VX_PWASM_NOT_FOUND);
    assert_int_equal(get_property("plugin_root_id", 14), VX_PWASM_OK);
    expect_given("root");
    assert_int_equal(CALL(set_effective_context, 99), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(done, 0), VX_PWASM_NOT_FOUND);
}

static void test_properties_of_a_response(void **state) {
    (void)state;
    w->stream.has_map[2] = true;
    w->stream.response.status = 204;
    fake_add(&w->stream, &w->stream.response.headers, "a", "bc");
    assert_int_equal(get_property("response\0code", 13), VX_PWASM_OK);
    assert_int_equal(word(word(OUT1)), 204);
    assert_int_equal(get_property("response\0headers_bytes", 22), VX_PWASM_OK);
    assert_int_equal(word(OUT2), 8);
    assert_int_equal(word(word(OUT1)), strlen(":status204abc"));
}

static bool tell(const struct vx_tls_session *s, enum vx_certificate whose, enum vx_certificate_fact fact,
                 struct vx_slice *text) {
    static const struct vx_slice texts[2][VX_CERTIFICATE_FACTS] = {
        {{"CN=us", 5}, {"us.test", 7}, {"spiffe://us", 11}, {"11", 2}},
        {{"CN=them", 7}, {"them.test", 9}, {"spiffe://them", 13}, {"22", 2}},
    };
    *text = texts[whose][fact];
    return whose == VX_CERTIFICATE_LOCAL || s->peer_certified;
}

static void expect_property(const char *group, const char *name, const char *text) {
    char path[64];
    size_t n = (size_t)snprintf(path, sizeof path, "%s%c%s", group, 0, name);
    assert_int_equal(get_property(path, n), text ? VX_PWASM_OK : VX_PWASM_NOT_FOUND);
    if (text)
        expect_given(text);
}

static void test_properties_of_tls(void **state) {
    (void)state;
    static const struct vx_tls_session_ops ops = {.tell = tell};
    struct vx_tls_session mutual = {&ops, VX_SLICE("TLSv1.3"), true};
    struct vx_tls_session single = {&ops, VX_SLICE("TLSv1.2"), false};
    w->stream.client.tls = &mutual;
    w->stream.carrier.tls = &single;
    expect_property("connection", "tls_version", "TLSv1.3");
    expect_property("connection", "mtls", "\1");
    expect_property("connection", "subject_local_certificate", "CN=us");
    expect_property("connection", "subject_peer_certificate", "CN=them");
    expect_property("connection", "dns_san_local_certificate", "us.test");
    expect_property("connection", "dns_san_peer_certificate", "them.test");
    expect_property("connection", "uri_san_local_certificate", "spiffe://us");
    expect_property("connection", "uri_san_peer_certificate", "spiffe://them");
    expect_property("connection", "sha256_peer_certificate_digest", "22");
    expect_property("connection", "certificate", NULL);
    expect_property("upstream", "tls_version", "TLSv1.2");
    expect_property("upstream", "subject_local_certificate", "CN=us");
    expect_property("upstream", "subject_peer_certificate", "");
    expect_property("upstream", "uri_san_peer_certificate", NULL);
    expect_property("upstream", "sha256_peer_certificate_digest", NULL);
    w->stream.client.tls = w->stream.carrier.tls = NULL;
    expect_property("connection", "tls_version", NULL);
    expect_property("connection", "subject_local_certificate", NULL);
    expect_property("upstream", "subject_peer_certificate", NULL);
    assert_int_equal(get_property("connection\0mtls", 15), VX_PWASM_OK);
    assert_int_equal(word(word(OUT1)) & 255, 0);
}

static void test_properties_of_a_failure(void **state) {
    (void)state;
    struct vx_target target = {.address = w->stream.client.remote};
    w->stream.target = &target;
    w->stream.error = VX_ERR_TLS_FAILED;
    w->stream.error_detail = "certificate has expired";
    expect_property("upstream", "transport_failure_reason", "certificate has expired");
    expect_property("connection", "termination_details", NULL);
    assert_int_equal(get_property("response\0flags", 14), VX_PWASM_OK);
    assert_int_equal(word(word(OUT1)), 0x20);
    w->stream.error = VX_ERR_CLIENT_GONE;
    w->stream.error_detail = "reset by the peer";
    expect_property("upstream", "transport_failure_reason", "");
    expect_property("connection", "termination_details", "reset by the peer");
    assert_int_equal(get_property("response\0flags", 14), VX_PWASM_OK);
    assert_int_equal(word(word(OUT1)), 0x4000);
}

static void test_properties_of_a_backend(void **state) {
    (void)state;
    struct vx_config_route config = {.name = VX_SLICE("shop"), .backend_count = 3};
    struct vx_route route = {.config = &config};
    struct vx_target target = {.address = w->stream.client.remote};
    w->stream.route = &route;
    assert_int_equal(get_property("route_name", 10), VX_PWASM_OK);
    expect_given("shop");
    assert_int_equal(get_property("upstream\0num_endpoints", 22), VX_PWASM_NOT_FOUND);
    w->stream.target = &target;
    assert_int_equal(get_property("upstream\0num_endpoints", 22), VX_PWASM_OK);
    assert_int_equal(word(OUT2), 8);
    assert_int_equal(word(word(OUT1)), 3);
    assert_int_equal(get_property("upstream\0address", 16), VX_PWASM_OK);
    expect_given("10.1.2.3:4711");
    expect_property("upstream", "local_address", NULL);
    w->stream.carrier.local = w->stream.client.remote;
    expect_property("upstream", "local_address", "10.1.2.3:4711");
    w->stream.target = NULL;
    w->stream.route = NULL;
}

static void test_properties(void **state) {
    (void)state;
    static const struct {
        const char *path;
        size_t n;
        const char *want;
    } texts[] = {
        {"request\0path", 12, "/some/path?a=b"},
        {"request\0path\0", 13, "/some/path?a=b"},
        {"request\0url_path", 16, "/some/path"},
        {"request\0query", 13, "a=b"},
        {"request\0method", 14, "GET"},
        {"request\0scheme", 14, "http"},
        {"request\0protocol", 16, "HTTP/1.1"},
        {"request\0useragent", 17, "test/1"},
        {"request\0headers\0X-Twice", 23, "one,two"},
        {"source\0address", 14, "10.1.2.3:4711"},
        {"plugin_name", 11, "tester"},
        {"connection\0requested_server_name", 32, ""},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(get_property(texts[i].path, texts[i].n), VX_PWASM_OK);
        expect_given(texts[i].want);
    }
    assert_int_equal(get_property("source\0port", 11), VX_PWASM_OK);
    assert_int_equal(word(OUT2), 8);
    assert_int_equal(word(word(OUT1)), 4711);
    assert_int_equal(get_property("request\0size", 12), VX_PWASM_OK);
    assert_int_equal(word(word(OUT1)), 7);
    w->stream.request.framing = VX_BODY_LENGTH;
    w->stream.request.body_bytes = 500;
    assert_int_equal(get_property("request\0size", 12), VX_PWASM_OK);
    assert_int_equal(word(word(OUT1)), 500);
    assert_int_equal(get_property("connection\0id", 13), VX_PWASM_OK);
    assert_int_equal(word(OUT2), 8);
    assert_int_equal(word(word(OUT1)), 77);
    assert_int_equal(get_property("connection_id", 13), VX_PWASM_OK);
    assert_int_equal(word(word(OUT1)), 77);
    assert_int_equal(get_property("plugin_vm_id", 12), VX_PWASM_OK);
    expect_given("tester");
    w->plan.vm_id = VX_SLICE("together");
    assert_int_equal(get_property("plugin_vm_id", 12), VX_PWASM_OK);
    expect_given("together");
    w->plan.vm_id = VX_SLICE_NONE;
    assert_int_equal(get_property("connection\0mtls", 15), VX_PWASM_OK);
    assert_int_equal(word(OUT2), 1);
    assert_int_equal(get_property("request", 7), VX_PWASM_SERIALIZATION_FAILURE);
    assert_int_equal(get_property("request\0headers", 15), VX_PWASM_OK);
    static const struct {
        const char *path;
        size_t n;
    } absent[] = {{"", 0},
                  {"\0", 1},
                  {"nothing", 7},
                  {"request\0nothing", 15},
                  {"response\0code", 13},
                  {"response\0headers_bytes", 22},
                  {"xds\0connection_id", 17},
                  {"request\0id", 10},
                  {"request\0path\0more", 17},
                  {"request\0headers\0x-twice\0more", 28},
                  {"upstream\0address", 16},
                  {"route_name", 10},
                  {"xds\0node\0id", 11},
                  {"node", 4}};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        assert_int_equal(get_property(absent[i].path, absent[i].n), VX_PWASM_NOT_FOUND);
    uint32_t n = put_text(MORE, "left");
    assert_int_equal(CALL(set_property, TEXT, put_text(TEXT, "note"), MORE, n), VX_PWASM_OK);
    assert_int_equal(get_property("note", 4), VX_PWASM_OK);
    expect_given("left");
    assert_int_equal(get_property("filter_state\0wasm.note", 22), VX_PWASM_OK);
    assert_int_equal(CALL(set_property, TEXT, put(TEXT, "request\0path", 12), MORE, n), VX_PWASM_OK);
    assert_int_equal(get_property("request\0path", 12), VX_PWASM_OK);
    expect_given("/some/path?a=b"); /* nothing hides what is so */
}

static void test_shared_data_and_queues(void **state) {
    (void)state;
    uint32_t key = put_text(TEXT, "key"), value = put_text(MORE, "value");
    assert_int_equal(CALL(get_shared_data, TEXT, key, OUT1, OUT2, OUT3), VX_PWASM_NOT_FOUND);
    assert_int_equal(CALL(set_shared_data, TEXT, key, MORE, value, 0), VX_PWASM_OK);
    assert_int_equal(CALL(get_shared_data, TEXT, key, OUT1, OUT2, OUT3), VX_PWASM_OK);
    expect_given("value");
    assert_int_equal(CALL(set_shared_data, TEXT, key, MORE, value, word(OUT3) + 1), VX_PWASM_CAS_MISMATCH);
    assert_int_equal(CALL(register_shared_queue, TEXT, key, OUT3), VX_PWASM_OK);
    uint32_t id = word(OUT3);
    assert_int_equal(CALL(resolve_shared_queue, 0, 0, TEXT, key, OUT3), VX_PWASM_OK);
    assert_int_equal(word(OUT3), id);
    assert_int_equal(CALL(resolve_shared_queue, TEXT, key, TEXT, key, OUT3), VX_PWASM_NOT_FOUND);
    assert_int_equal(CALL(dequeue_shared_queue, id, OUT1, OUT2), VX_PWASM_EMPTY);
    assert_int_equal(CALL(dequeue_shared_queue, id + 9, OUT1, OUT2), VX_PWASM_NOT_FOUND);
    assert_int_equal(CALL(enqueue_shared_queue, id + 9, MORE, value), VX_PWASM_NOT_FOUND);
    assert_int_equal(CALL(enqueue_shared_queue, id, MORE, value), VX_PWASM_OK);
    assert_int_equal(CALL(dequeue_shared_queue, id, END, OUT2),
                     VX_PWASM_INVALID_MEMORY_ACCESS); /* and is not lost */
    char large[40000] = "";
    assert_int_equal(vx_pwasm_hub_enqueue(&w->hub, id, vx_slice(large, sizeof large)), VX_PWASM_OK);
    assert_int_equal(CALL(dequeue_shared_queue, id, OUT1, OUT2), VX_PWASM_OK);
    expect_given("value");
    for (int i = 0; i < 2; i++) /* the guest has no room for it, and may ask again */
        assert_int_equal(CALL(dequeue_shared_queue, id, OUT1, OUT2), VX_PWASM_INVALID_MEMORY_ACCESS);
}

static void test_calls_need_what_a_request_needs(void **state) {
    (void)state;
    uint32_t up = put_text(TEXT, "route");
    uint32_t n = put(MORE, "\1\0\0\0\7\0\0\0\3\0\0\0:method\0GET\0", 24);
    assert_int_equal(CALL(http_call, TEXT, up, MORE, n, 0, 0, 0, 0, 100, OUT1), VX_PWASM_BAD_ARGUMENT);
    uint8_t *room = vx_wasm_instance_bytes(&w->vm.sandbox, MORE, 200);
    struct vx_pwasm_pairs p = vx_pwasm_pairs_begin(room, 3, 200);
    vx_pwasm_pairs_put(&p, VX_SLICE(":method"), VX_SLICE("GET"), false);
    vx_pwasm_pairs_put(&p, VX_SLICE(":path"), VX_SLICE("/x"), false);
    vx_pwasm_pairs_put(&p, VX_SLICE(":authority"), VX_SLICE(""), false);
    n = (uint32_t)(p.text - room);
    assert_int_equal(CALL(http_call, TEXT, up, MORE, n, 0, 0, 0, 0, 0x80000000, OUT1), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(http_call, TEXT, up, MORE, n, 0, 0, 0, 0, 100, END),
                     VX_PWASM_INVALID_MEMORY_ACCESS);
    assert_int_equal(CALL(http_call, TEXT, up, MORE, n, 0, 0, 0, 0, 100, OUT1), VX_PWASM_OK);
    assert_int_equal(word(OUT1), 4);
    assert_true(vx_pwasm_vm_may_resume(&w->vm));
    assert_int_equal(CALL(grpc_call, TEXT, up, TEXT, up, TEXT, up, 0, 0, 0, 0, 100, OUT1), VX_PWASM_OK);
    assert_int_equal(word(OUT1) % 4, 1);
    assert_int_equal(CALL(grpc_send, word(OUT1), TEXT, up, 0), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(CALL(grpc_stream, TEXT, up, TEXT, up, TEXT, up, 0, 0, OUT1), VX_PWASM_OK);
    uint32_t id = word(OUT1);
    assert_int_equal(CALL(grpc_send, id, TEXT, up, 0), VX_PWASM_OK);
    assert_int_equal(CALL(grpc_close, id), VX_PWASM_OK);
    assert_int_equal(CALL(grpc_send, id, TEXT, up, 0), VX_PWASM_NOT_FOUND);
    assert_int_equal(CALL(grpc_cancel, id), VX_PWASM_OK);
    assert_int_equal(CALL(grpc_cancel, id), VX_PWASM_NOT_FOUND);
    assert_int_equal(CALL(grpc_cancel, 4), VX_PWASM_BAD_ARGUMENT);
    p = vx_pwasm_pairs_begin(room, 3, 200);
    vx_pwasm_pairs_put(&p, VX_SLICE(":method"), VX_SLICE("GET"), false);
    vx_pwasm_pairs_put(&p, VX_SLICE(":path"), VX_SLICE("/x"), false);
    vx_pwasm_pairs_put(&p, VX_SLICE("host"), VX_SLICE("h"), false); /* the same as :authority */
    n = (uint32_t)(p.text - room);
    assert_int_equal(CALL(http_call, TEXT, up, MORE, n, 0, 0, 0, 0, 0, OUT1), VX_PWASM_OK);
    assert_int_equal(CALL(get_status, OUT3, OUT1, OUT2), VX_PWASM_OK);
    assert_int_equal(word(OUT2), 0);
}

static void test_bad_pointers_are_refused(void **state) {
    (void)state;
    const uint32_t bad[] = {END, END - 3, UINT32_MAX, UINT32_MAX - 3};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint32_t p = bad[i];
        assert_int_equal(CALL(log, 2, p, 8), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(log, 2, 8, p), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(get_current_time_nanoseconds, p), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(get_header_map_pairs, 0, p, OUT2), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(get_header_map_pairs, 0, OUT1, p), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(set_header_map_pairs, 0, p, 8), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(get_header_map_value, 0, p, 8, OUT1, OUT2), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(add_header_map_value, 0, TEXT, 1, p, 8), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(remove_header_map_value, 0, p, 8), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(get_configuration, p, OUT2), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(set_buffer_bytes, 0, 0, 0, p, 8), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(send_local_response, 200, 0, 0, p, 8, 0, 0, 0), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(get_property, p, 8, OUT1, OUT2), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(set_shared_data, p, 8, 0, 0, 0), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(define_metric, 0, TEXT, 1, p), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(http_call, p, 8, 0, 0, 0, 0, 0, 0, 0, OUT1), VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(grpc_call, p, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, OUT1),
                         VX_PWASM_INVALID_MEMORY_ACCESS);
        assert_int_equal(CALL(get_status, p, OUT1, OUT2), VX_PWASM_INVALID_MEMORY_ACCESS);
    }
}

static void test_allocator_that_gives_nothing_or_traps(void **state) {
    (void)state;
    w->stream.has_body[0] = true;
    w->stream.body_len[0] = 4000;
    for (int i = 0; i < 8; i++)
        assert_int_equal(CALL(get_buffer_bytes, 0, 0, 4000, OUT1, OUT2), VX_PWASM_OK);
    assert_int_equal(CALL(get_buffer_bytes, 0, 0, 4000, OUT1, OUT2), VX_PWASM_INVALID_MEMORY_ACCESS);
    assert_false(w->vm.nested_fault);
    assert_int_equal(CALL(get_buffer_bytes, 0, 0, 666, OUT1, OUT2), VX_PWASM_INVALID_MEMORY_ACCESS);
    assert_true(w->vm.nested_fault); /* what called is ended when this call returns */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_vm, close_vm)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_log_and_time),
        TEST(test_log_is_bounded),
        TEST(test_fields_are_read),
        TEST(test_what_never_came_is_not_found_when_it_is_logged),
        TEST(test_pairs_are_read_and_assigned),
        TEST(test_fields_are_written),
        TEST(test_buffers),
        TEST(test_configuration),
        TEST(test_streams_go_on_end_and_answer),
        TEST(test_root_context_has_no_stream),
        TEST(test_properties_of_a_response),
        TEST(test_properties_of_tls),
        TEST(test_properties_of_a_failure),
        TEST(test_properties_of_a_backend),
        TEST(test_properties),
        TEST(test_shared_data_and_queues),
        TEST(test_calls_need_what_a_request_needs),
        TEST(test_bad_pointers_are_refused),
        TEST(test_allocator_that_gives_nothing_or_traps),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
