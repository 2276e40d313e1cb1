/* SPDX-License-Identifier: Apache-2.0 */
/* Links to real sockets: what is sent in a round arrives together, names are looked up, and what breaks is told. */
#include "proxy/net/network.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/engine.h"

static struct vx_engine engine;
static struct vx_network_dialer dialer;

/* What a link's user has seen. */
static char seen[1 << 20];
static size_t seen_len;
static const char *broken;
static struct vx_link *link_under_test;
static bool close_at_bytes;

static void on_bytes(void *user, struct vx_slice bytes, uint64_t now_ns) {
    (void)user, (void)now_ns;
    assert_true(seen_len + bytes.len < sizeof seen);
    memcpy(seen + seen_len, bytes.ptr, bytes.len);
    seen_len += bytes.len;
    if (close_at_bytes)
        dialer.net.close(link_under_test);
}

static void on_broken(void *user, const char *why, uint64_t now_ns) {
    (void)user, (void)now_ns;
    assert_null(broken);
    broken = why;
}

static const struct vx_link_events events = {.on_bytes = on_bytes, .on_broken = on_broken};

static int setup(void **state) {
    (void)state;
    assert_true(vx_engine_init(&engine, 0));
    vx_network_dialer_init(&dialer, &engine.rt, engine.loop, NULL, VX_SLICE_NONE);
    seen_len = 0;
    broken = NULL;
    close_at_bytes = false;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    vx_network_dialer_destroy(&dialer);
    vx_engine_free(&engine);
    return 0;
}

/* A socket that listens on a port of 127.0.0.1. */
static int listen_somewhere(uint16_t *port) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0 && listen(fd, 8) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    *port = ntohs(sa.sin_port);
    return fd;
}

static struct vx_address loopback(uint16_t port) {
    return (struct vx_address){.kind = VX_ADDRESS_IP4, .port = port, .ip = {127, 0, 0, 1}};
}

static void run_until_seen(size_t len) {
    for (int i = 0; i < 1000 && seen_len < len && !broken; i++)
        vx_loop_run_once(engine.loop, 20000000);
    assert_int_equal(seen_len, len);
}

static void run_until_broken(void) {
    for (int i = 0; i < 1000 && !broken; i++)
        vx_loop_run_once(engine.loop, 20000000);
    assert_non_null(broken);
}

static void read_exactly(int fd, char *to, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = recv(fd, to + at, len - at, MSG_DONTWAIT);
        if (n > 0)
            at += (size_t)n;
        else
            vx_loop_run_once(engine.loop, 5000000);
    }
}

static void bytes_go_both_ways(void **state) {
    (void)state;
    uint16_t port;
    int server = listen_somewhere(&port);
    struct vx_address to = loopback(port);
    struct vx_link *link = dialer.net.open(&dialer.net, &to, &events, NULL);
    assert_non_null(link);
    dialer.net.send(link, VX_SLICE("one "));
    dialer.net.send(link, VX_SLICE("two"));
    vx_loop_run_once(engine.loop, 20000000);
    int fd = accept(server, NULL, NULL);
    char heard[16];
    read_exactly(fd, heard, 7);
    assert_memory_equal(heard, "one two", 7);
    assert_int_equal(send(fd, "answer", 6, 0), 6);
    run_until_seen(6);
    assert_memory_equal(seen, "answer", 6);
    close(fd);
    run_until_broken();
    assert_string_equal(broken, "it closed the connection");
    dialer.net.close(link);
    close(server);
}

