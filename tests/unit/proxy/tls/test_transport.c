/* SPDX-License-Identifier: Apache-2.0 */
/* TLS transports against each other over loopback sockets: handshakes, bytes both ways under backpressure, ends and
 * truncation, resumption, client certificates, and what an exchange costs in system calls and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy/net/socket_io.h"
#include "proxy/tls/client.h"
#include "proxy/tls/server.h"
#include "proxy/tls/transport.h"
#include "proxy/tls/worker_internal.h"
#include "support/net.h"
#include "support/tls.h"

static _Thread_local struct {
    unsigned recv, send;
} calls;

ssize_t vx_socket_recv(int fd, char *to, size_t room) {
    calls.recv++;
    return syscall(SYS_recvfrom, fd, to, room, 0, NULL, NULL);
}

ssize_t vx_socket_send(int fd, const struct vx_slice *slices, unsigned count) {
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)slices, .msg_iovlen = count};
    calls.send++;
    return syscall(SYS_sendmsg, fd, &m, MSG_NOSIGNAL);
}

static struct vx_test_certs certs;
static struct vx_config_certificate site, other, visitor;

static int set_up(void **state) {
    (void)state;
    vx_test_certs_start(&certs, "Test CA");
    site = vx_test_cert(&certs, "site", "site.test *.wild.test 127.0.0.1");
    other = vx_test_cert(&certs, "other", "other.test");
    visitor = vx_test_cert(&certs, "visitor", "visitor.test spiffe://test/visitor");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    vx_test_certs_end(&certs);
    return 0;
}

struct scene {
    struct vx_test_net net;
    struct vx_tls_worker *worker;
    struct vx_tls_tickets *tickets;
    struct vx_tls_server *server;
    struct vx_tls_client *client;
    struct vx_test_owner server_owner, client_owner;
    struct vx_transport *s, *c; /* NULL once closed */
    int listener;
    uint16_t port;
};

static const struct vx_slice alpn[] = {{"h2", 2}, {"http/1.1", 8}};

static struct vx_tls_server *make_server(struct vx_tls_tickets *tickets, bool client_ca) {
    struct vx_config_certificate both[] = {site, other};
    struct vx_config_listener l = {.tls = true, .certificates = both, .certificate_count = 2};
    struct vx_tls_problem problem;
    if (client_ca)
        l.client_ca_path = vx_slice_of(certs.paths[0]);
    struct vx_tls_server *s = vx_tls_server_new(&l, alpn + 1, 1, tickets, &problem);
    if (!s)
        fail_msg("%s", problem.text);
    return s;
}

static struct vx_tls_client *make_client(bool trusting, bool with_certificate) {
    struct vx_config_backend_tls config = {.enabled = true};
    struct vx_tls_problem problem;
    if (trusting)
        config.ca_path = vx_slice_of(certs.paths[0]);
    if (with_certificate) {
        config.cert_path = visitor.cert_path;
        config.key_path = visitor.key_path;
    }
    struct vx_tls_client *c = vx_tls_client_new(&config, alpn, 2, &problem);
    if (!c)
        fail_msg("%s", problem.text);
    return c;
}

static void start_with(struct scene *s, struct vx_tls_server *server, struct vx_tls_client *client,
                       struct vx_tls_tickets *tickets) {
    *s = (struct scene){.server = server, .client = client, .tickets = tickets};
    vx_test_net_start(&s->net);
    s->worker = vx_tls_worker_new(&s->net.rt);
    assert_non_null(s->worker);
    s->listener = vx_test_listen(&s->port);
}

static void start(struct scene *s) {
    struct vx_tls_tickets *tickets = vx_tls_tickets_new(0);
    start_with(s, make_server(tickets, false), make_client(true, false), tickets);
}

static void hang_up(struct scene *s) {
    if (s->s)
        s->s->ops->close(s->s, false);
    if (s->c)
        s->c->ops->close(s->c, false);
    s->s = s->c = NULL;
    vx_test_net_settle(&s->net);
}

static void end(struct scene *s) {
    hang_up(s);
    vx_tls_server_drop(s->server);
    vx_tls_client_drop(s->client);
    vx_tls_tickets_drop(s->tickets);
    vx_tls_worker_free(s->worker);
    close(s->listener);
    vx_test_net_end(&s->net);
}

