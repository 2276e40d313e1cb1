/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the access log: all fields in both formats, refused heads, hostile and endless values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/exchange/snapshot.h"
#include "proxy/telemetry/log_line.h"
#include "support/check_json.h"
#include "support/file.h"

enum { ENDLESS_BYTES = 100000, GUARD_BYTES = 64 };

static char line[VX_LOG_LINE_MAX + GUARD_BYTES];
static struct json_object json;
static struct vx_timestamp at;

static struct vx_header fields[2];
static struct vx_request request;
static struct vx_tls_session tls;
static struct vx_client_info client;
static struct vx_config_route config;
static struct vx_route route;
static struct vx_exchange_record record;

static struct vx_header header(enum vx_header_id id, const char *name, struct vx_slice value) {
    return (struct vx_header){
        .name = name,
        .name_len = (uint16_t)strlen(name),
        .value = value.ptr,
        .value_len = (uint32_t)value.len,
        .id = (uint8_t)id,
    };
}

static int setup(void **state) {
    (void)state;
    at = (struct vx_timestamp){0};
    vx_timestamp_set(&at, 1795399552123000000);
    fields[0] = header(VX_HEADER_USER_AGENT, "User-Agent", VX_SLICE("curl/8.0 \"x\""));
    fields[1] = header(VX_HEADER_REFERER, "Referer", VX_SLICE("https://example.org/"));
    request = (struct vx_request){
        .method = VX_METHOD_GET,
        .version = VX_HTTP_11,
        .method_text = VX_SLICE("GET"),
        .target = VX_SLICE("/a/../path?q=1"),
        .path = VX_SLICE("/path"),
        .query = VX_SLICE("q=1"),
        .authority = VX_SLICE("Example.org:8080"),
        .host = VX_SLICE("example.org"),
        .headers = {.items = fields,
                    .present = UINT64_C(1) << VX_HEADER_USER_AGENT | UINT64_C(1) << VX_HEADER_REFERER,
                    .count = 2,
                    .capacity = 2},
    };
    tls = (struct vx_tls_session){.version = VX_SLICE("TLSv1.3")};
    client = (struct vx_client_info){.https = true, .tls = &tls};
    config = (struct vx_config_route){.name = VX_SLICE("main")};
    route = (struct vx_route){.config = &config};
    record = (struct vx_exchange_record){
        .request = &request,
        .client = &client,
        .client_ip = VX_SLICE("2001:db8::1"),
        .route = &route,
        .backend = VX_SLICE("10.0.0.1:80"),
        .error = VX_ERR_BACKEND_RESET,
        .error_detail = "reset while reading",
        .status = 502,
        .attempts = 2,
        .started_ns = 5000000,
        .ended_ns = 17345678,
        .backend_ns = 1234567,
        .request_bytes = 7,
        .response_bytes = 12345678901,
    };
    return 0;
}

/* Formats the record and reads it back; a write beyond the bound shows in the guard. */
static void write_json(void) {
    memset(line, '#', sizeof line);
    size_t len = vx_log_line_json(line, &record, &at);
    assert_true(len <= VX_LOG_LINE_MAX);
    for (size_t i = 0; i < GUARD_BYTES; i++)
        assert_int_equal(line[VX_LOG_LINE_MAX + i], '#');
    assert_int_equal(line[len - 1], '\n');
    assert_null(memchr(line, '\n', len - 1));
    if (!json_read(&json, vx_slice(line, len - 1))) {
        print_error("not JSON: %.*s\n", (int)len, line);
        fail();
    }
}

static void check_combined(const char *wanted) {
    size_t len = vx_log_line_combined(line, &record, &at);
    if (!vx_slice_eq(vx_slice(line, len), vx_slice_of(wanted))) {
        print_error("`%.*s`, not `%s`\n", (int)len, line, wanted);
        fail();
    }
}

