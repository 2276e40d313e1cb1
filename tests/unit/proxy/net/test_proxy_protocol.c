/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY header: both versions, every prefix of each, what is malformed, and reading it from a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/net/proxy_protocol.h"
#include "support/net.h"

#define SIGNATURE      "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(literal) ((struct vx_slice){literal, sizeof(literal) - 1})

static int parse(struct vx_slice s, struct vx_proxy_header *h) {
    /* A copy of the exact size, so that a sanitizer sees a read behind its end. */
    char *copy = test_malloc(s.len ? s.len : 1);
    memcpy(copy, s.ptr, s.len);
    int r = vx_proxy_protocol_parse(copy, s.len, h);
    test_free(copy);
    return r;
}

/* Whole, with bytes behind it, and at every cut. */
static void expect(struct vx_slice s, const char *source, const char *destination) {
    struct vx_proxy_header h;
    char text[VX_ADDRESS_TEXT_MAX];
    for (size_t i = 0; i < s.len; i++)
        assert_int_equal(parse(vx_slice(s.ptr, i), &h), 0);
    assert_int_equal(parse(s, &h), s.len);
    char more[8192];
    memcpy(more, s.ptr, s.len);
    memcpy(more + s.len, "GET / HTTP/1.1\r\n", 16);
    assert_int_equal(parse(vx_slice(more, s.len + 16), &h), s.len);
    if (!source) {
        assert_int_equal(h.source.kind, VX_ADDRESS_NONE);
        assert_int_equal(h.destination.kind, VX_ADDRESS_NONE);
        return;
    }
    size_t n = vx_address_format(&h.source, text);
    assert_true(vx_slice_eq(vx_slice(text, n), vx_slice_of(source)));
    n = vx_address_format(&h.destination, text);
    assert_true(vx_slice_eq(vx_slice(text, n), vx_slice_of(destination)));
}

