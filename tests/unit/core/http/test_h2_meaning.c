/* SPDX-License-Identifier: Apache-2.0 */
/* Field sections of HTTP/2: what each becomes in the message model, and what is refused. A section is written as lines
 * `name: value`, pseudo fields first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/http/h2_meaning.h"
#include "support/http_check.h"

enum { FIELDS_MAX = 32, TEXT_MAX = 4096 };

struct section {
    struct vx_test_arena memory;
    struct vx_h2_pseudo pseudo;
    struct vx_headers headers;
    uint64_t repeated;
    uint16_t status;
    char text[TEXT_MAX];
};

static struct vx_slice *pseudo_of(struct section *s, struct vx_slice name) {
    return vx_slice_eq(name, VX_SLICE(":method"))      ? &s->pseudo.method
           : vx_slice_eq(name, VX_SLICE(":scheme"))    ? &s->pseudo.scheme
           : vx_slice_eq(name, VX_SLICE(":authority")) ? &s->pseudo.authority
           : vx_slice_eq(name, VX_SLICE(":path"))      ? &s->pseudo.path
           : vx_slice_eq(name, VX_SLICE(":protocol"))  ? &s->pseudo.protocol
                                                       : NULL;
}

static void add_line(struct section *s, struct vx_slice line) {
    const char *colon = memchr(line.ptr + 1, ':', line.len - 1);
    assert_non_null(colon);
    struct vx_slice name = vx_slice(line.ptr, (size_t)(colon - line.ptr));
    struct vx_slice value = vx_slice_skip(line, name.len + 2);
    struct vx_slice *pseudo = pseudo_of(s, name);
    if (vx_slice_eq(name, VX_SLICE(":status"))) {
        s->status = (uint16_t)((value.ptr[0] - '0') * 100 + (value.ptr[1] - '0') * 10 + (value.ptr[2] - '0'));
    } else if (pseudo) {
        *pseudo = value;
    } else {
        enum vx_header_id id = vx_header_id_of_lower(name);
        s->repeated |= s->headers.present & UINT64_C(1) << id;
        assert_true(vx_headers_add(&s->headers, &s->memory.arena, id, name, value));
    }
}

static struct section *section_new(const char *text) {
    struct section *s = calloc(1, sizeof *s);
    assert_non_null(s);
    vx_test_arena_init(&s->memory, SIZE_MAX);
    assert_true(strlen(text) < sizeof s->text);
    memcpy(s->text, text, strlen(text) + 1);
    for (char *at = s->text, *end; (end = strchr(at, '\n')); at = end + 1)
        add_line(s, vx_slice(at, (size_t)(end - at)));
    return s;
}

static void section_free(struct section *s) {
    vx_test_arena_end(&s->memory);
    free(s);
}

/* The outcome as one line, as in support/http_check.h. */
static void tell_headers(FILE *out, const struct vx_headers *h) {
    for (uint16_t i = 0; i < h->count; i++)
        if (!(h->items[i].flags & VX_HEADER_REMOVED))
            fprintf(out, " %.*s=%.*s", h->items[i].name_len, h->items[i].name, (int)h->items[i].value_len,
                    h->items[i].value);
}

static const char *framing_text(enum vx_framing framing) {
    static const char *const texts[] = {"none", "length", "stream", "close"};
    return texts[framing];
}

static char *read_request(const char *fields, bool ended) {
    struct section *s = section_new(fields);
    struct vx_request r = {.headers = s->headers};
    struct vx_error error;
    char *told = NULL;
    size_t len;
    FILE *out = open_memstream(&told, &len);
    if (vx_h2_read_request(&s->pseudo, s->repeated, ended, &vx_test_limits, &s->memory.arena, &r, &error)) {
        fprintf(out, "%.*s %.*s", VX_SLICE_ARG(r.method_text), VX_SLICE_ARG(r.path));
        if (r.query.ptr)
            fprintf(out, "?%.*s", VX_SLICE_ARG(r.query));
        fprintf(out, " host=%.*s %s %llu%s%s |", VX_SLICE_ARG(r.host), framing_text(r.framing),
                (unsigned long long)r.body_bytes, r.upgrade ? " upgrade" : "",
                r.expects_continue ? " expect" : "");
        tell_headers(out, &r.headers);
        assert_int_equal(r.version, VX_HTTP_2);
        assert_int_equal(r.method, vx_method_of(r.method_text));
    } else {
        fprintf(out, "%s: %s", vx_error_info(error.code)->word, error.detail);
    }
    fclose(out);
    section_free(s);
    return told;
}

#define GET   ":method: GET\n:scheme: https\n:authority: a.example\n:path: /\n"
#define POST  ":method: POST\n:scheme: https\n:authority: a.example\n:path: /\n"
#define WHO   "host=a.example"
#define ADDED "host=a.example"

static void check_request(const char *fields, bool ended, const char *want) {
    char *got = read_request(fields, ended);
    if (strcmp(got, want) != 0)
        fail_msg("%s\n  got  %s\n  want %s", fields, got, want);
    free(got);
}