/* Both ends wrapped over one TCP connection, the client's dialed; nothing has run yet. */
static void join(struct scene *s, const char *name) {
    struct vx_test_owner unused;
    struct vx_error error;
    struct vx_dial to = {.address = {.kind = VX_ADDRESS_IP4, .port = s->port, .ip = {127, 0, 0, 1}}};
    struct vx_transport *lower = s->net.tcp.dialer.dial(&s->net.tcp.dialer, &to, &error);
    assert_non_null(lower);
    s->c = vx_tls_client_wrap(s->client, s->worker, lower, vx_slice_of(name));
    int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    s->s = vx_tls_server_wrap(s->server, s->worker, vx_test_adopt(&s->net, fd, &unused));
    assert_true(s->s && s->c);
    vx_test_own(&s->server_owner, s->s);
    vx_test_own(&s->client_owner, s->c);
}

static void shake_hands(struct scene *s, const char *name) {
    join(s, name);
    VX_TEST_UNTIL(&s->net, (s->server_owner.ready & s->client_owner.ready) & VX_WRITABLE);
    assert_int_equal(s->server_owner.told[2] + s->client_owner.told[2], 0);
}

static ssize_t write_text(struct vx_transport *t, const char *text) {
    struct vx_slice slice = vx_slice_of(text);
    return t->ops->write(t, &slice, 1);
}

static void expect_text(struct scene *s, struct vx_transport *t, const char *text) {
    char bytes[256];
    size_t want = strlen(text), got = 0;
    while (got < want) {
        VX_TEST_UNTIL(&s->net, t->readable);
        ssize_t n = t->ops->read(t, bytes + got, want - got);
        assert_true(n > 0 || n == VX_IO_AGAIN);
        got += n > 0 ? (size_t)n : 0;
    }
    assert_memory_equal(bytes, text, want);
}

static void shakes_hands_and_tells_about_it(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    join(&s, "site.test");
    assert_false(s.s->writable);
    assert_null(s.s->tls);
    assert_int_equal(write_text(s.s, "early"), VX_IO_AGAIN);
    VX_TEST_UNTIL(&s.net, (s.server_owner.ready & s.client_owner.ready) & VX_WRITABLE);
    assert_int_equal(s.server_owner.told[1], 1);
    const struct vx_tls_info *i = s.s->tls;
    assert_non_null(i);
    assert_true(vx_slice_eq(i->server_name, VX_SLICE("site.test")));
    assert_true(vx_slice_eq(i->alpn, VX_SLICE("http/1.1")));
    assert_true(vx_slice_eq(i->session.version, VX_SLICE("TLSv1.3")));
    assert_false(i->session.peer_certified);
    assert_int_equal(i->certificate, 0);
    assert_false(i->resumed);
    assert_true(vx_slice_eq(s.c->tls->alpn, VX_SLICE("http/1.1")));
    assert_ptr_equal(vx_tls_server_of(s.s), s.server);
    assert_null(vx_tls_server_of(s.c));
    assert_int_equal(write_text(s.c, "question"), 8);
    expect_text(&s, s.s, "question");
    assert_int_equal(write_text(s.s, "answer"), 6);
    expect_text(&s, s.c, "answer");
    end(&s);
}

static void the_name_picks_the_certificate(void **state) {
    (void)state;
    static const struct {
        const char *name;
        unsigned certificate;
    } cases[] = {{"other.test", 1}, {"OTHER.test", 1}, {"a.wild.test", 0}, {"127.0.0.1", 0}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scene s;
        start(&s);
        shake_hands(&s, cases[i].name);
        assert_int_equal(s.s->tls->certificate, cases[i].certificate);
        if (i == 1)
            assert_true(vx_slice_eq(s.s->tls->server_name, VX_SLICE("other.test")));
        if (i == 3)
            assert_int_equal(s.s->tls->server_name.len, 0);
        end(&s);
    }
}

