/* SPDX-License-Identifier: Apache-2.0 */
/* Framing, connection and expectation: each combination of fields that is taken and each that is refused, for requests
 * and for responses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/http_check.h"

struct sample {
    const char *fields; /* the field lines but for Host, each with its CRLF */
    /* What follows the path (requests) or the reason (responses) up to the fields; or a refusal. */
    const char *want;
};

/* What stands between `from` and ` |`, or the whole text when it is a refusal. */
static char *outcome(enum vx_test_head kind, const char *first_line, const char *fields, const char *from) {
    char head[8192];
    size_t first_len = strlen(first_line), fields_len = strlen(fields);
    assert_true(first_len + fields_len + 3 < sizeof head);
    memcpy(head, first_line, first_len);
    memcpy(head + first_len, fields, fields_len);
    memcpy(head + first_len + fields_len, "\r\n", 2);
    char *got = vx_test_parse_every_way(kind, vx_slice(head, first_len + fields_len + 2), &vx_test_limits);
    char *at = strstr(got, from);
    if (at) {
        at += strlen(from);
        char *bar = strstr(at, " |");
        assert_non_null(bar);
        *bar = '\0';
        memmove(got, at, strlen(at) + 1);
    }
    return got;
}

static void check(enum vx_test_head kind, const char *first_line, const char *from,
                  const struct sample *samples, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char *got = outcome(kind, first_line, samples[i].fields, from);
        if (strcmp(got, samples[i].want) != 0)
            fail_msg("%s%s\n  got  %s\n  want %s", first_line, samples[i].fields, got, samples[i].want);
        free(got);
    }
}

#define REQUEST_11 "POST / HTTP/1.1\r\nHost: a\r\n"
#define REQUEST_10 "POST / HTTP/1.0\r\nHost: a\r\n"
#define REQUESTS(first_line, samples)                                                                        \
    check(VX_TEST_REQUEST, first_line, "path=/ ", samples, sizeof(samples) / sizeof *(samples))
#define RESPONSES(kind, first_line, samples)                                                                 \
    check(kind, first_line, "reason= ", samples, sizeof(samples) / sizeof *(samples))

static void content_length(void **state) {
    (void)state;
    static const char bad[] = "bad_framing: a Content-Length that is no number";
    static const char many[] = "bad_framing: more than one Content-Length";
    static const struct sample samples[] = {
        {"", "none keep-alive"},
        {"Content-Length: 0\r\n", "length=0 keep-alive"},
        {"Content-Length: 5\r\n", "length=5 keep-alive"},
        {"content-length:5\r\n", "length=5 keep-alive"},
        {"Content-Length: \t5 \t\r\n", "length=5 keep-alive"},
        {"Content-Length: 00000000000000000000000000000005\r\n", "length=5 keep-alive"},
        {"Content-Length: 9223372036854775807\r\n", "length=9223372036854775807 keep-alive"},
        {"Content-Length: 9223372036854775808\r\n", bad},
        {"Content-Length: 18446744073709551616\r\n", bad},
        {"Content-Length: 18446744073709551621\r\n", bad},
        {"Content-Length: 99999999999999999999999999\r\n", bad},
        {"Content-Length:\r\n", bad},
        {"Content-Length: +5\r\n", bad},
        {"Content-Length: -5\r\n", bad},
        {"Content-Length: -0\r\n", bad},
        {"Content-Length: 0x5\r\n", bad},
        {"Content-Length: 5a\r\n", bad},
        {"Content-Length: 5 5\r\n", bad},
        {"Content-Length: 5.0\r\n", bad},
        {"Content-Length: \"5\"\r\n", bad},
        {"Content-Length: 5,5\r\n", bad},
        {"Content-Length: 5, 6\r\n", bad},
        {"Content-Length: 5,\r\n", bad},
        {"Content-Length: \xb2\r\n", bad},
        {"Content-Length: 5\r\nContent-Length: 5\r\n", many},
        {"Content-Length: 5\r\nContent-Length: 6\r\n", many},
        {"Content-Length: 5\r\nA: b\r\ncontent-length: 6\r\n", many},
        {"Content-Length : 5\r\n", "bad_request: white space before a colon"},
        {"X-Content-Length: 5\r\n", "none keep-alive"},
        {"Content_Length: 5\r\n", "none keep-alive"},
    };
    REQUESTS(REQUEST_11, samples);
}

