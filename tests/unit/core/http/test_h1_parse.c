/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax of heads: each form that is taken and each that is refused, in every way its bytes can arrive. What the
 * fields mean is tested in test_h1_meaning.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/http_check.h"

struct sample {
    const char *bytes;
    size_t len;
    const char *want; /* the whole text, or only its first word with the colon, for refusals */
};

#define SAMPLE(bytes, want)                                                                                  \
    { (bytes), sizeof(bytes) - 1, (want) }

/* A request line and what comes after, with a Host in between. */
#define GET(line) line "\r\nHost: a\r\n\r\n"

static void run(enum vx_test_head kind, const struct sample *samples, size_t count,
                const struct vx_h1_limits *limits) {
    for (size_t i = 0; i < count; i++) {
        char *got = vx_test_parse_every_way(kind, vx_slice(samples[i].bytes, samples[i].len), limits);
        size_t len = strlen(samples[i].want);
        bool prefix = len && samples[i].want[len - 1] == ':';
        if (prefix ? strncmp(got, samples[i].want, len) != 0 : strcmp(got, samples[i].want) != 0)
            fail_msg("sample %zu: %s\n  got  %s\n  want %s", i, samples[i].bytes, got, samples[i].want);
        free(got);
    }
}

#define RUN(kind, samples) run(kind, samples, sizeof(samples) / sizeof *(samples), &vx_test_limits)

static void takes_request_lines(void **state) {
    (void)state;
    static const struct sample samples[] = {
        SAMPLE(GET("GET / HTTP/1.1"), "GET / 1.1 authority=a host=a path=/ none keep-alive | Host=a |"),
        SAMPLE(GET("GET /x?y=z&a HTTP/1.1"),
               "GET /x?y=z&a 1.1 authority=a host=a path=/x query=y=z&a none keep-alive | Host=a |"),
        SAMPLE(GET("GET /? HTTP/1.1"),
               "GET /? 1.1 authority=a host=a path=/ query= none keep-alive | Host=a |"),
        SAMPLE(GET("GET /a?b?c HTTP/1.1"),
               "GET /a?b?c 1.1 authority=a host=a path=/a query=b?c none keep-alive | Host=a |"),
        SAMPLE(GET("PURGE / HTTP/1.1"), "PURGE / 1.1 authority=a host=a path=/ none keep-alive | Host=a |"),
        SAMPLE(GET("get / HTTP/1.1"), "get / 1.1 authority=a host=a path=/ none keep-alive | Host=a |"),
        SAMPLE(GET("!#$%&'*+-.^_`|~09azAZ / HTTP/1.1"),
               "!#$%&'*+-.^_`|~09azAZ / 1.1 authority=a host=a path=/ none keep-alive | Host=a |"),
        SAMPLE(GET("OPTIONS * HTTP/1.1"),
               "OPTIONS * 1.1 authority=a host=a path=* none keep-alive | Host=a |"),
        SAMPLE(GET("GET /!\"$&'()*+,-.:;<=>@[\\]^_`{|}~ HTTP/1.1"),
               "GET /!\"$&'()*+,-.:;<=>@[\\]^_`{|}~ 1.1 authority=a host=a "
               "path=/!\"$&'()*+,-.:;<=>@[\\]^_`{|}~ none "
               "keep-alive | Host=a |"),
        SAMPLE("GET / HTTP/1.0\r\n\r\n", "GET / 1.0 authority= host= path=/ none close |"),
        SAMPLE("\r\n" GET("GET / HTTP/1.1"),
               "GET / 1.1 authority=a host=a path=/ none keep-alive | Host=a |"),
        SAMPLE(GET("GET / HTTP/1.1") "body \x01\n\r",
               "GET / 1.1 authority=a host=a path=/ none keep-alive | Host=a | +8"),
        SAMPLE(GET("GET /a/./b/../%7Ec//d%2f HTTP/1.1"),
               "GET /a/./b/../%7Ec//d%2f 1.1 authority=a host=a path=/a/~c/d%2f none keep-alive | Host=a |"),
    };
    RUN(VX_TEST_REQUEST, samples);
}