static void all_json_fields(void **state) {
    (void)state;
    static const struct {
        const char *key, *value;
        enum json_kind kind;
    } wanted[] = {
        {"time", "2026-11-23T02:05:52.123Z", JSON_STRING},
        {"client_ip", "2001:db8::1", JSON_STRING},
        {"method", "GET", JSON_STRING},
        {"host", "example.org", JSON_STRING},
        {"path", "/path?q=1", JSON_STRING},
        {"protocol", "HTTP/1.1", JSON_STRING},
        {"status", "502", JSON_NUMBER},
        {"reason", "backend_reset", JSON_STRING},
        {"detail", "reset while reading", JSON_STRING},
        {"route", "main", JSON_STRING},
        {"backend", "10.0.0.1:80", JSON_STRING},
        {"attempts", "2", JSON_NUMBER},
        {"duration_ms", "12.345", JSON_NUMBER},
        {"backend_ms", "1.234", JSON_NUMBER},
        {"request_bytes", "7", JSON_NUMBER},
        {"response_bytes", "12345678901", JSON_NUMBER},
        {"user_agent", "curl/8.0 \"x\"", JSON_STRING},
        {"referer", "https://example.org/", JSON_STRING},
        {"tls", "TLSv1.3", JSON_STRING},
        {"tunnel", "false", JSON_BOOL},
    };
    write_json();
    assert_int_equal(json.count, sizeof wanted / sizeof wanted[0]);
    for (unsigned i = 0; i < json.count; i++) {
        assert_string_equal(json.members[i].key, wanted[i].key); /* the order is stable, too */
        assert_int_equal(json.members[i].kind, wanted[i].kind);
        json_check(&json, wanted[i].key, wanted[i].value);
    }
}

static void combined(void **state) {
    (void)state;
    check_combined("2001:db8::1 - - [23/Nov/2026:02:05:52 +0000] \"GET /path?q=1 HTTP/1.1\" 502 12345678901 "
                   "\"https://example.org/\" \"curl/8.0 \\x22x\\x22\"\n");
}

static void a_good_plain_answer(void **state) {
    (void)state;
    record.error = VX_ERR_NONE;
    record.error_detail = NULL;
    record.status = 200;
    client.tls = NULL;
    request.version = VX_HTTP_10;
    request.query = VX_SLICE_NONE;
    write_json();
    json_check(&json, "reason", "");
    json_check(&json, "detail", "");
    json_check(&json, "tls", "");
    json_check(&json, "protocol", "HTTP/1.0");
    json_check(&json, "path", "/path");
    request.query = vx_slice("", 0); /* a `?` with nothing behind it */
    write_json();
    json_check(&json, "path", "/path?");
}

static void names_of_the_protocols(void **state) {
    (void)state;
    static const char *const names[] = {"HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"};
    for (unsigned i = 0; i < 4; i++) {
        request.version = (enum vx_http_version)i;
        write_json();
        json_check(&json, "protocol", names[i]);
    }
}

static void grpc_calls_show_their_status(void **state) {
    (void)state;
    record.grpc = true;
    record.grpc_status = 14;
    write_json();
    json_check(&json, "grpc_status", "14");
}

static void tunnel_without_a_route(void **state) {
    (void)state;
    record.route = NULL;
    record.tunnel = true;
    record.started_ns = record.ended_ns + 5; /* clocks of two events: never a negative time */
    write_json();
    json_check(&json, "route", "");
    json_check(&json, "tunnel", "true");
    json_check(&json, "duration_ms", "0.000");
}

static void refused_heads(void **state) {
    (void)state;
    record = (struct vx_exchange_record){.error = VX_ERR_BAD_REQUEST, .status = 400};
    write_json();
    json_check(&json, "reason", "bad_request");
    json_check(&json, "method", "");
    json_check(&json, "path", "");
    json_check(&json, "protocol", "");
    json_check(&json, "client_ip", "");
    check_combined("- - - [23/Nov/2026:02:05:52 +0000] \"-\" 400 0 \"-\" \"-\"\n");

    request = (struct vx_request){.target = VX_SLICE("no-slash"), .authority = VX_SLICE("bad host")};
    record.request = &request;
    record.client_ip = VX_SLICE("1.2.3.4");
    write_json();
    json_check(&json, "path", "no-slash");
    json_check(&json, "host", "bad host");
    record.status = 0;
    check_combined("1.2.3.4 - - [23/Nov/2026:02:05:52 +0000] \"no-slash\" 000 0 \"-\" \"-\"\n");
}

