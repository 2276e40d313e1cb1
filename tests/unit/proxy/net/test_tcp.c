/* SPDX-License-Identifier: Apache-2.0 */
/* Socket transports: what edges tell, how ends and failures show, and what a small exchange costs in system calls.
 * vx_socket_recv, vx_socket_send and epoll_ctl are counted by functions of this file that stand before the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy/net/socket_io.h"
#include "support/net.h"

static struct {
    unsigned recv, send, epoll_ctl;
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

int epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event) {
    calls.epoll_ctl++;
    return (int)syscall(SYS_epoll_ctl, epoll_fd, op, fd, event);
}

enum { READABLE, WRITABLE, FAILED, PEER_SHUT };

/* Every test runs over both kinds of socket where nothing says otherwise. */
struct pair {
    struct vx_test_net net;
    struct vx_test_owner owner;
    struct vx_transport *t;
    int hand; /* the other end */
};

static void start_pair(struct pair *p, bool tcp) {
    int fds[2];
    vx_test_net_start(&p->net);
    if (tcp)
        vx_test_tcp_pair(fds);
    else
        vx_test_unix_pair(fds);
    p->t = vx_test_adopt(&p->net, fds[0], &p->owner);
    p->hand = fds[1];
    vx_test_net_settle(&p->net);
}

static void end_pair(struct pair *p) {
    if (p->owner.t)
        p->t->ops->close(p->t, false);
    if (p->hand >= 0)
        close(p->hand);
    vx_test_net_end(&p->net);
}

static void put(int fd, const char *text) {
    assert_int_equal(syscall(SYS_sendto, fd, text, strlen(text), MSG_NOSIGNAL, NULL, 0), strlen(text));
}

static ssize_t take(int fd, char *to, size_t room) {
    return syscall(SYS_recvfrom, fd, to, room, 0, NULL, NULL);
}

static void reset_by_hand(struct pair *p) {
    struct linger l = {.l_onoff = 1};
    assert_int_equal(setsockopt(p->hand, SOL_SOCKET, SO_LINGER, &l, sizeof l), 0);
    close(p->hand);
    p->hand = -1;
}

static ssize_t write_text(struct vx_transport *t, const char *text) {
    struct vx_slice s = vx_slice_of(text);
    return t->ops->write(t, &s, 1);
}

static void a_fresh_one_is_writable_and_silent(struct pair *p) {
    assert_true(p->t->writable);
    assert_false(p->t->readable);
    assert_int_equal(p->owner.calls, 0);
}

static void a_short_read_shows_the_socket_empty(struct pair *p) {
    char to[64];
    put(p->hand, "hello");
    VX_TEST_UNTIL(&p->net, p->owner.calls > 0);
    assert_int_equal(p->owner.ready, VX_READABLE);
    assert_true(p->t->readable);
    assert_int_equal(p->t->ops->read(p->t, to, sizeof to), 5);
    assert_memory_equal(to, "hello", 5);
    assert_false(p->t->readable);
    put(p->hand, "again");
    VX_TEST_UNTIL(&p->net, p->owner.calls > 1);
    assert_int_equal(p->t->ops->read(p->t, to, 5), 5);
    /* A full read does not tell. */
    assert_true(p->t->readable);
    assert_int_equal(p->t->ops->read(p->t, to, 5), VX_IO_AGAIN);
    assert_false(p->t->readable);
}

static void no_edge_while_it_is_known_to_be_readable(struct pair *p) {
    char to[64];
    put(p->hand, "one");
    VX_TEST_UNTIL(&p->net, p->owner.calls > 0);
    put(p->hand, "two");
    vx_test_net_settle(&p->net);
    assert_int_equal(p->owner.calls, 1);
    assert_int_equal(p->t->ops->read(p->t, to, sizeof to), 6);
    vx_test_net_settle(&p->net);
    assert_int_equal(p->owner.calls, 1);
}

static void bytes_and_fin_at_once(struct pair *p) {
    char to[64];
    put(p->hand, "last");
    shutdown(p->hand, SHUT_WR);
    VX_TEST_UNTIL(&p->net, p->owner.ready & VX_PEER_SHUT);
    assert_true(p->t->peer_shut);
    assert_int_equal(p->t->ops->read(p->t, to, sizeof to), 4);
    assert_true(p->t->readable);
    assert_int_equal(p->t->ops->read(p->t, to, sizeof to), 0);
    assert_int_equal(p->t->ops->read(p->t, to, sizeof to), 0);
    assert_int_equal(p->owner.told[PEER_SHUT], 1);
    /* Half-closed: it can still be written to. */
    assert_int_equal(write_text(p->t, "answer"), 6);
    assert_int_equal(take(p->hand, to, sizeof to), 6);
    vx_test_net_settle(&p->net);
    assert_int_equal(p->owner.told[FAILED], 0);
}