static void reads_requests(void **state) {
    (void)state;
    check_request(GET, true, "GET / " WHO " none 0 | " ADDED);
    check_request(":method: GET\n:scheme: http\n:authority: A.example.:80\n:path: /a/../b?c=/../d\n", true,
                  "GET /b?c=/../d host=a.example none 0 | host=A.example.:80");
    check_request(":method: OPTIONS\n:scheme: http\n:authority: a.example\n:path: *\n", true,
                  "OPTIONS * " WHO " none 0 | " ADDED);
    check_request(POST "content-length: 3\n", false, "POST / " WHO " length 3 | content-length=3 " ADDED);
    check_request(POST "content-length: 0\n", true, "POST / " WHO " length 0 | content-length=0 " ADDED);
    check_request(POST, false, "POST / " WHO " stream 0 | " ADDED);
    check_request(POST, true, "POST / " WHO " none 0 | " ADDED);
    check_request(POST "expect: 100-continue\n", false,
                  "POST / " WHO " stream 0 expect | expect=100-continue " ADDED);
    check_request(GET "te: trailers\n", true, "GET / " WHO " none 0 | te=trailers " ADDED);
}

static void reconciles_host_and_authority(void **state) {
    (void)state;
    check_request(GET "host: A.EXAMPLE:443\n", true, "GET / " WHO " none 0 | host=A.EXAMPLE:443");
    check_request(GET "host: b.example\n", true, "bad_host: Host differs from :authority");
    check_request(GET "host: a.example:80\n", true, "bad_host: Host differs from :authority");
    check_request(GET "host: a.example\nhost: a.example\n", true, "bad_host: more than one Host");
    check_request(":method: GET\n:scheme: https\n:path: /\nhost: a.example\n", true,
                  "GET / " WHO " none 0 | host=a.example");
    check_request(":method: GET\n:scheme: https\n:path: /\n", true, "bad_host: neither :authority nor Host");
    check_request(":method: GET\n:scheme: https\n:authority: u@a.example\n:path: /\n", true,
                  "bad_host: a malformed authority");
    check_request(":method: GET\n:scheme: https\n:authority: \n:path: /\n", true,
                  "bad_host: a malformed authority");
    check_request(GET "host: a b\n", true, "bad_host: a malformed Host");
}

static void joins_cookies(void **state) {
    (void)state;
    check_request(GET "cookie: a=1\naccept: x\ncookie: b=2\ncookie: c\n", true,
                  "GET / " WHO " none 0 | cookie=a=1; b=2; c accept=x " ADDED);
    check_request(GET "cookie: a=1\n", true, "GET / " WHO " none 0 | cookie=a=1 " ADDED);
}

static void refuses_what_http1_would_read_otherwise(void **state) {
    (void)state;
    static const char name[] = "bad_request: a field name that is no token in lower case";
    static const char value[] = "bad_request: a field value with control characters or white space around it";
    static const char hop[] = "bad_request: a field of a connection";
    check_request(GET "Accept: x\n", true, name);
    check_request(GET "a b: x\n", true, name);
    check_request(GET ":extra: x\n", true, name);
    check_request(GET "a\r: x\n", true, name);
    check_request(GET "a: x\r\t\n", true, value);
    check_request(GET "a: 0123456789012345\rx\n", true, value);
    check_request(GET "a: \x01\n", true, value);
    check_request(GET "a: x\x7f\n", true, value);
    check_request(GET "a:  x\n", true, value);
    check_request(GET "a: x \n", true, value);
    check_request(GET "a: \xe4\xff x\ty\n", true, "GET / " WHO " none 0 | a=\xe4\xff x\ty " ADDED);
    check_request(POST "transfer-encoding: chunked\n", false, hop);
    check_request(GET "connection: close\n", true, hop);
    check_request(GET "upgrade: h2c\n", true, hop);
    check_request(GET "keep-alive: 1\n", true, hop);
    check_request(GET "proxy-connection: close\n", true, hop);
    check_request(GET "te: gzip\n", true, "bad_request: a TE other than trailers");
    check_request(POST "content-length: 3\n", true, "bad_framing: a Content-Length without a body");
    check_request(POST "content-length: 3\ncontent-length: 3\n", false,
                  "bad_framing: more than one Content-Length");
    check_request(POST "content-length: +3\n", false, "bad_framing: a Content-Length that is no number");
}