static void a_peer_that_does_not_read_gets_it_all_later(void **state) {
    (void)state;
    enum { LARGE = 8 * 1024 * 1024, PIECE = 64 * 1024 };
    uint16_t port;
    int server = listen_somewhere(&port);
    struct vx_address to = loopback(port);
    struct vx_link *link = dialer.net.open(&dialer.net, &to, &events, NULL);
    char *piece = malloc(PIECE), *heard = malloc(LARGE);
    assert_true(piece && heard);
    for (size_t at = 0; at < LARGE; at += PIECE) {
        memset(piece, (int)(at / PIECE), PIECE);
        dialer.net.send(link, vx_slice(piece, PIECE));
    }
    for (int i = 0; i < 20; i++)
        vx_loop_run_once(engine.loop, 1000000);
    int fd = accept(server, NULL, NULL);
    read_exactly(fd, heard, LARGE);
    for (size_t at = 0; at < LARGE; at++)
        assert_true(heard[at] == (char)(at / PIECE));
    dialer.net.close(link);
    close(fd);
    close(server);
    free(piece);
    free(heard);
}

static void nobody_listens(void **state) {
    (void)state;
    uint16_t port;
    close(listen_somewhere(&port));
    struct vx_address to = loopback(port);
    struct vx_link *link = dialer.net.open(&dialer.net, &to, &events, NULL);
    dialer.net.send(link, VX_SLICE("for nothing"));
    run_until_broken();
    dialer.net.close(link);
}

static void a_name(void **state) {
    (void)state;
    uint16_t port;
    int server = listen_somewhere(&port);
    struct vx_address to = {.kind = VX_ADDRESS_NAME, .port = port, .text = VX_SLICE("localhost")};
    /* The second finds it known; the first may be closed while it waits. */
    struct vx_link *gone = dialer.net.open(&dialer.net, &to, &events, NULL);
    dialer.net.close(gone);
    for (int turn = 0; turn < 2; turn++) {
        link_under_test = dialer.net.open(&dialer.net, &to, &events, NULL);
        dialer.net.send(link_under_test, VX_SLICE("hello"));
        int fd = -1;
        char heard[8];
        for (int i = 0; i < 200; i++)
            vx_loop_run_once(engine.loop, 1000000);
        fd = accept(server, NULL, NULL);
        read_exactly(fd, heard, 5);
        assert_memory_equal(heard, "hello", 5);
        dialer.net.close(link_under_test);
        close(fd);
    }
    close(server);
}

static void a_name_that_is_nobodys(void **state) {
    (void)state;
    struct vx_address to = {.kind = VX_ADDRESS_NAME, .port = 1, .text = VX_SLICE("no-such-host.invalid")};
    struct vx_link *link = dialer.net.open(&dialer.net, &to, &events, NULL);
    run_until_broken();
    assert_string_equal(broken, "its name does not resolve");
    dialer.net.close(link);
}

static void closed_from_inside_an_event(void **state) {
    (void)state;
    uint16_t port;
    int server = listen_somewhere(&port);
    struct vx_address to = loopback(port);
    link_under_test = dialer.net.open(&dialer.net, &to, &events, NULL);
    close_at_bytes = true;
    vx_loop_run_once(engine.loop, 20000000);
    int fd = accept(server, NULL, NULL);
    assert_int_equal(send(fd, "bye", 3, 0), 3);
    run_until_seen(3);
    vx_loop_run_once(engine.loop, 0);
    close(fd);
    close(server);
}

static void names_of_old_are_forgotten(void **state) {
    (void)state;
    struct vx_link *kept = NULL;
    char text[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "host-%d.invalid", i);
        struct vx_address to = {.kind = VX_ADDRESS_NAME, .port = 1, .text = vx_slice_of(text)};
        struct vx_link *link = dialer.net.open(&dialer.net, &to, &events, NULL);
        if (kept)
            dialer.net.close(link);
        else
            kept = link;
    }
    assert_in_range(dialer.name_count, 1, 64);
    run_until_broken(); /* the first one's name is still looked up */
    dialer.net.close(kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_go_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(a_peer_that_does_not_read_gets_it_all_later, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_that_is_nobodys, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_from_inside_an_event, setup, teardown),
        cmocka_unit_test_setup_teardown(names_of_old_are_forgotten, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