static void transfer_encoding(void **state) {
    (void)state;
    static const char both[] = "bad_framing: Transfer-Encoding together with Content-Length";
    static const char malformed[] = "bad_framing: a malformed Transfer-Encoding";
    static const char last[] = "bad_framing: a Transfer-Encoding that does not end in chunked";
    static const char twice[] = "bad_framing: chunked more than once";
    static const char other[] = "not_implemented: a transfer coding other than chunked";
    static const struct sample samples[] = {
        {"Transfer-Encoding: chunked\r\n", "chunked keep-alive"},
        {"TRANSFER-ENCODING: Chunked\r\n", "chunked keep-alive"},
        {"Transfer-Encoding:\tchunked \r\n", "chunked keep-alive"},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", both},
        {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", both},
        {"Content-Length: 5\r\nTransfer-Encoding: gzip\r\n", both},
        {"Content-Length: x\r\nTransfer-Encoding: chunked\r\n", both},
        {"Transfer-Encoding: chunked, chunked\r\n", twice},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", twice},
        {"Transfer-Encoding: chunked, gzip, chunked\r\n", twice},
        {"Transfer-Encoding: xchunked\r\n", last},
        {"Transfer-Encoding: chunkedx\r\n", last},
        {"Transfer-Encoding: chunke\r\n", last},
        {"Transfer-Encoding: identity\r\n", last},
        {"Transfer-Encoding: gzip\r\n", last},
        {"Transfer-Encoding: chunked, gzip\r\n", last},
        {"Transfer-Encoding: chunked, identity\r\n", last},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", last},
        {"Transfer-Encoding: chunked x\r\n", malformed},
        {"Transfer-Encoding: gzip, chunked\r\n", other},
        {"Transfer-Encoding: identity, chunked\r\n", other},
        {"Transfer-Encoding: gzip;q=1, chunked\r\n", other},
        {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", other},
        {"Transfer-Encoding: xchunked, chunked\r\n", other},
        {"Transfer-Encoding:\r\n", malformed},
        {"Transfer-Encoding: chunked,\r\n", malformed},
        {"Transfer-Encoding: ,chunked\r\n", malformed},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", malformed},
        {"Transfer-Encoding: chunked;a=b\r\n", malformed},
        {"Transfer-Encoding: chunked;\r\n", malformed},
        {"Transfer-Encoding: \"chunked\"\r\n", malformed},
        {"Transfer-Encoding: gzip;a=\",chunked\"\r\n", malformed},
        {"Transfer-Encoding: @, chunked\r\n", malformed},
        {"Transfer-Encoding: \x0b chunked\r\n", "bad_request: a control character"},
        {"Transfer-Encoding : chunked\r\n", "bad_request: white space before a colon"},
        {"Transfer-Encoding\r\n : chunked\r\n", "bad_request: a field name that is no token"},
        {"Transfer-Encoding:\r\n chunked\r\n", "bad_request: a line that begins with white space"},
        {"Transfer_Encoding: chunked\r\n", "none keep-alive"},
    };
    REQUESTS(REQUEST_11, samples);
    static const struct sample old[] = {
        {"Transfer-Encoding: chunked\r\n", "bad_framing: Transfer-Encoding in HTTP/1.0"},
        {"Transfer-Encoding: gzip\r\n", "bad_framing: Transfer-Encoding in HTTP/1.0"},
        {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", both},
        {"Content-Length: 5\r\n", "length=5 close"},
    };
    REQUESTS(REQUEST_10, old);
}

static void connection(void **state) {
    (void)state;
    static const struct sample samples[] = {
        {"Connection: close\r\n", "none close"},
        {"Connection: Close\r\n", "none close"},
        {"Connection: a, close ,b\r\n", "none close"},
        {"Connection: a\r\nConnection: close\r\n", "none close"},
        {"Connection: keep-alive, close\r\n", "none close"},
        {"Connection: keep-alive\r\n", "none keep-alive"},
        {"Connection: closed\r\n", "none keep-alive"},
        {"Connection: clos\r\n", "none keep-alive"},
        {"Connection:\r\n", "none keep-alive"},
        {"Connection: ,,\r\n", "none keep-alive"},
        {"Proxy-Connection: close\r\n", "none keep-alive"},
        {"Connection: Upgrade\r\nUpgrade: websocket\r\n", "none keep-alive upgrade"},
        {"Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n", "none keep-alive upgrade"},
        {"Connection: upgrade\r\n", "none keep-alive"},
        {"Connection: upgrade\r\nUpgrade:\r\n", "none keep-alive"},
        {"Upgrade: websocket\r\n", "none keep-alive"},
        {"Connection: upgraded\r\nUpgrade: websocket\r\n", "none keep-alive"},
    };
    REQUESTS(REQUEST_11, samples);
    static const struct sample old[] = {
        {"", "none close"},
        {"Connection: keep-alive\r\n", "none keep-alive"},
        {"Connection: Keep-Alive, a\r\n", "none keep-alive"},
        {"Connection: keep-alive, close\r\n", "none close"},
        {"Proxy-Connection: keep-alive\r\n", "none close"},
        {"Connection: upgrade, keep-alive\r\nUpgrade: websocket\r\n", "none keep-alive"},
    };
    REQUESTS(REQUEST_10, old);
}

static void too_many_connection_options(void **state) {
    (void)state;
    char fields[1024] = "Connection: a";
    size_t n = strlen(fields);
    for (int i = 1; i < VX_CONNECTION_OPTIONS_MAX; i++, n += 2)
        memcpy(fields + n, ",a", 3);
    memcpy(fields + n, "\r\n", 3);
    char *got = outcome(VX_TEST_REQUEST, REQUEST_11, fields, "path=/ ");
    assert_string_equal(got, "none keep-alive");
    free(got);
    memcpy(fields + n, ",a\r\n", 5);
    got = outcome(VX_TEST_REQUEST, REQUEST_11, fields, "path=/ ");
    assert_string_equal(got, "bad_request: too many connection options");
    free(got);
}

static void expect(void **state) {
    (void)state;
    static const char failed[] = "expectation_failed: an expectation other than 100-continue";
    static const struct sample samples[] = {
        {"Expect: 100-continue\r\nContent-Length: 5\r\n", "length=5 keep-alive continue"},
        {"Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n", "chunked keep-alive continue"},
        {"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n",
         "length=5 keep-alive continue"},
        {"Expect: 100-continue\r\nContent-Length: 0\r\n", "length=0 keep-alive"},
        {"Expect: 100-continue\r\n", "none keep-alive"},
        {"Expect: 100-continued\r\n", failed},
        {"Expect: 200-ok\r\n", failed},
        {"Expect:\r\n", failed},
        {"Expect: 100-continue, x\r\n", failed},
        {"Expect: 100-continue\r\nExpect: x\r\n", failed},
    };
    REQUESTS(REQUEST_11, samples);
    static const struct sample old[] = {
        {"Expect: 100-continue\r\nContent-Length: 5\r\n", "length=5 close"},
        {"Expect: x\r\nContent-Length: 5\r\n", "length=5 close"},
    };
    REQUESTS(REQUEST_10, old);
}

static void response_framing(void **state) {
    (void)state;
    static const struct sample samples[] = {
        {"", "until-close close"},
        {"Content-Length: 5\r\n", "length=5 keep-alive"},
        {"Content-Length: 5\r\nConnection: close\r\n", "length=5 close"},
        {"Transfer-Encoding: chunked\r\n", "chunked keep-alive"},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
         "bad_response: Transfer-Encoding together with Content-Length"},
        {"Content-Length: 5\r\nContent-Length: 5\r\n", "bad_response: more than one Content-Length"},
        {"Content-Length: 5,5\r\n", "bad_response: a Content-Length that is no number"},
        {"Transfer-Encoding: gzip\r\n", "bad_response: a Transfer-Encoding that does not end in chunked"},
        {"Transfer-Encoding: gzip, chunked\r\n", "bad_response: a transfer coding other than chunked"},
        {"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 0\r\n", "length=0 keep-alive"},
        {"Expect: x\r\nContent-Length: 0\r\n", "length=0 keep-alive"},
    };
    RESPONSES(VX_TEST_RESPONSE, "HTTP/1.1 200\r\n", samples);
    static const struct sample old[] = {
        {"", "until-close close"},
        {"Connection: keep-alive\r\n", "until-close close"},
        {"Content-Length: 5\r\n", "length=5 close"},
        {"Content-Length: 5\r\nConnection: keep-alive\r\n", "length=5 keep-alive"},
        {"Transfer-Encoding: chunked\r\n", "bad_response: Transfer-Encoding in HTTP/1.0"},
    };
    RESPONSES(VX_TEST_RESPONSE, "HTTP/1.0 200\r\n", old);
    static const struct sample to_head[] = {
        {"", "none keep-alive"},
        {"Content-Length: 5\r\n", "none=5 keep-alive"},
        {"Transfer-Encoding: chunked\r\n", "none keep-alive"},
        {"Content-Length: x\r\n", "bad_response: a Content-Length that is no number"},
    };
    RESPONSES(VX_TEST_RESPONSE_TO_HEAD, "HTTP/1.1 200\r\n", to_head);
}

static void responses_without_body(void **state) {
    (void)state;
    static const struct sample no_content[] = {
        {"", "none keep-alive"},
        {"Content-Length: 0\r\n", "none keep-alive"},
        {"Content-Length: 5\r\n",
         "none=5 close"}, /* what follows may be a body: the connection is done with */
        {"Transfer-Encoding: chunked\r\n", "none close"},
        {"Connection: close\r\n", "none close"},
    };
    RESPONSES(VX_TEST_RESPONSE, "HTTP/1.1 204\r\n", no_content);
    RESPONSES(VX_TEST_RESPONSE, "HTTP/1.1 103\r\n", no_content);
    static const struct sample not_modified[] = {
        {"", "none keep-alive"},
        {"Content-Length: 5\r\n", "none=5 keep-alive"},
        {"Transfer-Encoding: chunked\r\n", "none keep-alive"},
    };
    RESPONSES(VX_TEST_RESPONSE, "HTTP/1.1 304\r\n", not_modified);
    static const struct sample switching[] = {
        {"Connection: upgrade\r\nUpgrade: websocket\r\n", "none keep-alive upgrade"},
        {"Upgrade: websocket\r\n", "none keep-alive"},
        {"", "none keep-alive"},
    };
    RESPONSES(VX_TEST_RESPONSE, "HTTP/1.1 101\r\n", switching);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_length),
        cmocka_unit_test(transfer_encoding),
        cmocka_unit_test(connection),
        cmocka_unit_test(too_many_connection_options),
        cmocka_unit_test(expect),
        cmocka_unit_test(response_framing),
        cmocka_unit_test(responses_without_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