static void fin_after_a_short_read(struct pair *p) {
    char to[64];
    put(p->hand, "bytes");
    VX_TEST_UNTIL(&p->net, p->t->readable);
    assert_int_equal(p->t->ops->read(p->t, to, sizeof to), 5);
    assert_false(p->t->readable);
    shutdown(p->hand, SHUT_WR);
    VX_TEST_UNTIL(&p->net, p->t->peer_shut);
    assert_int_equal(p->owner.told[READABLE], 2);
    assert_int_equal(p->t->ops->read(p->t, to, sizeof to), 0);
}

static void shut_then_the_peer_goes_on(struct pair *p) {
    char to[64];
    assert_int_equal(write_text(p->t, "request"), 7);
    p->t->ops->shut(p->t);
    assert_int_equal(take(p->hand, to, sizeof to), 7);
    assert_int_equal(take(p->hand, to, sizeof to), 0);
    put(p->hand, "response");
    VX_TEST_UNTIL(&p->net, p->t->readable);
    assert_int_equal(p->t->ops->read(p->t, to, sizeof to), 8);
    close(p->hand);
    p->hand = -1;
    VX_TEST_UNTIL(&p->net, p->t->peer_shut);
    assert_int_equal(p->t->ops->read(p->t, to, sizeof to), 0);
    vx_test_net_settle(&p->net);
    assert_int_equal(p->owner.told[FAILED], 0);
}

static void a_full_socket_tells_when_there_is_room(struct pair *p) {
    static char bytes[65536];
    struct vx_slice s[3] = {{bytes, 1000}, {bytes, sizeof bytes}, {bytes, 500}};
    size_t sent = 0, taken = 0;
    while (p->t->writable) {
        ssize_t n = p->t->ops->write(p->t, s, 3);
        assert_true(n >= 0 || n == VX_IO_AGAIN);
        sent += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(p->t->ops->write(p->t, s, 3), VX_IO_AGAIN);
    vx_test_net_settle(&p->net);
    assert_int_equal(p->owner.told[WRITABLE], 0);
    while (taken < sent) {
        ssize_t n = take(p->hand, bytes, sizeof bytes);
        assert_true(n > 0 || (n < 0 && errno == EAGAIN));
        taken += n > 0 ? (size_t)n : 0;
        vx_loop_run_once(p->net.loop, 0);
    }
    VX_TEST_UNTIL(&p->net, p->owner.told[WRITABLE] > 0);
    assert_true(p->t->writable);
    assert_int_equal(write_text(p->t, "more"), 4);
}

static void writing_to_one_that_is_gone_fails(struct pair *p) {
    char to[64];
    put(p->hand, "goodbye");
    VX_TEST_UNTIL(&p->net, p->t->readable);
    close(p->hand);
    p->hand = -1;
    ssize_t n = 0;
    for (int i = 0; i < 1000 && n >= 0; i++) {
        n = write_text(p->t, "anybody?");
        vx_loop_run_once(p->net.loop, 0);
    }
    assert_int_equal(n, VX_IO_FAILED);
    assert_int_equal(p->t->error.code, VX_ERR_CLIENT_GONE);
    assert_non_null(p->t->error.detail);
    /* What it had said before is not lost. */
    assert_int_equal(p->t->ops->read(p->t, to, sizeof to), 7);
    assert_int_equal(p->t->ops->read(p->t, to, sizeof to), VX_IO_FAILED);
    assert_int_equal(write_text(p->t, "x"), VX_IO_FAILED);
}

static void closed_in_its_own_event(struct pair *p) {
    p->owner.close_on_ready = true;
    put(p->hand, "x");
    VX_TEST_UNTIL(&p->net, p->owner.calls > 0);
    vx_test_net_settle(&p->net);
    assert_int_equal(p->owner.calls, 1);
    assert_int_equal(p->net.tcp.stats.open, 0);
}

/* A handler may close another transport whose event waits in the same round. */
static void closed_while_its_event_waits(struct pair *p) {
    enum { MANY = 8 };
    struct vx_test_owner owners[MANY];
    int hands[MANY];
    for (int i = 0; i < MANY; i++) {
        int fds[2];
        vx_test_unix_pair(fds);
        vx_test_adopt(&p->net, fds[0], &owners[i]);
        hands[i] = fds[1];
    }
    vx_test_net_settle(&p->net);
    for (int i = 0; i < MANY; i++) {
        owners[i].victim = &owners[i ^ 1];
        put(hands[i], "x");
    }
    vx_loop_run_once(p->net.loop, 0);
    unsigned told = 0;
    for (int i = 0; i < MANY; i++)
        told += owners[i].calls;
    assert_int_equal(told, MANY / 2);
    vx_test_net_settle(&p->net);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(owners[i].calls, owners[i].t != NULL);
        if (owners[i].t)
            owners[i].t->ops->close(owners[i].t, false);
    }
    for (int i = 0; i < MANY; i++)
        close(hands[i]);
}