static void takes_absolute_targets(void **state) {
    (void)state;
    static const struct sample samples[] = {
        SAMPLE(GET("GET http://a/x HTTP/1.1"),
               "GET http://a/x 1.1 authority=a host=a path=/x none keep-alive | Host=a |"),
        SAMPLE(GET("GET HTTP://A:80 HTTP/1.1"),
               "GET HTTP://A:80 1.1 authority=a host=a path=/ none keep-alive | Host=a |"),
        SAMPLE(GET("GET https://a.:443?q HTTP/1.1"),
               "GET https://a.:443?q 1.1 authority=a host=a path=/ query=q none keep-alive | Host=a |"),
        SAMPLE(GET("OPTIONS http://a HTTP/1.1"),
               "OPTIONS http://a 1.1 authority=a host=a path=* none keep-alive | Host=a |"),
        SAMPLE(GET("OPTIONS http://a/ HTTP/1.1"),
               "OPTIONS http://a/ 1.1 authority=a host=a path=/ none keep-alive | Host=a |"),
        SAMPLE(GET("OPTIONS http://a?x HTTP/1.1"),
               "OPTIONS http://a?x 1.1 authority=a host=a path=/ query=x none keep-alive | Host=a |"),
        SAMPLE("GET http://B:8080/ HTTP/1.0\r\n\r\n",
               "GET http://B:8080/ 1.0 authority=B:8080 host=b path=/ none close |"),
        SAMPLE("GET http://a/ HTTP/1.1\r\n\r\n", "bad_host: no Host"),
        SAMPLE(GET("GET http://b/ HTTP/1.1"),
               "bad_host: Host differs from the authority of the request target"),
        SAMPLE(GET("GET http://a:81/ HTTP/1.1"),
               "bad_host: Host differs from the authority of the request target"),
        SAMPLE(GET("GET https://a:80/ HTTP/1.1"),
               "bad_host: Host differs from the authority of the request target"),
        SAMPLE(GET("GET http://u@a/ HTTP/1.1"), "bad_host: a malformed authority in the request target"),
        SAMPLE(GET("GET http:///x HTTP/1.1"), "bad_host: a malformed authority in the request target"),
        SAMPLE(GET("GET ftp://a/ HTTP/1.1"), "bad_request: a malformed request target"),
        SAMPLE(GET("GET http:/a HTTP/1.1"), "bad_request: a malformed request target"),
        SAMPLE(GET("GET http HTTP/1.1"), "bad_request: a malformed request target"),
    };
    RUN(VX_TEST_REQUEST, samples);
}

#define NO_METHOD  "bad_request: a request line that does not begin with a method"
#define NO_VERSION "bad_request: a request line that does not end in an HTTP version"
#define NO_TARGET  "bad_request: a malformed request target"