static void expect_client_failure(struct scene *s, const char *name, const char *detail) {
    join(s, name);
    VX_TEST_UNTIL(&s->net, s->client_owner.ready & VX_FAILED);
    VX_TEST_UNTIL(&s->net, s->server_owner.ready & VX_FAILED);
    assert_int_equal(s->client_owner.told[1], 0);
    assert_int_equal(s->c->error.code, VX_ERR_TLS_FAILED);
    assert_int_equal(s->c->error.source, VX_BY_BACKEND);
    assert_true(s->c->error.retryable);
    assert_non_null(s->c->error.detail);
    if (!strstr(s->c->error.detail, detail))
        fail_msg("detail: %s", s->c->error.detail);
    assert_int_equal(s->s->error.code, VX_ERR_CLIENT_GONE);
    char byte;
    assert_int_equal(s->c->ops->read(s->c, &byte, 1), VX_IO_FAILED);
    assert_int_equal(write_text(s->c, "x"), VX_IO_FAILED);
}

static void a_wrong_name_or_unknown_issuer_fails(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    expect_client_failure(&s, "elsewhere.test", "ostname mismatch");
    hang_up(&s);
    expect_client_failure(&s, "127.0.0.2", "IP address mismatch");
    hang_up(&s);
    expect_client_failure(&s, "a.b.wild.test", "ostname mismatch");
    end(&s);
    struct vx_tls_tickets *tickets = vx_tls_tickets_new(0);
    start_with(&s, make_server(tickets, false), make_client(false, false), tickets);
    expect_client_failure(&s, "site.test", "issuer certificate");
    end(&s);
}

static void expect_fact(const struct vx_transport *t, enum vx_certificate whose,
                        enum vx_certificate_fact fact, const char *text) {
    const struct vx_tls_session *s = &t->tls->session;
    struct vx_slice told;
    assert_int_equal(s->ops->tell(s, whose, fact, &told), text != NULL);
    if (text)
        assert_true(vx_slice_eq(told, vx_slice_of(text)));
}

static void client_certificates(void **state) {
    (void)state;
    struct scene s;
    struct vx_tls_tickets *tickets = vx_tls_tickets_new(0);
    start_with(&s, make_server(tickets, true), make_client(true, true), tickets);
    for (int i = 0; i < 2; i++) {
        shake_hands(&s, "site.test");
        assert_int_equal(s.s->tls->resumed, i);
        assert_true(s.s->tls->session.peer_certified);
        expect_fact(s.s, VX_CERTIFICATE_PEER, VX_CERTIFICATE_SUBJECT, "CN=visitor");
        /* The tickets come with the first bytes. */
        assert_int_equal(write_text(s.s, "hello"), 5);
        expect_text(&s, s.c, "hello");
        hang_up(&s);
    }
    vx_tls_client_drop(s.client);
    s.client = make_client(true, false);
    join(&s, "site.test");
    VX_TEST_UNTIL(&s.net, s.server_owner.ready & VX_FAILED);
    assert_int_equal(s.s->error.code, VX_ERR_CLIENT_CERT_REQUIRED);
    end(&s);
}

static void both_ends_tell_of_both_certificates(void **state) {
    (void)state;
    struct scene s;
    struct vx_tls_tickets *tickets = vx_tls_tickets_new(0);
    start_with(&s, make_server(tickets, true), make_client(true, true), tickets);
    shake_hands(&s, "other.test");
    expect_fact(s.s, VX_CERTIFICATE_LOCAL, VX_CERTIFICATE_SUBJECT, "CN=other");
    expect_fact(s.s, VX_CERTIFICATE_LOCAL, VX_CERTIFICATE_URI, NULL);
    expect_fact(s.s, VX_CERTIFICATE_PEER, VX_CERTIFICATE_DNS_NAME, "visitor.test");
    expect_fact(s.s, VX_CERTIFICATE_PEER, VX_CERTIFICATE_URI, "spiffe://test/visitor");
    expect_fact(s.c, VX_CERTIFICATE_LOCAL, VX_CERTIFICATE_SUBJECT, "CN=visitor");
    expect_fact(s.c, VX_CERTIFICATE_PEER, VX_CERTIFICATE_DNS_NAME, "other.test");
    /* Who holds a session can ask when its connection is gone. */
    const struct vx_tls_session *held = &s.s->tls->session;
    struct vx_slice told;
    held->ops->hold(held);
    hang_up(&s);
    assert_true(held->ops->tell(held, VX_CERTIFICATE_PEER, VX_CERTIFICATE_SUBJECT, &told));
    assert_true(vx_slice_eq(told, VX_SLICE("CN=visitor")));
    held->ops->drop(held);
    end(&s);
    start(&s);
    shake_hands(&s, "site.test");
    expect_fact(s.s, VX_CERTIFICATE_PEER, VX_CERTIFICATE_SUBJECT, NULL);
    expect_fact(s.s, VX_CERTIFICATE_LOCAL, VX_CERTIFICATE_DNS_NAME, "site.test");
    expect_fact(s.c, VX_CERTIFICATE_LOCAL, VX_CERTIFICATE_SUBJECT, NULL);
    end(&s);
}