#define BOTH_KINDS(test)                                                                                     \
    static void test##_unix(void **state) {                                                                  \
        (void)state;                                                                                         \
        struct pair p;                                                                                       \
        start_pair(&p, false);                                                                               \
        test(&p);                                                                                            \
        end_pair(&p);                                                                                        \
    }                                                                                                        \
    static void test##_tcp(void **state) {                                                                   \
        (void)state;                                                                                         \
        struct pair p;                                                                                       \
        start_pair(&p, true);                                                                                \
        test(&p);                                                                                            \
        end_pair(&p);                                                                                        \
    }

BOTH_KINDS(a_fresh_one_is_writable_and_silent)
BOTH_KINDS(a_short_read_shows_the_socket_empty)
BOTH_KINDS(no_edge_while_it_is_known_to_be_readable)
BOTH_KINDS(bytes_and_fin_at_once)
BOTH_KINDS(fin_after_a_short_read)
BOTH_KINDS(shut_then_the_peer_goes_on)
BOTH_KINDS(a_full_socket_tells_when_there_is_room)
BOTH_KINDS(writing_to_one_that_is_gone_fails)
BOTH_KINDS(closed_in_its_own_event)
BOTH_KINDS(closed_while_its_event_waits)

static void a_reset_is_told(void **state) {
    (void)state;
    struct pair p;
    char to[8];
    start_pair(&p, true);
    reset_by_hand(&p);
    VX_TEST_UNTIL(&p.net, p.owner.calls > 0);
    assert_int_equal(p.owner.ready & VX_FAILED, VX_FAILED);
    assert_int_equal(p.t->error.code, VX_ERR_CLIENT_GONE);
    assert_int_equal(p.t->error.source, VX_BY_CLIENT);
    assert_int_equal(p.t->ops->read(p.t, to, sizeof to), VX_IO_FAILED);
    assert_int_equal(write_text(p.t, "x"), VX_IO_FAILED);
    end_pair(&p);
}

static void what_came_before_a_reset_is_read_first(void **state) {
    (void)state;
    struct pair p;
    char to[64];
    start_pair(&p, true);
    put(p.hand, "early answer");
    reset_by_hand(&p);
    VX_TEST_UNTIL(&p.net, p.owner.ready & VX_PEER_SHUT);
    assert_int_equal(p.owner.told[FAILED], 0);
    assert_int_equal(p.t->ops->read(p.t, to, 5), 5);
    assert_int_equal(p.t->ops->read(p.t, to, sizeof to), 7);
    assert_true(p.t->readable);
    assert_int_equal(p.t->ops->read(p.t, to, sizeof to), VX_IO_FAILED);
    end_pair(&p);
}

static void close_with_reset_resets(void **state) {
    (void)state;
    struct pair p;
    char to[8];
    start_pair(&p, true);
    assert_int_equal(write_text(p.t, "cut"), 3);
    p.t->ops->close(p.t, true);
    p.owner.t = NULL;
    ssize_t n;
    while ((n = take(p.hand, to, sizeof to)) > 0)
        ;
    assert_int_equal(n, -1);
    assert_int_equal(errno, ECONNRESET);
    end_pair(&p);
}

static struct vx_transport *dial_to(struct pair *p, const struct vx_dial *to, struct vx_error *error) {
    struct vx_transport *t = p->net.rt.dialer->dial(p->net.rt.dialer, to, error);
    if (t)
        vx_test_own(&p->owner, t);
    p->t = t;
    return t;
}