static void refuses_request_lines(void **state) {
    (void)state;
    static const struct sample samples[] = {
        SAMPLE(GET(" GET / HTTP/1.1"), NO_METHOD),
        SAMPLE(GET("/ HTTP/1.1"), NO_METHOD),
        SAMPLE(GET("GET\t/ HTTP/1.1"), NO_METHOD),
        SAMPLE(GET("G(T / HTTP/1.1"), NO_METHOD),
        SAMPLE(GET("G\xc3\x89T / HTTP/1.1"), NO_METHOD),
        SAMPLE(GET("GET"), NO_METHOD),
        SAMPLE("\r\n\r\n" GET("GET / HTTP/1.1"), NO_METHOD),
        SAMPLE(GET("HTTP/1.1 200 OK"), NO_METHOD),
        SAMPLE(GET("GET "), NO_VERSION),
        SAMPLE(GET("GET /"), NO_VERSION),
        SAMPLE(GET("GET / "), NO_VERSION),
        SAMPLE(GET("GET / HTTP/1"), NO_VERSION),
        SAMPLE(GET("GET / HTTP/1.1 "), NO_VERSION),
        SAMPLE(GET("GET / HTTP/1.1\t"), NO_VERSION),
        SAMPLE(GET("GET / HTTP/11.1"), NO_VERSION),
        SAMPLE(GET("GET / HTTP/1.10"), NO_VERSION),
        SAMPLE(GET("GET / http/1.1"), NO_VERSION),
        SAMPLE(GET("GET / HTTP/a.b"), NO_VERSION),
        SAMPLE(GET("GET / HTTP 1.1"), NO_VERSION),
        SAMPLE(GET("GET /HTTP/1.1"), NO_VERSION),
        SAMPLE(GET("GET HTTP/1.1"), NO_VERSION),
        SAMPLE(GET("GET /\tHTTP/1.1"), NO_VERSION),
        SAMPLE(GET("GET  HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("GET  / HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("GET /  HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("GET /a b HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("GET /a\tb HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("GET a HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("GET ?a HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("GET a:80 HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("GET /#x HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("GET /\xc3\xa9 HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("GET /0123456789abcdef0123456789abcdef\xff HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("OPTIONS *x HTTP/1.1"), NO_TARGET),
        SAMPLE(GET("GET * HTTP/1.1"), "bad_request: the target `*` with a method other than OPTIONS"),
        SAMPLE(GET("GET / HTTP/0.9"), "bad_version: an HTTP version other than 1.0 and 1.1"),
        SAMPLE(GET("GET / HTTP/1.2"), "bad_version: an HTTP version other than 1.0 and 1.1"),
        SAMPLE(GET("GET / HTTP/2.0"), "bad_version: an HTTP version other than 1.0 and 1.1"),
        SAMPLE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_version: an HTTP version other than 1.0 and 1.1"),
        SAMPLE(GET("CONNECT a:443 HTTP/1.1"), "not_implemented: CONNECT"),
        SAMPLE(GET("CONNECT / HTTP/1.1"), "not_implemented: CONNECT"),
        SAMPLE(GET("GET /%zz HTTP/1.1"), "bad_path: a path that cannot be normalised"),
        SAMPLE(GET("GET /%00 HTTP/1.1"), "bad_path: a path that cannot be normalised"),
        SAMPLE(GET("GET /.. HTTP/1.1"), "bad_path: a path that cannot be normalised"),
        SAMPLE(GET("GET /a/%2e%2E/../x HTTP/1.1"), "bad_path: a path that cannot be normalised"),
    };
    RUN(VX_TEST_REQUEST, samples);
}

/* The first line is judged before the head is complete, and before what comes after it. */
static void judges_the_first_line_first(void **state) {
    (void)state;
    static const struct sample samples[] = {
        SAMPLE("GET / HTTP/3.0\r\n", "bad_version: an HTTP version other than 1.0 and 1.1"),
        SAMPLE("GET /\r\n", NO_VERSION),
        SAMPLE("GET / HTTP/3.0\r\nA: \x01", "bad_version: an HTTP version other than 1.0 and 1.1"),
        SAMPLE("\r\nGET / HTTP/3.0\r\n", "bad_version: an HTTP version other than 1.0 and 1.1"),
        SAMPLE("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "bad_request: a control character"),
        SAMPLE("GET / HTTP/1.1\r\nbad name: x\r\n", "more"),
        SAMPLE("GET / HTTP/1.1\r\nbad name: x\r\n\x01", "bad_request: a control character"),
        SAMPLE("", "more"),
        SAMPLE("\r", "more"),
        SAMPLE("\r\n", "more"),
        SAMPLE("\r\n\r", "more"),
        SAMPLE("G", "more"),
        SAMPLE("GET / HTTP/1.1\r", "more"),
        SAMPLE("GET / HTTP/1.1\r\n", "more"),
        SAMPLE("GET / HTTP/1.1\r\n\r", "more"),
        SAMPLE("GET / HTTP/1.1\r\nHost: a\r\n\r", "more"),
    };
    RUN(VX_TEST_REQUEST, samples);
}

#define R(fields) "GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"

static void refuses_bytes_no_head_may_hold(void **state) {
    (void)state;
    static const struct sample samples[] = {
        SAMPLE("GET / HTTP/1.1\nHost: a\n\n", "bad_request: a bare LF"),
        SAMPLE("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request: a bare LF"),
        SAMPLE("GET / HTTP/1.1\r\nHost: a\n\r\n", "bad_request: a bare LF"),
        SAMPLE("GET / HTTP/1.1\r\nHost: a\r\n\n", "bad_request: a bare LF"),
        SAMPLE("GET / HTTP/1.1\rHost: a\r\n\r\n", "bad_request: a bare CR"),
        SAMPLE("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "bad_request: a bare CR"),
        SAMPLE("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", "bad_request: a bare CR"),
        SAMPLE("GET / HTTP/1.1\r\nHost: a\r\n\rx", "bad_request: a bare CR"),
        SAMPLE("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request: a bare CR"),
        SAMPLE(R("A: b\rc\r\n"), "bad_request: a bare CR"),
        SAMPLE(R("A: b\nc\r\n"), "bad_request: a bare LF"),
        SAMPLE(R("A: b\0c\r\n"), "bad_request: a NUL byte"),
        SAMPLE(R("A\0: b\r\n"), "bad_request: a NUL byte"),
        SAMPLE("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request: a NUL byte"),
        SAMPLE(R("A: \x01\r\n"), "bad_request: a control character"),
        SAMPLE(R("A: \x0b\r\n"), "bad_request: a control character"),
        SAMPLE(R("A: \x1f\r\n"), "bad_request: a control character"),
        SAMPLE(R("A: \x7f\r\n"), "bad_request: a control character"),
    };
    RUN(VX_TEST_REQUEST, samples);
}

/* Every byte in the name and in the value of a field, near the front and far into a block. */
static void judges_every_byte(void **state) {
    (void)state;
    static const char tchars[] =
        "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int pad = 0; pad < 80; pad += 13) {
        for (int c = 0; c < 256; c++) {
            char head[256];
            int n = snprintf(
                head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\nP: %.*s\r\nXname: xvalue\r\n\r\n", pad,
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
            char *name = strstr(head, "Xname"), *value = strstr(head, "xvalue");
            assert_true(n > 0 && name && value);
            *value = (char)c;
            char *got =
                vx_test_parse(VX_TEST_REQUEST, vx_slice(head, (size_t)n), &vx_test_limits, VX_TEST_WHOLE);
            bool good = c == '\t' || (c >= 0x20 && c != 0x7f);
            assert_int_equal(strncmp(got, "GET ", 4) == 0, good);
            free(got);
            *value = 'x';
            name[1] = (char)c;
            got = vx_test_parse(VX_TEST_REQUEST, vx_slice(head, (size_t)n), &vx_test_limits, VX_TEST_WHOLE);
            assert_int_equal(strncmp(got, "GET ", 4) == 0, (c && strchr(tchars, c)) || c == ':');
            free(got);
        }
    }
}

#define OK(fields) "GET / 1.1 authority=a host=a path=/ none keep-alive | Host=a | " fields "|"

static void reads_fields(void **state) {
    (void)state;
    static const struct sample samples[] = {
        SAMPLE(R("A: b\r\n"), OK("A=b ")),
        SAMPLE(R("A:b\r\n"), OK("A=b ")),
        SAMPLE(R("A: \t b \t\r\n"), OK("A=b ")),
        SAMPLE(R("A:\r\n"), OK("A= ")),
        SAMPLE(R("A:  \t \r\n"), OK("A= ")),
        SAMPLE(R("A: b c\td\r\n"), OK("A=b c\td ")),
        SAMPLE(R("A: \xc3\xa9\xff\r\n"), OK("A=\xc3\xa9\xff ")),
        SAMPLE(R("A: b: c:\r\n"), OK("A=b: c: ")),
        SAMPLE(R("A: b\r\nA: c\r\na: d\r\n"), OK("A=b | A=c | a=d ")),
        SAMPLE(R("An-Unusually-Long-Name-That-Needs-More-Than-Two-Vectors: x\r\n"),
               OK("An-Unusually-Long-Name-That-Needs-More-Than-Two-Vectors=x ")),
        SAMPLE(R("A: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789\r\n"),
               OK("A=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789 ")),
        SAMPLE(R(": b\r\n"), "bad_request: a field line without name"),
        SAMPLE(R("A\r\n"), "bad_request: a field name that is no token"),
        SAMPLE(R("A b: c\r\n"), "bad_request: white space before a colon"),
        SAMPLE(R("A : b\r\n"), "bad_request: white space before a colon"),
        SAMPLE(R("A\t: b\r\n"), "bad_request: white space before a colon"),
        SAMPLE(R("A[]: b\r\n"), "bad_request: a field name that is no token"),
        SAMPLE(R("A\xc3: b\r\n"), "bad_request: a field name that is no token"),
        SAMPLE(R("A: b\r\n c\r\n"), "bad_request: a line that begins with white space"),
        SAMPLE(R("A: b\r\n\tc\r\n"), "bad_request: a line that begins with white space"),
        SAMPLE(R(" A: b\r\n"), "bad_request: a line that begins with white space"),
        SAMPLE("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "bad_request: a line that begins with white space"),
    };
    RUN(VX_TEST_REQUEST, samples);
}

static void judges_host(void **state) {
    (void)state;
    static const struct sample samples[] = {
        SAMPLE("GET / HTTP/1.1\r\nhOST: ExAmple.COM.:8080\r\n\r\n",
               "GET / 1.1 authority=ExAmple.COM.:8080 host=example.com path=/ none keep-alive | "
               "hOST=ExAmple.COM.:8080 |"),
        SAMPLE("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
               "GET / 1.1 authority=[::1]:80 host=[::1] path=/ none keep-alive | Host=[::1]:80 |"),
        SAMPLE("GET / HTTP/1.0\r\nHost: a\r\n\r\n",
               "GET / 1.0 authority=a host=a path=/ none close | Host=a |"),
        SAMPLE("GET / HTTP/1.1\r\n\r\n", "bad_host: no Host"),
        SAMPLE("GET / HTTP/1.1\r\nA: b\r\n\r\n", "bad_host: no Host"),
        SAMPLE("OPTIONS * HTTP/1.1\r\n\r\n", "bad_host: no Host"),
        SAMPLE("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "bad_host: more than one Host"),
        SAMPLE("GET / HTTP/1.0\r\nHost: a\r\nA: b\r\nhost: b\r\n\r\n", "bad_host: more than one Host"),
        SAMPLE("GET / HTTP/1.1\r\nHost:\r\n\r\n", "bad_host: a malformed Host"),
        SAMPLE("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "bad_host: a malformed Host"),
        SAMPLE("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "bad_host: a malformed Host"),
        SAMPLE("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "bad_host: a malformed Host"),
        SAMPLE("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "bad_host: a malformed Host"),
        SAMPLE("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "bad_host: a malformed Host"),
        SAMPLE("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "bad_host: a malformed Host"),
        SAMPLE("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", "bad_host: a malformed Host"),
    };
    RUN(VX_TEST_REQUEST, samples);
}

static void takes_status_lines(void **state) {
    (void)state;
    static const struct sample samples[] = {
        SAMPLE("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
               "200 1.1 reason=OK length=0 keep-alive | Content-Length=0 |"),
        SAMPLE("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
               "200 1.1 reason= length=0 keep-alive | Content-Length=0 |"),
        SAMPLE("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
               "200 1.1 reason= length=0 keep-alive | Content-Length=0 |"),
        SAMPLE("HTTP/1.1 404 Not  Found\t\xc3\xa9 \r\n\r\n",
               "404 1.1 reason=Not  Found\t\xc3\xa9  until-close close |"),
        SAMPLE("HTTP/1.0 999 x\r\n\r\n", "999 1.0 reason=x until-close close |"),
        SAMPLE("HTTP/1.1 100 Continue\r\n\r\n", "100 1.1 reason=Continue none keep-alive |"),
        SAMPLE("HTTP/1.1 200 OK\r\n\r\n\x01\r", "200 1.1 reason=OK until-close close | +2"),
        SAMPLE("HTTP/1.1 200", "more"),
    };
    RUN(VX_TEST_RESPONSE, samples);
}

#define NO_STATUS "bad_response: a status line without status"
#define NOT_HTTP  "bad_response: a status line that does not begin with HTTP/1.0 or HTTP/1.1"

static void refuses_responses(void **state) {
    (void)state;
    static const struct sample samples[] = {
        SAMPLE("\r\nHTTP/1.1 200 OK\r\n\r\n", NOT_HTTP),
        SAMPLE("ICY 200 OK\r\n\r\n", NOT_HTTP),
        SAMPLE("HTTP/1.2 200 OK\r\n\r\n", NOT_HTTP),
        SAMPLE("HTTP/2 200 OK\r\n\r\n", NOT_HTTP),
        SAMPLE("HTTP/2.0 200 OK\r\n\r\n", NOT_HTTP),
        SAMPLE(" HTTP/1.1 200 OK\r\n\r\n", NOT_HTTP),
        SAMPLE("\r\n\r\n", NOT_HTTP),
        SAMPLE("HTTP/1.1\r\n\r\n", NO_STATUS),
        SAMPLE("HTTP/1.1 \r\n\r\n", NO_STATUS),
        SAMPLE("HTTP/1.1 20\r\n\r\n", NO_STATUS),
        SAMPLE("HTTP/1.1 099 x\r\n\r\n", NO_STATUS),
        SAMPLE("HTTP/1.1 2000 OK\r\n\r\n", NO_STATUS),
        SAMPLE("HTTP/1.1  200 OK\r\n\r\n", NO_STATUS),
        SAMPLE("HTTP/1.1\t200 OK\r\n\r\n", NO_STATUS),
        SAMPLE("HTTP/1.1 200\tOK\r\n\r\n", NO_STATUS),
        SAMPLE("HTTP/1.1 2x0 OK\r\n\r\n", NO_STATUS),
        SAMPLE("HTTP/1.1 200 OK\n\n", "bad_response: a bare LF"),
        SAMPLE("HTTP/1.1 200 O\rK\r\n\r\n", "bad_response: a bare CR"),
        SAMPLE("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "bad_response: a line that begins with white space"),
        SAMPLE("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "bad_response: white space before a colon"),
        SAMPLE("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", "bad_response: a NUL byte"),
        SAMPLE("HTTP/1.1 200 OK\r\nA\r\n\r\n", "bad_response: a field name that is no token"),
    };
    RUN(VX_TEST_RESPONSE, samples);
}

static void reads_trailers(void **state) {
    (void)state;
    static const struct sample samples[] = {
        SAMPLE("\r\n", " |"),
        SAMPLE("\r\nGET / HTTP/1.1\r\n", " | +16"),
        SAMPLE("Digest: x\r\ngrpc-status: 0\r\n\r\n", " | Digest=x | grpc-status=0 |"),
        SAMPLE("Digest: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nHost: b\r\nE: f\r\n\r\n",
               " | Digest=x | E=f |"),
        SAMPLE("Set-Cookie: x\r\nAuthorization: y\r\nConnection: close\r\nTrailer: a\r\n\r\n", " |"),
        SAMPLE("A: b", "more"),
        SAMPLE("A: b\r\n\r", "more"),
        SAMPLE("A: b\n\n", "bad_request: a bare LF"),
        SAMPLE("A : b\r\n\r\n", "bad_request: white space before a colon"),
        SAMPLE("A: b\r\n c\r\n\r\n", "bad_request: a line that begins with white space"),
        SAMPLE(" A: b\r\n\r\n", "bad_request: a line that begins with white space"),
        SAMPLE("\rx", "bad_request: a bare CR"),
        SAMPLE("A: b\0\r\n\r\n", "bad_request: a NUL byte"),
    };
    RUN(VX_TEST_TRAILERS, samples);
}

static void blames_a_backends_trailers_on_it(void **state) {
    (void)state;
    struct vx_h1_parser parser;
    struct vx_error error;
    struct vx_headers trailers;
    size_t consumed;
    struct vx_test_arena arena;
    vx_test_arena_init(&arena, SIZE_MAX);
    vx_h1_parser_init(&parser);
    assert_int_equal(vx_h1_parse_trailers(&parser, &vx_test_limits, VX_SLICE("A : b\r\n\r\n"), &arena.arena,
                                          VX_BY_BACKEND, &trailers, &consumed, &error),
                     VX_H1_ERROR);
    assert_int_equal(error.code, VX_ERR_BAD_RESPONSE);
    assert_int_equal(error.source, VX_BY_BACKEND);
    vx_test_arena_end(&arena);
}

static void limit(uint32_t header_bytes, uint16_t headers, uint32_t uri_bytes, enum vx_test_head kind,
                  const char *head, const char *want) {
    struct vx_h1_limits limits = {header_bytes, headers, uri_bytes, true};
    char *got = vx_test_parse_every_way(kind, vx_slice_of(head), &limits);
    assert_string_equal(got, want);
    free(got);
}

static void keeps_the_limits(void **state) {
    (void)state;
    static const char head[] = "GET /abc HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
    static const char good[] = "GET /abc 1.1 authority=a host=a path=/abc none keep-alive | Host=a | B=c |";
    static const char large[] = "headers_too_large: more header bytes than allowed";
    uint32_t exact = sizeof head - 1;
    limit(exact, 2, 4, VX_TEST_REQUEST, head, good);
    limit(exact - 1, 2, 4, VX_TEST_REQUEST, head, large);
    limit(exact - 2, 2, 4, VX_TEST_REQUEST, head, large);
    limit(19, 2, 4, VX_TEST_REQUEST, head, large);
    limit(18, 2, 4, VX_TEST_REQUEST, head, "uri_too_long: a request line longer than a whole head may be");
    limit(1, 2, 4, VX_TEST_REQUEST, head, "uri_too_long: a request line longer than a whole head may be");
    limit(exact, 1, 4, VX_TEST_REQUEST, head, "headers_too_large: more fields than allowed");
    limit(exact, 2, 3, VX_TEST_REQUEST, head, "uri_too_long: the request target is longer than allowed");
    limit(exact, 2, 3, VX_TEST_REQUEST, "GET /abc HTTP/1.1\r\n",
          "uri_too_long: the request target is longer than allowed");
    limit(4, 2, 3, VX_TEST_RESPONSE, "HTTP/1.1 200 OK\r\n\r\n",
          "bad_response: more header bytes than allowed");
    limit(99, 0, 3, VX_TEST_RESPONSE, "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
          "bad_response: more fields than allowed");
    limit(6, 9, 3, VX_TEST_TRAILERS, "A: b\r\n\r\n", large);
    limit(99, 1, 3, VX_TEST_TRAILERS, "A: b\r\nC: d\r\n\r\n", "headers_too_large: more fields than allowed");
}

/* More lines than the index keeps at once, and values longer than the part it looks through at once. */
static void reads_long_heads(void **state) {
    (void)state;
    enum { FIELDS = 1000, LONG_VALUE = 20000 };
    struct vx_h1_limits limits = {1 << 20, FIELDS, 100, true};
    char *head = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&head, &len);
    fputs("GET / HTTP/1.1\r\nHost: a\r\n", out);
    for (int i = 1; i < FIELDS; i++)
        fprintf(out, "Name-%d: %0*d\r\n", i, i % 300 == 299 ? LONG_VALUE : i % 50 + 1, i);
    fputs("\r\n", out);
    fclose(out);
    for (size_t cut = 0; cut < len; cut += len / 5) {
        struct vx_test_arena arena;
        struct vx_h1_parser parser;
        struct vx_request req;
        struct vx_error error;
        size_t head_bytes;
        vx_test_arena_init(&arena, SIZE_MAX);
        vx_h1_parser_init(&parser);
        if (cut)
            assert_int_equal(vx_h1_parse_request(&parser, &limits, vx_slice(head, cut), &arena.arena, &req,
                                                 &head_bytes, &error),
                             VX_H1_MORE);
        assert_int_equal(vx_h1_parse_request(&parser, &limits, vx_slice(head, len), &arena.arena, &req,
                                             &head_bytes, &error),
                         VX_H1_DONE);
        assert_int_equal(head_bytes, len);
        assert_int_equal(req.headers.count, FIELDS);
        for (int i = 1; i < FIELDS; i++) {
            char name[32];
            int n = snprintf(name, sizeof name, "Name-%d", i);
            assert_true(vx_slice_eq(vx_header_name(&req.headers.items[i]), vx_slice(name, (size_t)n)));
            assert_int_equal(strtol(req.headers.items[i].value, NULL, 10), i);
        }
        vx_test_arena_end(&arena);
    }
    free(head);
}

static void says_when_there_is_no_memory(void **state) {
    (void)state;
    static const char head[] = "GET /a/./b HTTP/1.1\r\nHost: A\r\n\r\n";
    bool done = false;
    for (size_t room = 0; !done; room += 64) {
        struct vx_test_arena arena;
        struct vx_h1_parser parser;
        struct vx_request req;
        struct vx_error error;
        size_t head_bytes;
        vx_test_arena_init(&arena, room);
        vx_h1_parser_init(&parser);
        done = vx_h1_parse_request(&parser, &vx_test_limits, vx_slice(head, sizeof head - 1), &arena.arena,
                                   &req, &head_bytes, &error) == VX_H1_DONE;
        if (!done)
            assert_int_equal(error.code, VX_ERR_OUT_OF_MEMORY);
        vx_test_arena_end(&arena);
        assert_true(room < 4096);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_request_lines),
        cmocka_unit_test(takes_absolute_targets),
        cmocka_unit_test(refuses_request_lines),
        cmocka_unit_test(judges_the_first_line_first),
        cmocka_unit_test(refuses_bytes_no_head_may_hold),
        cmocka_unit_test(judges_every_byte),
        cmocka_unit_test(reads_fields),
        cmocka_unit_test(judges_host),
        cmocka_unit_test(takes_status_lines),
        cmocka_unit_test(refuses_responses),
        cmocka_unit_test(reads_trailers),
        cmocka_unit_test(blames_a_backends_trailers_on_it),
        cmocka_unit_test(keeps_the_limits),
        cmocka_unit_test(reads_long_heads),
        cmocka_unit_test(says_when_there_is_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