/* A session from where no client certificate was wanted does not open a door where one is. */
static void a_ticket_does_not_replace_a_client_certificate(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    shake_hands(&s, "site.test");
    assert_int_equal(write_text(s.s, "hello"), 5);
    expect_text(&s, s.c, "hello");
    hang_up(&s);
    vx_tls_server_drop(s.server);
    s.server = make_server(s.tickets, true);
    join(&s, "site.test");
    VX_TEST_UNTIL(&s.net, s.server_owner.ready & VX_FAILED);
    assert_int_equal(s.s->error.code, VX_ERR_CLIENT_CERT_REQUIRED);
    end(&s);
}

static void resumes_across_reloads_until_the_key_is_old(void **state) {
    (void)state;
    const uint64_t hour_ns = 3600000000000u;
    struct scene s;
    start(&s);
    for (int i = 0; i < 3; i++) {
        shake_hands(&s, "site.test");
        assert_int_equal(s.s->tls->resumed, i > 0);
        assert_int_equal(s.c->tls->resumed, i > 0);
        assert_int_equal(write_text(s.s, "hello"), 5);
        expect_text(&s, s.c, "hello");
        hang_up(&s);
        vx_tls_tickets_rotate(s.tickets, hour_ns * (uint64_t)(i + 1));
        vx_tls_server_drop(s.server);
        s.server = make_server(s.tickets, false);
    }
    for (uint64_t h = 4; h < 40; h++)
        vx_tls_tickets_rotate(s.tickets, hour_ns * h);
    shake_hands(&s, "site.test");
    assert_false(s.s->tls->resumed);
    end(&s);
}

static char byte_at(size_t offset) {
    return (char)(offset * 17 + (offset >> 10) * 3);
}

/* Pushes `total` bytes one way; the reader takes `read_at_once` at a time. */
static void stream(struct scene *s, struct vx_transport *from, struct vx_transport *to, size_t total,
                   size_t read_at_once) {
    static char bytes[200000], got[200000];
    size_t sent = 0, taken = 0;
    bool waited = false;
    while (taken < total) {
        while (from->writable && sent < total) {
            size_t n = total - sent < sizeof bytes ? total - sent : sizeof bytes;
            for (size_t i = 0; i < n; i++)
                bytes[i] = byte_at(sent + i);
            /* Uneven pieces: some share a record, some fill several. */
            struct vx_slice pieces[4] = {
                {bytes, n / 300}, {bytes + n / 300, 0}, {bytes + n / 300, n / 7}, {NULL, 0}};
            pieces[3] = vx_slice(bytes + n / 300 + n / 7, n - n / 300 - n / 7);
            ssize_t took = from->ops->write(from, pieces, 4);
            if (took == VX_IO_AGAIN)
                break;
            assert_true(took > 0);
            sent += (size_t)took;
        }
        waited = waited || from->pending_bytes > 0;
        vx_loop_run_once(s->net.loop, 0);
        if (!to->readable)
            continue;
        ssize_t n = to->ops->read(to, got, read_at_once);
        if (n == VX_IO_AGAIN)
            continue;
        assert_true(n > 0);
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(got[i], byte_at(taken + (size_t)i));
        taken += (size_t)n;
    }
    assert_true(waited || total < 1000000);
}