static void start_dial(struct pair *p) {
    vx_test_net_start(&p->net);
    p->owner = (struct vx_test_owner){.t = NULL};
    p->hand = -1;
}

static void dials_tcp(void **state) {
    (void)state;
    struct pair p;
    struct vx_error error;
    uint16_t port;
    char to[8];
    start_dial(&p);
    int listener = vx_test_listen(&port);
    struct vx_dial d = {.address = {.kind = VX_ADDRESS_IP4, .port = port, .ip = {127, 0, 0, 1}}};
    struct vx_transport *t = dial_to(&p, &d, &error);
    assert_non_null(t);
    assert_false(t->writable);
    assert_int_equal(p.owner.calls, 0);
    VX_TEST_UNTIL(&p.net, p.owner.calls > 0);
    assert_int_equal(p.owner.ready, VX_WRITABLE);
    assert_true(t->writable);
    assert_int_equal(t->remote.port, port);
    assert_int_equal(t->local.kind, VX_ADDRESS_IP4);
    p.hand = accept(listener, NULL, NULL);
    assert_int_equal(write_text(t, "hello"), 5);
    assert_int_equal(take(p.hand, to, sizeof to), 5);
    /* A failure is the backend's now. */
    reset_by_hand(&p);
    VX_TEST_UNTIL(&p.net, p.owner.ready & VX_FAILED);
    assert_int_equal(t->error.code, VX_ERR_BACKEND_RESET);
    assert_int_equal(t->error.source, VX_BY_BACKEND);
    close(listener);
    end_pair(&p);
}