static void reads_version_1(void **state) {
    (void)state;
    expect(BYTES("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"), "192.0.2.1:56324", "198.51.100.7:443");
    expect(BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"), "[2001:db8::1]:1", "[2001:db8::2]:65535");
    expect(BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n"), "192.0.2.1:1", "192.0.2.2:2");
    expect(BYTES("PROXY UNKNOWN\r\n"), NULL, NULL);
    expect(BYTES("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), NULL, NULL);
    /* The longest there is: 107 bytes. */
    expect(
        BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "65535 65535\r\n"),
        NULL, NULL);
}

static void refuses_a_bad_version_1(void **state) {
    (void)state;
    static const char *bad[] = {
        "GET / HTTP/1.1\r\n",
        "PROXX TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 123456\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\rX",
        "PROXY TCP4 ::1 ::1 1 1\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWN\n\r\n",
    };
    struct vx_proxy_header h;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (parse(vx_slice_of(bad[i]), &h) != -1)
            fail_msg("taken: %s", bad[i]);
    }
    char line[200];
    memcpy(line, "PROXY UNKNOWN ", 14);
    memset(line + 14, 'a', sizeof line - 14);
    assert_int_equal(parse(vx_slice(line, VX_PROXY_V1_MAX - 1), &h), 0);
    assert_int_equal(parse(vx_slice(line, VX_PROXY_V1_MAX), &h), -1);
    memcpy(line + VX_PROXY_V1_MAX - 1, "\r\n", 2);
    assert_int_equal(parse(vx_slice(line, VX_PROXY_V1_MAX + 1), &h), -1);
    memcpy(line + 20, "\0", 1);
    assert_int_equal(parse(vx_slice(line, 30), &h), -1);
}

static void reads_version_2(void **state) {
    (void)state;
    expect(BYTES(SIGNATURE "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"), "192.0.2.1:56324",
           "198.51.100.7:443");
    expect(BYTES(SIGNATURE
                 "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0"
                 "\0\0\0\x02\0\x01\xff\xff"),
           "[2001:db8::1]:1", "[2001:db8::2]:65535");
    expect(BYTES(SIGNATURE
                 "\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0"
                 "\x02\x02\0\x01\0\x02"),
           "192.0.2.1:1", "192.0.2.2:2");
    /* TLVs follow the addresses: here PP2_TYPE_ALPN and one that nobody knows. */
    expect(BYTES(SIGNATURE
                 "\x21\x11\0\x16\xc0\0\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb\x01\0\x02h2\xef\0\x02zz"),
           "192.0.2.1:56324", "198.51.100.7:443");
    /* LOCAL, with and without a body; UNSPEC; a datagram; a UNIX peer. */
    expect(BYTES(SIGNATURE "\x20\0\0\0"), NULL, NULL);
    expect(BYTES(SIGNATURE "\x20\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"), NULL, NULL);
    expect(BYTES(SIGNATURE "\x21\0\0\0"), NULL, NULL);
    expect(BYTES(SIGNATURE "\x21\x12\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"), NULL, NULL);
    char unix_peer[16 + 216] = SIGNATURE "\x21\x31\0\xd8/tmp/x";
    expect(vx_slice(unix_peer, sizeof unix_peer), NULL, NULL);
}

static void refuses_a_bad_version_2(void **state) {
    (void)state;
    static const struct vx_slice bad[] = {
        BYTES(SIGNATURE "\x11\x11\0\x0c\1\2\3\4\1\2\3\4\0\1\0\1"), /* version 1 in binary */
        BYTES(SIGNATURE "\x31\x11\0\x0c\1\2\3\4\1\2\3\4\0\1\0\1"),
        BYTES(SIGNATURE "\x22\x11\0\x0c\1\2\3\4\1\2\3\4\0\1\0\1"), /* a reserved command */
        BYTES(SIGNATURE "\x21\x41\0\0"),                           /* a reserved family */
        BYTES(SIGNATURE "\x21\x13\0\x0c\1\2\3\4\1\2\3\4\0\1\0\1"), /* a reserved protocol */
        BYTES(SIGNATURE "\x21\x11\0\x0b\1\2\3\4\1\2\3\4\0\1\0"),   /* too short for its family */
        BYTES(SIGNATURE "\x21\x21\0\x0c\1\2\3\4\1\2\3\4\0\1\0\1"),
        BYTES(SIGNATURE "\x21\x11\xff\xff"), /* larger than we take */
        BYTES("\r\n\r\n\0\r\nQUIX\n\x21\x11\0\0"),
        BYTES("\r\n\r\nGET / HTTP/1.1\r\n"),
        BYTES("\r\n\r\n\0\r\nQUIT\r"),
    };
    struct vx_proxy_header h;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (parse(bad[i], &h) != -1)
            fail_msg("taken: number %zu", i);
    }
}

struct awaited {
    struct vx_transport *t;
    unsigned calls;
};

static void on_done(void *user, struct vx_proxy_await *a, struct vx_transport *t, uint64_t now_ns) {
    struct awaited *w = user;
    (void)a, (void)now_ns;
    w->t = t;
    w->calls++;
}

struct scene {
    struct vx_test_net net;
    struct vx_test_owner owner;
    struct awaited awaited;
    struct vx_proxy_await *await;
    int hand;
};

static void start(struct scene *s, uint64_t timeout_ns) {
    int fds[2];
    vx_test_net_start(&s->net);
    vx_test_tcp_pair(fds);
    s->hand = fds[1];
    s->awaited = (struct awaited){NULL, 0};
    struct vx_transport *t = vx_test_adopt(&s->net, fds[0], &s->owner);
    t->remote = (struct vx_address){.kind = VX_ADDRESS_IP4, .ip = {127, 0, 0, 1}};
    s->await = vx_proxy_await_start(&s->net.tcp, t, timeout_ns, on_done, &s->awaited);
    assert_non_null(s->await);
}

static void end(struct scene *s) {
    if (s->awaited.t)
        s->awaited.t->ops->close(s->awaited.t, false);
    close(s->hand);
    vx_test_net_end(&s->net);
}

enum { LONG_NS = 1000000000 };

static void takes_the_header_and_nothing_more(void **state) {
    (void)state;
    static const char bytes[] = "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET /";
    struct scene s;
    char to[64];
    start(&s, 100u * LONG_NS);
    for (size_t i = 0; i < sizeof bytes - 1 - 5; i++) {
        assert_int_equal(s.awaited.calls, 0);
        assert_int_equal(send(s.hand, bytes + i, 1, 0), 1);
        vx_test_net_settle(&s.net);
    }
    VX_TEST_UNTIL(&s.net, s.awaited.calls > 0);
    struct vx_transport *t = s.awaited.t;
    assert_non_null(t);
    assert_int_equal(t->remote.port, 56324);
    assert_int_equal(t->remote.ip[0], 192);
    assert_int_equal(t->local.port, 443);
    vx_test_own(&s.owner, t);
    assert_true(t->readable);
    assert_int_equal(t->ops->read(t, to, sizeof to), VX_IO_AGAIN);
    assert_int_equal(send(s.hand, "GET /", 5, 0), 5);
    VX_TEST_UNTIL(&s.net, t->readable);
    assert_int_equal(t->ops->read(t, to, sizeof to), 5);
    end(&s);
}

static void what_follows_at_once_is_left(void **state) {
    (void)state;
    static const char bytes[] = "PROXY UNKNOWN\r\nGET /";
    struct scene s;
    char to[64];
    start(&s, 100u * LONG_NS);
    assert_int_equal(send(s.hand, bytes, sizeof bytes - 1, 0), sizeof bytes - 1);
    VX_TEST_UNTIL(&s.net, s.awaited.calls > 0);
    struct vx_transport *t = s.awaited.t;
    assert_non_null(t);
    assert_int_equal(t->remote.ip[0], 127);
    vx_test_own(&s.owner, t);
    assert_true(t->readable);
    assert_int_equal(t->ops->read(t, to, sizeof to), 5);
    assert_memory_equal(to, "GET /", 5);
    end(&s);
}

static void closes_what_is_malformed_cut_or_late(void **state) {
    (void)state;
    static const char *starts[] = {"GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 1.2", "", "PROXY TCP4 1.2"};
    for (int i = 0; i < 4; i++) {
        struct scene s;
        start(&s, i == 3 ? 10000000 : 100u * LONG_NS);
        if (*starts[i])
            assert_true(send(s.hand, starts[i], strlen(starts[i]), 0) > 0);
        if (i == 1 || i == 2)
            shutdown(s.hand, SHUT_WR);
        VX_TEST_UNTIL(&s.net, s.awaited.calls > 0);
        assert_null(s.awaited.t);
        assert_int_equal(s.net.tcp.stats.open, 0);
        end(&s);
    }
}

static void can_be_cancelled(void **state) {
    (void)state;
    struct scene s;
    start(&s, LONG_NS);
    assert_int_equal(send(s.hand, "PROXY ", 6, 0), 6);
    vx_test_net_settle(&s.net);
    vx_proxy_await_cancel(s.await);
    assert_int_equal(s.awaited.calls, 0);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_version_1),
        cmocka_unit_test(refuses_a_bad_version_1),
        cmocka_unit_test(reads_version_2),
        cmocka_unit_test(refuses_a_bad_version_2),
        cmocka_unit_test(takes_the_header_and_nothing_more),
        cmocka_unit_test(what_follows_at_once_is_left),
        cmocka_unit_test(closes_what_is_malformed_cut_or_late),
        cmocka_unit_test(can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