static void streams_both_ways_under_backpressure(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    shake_hands(&s, "site.test");
    stream(&s, s.c, s.s, 16 << 20, 5000);
    stream(&s, s.s, s.c, 16 << 20, 40000);
    stream(&s, s.s, s.c, 3000, 1);
    VX_TEST_UNTIL(&s.net, s.c->writable && s.s->writable);
    /* An idle connection holds no buffer. */
    assert_int_equal(s.s->ops->read(s.s, (char[1]){0}, 1), VX_IO_AGAIN);
    assert_int_equal(s.net.blocks.used_bytes, 0);
    end(&s);
}

static void a_small_exchange_costs_one_recv_and_one_send_each(void **state) {
    (void)state;
    enum { REQUESTS = 200 };
    struct scene s;
    char bytes[512];
    start(&s);
    shake_hands(&s, "site.test");
    for (int i = -1; i < REQUESTS; i++) {
        /* The first one carries the session tickets. */
        if (i == 0)
            memset(&calls, 0, sizeof calls);
        struct vx_slice head[2] = {VX_SLICE("GET / HTTP/1.1\r\n"), VX_SLICE("\r\n")};
        assert_int_equal(s.c->ops->write(s.c, head, 2), 18);
        VX_TEST_UNTIL(&s.net, s.s->readable);
        assert_int_equal(s.s->ops->read(s.s, bytes, sizeof bytes), 18);
        assert_false(s.s->readable);
        assert_int_equal(write_text(s.s, "HTTP/1.1 200 OK\r\n\r\n"), 19);
        VX_TEST_UNTIL(&s.net, s.c->readable);
        assert_int_equal(s.c->ops->read(s.c, bytes, sizeof bytes), 19);
        assert_false(s.c->readable);
    }
    assert_int_equal(calls.recv, 2 * REQUESTS);
    assert_int_equal(calls.send, 2 * REQUESTS);
    end(&s);
}

/* A ticket alone is TLS's own business: a pooled connection to a backend must not look as if it had an answer. */
static void a_ticket_is_no_news(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    shake_hands(&s, "site.test");
    /* A write of nothing seals the tickets that wait for the first bytes. */
    struct vx_tls *server = vx_tls_from(s.s);
    uint64_t used = s.net.rt.now_ns;
    assert_true(SSL_write(server->ssl, "", 0) <= 0);
    struct vx_slice tickets = {s.worker->sealed, s.worker->sealed_bytes};
    s.worker->sealed_bytes = 0;
    assert_true(tickets.len > 0);
    assert_int_equal(server->lower->ops->write(server->lower, &tickets, 1), tickets.len);
    unsigned before = calls.recv;
    VX_TEST_UNTIL(&s.net, calls.recv > before && s.net.rt.now_ns > used);
    vx_test_net_settle(&s.net);
    assert_false(s.c->readable);
    assert_int_equal(s.client_owner.told[0], 0);
    assert_int_equal(write_text(s.s, "x"), 1);
    expect_text(&s, s.c, "x");
    end(&s);
}

static void an_orderly_end(void **state) {
    (void)state;
    struct scene s;
    char bytes[16];
    start(&s);
    shake_hands(&s, "site.test");
    assert_int_equal(write_text(s.s, "last"), 4);
    s.s->ops->shut(s.s);
    VX_TEST_UNTIL(&s.net, s.client_owner.ready & VX_PEER_SHUT);
    assert_int_equal(s.c->ops->read(s.c, bytes, sizeof bytes), 4);
    assert_true(s.c->readable);
    assert_int_equal(s.c->ops->read(s.c, bytes, sizeof bytes), 0);
    assert_int_equal(s.c->ops->read(s.c, bytes, sizeof bytes), 0);
    /* The other direction is still open. */
    assert_int_equal(write_text(s.c, "reply"), 5);
    expect_text(&s, s.s, "reply");
    assert_int_equal(s.server_owner.told[2] + s.client_owner.told[2], 0);
    end(&s);
}