static void refuses_bad_pseudo_fields(void **state) {
    (void)state;
    check_request(":scheme: https\n:authority: a\n:path: /\n", true,
                  "bad_request: no method, or one that is no token");
    check_request(":method: G T\n:scheme: https\n:authority: a\n:path: /\n", true,
                  "bad_request: no method, or one that is no token");
    check_request(":method: GET\n:authority: a\n:path: /\n", true,
                  "bad_request: a scheme other than http and https");
    check_request(":method: GET\n:scheme: ftp\n:authority: a\n:path: /\n", true,
                  "bad_request: a scheme other than http and https");
    check_request(":method: GET\n:scheme: https\n:authority: a\n", true, "bad_request: a malformed path");
    check_request(":method: GET\n:scheme: https\n:authority: a\n:path: x\n", true,
                  "bad_request: a malformed path");
    check_request(":method: GET\n:scheme: https\n:authority: a\n:path: http://b/\n", true,
                  "bad_request: a malformed path");
    check_request(":method: GET\n:scheme: https\n:authority: a\n:path: / HTTP/1.1\n", true,
                  "bad_request: a malformed path");
    check_request(":method: GET\n:scheme: https\n:authority: a\n:path: /#\n", true,
                  "bad_request: a malformed path");
    check_request(":method: GET\n:scheme: https\n:authority: a\n:path: *\n", true,
                  "bad_request: the path `*` with a method other than OPTIONS");
    check_request(":method: GET\n:scheme: https\n:authority: a\n:path: /..\n", true,
                  "bad_path: a path that cannot be normalised");
    check_request(":method: CONNECT\n:authority: a:443\n", false, "not_implemented: CONNECT");
}

#define WS ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: a.example\n:path: /chat\n"

static void turns_extended_connect_into_an_upgrade(void **state) {
    (void)state;
    check_request(WS "sec-websocket-version: 13\n", false,
                  "GET /chat " WHO " none 0 upgrade | sec-websocket-version=13 " ADDED " upgrade=websocket");
    check_request(WS "content-length: 3\n", false, "bad_request: an extended CONNECT that announces a body");
    check_request(GET ":protocol: websocket\n", false, "bad_request: a :protocol without CONNECT");
    check_request(":method: CONNECT\n:protocol: connect-udp\n:scheme: https\n:authority: a\n:path: /\n",
                  false, "not_implemented: an extended CONNECT for another protocol than websocket");
}

static void check_response(const char *fields, enum vx_method method, bool ended, const char *want) {
    struct section *s = section_new(fields);
    struct vx_response r = {.status = s->status, .headers = s->headers};
    struct vx_error error;
    char got[512];
    if (vx_h2_read_response(method, s->repeated, ended, &r, &error))
        snprintf(got, sizeof got, "%u %s %llu", r.status, framing_text(r.framing),
                 (unsigned long long)r.body_bytes);
    else
        snprintf(got, sizeof got, "%s: %s", vx_error_info(error.code)->word, error.detail);
    section_free(s);
    if (strcmp(got, want) != 0)
        fail_msg("%s\n  got  %s\n  want %s", fields, got, want);
}

static void reads_responses(void **state) {
    (void)state;
    check_response(":status: 200\n", VX_METHOD_GET, false, "200 stream 0");
    check_response(":status: 200\n", VX_METHOD_GET, true, "200 length 0");
    check_response(":status: 200\ncontent-length: 5\n", VX_METHOD_GET, false, "200 length 5");
    check_response(":status: 200\ncontent-length: 5\n", VX_METHOD_HEAD, true, "200 none 5");
    check_response(":status: 304\ncontent-length: 5\n", VX_METHOD_GET, true, "304 none 5");
    check_response(":status: 204\n", VX_METHOD_GET, true, "204 none 0");
    check_response(":status: 103\n", VX_METHOD_GET, false, "103 none 0");
}

static void refuses_responses(void **state) {
    (void)state;
    check_response(":status: 101\n", VX_METHOD_GET, false,
                   "bad_response: a status that no response of HTTP/2 has");
    check_response(":status: 099\n", VX_METHOD_GET, false,
                   "bad_response: a status that no response of HTTP/2 has");
    check_response(":status: 103\n", VX_METHOD_GET, true,
                   "bad_response: an interim response that ends the stream");
    check_response(":status: 200\ncontent-length: 5\n", VX_METHOD_GET, true,
                   "bad_response: a Content-Length without a body");
    check_response(":status: 200\ncontent-length: 5\ncontent-length: 6\n", VX_METHOD_GET, false,
                   "bad_response: more than one Content-Length");
    check_response(":status: 200\ntransfer-encoding: chunked\n", VX_METHOD_GET, false,
                   "bad_response: a field of a connection");
    check_response(":status: 200\nx: a\rb\n", VX_METHOD_GET, false,
                   "bad_response: a field value with control characters or white space around it");
}

static void reads_trailers(void **state) {
    (void)state;
    const char *detail;
    struct section *s = section_new("grpc-status: 0\ncontent-length: 3\nauthorization: x\nx-sum: 1\n");
    assert_true(vx_h2_read_trailers(&s->headers, &detail));
    assert_int_equal(s->headers.count, 2);
    assert_non_null(vx_headers_find(&s->headers, VX_HEADER_GRPC_STATUS));
    section_free(s);
    s = section_new("x: a\r\n");
    assert_false(vx_h2_read_trailers(&s->headers, &detail));
    section_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_requests),
        cmocka_unit_test(reconciles_host_and_authority),
        cmocka_unit_test(joins_cookies),
        cmocka_unit_test(refuses_what_http1_would_read_otherwise),
        cmocka_unit_test(refuses_bad_pseudo_fields),
        cmocka_unit_test(turns_extended_connect_into_an_upgrade),
        cmocka_unit_test(reads_responses),
        cmocka_unit_test(refuses_responses),
        cmocka_unit_test(reads_trailers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