static void hostile_values(void **state) {
    (void)state;
    request.path = VX_SLICE("/\"},{\"status\":200,\"x\":\"\\");
    fields[0] = header(VX_HEADER_USER_AGENT, "user-agent", VX_SLICE("a\xff\xfe\x80\x1b[31m\xc3\xa9"));
    write_json();
    json_check(&json, "path", "/\"},{\"status\":200,\"x\":\"\\?q=1");
    json_check(&json, "user_agent", "aÿþ\xc2\x80\x1b[31mé");
    json_check(&json, "status", "502");
}

static void removed_fields_are_not_shown(void **state) {
    (void)state;
    fields[0].flags |= VX_HEADER_REMOVED;
    write_json();
    json_check(&json, "user_agent", "");
}

static void endless_values_are_cut(void **state) {
    (void)state;
    static const char fills[] = {'x', '\x01', '\xff', '"'};
    char *endless = malloc(ENDLESS_BYTES);
    assert_non_null(endless);
    struct vx_slice all = vx_slice(endless, ENDLESS_BYTES);
    for (size_t i = 0; i < sizeof fills; i++) {
        memset(endless, fills[i], ENDLESS_BYTES);
        request.method_text = request.target = request.path = request.query = request.host = all;
        record.client_ip = record.backend = config.name = tls.version = all;
        fields[0] = header(VX_HEADER_USER_AGENT, "user-agent", all);
        fields[1] = header(VX_HEADER_REFERER, "referer", all);
        endless[ENDLESS_BYTES - 1] = 0;
        record.error_detail = endless;
        record.status = UINT16_MAX;
        record.attempts = UINT16_MAX;
        record.backend_ns = record.request_bytes = record.response_bytes = UINT64_MAX;
        record.started_ns = 0;
        record.ended_ns = UINT64_MAX;
        write_json();
        memset(line, '#', sizeof line);
        assert_true(vx_log_line_combined(line, &record, &at) <= VX_LOG_LINE_MAX);
    }
    memset(endless, 'x', ENDLESS_BYTES - 1);
    write_json();
    assert_int_equal(json_value(&json, "path").len, VX_LOG_PATH_MAX + 3);
    assert_int_equal(json_value(&json, "user_agent").len, VX_LOG_AGENT_MAX + 3);
    assert_int_equal(json_value(&json, "host").len, VX_LOG_HOST_MAX + 3);
    assert_true(memcmp(json_value(&json, "path").ptr + VX_LOG_PATH_MAX, "...", 3) == 0);
    /* A short path leaves its room to the query. */
    request.path = VX_SLICE("/p");
    write_json();
    assert_int_equal(json_value(&json, "path").len, VX_LOG_PATH_MAX + 1 + 3);
    free(endless);
}

static void fields_and_reasons_are_documented(void **state) {
    (void)state;
    size_t bytes;
    char *docs = vx_test_read_file("docs/operations.md", &bytes);
    record.grpc = true;
    write_json();
    for (unsigned i = 0; i < json.count + VX_ERR_COUNT - 1; i++) {
        /* Fields, then reasons; VX_ERR_NONE has no word. */
        const char *word = i < json.count ? json.members[i].key
                                          : vx_error_info((enum vx_error_code)(i - json.count + 1))->word;
        char row[128];
        snprintf(row, sizeof row, "\n| `%s` |", word);
        if (!strstr(docs, row)) {
            print_error("docs/operations.md lacks a row for %s\n", word);
            fail();
        }
    }
    free(docs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_json_fields, setup),
        cmocka_unit_test_setup(combined, setup),
        cmocka_unit_test_setup(a_good_plain_answer, setup),
        cmocka_unit_test_setup(names_of_the_protocols, setup),
        cmocka_unit_test_setup(grpc_calls_show_their_status, setup),
        cmocka_unit_test_setup(tunnel_without_a_route, setup),
        cmocka_unit_test_setup(refused_heads, setup),
        cmocka_unit_test_setup(hostile_values, setup),
        cmocka_unit_test_setup(removed_fields_are_not_shown, setup),
        cmocka_unit_test_setup(endless_values_are_cut, setup),
        cmocka_unit_test_setup(fields_and_reasons_are_documented, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
