/* SPDX-License-Identifier: Apache-2.0 */
/* move(): bytes pass from socket to socket through a pipe, whole and in order, however slow the reader is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/net.h"

struct relay {
    struct vx_test_net net;
    struct vx_test_owner from_owner, to_owner;
    struct vx_transport *from, *to;
    int writer, reader; /* the test's ends */
};

static void start(struct relay *r, bool tcp) {
    int fds[2];
    vx_test_net_start(&r->net);
    tcp ? vx_test_tcp_pair(fds) : vx_test_unix_pair(fds);
    r->from = vx_test_adopt(&r->net, fds[0], &r->from_owner);
    r->writer = fds[1];
    tcp ? vx_test_tcp_pair(fds) : vx_test_unix_pair(fds);
    r->to = vx_test_adopt(&r->net, fds[0], &r->to_owner);
    r->reader = fds[1];
    vx_test_net_settle(&r->net);
}

static void end(struct relay *r) {
    if (r->from)
        r->from->ops->close(r->from, false);
    if (r->to)
        r->to->ops->close(r->to, false);
    close(r->writer);
    close(r->reader);
    vx_test_net_end(&r->net);
}

/* A byte that shows where it belongs. */
static char byte_at(size_t offset) {
    return (char)(offset * 31 + (offset >> 12) * 7);
}

static void fill(char *to, size_t bytes, size_t offset) {
    for (size_t i = 0; i < bytes; i++)
        to[i] = byte_at(offset + i);
}

/* Reads at most `room` of what has come and checks it. */
static size_t read_some(struct relay *r, size_t room, size_t offset) {
    char bytes[65536];
    ssize_t n = recv(r->reader, bytes, room, 0);
    if (n < 0) {
        assert_int_equal(errno, EAGAIN);
        return 0;
    }
    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(bytes[i], byte_at(offset + (size_t)i));
    return (size_t)n;
}

static void move_much(bool tcp, size_t read_at_once) {
    enum { TOTAL = 8 << 20 };
    struct relay r;
    char bytes[40000];
    start(&r, tcp);
    size_t written = 0, moved = 0, taken = 0;
    bool saw_pending = false;
    while (taken < TOTAL) {
        size_t want = TOTAL - written < sizeof bytes ? TOTAL - written : sizeof bytes;
        fill(bytes, want, written);
        ssize_t n = want ? send(r.writer, bytes, want, 0) : 0;
        written += n > 0 ? (size_t)n : 0;
        vx_loop_run_once(r.net.loop, 0);
        while (moved < TOTAL && (n = r.from->ops->move(r.from, r.to, TOTAL - moved)) > 0)
            moved += (size_t)n;
        if (moved < TOTAL)
            assert_int_equal(n, VX_IO_AGAIN);
        if (r.to->pending_bytes) {
            saw_pending = true;
            assert_false(r.to->writable);
        }
        taken += read_some(&r, read_at_once, taken);
        assert_true(taken + r.to->pending_bytes <= moved && moved <= written);
    }
    assert_true(saw_pending || read_at_once > 60000);
    assert_int_equal(r.to->pending_bytes, 0);
    assert_int_equal(r.net.tcp.stats.moved_bytes, TOTAL);
    VX_TEST_UNTIL(&r.net, r.to->writable);
    assert_int_equal(r.net.tcp.pipe_count, 1);
    end(&r);
}

static void moves_between_tcp_sockets(void **state) {
    (void)state;
    move_much(true, 65536);
}

static void moves_to_a_slow_tcp_reader(void **state) {
    (void)state;
    move_much(true, 5000);
}

static void moves_between_unix_sockets(void **state) {
    (void)state;
    move_much(false, 5000);
}

static void counts_down_to_the_bytes_wanted(void **state) {
    (void)state;
    struct relay r;
    char bytes[1000];
    start(&r, true);
    fill(bytes, sizeof bytes, 0);
    assert_int_equal(send(r.writer, bytes, sizeof bytes, 0), sizeof bytes);
    VX_TEST_UNTIL(&r.net, r.from->readable);
    assert_int_equal(r.from->ops->move(r.from, r.to, 300), 300);
    assert_int_equal(read_some(&r, 1000, 0), 300);
    /* The rest is read in the ordinary way. */
    char rest[1000];
    assert_int_equal(r.from->ops->read(r.from, rest, sizeof rest), 700);
    assert_memory_equal(rest, bytes + 300, 700);
    end(&r);
}

static void tells_the_end_of_the_source(void **state) {
    (void)state;
    struct relay r;
    start(&r, true);
    assert_int_equal(send(r.writer, "ab", 2, 0), 2);
    shutdown(r.writer, SHUT_WR);
    VX_TEST_UNTIL(&r.net, r.from->peer_shut);
    assert_int_equal(r.from->ops->move(r.from, r.to, 1 << 20), 2);
    assert_int_equal(r.from->ops->move(r.from, r.to, 1 << 20), 0);
    assert_int_equal(r.net.tcp.pipe_count, 1);
    end(&r);
}