static void shutting_waits_for_what_was_written(void **state) {
    (void)state;
    struct scene s;
    static char bytes[200000];
    start(&s);
    shake_hands(&s, "site.test");
    struct vx_slice slice = {bytes, sizeof bytes};
    size_t sent = 0, taken = 0;
    while (!s.s->pending_bytes) {
        ssize_t n = s.s->ops->write(s.s, &slice, 1);
        assert_true(n > 0);
        /* Whoever wrote a part waits for room, of which nothing is told where there is some. */
        assert_true(n == sizeof bytes || !s.s->writable);
        sent += (size_t)n;
    }
    s.s->ops->shut(s.s);
    for (;;) {
        VX_TEST_UNTIL(&s.net, s.c->readable);
        ssize_t n = s.c->ops->read(s.c, bytes, sizeof bytes);
        if (n == 0)
            break;
        assert_true(n > 0 || n == VX_IO_AGAIN);
        taken += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(taken, sent);
    end(&s);
}

static void an_end_without_close_notify_is_a_failure(void **state) {
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct scene s;
        char bytes[16];
        start(&s);
        shake_hands(&s, "site.test");
        assert_int_equal(write_text(s.s, "cut"), 3);
        /* Somebody on the way ends the connection: FIN or RST of TCP, nothing of TLS. */
        struct vx_tls *t = vx_tls_from(s.s);
        if (reset)
            s.s->ops->close(s.s, true);
        else
            shutdown(vx_tcp_fd(t->lower), SHUT_WR);
        VX_TEST_UNTIL(&s.net, s.client_owner.ready & (VX_PEER_SHUT | VX_FAILED));
        if (!(s.client_owner.ready & VX_FAILED)) {
            assert_int_equal(s.c->ops->read(s.c, bytes, sizeof bytes), 3);
            assert_true(s.c->readable);
        }
        assert_int_equal(s.c->ops->read(s.c, bytes, sizeof bytes), VX_IO_FAILED);
        assert_int_equal(s.c->error.code, reset ? VX_ERR_BACKEND_RESET : VX_ERR_BACKEND_CLOSED);
        if (reset)
            s.s = NULL;
        end(&s);
    }
}

static void close_tells_the_peer(void **state) {
    (void)state;
    struct scene s;
    char bytes[16];
    start(&s);
    shake_hands(&s, "site.test");
    s.s->ops->close(s.s, false);
    s.s = NULL;
    VX_TEST_UNTIL(&s.net, s.c->readable);
    assert_int_equal(s.c->ops->read(s.c, bytes, sizeof bytes), 0);
    end(&s);
}