static void dials_ip6(void **state) {
    (void)state;
    struct pair p;
    struct vx_error error;
    start_dial(&p);
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t len = sizeof sa;
    int listener = socket(AF_INET6, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
    struct vx_dial d = {.address = {.kind = VX_ADDRESS_IP6, .port = ntohs(sa.sin6_port), .ip[15] = 1}};
    assert_non_null(dial_to(&p, &d, &error));
    VX_TEST_UNTIL(&p.net, p.owner.calls > 0);
    assert_int_equal(p.owner.ready, VX_WRITABLE);
    close(listener);
    end_pair(&p);
}

static void dials_unix_sockets(void **state) {
    (void)state;
    const char *paths[] = {"/tmp/vx_test_tcp.sock", "@vx_test_tcp"};
    for (unsigned i = 0; i < 2; i++) {
        struct pair p;
        struct vx_error error;
        start_dial(&p);
        struct sockaddr_un {
            sa_family_t family;
            char path[108];
        } sa = {AF_UNIX, {0}};
        size_t len = strlen(paths[i]);
        memcpy(sa.path, paths[i], len);
        if (i == 0)
            unlink(paths[i]);
        else
            sa.path[0] = '\0';
        int listener = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(bind(listener, (struct sockaddr *)&sa, (socklen_t)(2 + len)), 0);
        assert_int_equal(listen(listener, 1), 0);
        struct vx_dial d = {.address = {.kind = VX_ADDRESS_UNIX, .text = vx_slice_of(paths[i])}};
        assert_non_null(dial_to(&p, &d, &error));
        VX_TEST_UNTIL(&p.net, p.owner.calls > 0);
        assert_int_equal(p.owner.ready, VX_WRITABLE);
        close(listener);
        if (i == 0)
            unlink(paths[i]);
        end_pair(&p);
    }
}

static void a_refused_connection_fails(void **state) {
    (void)state;
    struct pair p;
    struct vx_error error = {.code = VX_ERR_NONE};
    uint16_t port;
    start_dial(&p);
    int listener = vx_test_listen(&port);
    close(listener);
    struct vx_dial d = {.address = {.kind = VX_ADDRESS_IP4, .port = port, .ip = {127, 0, 0, 1}}};
    if (dial_to(&p, &d, &error)) {
        VX_TEST_UNTIL(&p.net, p.owner.calls > 0);
        assert_int_equal(p.owner.ready, VX_FAILED);
        error = p.t->error;
    }
    assert_int_equal(error.code, VX_ERR_CONNECT_FAILED);
    assert_int_equal(error.source, VX_BY_BACKEND);
    assert_true(error.retryable);
    assert_string_equal(error.detail, "Connection refused");
    assert_int_equal(p.net.tcp.stats.dial_failures, 1);
    end_pair(&p);

    start_dial(&p);
    d.address = (struct vx_address){.kind = VX_ADDRESS_UNIX, .text = VX_SLICE("/nowhere/to/be/found")};
    assert_null(dial_to(&p, &d, &error));
    assert_int_equal(error.code, VX_ERR_CONNECT_FAILED);
    d.address = (struct vx_address){.kind = VX_ADDRESS_NAME, .text = VX_SLICE("example.org")};
    assert_null(dial_to(&p, &d, &error));
    end_pair(&p);
}

static void closed_while_connecting(void **state) {
    (void)state;
    struct pair p;
    struct vx_error error;
    start_dial(&p);
    /* TEST-NET-1 (RFC 5737): nobody answers, or there is no route. */
    struct vx_dial d = {.address = {.kind = VX_ADDRESS_IP4, .port = 9, .ip = {192, 0, 2, 1}}};
    struct vx_transport *t = dial_to(&p, &d, &error);
    if (t) {
        t->ops->close(t, false);
        p.owner.t = NULL;
    }
    vx_test_net_settle(&p.net);
    assert_int_equal(p.owner.calls, 0);
    end_pair(&p);
}

/* The price of one small request through two transports: what this file counts, for 1000 of them. */
static void a_small_exchange_costs_two_recv_and_two_send(void **state) {
    (void)state;
    enum { REQUESTS = 1000 };
    struct pair p;
    struct vx_test_owner backend_owner;
    int fds[2];
    char bytes[256];
    start_pair(&p, true);
    vx_test_tcp_pair(fds);
    struct vx_transport *backend = vx_test_adopt(&p.net, fds[0], &backend_owner);
    vx_test_net_settle(&p.net);
    memset(&calls, 0, sizeof calls);
    uint64_t rounds = vx_loop_stats(p.net.loop)->rounds;
    for (int i = 0; i < REQUESTS; i++) {
        put(p.hand, "GET / HTTP/1.1\r\n\r\n");
        VX_TEST_UNTIL(&p.net, p.t->readable);
        ssize_t n = p.t->ops->read(p.t, bytes, sizeof bytes);
        struct vx_slice s[2] = {{bytes, 4}, {bytes + 4, (size_t)n - 4}};
        assert_int_equal(backend->ops->write(backend, s, 2), n);
        assert_int_equal(take(fds[1], bytes, sizeof bytes), n);
        put(fds[1], "HTTP/1.1 204 No Content\r\n\r\n");
        VX_TEST_UNTIL(&p.net, backend->readable);
        n = backend->ops->read(backend, bytes, sizeof bytes);
        s[0] = vx_slice(bytes, (size_t)n);
        assert_int_equal(p.t->ops->write(p.t, s, 1), n);
        assert_int_equal(take(p.hand, bytes, sizeof bytes), n);
    }
    assert_int_equal(calls.recv, 2 * REQUESTS);
    assert_int_equal(calls.send, 2 * REQUESTS);
    assert_int_equal(calls.epoll_ctl, 0);
    assert_int_equal(vx_loop_stats(p.net.loop)->rounds - rounds, 2 * REQUESTS);
    backend->ops->close(backend, false);
    close(fds[1]);
    end_pair(&p);
}

#define BOTH_RUN(test) cmocka_unit_test(test##_unix), cmocka_unit_test(test##_tcp)

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH_RUN(a_fresh_one_is_writable_and_silent),
        BOTH_RUN(a_short_read_shows_the_socket_empty),
        BOTH_RUN(no_edge_while_it_is_known_to_be_readable),
        BOTH_RUN(bytes_and_fin_at_once),
        BOTH_RUN(fin_after_a_short_read),
        BOTH_RUN(shut_then_the_peer_goes_on),
        BOTH_RUN(a_full_socket_tells_when_there_is_room),
        BOTH_RUN(writing_to_one_that_is_gone_fails),
        BOTH_RUN(closed_in_its_own_event),
        BOTH_RUN(closed_while_its_event_waits),
        cmocka_unit_test(a_reset_is_told),
        cmocka_unit_test(what_came_before_a_reset_is_read_first),
        cmocka_unit_test(close_with_reset_resets),
        cmocka_unit_test(dials_tcp),
        cmocka_unit_test(dials_ip6),
        cmocka_unit_test(dials_unix_sockets),
        cmocka_unit_test(a_refused_connection_fails),
        cmocka_unit_test(closed_while_connecting),
        cmocka_unit_test(a_small_exchange_costs_two_recv_and_two_send),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