static void waits_without_a_call_when_nothing_can_move(void **state) {
    (void)state;
    struct relay r;
    start(&r, true);
    assert_int_equal(r.from->ops->move(r.from, r.to, 100), VX_IO_AGAIN);
    assert_int_equal(r.net.tcp.pipe_count, 0);
    end(&r);
}

/* Fills everything between the two sockets until the pipe holds bytes that `to` does not take; returns the bytes that
 * went into move(). */
static size_t clog_up(struct relay *r) {
    char bytes[40000];
    size_t written = 0, moved = 0;
    while (!r->to->pending_bytes) {
        fill(bytes, sizeof bytes, written);
        ssize_t n = send(r->writer, bytes, sizeof bytes, 0);
        written += n > 0 ? (size_t)n : 0;
        vx_loop_run_once(r->net.loop, 0);
        n = r->from->ops->move(r->from, r->to, 1 << 20);
        moved += n > 0 ? (size_t)n : 0;
    }
    return moved;
}

static void fin_waits_for_the_pipe(void **state) {
    (void)state;
    struct relay r;
    start(&r, true);
    size_t moved = clog_up(&r), taken = 0;
    r.to->ops->shut(r.to);
    while (taken < moved) {
        taken += read_some(&r, 65536, taken);
        vx_loop_run_once(r.net.loop, 0);
    }
    assert_int_equal(r.to->pending_bytes, 0);
    char byte;
    ssize_t n;
    while ((n = recv(r.reader, &byte, 1, 0)) < 0) {
        assert_int_equal(errno, EAGAIN);
        vx_loop_run_once(r.net.loop, 0);
    }
    assert_int_equal(n, 0);
    end(&r);
}

static void writes_wait_for_the_pipe(void **state) {
    (void)state;
    struct relay r;
    start(&r, true);
    size_t moved = clog_up(&r), taken = 0;
    struct vx_slice s = VX_SLICE("tail");
    assert_int_equal(r.to->ops->write(r.to, &s, 1), VX_IO_AGAIN);
    while (taken < moved) {
        taken += read_some(&r, 65536, taken);
        vx_loop_run_once(r.net.loop, 0);
    }
    VX_TEST_UNTIL(&r.net, r.to_owner.ready & VX_WRITABLE);
    assert_int_equal(r.to->ops->write(r.to, &s, 1), 4);
    char tail[8];
    assert_int_equal(recv(r.reader, tail, sizeof tail, 0), 4);
    assert_memory_equal(tail, "tail", 4);
    end(&r);
}

static void closing_with_a_full_pipe_resets(void **state) {
    (void)state;
    struct relay r;
    start(&r, true);
    size_t moved = clog_up(&r), taken = 0, n;
    r.to->ops->close(r.to, false);
    r.to = NULL;
    char bytes[65536];
    ssize_t got;
    while ((got = recv(r.reader, bytes, sizeof bytes, 0)) > 0)
        taken += (size_t)got;
    n = taken;
    assert_int_equal(got, -1);
    assert_int_equal(errno, ECONNRESET);
    assert_true(n < moved);
    assert_int_equal(r.net.tcp.pipe_count, 0);
    end(&r);
}

static void a_sink_that_breaks_is_told(void **state) {
    (void)state;
    struct relay r;
    start(&r, true);
    clog_up(&r);
    struct linger l = {.l_onoff = 1};
    setsockopt(r.reader, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    close(r.reader);
    VX_TEST_UNTIL(&r.net, r.to_owner.ready & VX_FAILED);
    assert_int_equal(r.to->pending_bytes, 0);
    assert_int_equal(r.from->ops->move(r.from, r.to, 100), VX_IO_FAILED);
    assert_int_equal(r.to->error.code, VX_ERR_CLIENT_GONE);
    assert_int_equal(r.from->error.code, VX_ERR_NONE);
    r.reader = open("/dev/null", O_RDONLY);
    end(&r);
}

static void moves_only_between_sockets(void **state) {
    (void)state;
    struct relay r;
    struct vx_transport_ops other_ops = {0};
    struct vx_transport other = {.ops = &other_ops};
    start(&r, true);
    assert_int_equal(r.from->ops->move(r.from, &other, 100), VX_IO_UNSUPPORTED);
    end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_between_tcp_sockets),
        cmocka_unit_test(moves_to_a_slow_tcp_reader),
        cmocka_unit_test(moves_between_unix_sockets),
        cmocka_unit_test(counts_down_to_the_bytes_wanted),
        cmocka_unit_test(tells_the_end_of_the_source),
        cmocka_unit_test(waits_without_a_call_when_nothing_can_move),
        cmocka_unit_test(fin_waits_for_the_pipe),
        cmocka_unit_test(writes_wait_for_the_pipe),
        cmocka_unit_test(closing_with_a_full_pipe_resets),
        cmocka_unit_test(a_sink_that_breaks_is_told),
        cmocka_unit_test(moves_only_between_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