static void what_is_no_tls_fails(void **state) {
    (void)state;
    static const char *const texts[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff", "\x15\x03\x01", ""};
    for (int i = 0; i < 4; i++) {
        struct scene s;
        int fds[2];
        struct vx_test_owner unused;
        start(&s);
        vx_test_tcp_pair(fds);
        s.s = vx_tls_server_wrap(s.server, s.worker, vx_test_adopt(&s.net, fds[0], &unused));
        vx_test_own(&s.server_owner, s.s);
        size_t len = strlen(texts[i]);
        if (len)
            assert_int_equal(send(fds[1], texts[i], len, 0), len);
        shutdown(fds[1], SHUT_WR);
        VX_TEST_UNTIL(&s.net, s.server_owner.ready & VX_FAILED);
        assert_int_equal(s.s->error.code, VX_ERR_CLIENT_GONE);
        if (i == 0)
            assert_non_null(strstr(s.s->error.detail, "HTTP"));
        assert_null(s.s->tls);
        close(fds[1]);
        end(&s);
    }
}

static void garbage_after_the_handshake_fails(void **state) {
    (void)state;
    struct scene s;
    char bytes[64];
    start(&s);
    shake_hands(&s, "site.test");
    struct vx_tls *t = vx_tls_from(s.c);
    struct vx_slice junk = VX_SLICE("\x17\x03\x03\0\x20junkjunkjunkjunkjunkjunkjunkjunk");
    assert_int_equal(t->lower->ops->write(t->lower, &junk, 1), junk.len);
    VX_TEST_UNTIL(&s.net, s.s->readable);
    assert_int_equal(s.s->ops->read(s.s, bytes, sizeof bytes), VX_IO_FAILED);
    assert_int_equal(s.s->error.code, VX_ERR_CLIENT_GONE);
    /* The peer gets the alert. */
    VX_TEST_UNTIL(&s.net, s.c->readable);
    assert_int_equal(s.c->ops->read(s.c, bytes, sizeof bytes), VX_IO_FAILED);
    end(&s);
}

static void key_updates_pass_unseen(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    shake_hands(&s, "site.test");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(SSL_key_update(vx_tls_from(s.c)->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(write_text(s.c, "ping"), 4);
        expect_text(&s, s.s, "ping");
        assert_int_equal(write_text(s.s, "pong"), 4);
        expect_text(&s, s.c, "pong");
    }
    end(&s);
}

static void closed_at_any_moment(void **state) {
    (void)state;
    /* After each number of rounds, from outside; and from inside the first event. */
    for (int rounds = 0; rounds < 12; rounds++) {
        struct scene s;
        start(&s);
        join(&s, "site.test");
        for (int i = 0; i < rounds; i++)
            vx_loop_run_once(s.net.loop, 0);
        if (rounds % 2)
            s.s->ops->close(s.s, rounds % 4 == 1);
        else
            s.c->ops->close(s.c, rounds % 4 == 2);
        *(rounds % 2 ? &s.s : &s.c) = NULL;
        vx_test_net_settle(&s.net);
        end(&s);
    }
    for (int side = 0; side < 2; side++) {
        struct scene s;
        start(&s);
        join(&s, "site.test");
        struct vx_test_owner *o = side ? &s.server_owner : &s.client_owner;
        o->close_on_ready = true;
        VX_TEST_UNTIL(&s.net, o->calls > 0);
        *(side ? &s.s : &s.c) = NULL;
        vx_test_net_settle(&s.net);
        assert_int_equal(o->calls, 1);
        end(&s);
    }
}

static void a_tls_dialer_connects(void **state) {
    (void)state;
    struct scene s;
    struct vx_error error;
    struct vx_tls_dialer d;
    uint16_t port;
    start(&s);
    vx_tls_dialer_init(&d, &s.net.tcp.dialer, s.worker);
    int listener = vx_test_listen(&port);
    struct vx_dial to = {.address = {.kind = VX_ADDRESS_IP4, .port = port, .ip = {127, 0, 0, 1}},
                         .tls = s.client,
                         .server_name = VX_SLICE("site.test.")};
    s.c = d.dialer.dial(&d.dialer, &to, &error);
    assert_non_null(s.c);
    vx_test_own(&s.client_owner, s.c);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct vx_test_owner unused;
    s.s = vx_tls_server_wrap(s.server, s.worker, vx_test_adopt(&s.net, fd, &unused));
    vx_test_own(&s.server_owner, s.s);
    VX_TEST_UNTIL(&s.net, (s.server_owner.ready & s.client_owner.ready) & VX_WRITABLE);
    hang_up(&s);
    close(listener);
    /* Nobody listens: the connection fails as a plain one does, and may be retried. */
    s.c = d.dialer.dial(&d.dialer, &to, &error);
    if (s.c) {
        vx_test_own(&s.client_owner, s.c);
        VX_TEST_UNTIL(&s.net, s.client_owner.ready & VX_FAILED);
        error = s.c->error;
    }
    assert_int_equal(error.code, VX_ERR_CONNECT_FAILED);
    assert_true(error.retryable);
    hang_up(&s);
    /* Without a name there is nothing to check. */
    to.server_name = VX_SLICE_NONE;
    assert_null(d.dialer.dial(&d.dialer, &to, &error));
    assert_int_equal(error.code, VX_ERR_TLS_FAILED);
    to.tls = NULL;
    s.c = d.dialer.dial(&d.dialer, &to, &error);
    if (s.c)
        assert_null(vx_tls_from(s.c));
    end(&s);
}

static void a_server_may_go_before_its_connections(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    join(&s, "other.test");
    vx_tls_server_drop(s.server);
    s.server = NULL;
    vx_tls_client_drop(s.client);
    s.client = NULL;
    VX_TEST_UNTIL(&s.net, (s.server_owner.ready & s.client_owner.ready) & VX_WRITABLE);
    assert_int_equal(s.s->tls->certificate, 1);
    end(&s);
}

static void *no_memory(struct vx_chunk_source *self, size_t bytes) {
    (void)self, (void)bytes;
    return NULL;
}

static void without_memory_it_fails_in_words(void **state) {
    (void)state;
    static char bytes[65536];
    struct vx_chunk_source empty = {.take = no_memory, .chunk_bytes = 4096};
    for (int writing = 0; writing < 2; writing++) {
        struct scene s;
        start(&s);
        shake_hands(&s, "site.test");
        assert_int_equal(write_text(s.c, "hello"), 5);
        VX_TEST_UNTIL(&s.net, s.s->readable);
        s.net.rt.blocks = &empty;
        ssize_t n = writing ? 0 : s.s->ops->read(s.s, bytes, sizeof bytes);
        struct vx_slice slice = {bytes, sizeof bytes};
        for (int i = 0; writing && n >= 0 && i < 1000; i++)
            n = s.s->ops->write(s.s, &slice, 1);
        assert_int_equal(n, VX_IO_FAILED);
        assert_int_equal(s.s->error.code, VX_ERR_OUT_OF_MEMORY);
        assert_int_equal(s.s->error.source, VX_BY_SELF);
        s.net.rt.blocks = &s.net.blocks.source;
        end(&s);
    }
}

struct shared {
    struct vx_tls_server *server;
    struct vx_tls_client *client;
    struct vx_tls_tickets *tickets;
};

static void *work(void *arg) {
    struct shared *shared = arg;
    struct scene s;
    start_with(&s, vx_tls_server_hold(shared->server), vx_tls_client_hold(shared->client),
               vx_tls_tickets_hold(shared->tickets));
    for (int i = 0; i < 20; i++) {
        shake_hands(&s, i % 2 ? "site.test" : "other.test");
        VX_CHECK(s.s->tls->resumed == (i > 1));
        VX_CHECK(write_text(s.s, "hello") == 5);
        expect_text(&s, s.c, "hello");
        hang_up(&s);
    }
    end(&s);
    return NULL;
}

/* Contexts are built once and used by all workers, while the control thread turns the keys. */
static void workers_share_contexts(void **state) {
    (void)state;
    enum { WORKERS = 3 };
    struct vx_tls_tickets *tickets = vx_tls_tickets_new(0);
    struct shared shared = {make_server(tickets, false), make_client(true, false), tickets};
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &shared), 0);
    for (uint64_t h = 1; h < 10; h++)
        vx_tls_tickets_rotate(tickets, h * 3600000000000u);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    vx_tls_server_drop(shared.server);
    vx_tls_client_drop(shared.client);
    vx_tls_tickets_drop(tickets);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shakes_hands_and_tells_about_it),
        cmocka_unit_test(the_name_picks_the_certificate),
        cmocka_unit_test(a_wrong_name_or_unknown_issuer_fails),
        cmocka_unit_test(client_certificates),
        cmocka_unit_test(both_ends_tell_of_both_certificates),
        cmocka_unit_test(a_ticket_does_not_replace_a_client_certificate),
        cmocka_unit_test(resumes_across_reloads_until_the_key_is_old),
        cmocka_unit_test(streams_both_ways_under_backpressure),
        cmocka_unit_test(a_small_exchange_costs_one_recv_and_one_send_each),
        cmocka_unit_test(a_ticket_is_no_news),
        cmocka_unit_test(an_orderly_end),
        cmocka_unit_test(shutting_waits_for_what_was_written),
        cmocka_unit_test(an_end_without_close_notify_is_a_failure),
        cmocka_unit_test(close_tells_the_peer),
        cmocka_unit_test(what_is_no_tls_fails),
        cmocka_unit_test(garbage_after_the_handshake_fails),
        cmocka_unit_test(key_updates_pass_unseen),
        cmocka_unit_test(closed_at_any_moment),
        cmocka_unit_test(a_tls_dialer_connects),
        cmocka_unit_test(a_server_may_go_before_its_connections),
        cmocka_unit_test(without_memory_it_fails_in_words),
        cmocka_unit_test(workers_share_contexts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
