/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting: connections are handed over with their addresses, a full file table is a pause and not a spin, a listener
 * that stops loses nobody who was already there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/net/listener.h"
#include "proxy/net/sockaddr.h"
#include "support/net.h"

enum { MANY = 400 };

struct door {
    struct vx_test_net net;
    struct vx_listen_set *set;
    struct vx_listener *listener;
    struct vx_listener_options options;
    struct vx_test_owner guests[MANY];
    unsigned count;
    unsigned pause_at; /* pauses the listener from inside on_accept */
    unsigned limit;    /* of admitted ones; 0: nobody is asked */
    unsigned taken;
    bool stop_on_accept;
};

static void on_accept(void *user, struct vx_transport *t, uint64_t now_ns) {
    struct door *d = user;
    (void)now_ns;
    assert_true(d->count < MANY);
    vx_test_own(&d->guests[d->count++], t);
    if (d->count == d->pause_at)
        vx_listener_pause(d->listener);
    if (d->stop_on_accept)
        vx_listener_stop(d->listener);
}

static bool admit(void *user) {
    struct door *d = user;
    assert_true(d->count + d->taken <= d->limit);
    if (d->count + d->taken == d->limit) {
        vx_listener_pause(d->listener);
        return false;
    }
    d->taken++;
    return true;
}

static void admitted(void *user) {
    struct door *d = user;
    assert_true(d->taken > 0);
    d->taken--;
}

static void start_with(struct door *d, struct vx_address a, bool proxy, unsigned limit) {
    char why[VX_LISTEN_WHY_MAX];
    *d = (struct door){.limit = limit};
    vx_test_net_start(&d->net);
    struct vx_listen_options options = {.dual_stack = true};
    d->set = vx_listen_open(&a, 1, &options, why);
    assert_non_null(d->set);
    d->options = (struct vx_listener_options){.on_accept = on_accept,
                                              .admit = limit ? admit : NULL,
                                              .admitted = admitted,
                                              .user = d,
                                              .address = d->set->address,
                                              .proxy_protocol = proxy,
                                              .proxy_timeout_ns = 60000000000u};
    d->listener = vx_listener_start(&d->net.tcp, vx_listen_take(d->set), &d->options);
    assert_non_null(d->listener);
}

static void start(struct door *d, struct vx_address a, bool proxy) {
    start_with(d, a, proxy, 0);
}

static void end(struct door *d) {
    for (unsigned i = 0; i < d->count; i++)
        if (d->guests[i].t)
            d->guests[i].t->ops->close(d->guests[i].t, false);
    vx_listener_free(d->listener);
    vx_listen_close(d->set, true);
    vx_test_net_end(&d->net);
}

static int knock_at(const struct vx_address *a) {
    union vx_sockaddr sa;
    socklen_t len = vx_sockaddr_of(a, &sa);
    int fd = socket(sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &sa.any, len), 0);
    return fd;
}

static struct vx_address loopback(void) {
    return (struct vx_address){.kind = VX_ADDRESS_IP4, .ip = {127, 0, 0, 1}};
}

/* Each place that was asked for comes back, whatever became of the connection. */
static void asks_before_it_accepts(void **state) {
    (void)state;
    for (int proxy = 0; proxy < 2; proxy++) {
        struct door d;
        int clients[6];
        start_with(&d, loopback(), proxy, 3);
        for (int i = 0; i < 6; i++)
            clients[i] = knock_at(&d.set->address);
        if (proxy) {
            VX_TEST_UNTIL(&d.net, d.taken == 3);
            vx_test_net_settle(&d.net);
            assert_int_equal(d.count, 0);
            assert_int_equal(vx_listener_pending(d.listener), 3);
            for (int i = 0; i < 2; i++)
                assert_int_equal(write(clients[i], "PROXY UNKNOWN\r\n", 15), 15);
            VX_TEST_UNTIL(&d.net, d.count == 2);
            assert_int_equal(d.taken, 1);
            close(clients[2]);
            VX_TEST_UNTIL(&d.net, d.taken == 0);
            assert_int_equal(d.count, 2);
            clients[2] = knock_at(&d.set->address);
        } else {
            VX_TEST_UNTIL(&d.net, d.count == 3);
            vx_test_net_settle(&d.net);
            assert_int_equal(d.count, 3);
            assert_int_equal(d.taken, 0);
            d.limit = 4;
            vx_listener_resume(d.listener);
            VX_TEST_UNTIL(&d.net, d.count == 4);
            assert_int_equal(d.taken, 0);
        }
        for (int i = 0; i < 6; i++)
            close(clients[i]);
        end(&d);
        assert_int_equal(d.taken, 0);
    }
}

static void hands_over_with_addresses(void **state) {
    (void)state;
    struct vx_address any6 = {.kind = VX_ADDRESS_IP6};
    struct vx_address binds[] = {loopback(), {.kind = VX_ADDRESS_IP4}, any6};
    for (int i = 0; i < 3; i++) {
        struct door d;
        start(&d, binds[i], false);
        struct vx_address to = loopback();
        to.port = d.set->address.port;
        int client = knock_at(&to);
        VX_TEST_UNTIL(&d.net, d.count == 1);
        struct vx_transport *t = d.guests[0].t;
        assert_int_equal(t->remote.kind, VX_ADDRESS_IP4);
        assert_int_equal(t->remote.ip[0], 127);
        assert_int_not_equal(t->remote.port, 0);
        assert_true(vx_address_eq(&t->local, &to));
        assert_true(t->writable);
        close(client);
        end(&d);
    }
}

static void accepts_many_and_unix(void **state) {
    (void)state;
    struct vx_address binds[] = {loopback(),
                                 {.kind = VX_ADDRESS_UNIX, .text = VX_SLICE("@vx_test_listener")}};
    for (int i = 0; i < 2; i++) {
        struct door d;
        int clients[MANY];
        start(&d, binds[i], false);
        for (int j = 0; j < MANY; j++)
            clients[j] = knock_at(&d.set->address);
        VX_TEST_UNTIL(&d.net, d.count == MANY);
        assert_int_equal(d.guests[0].t->remote.kind, binds[i].kind);
        for (int j = 0; j < MANY; j++)
            close(clients[j]);
        end(&d);
    }
}

static void workers_share_a_unix_socket(void **state) {
    (void)state;
    static struct door a, b;
    int clients[60];
    start(&a, (struct vx_address){.kind = VX_ADDRESS_UNIX, .text = VX_SLICE("@vx_test_shared")}, false);
    b = (struct door){.options = a.options};
    b.options.user = &b;
    vx_test_net_start(&b.net);
    b.listener = vx_listener_start(&b.net.tcp, dup(vx_listener_fd(a.listener)), &b.options);
    assert_non_null(b.listener);
    for (int i = 0; i < 60; i++) {
        clients[i] = knock_at(&a.set->address);
        /* The first worker pauses half-way: the other one goes on. */
        if (i == 30)
            vx_listener_pause(a.listener);
        vx_loop_run_once((i % 3 ? &a : &b)->net.loop, 0);
    }
    VX_TEST_UNTIL(&b.net, a.count + b.count == 60);
    assert_true(a.count > 0 && b.count > 0);
    for (int i = 0; i < 60; i++)
        close(clients[i]);
    for (unsigned i = 0; i < b.count; i++)
        b.guests[i].t->ops->close(b.guests[i].t, false);
    vx_listener_free(b.listener);
    vx_test_net_end(&b.net);
    end(&a);
}

static void pauses_and_resumes(void **state) {
    (void)state;
    struct door d;
    int clients[6];
    start(&d, loopback(), false);
    d.pause_at = 2;
    for (int i = 0; i < 6; i++)
        clients[i] = knock_at(&d.set->address);
    VX_TEST_UNTIL(&d.net, d.count == 2);
    vx_test_net_settle(&d.net);
    assert_int_equal(d.count, 2);
    vx_listener_pause(d.listener);
    vx_listener_resume(d.listener);
    vx_listener_resume(d.listener);
    VX_TEST_UNTIL(&d.net, d.count == 6);
    for (int i = 0; i < 6; i++)
        close(clients[i]);
    end(&d);
}

static void stopping_takes_those_who_wait(void **state) {
    (void)state;
    struct door d;
    int clients[6];
    start(&d, loopback(), false);
    for (int i = 0; i < 6; i++)
        clients[i] = knock_at(&d.set->address);
    vx_listener_stop(d.listener);
    assert_int_equal(d.count, 6);
    assert_int_equal(vx_listener_fd(d.listener), -1);
    vx_listener_stop(d.listener);
    vx_listener_pause(d.listener);
    vx_listener_resume(d.listener);
    vx_test_net_settle(&d.net);
    for (int i = 0; i < 6; i++)
        close(clients[i]);
    end(&d);
}

static void may_be_stopped_from_inside(void **state) {
    (void)state;
    struct door d;
    int clients[6];
    start(&d, loopback(), false);
    d.stop_on_accept = true;
    for (int i = 0; i < 6; i++)
        clients[i] = knock_at(&d.set->address);
    VX_TEST_UNTIL(&d.net, d.count == 6);
    assert_int_equal(vx_listener_fd(d.listener), -1);
    for (int i = 0; i < 6; i++)
        close(clients[i]);
    end(&d);
}

/* Lowers the limit so far that no further descriptor can be had; returns the old limit. */
static struct rlimit fill_file_table(void) {
    struct rlimit before, now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(next >= 0);
    close(next);
    now = before;
    now.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    return before;
}

static void a_full_file_table_is_a_pause(void **state) {
    (void)state;
    struct door d;
    int clients[4];
    start(&d, loopback(), false);
    clients[0] = knock_at(&d.set->address);
    VX_TEST_UNTIL(&d.net, d.count == 1);
    for (int i = 1; i < 4; i++)
        clients[i] = knock_at(&d.set->address);
    struct rlimit before = fill_file_table();
    VX_TEST_UNTIL(&d.net, d.net.tcp.stats.exhausted == 1);
    assert_int_equal(d.count, 1);
    /* No spin: epoll says nothing more of it, though three clients wait. */
    uint64_t events = vx_loop_stats(d.net.loop)->events;
    for (int i = 0; i < 100; i++)
        vx_loop_run_once(d.net.loop, 0);
    assert_int_equal(vx_loop_stats(d.net.loop)->events, events);
    /* Tries again by itself, in vain. */
    VX_TEST_UNTIL(&d.net, d.net.tcp.stats.exhausted == 2);
    /* A connection that closes makes room for one. */
    d.guests[0].t->ops->close(d.guests[0].t, false);
    d.guests[0].t = NULL;
    VX_TEST_UNTIL(&d.net, d.count == 2);
    vx_test_net_settle(&d.net);
    assert_int_equal(d.count, 2);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    VX_TEST_UNTIL(&d.net, d.count == 4);
    /* And it is watched again. */
    int late = knock_at(&d.set->address);
    VX_TEST_UNTIL(&d.net, d.count == 5);
    close(late);
    for (int i = 0; i < 4; i++)
        close(clients[i]);
    end(&d);
}

static void a_starved_one_may_be_stopped(void **state) {
    (void)state;
    struct door d;
    start(&d, loopback(), false);
    int client = knock_at(&d.set->address);
    struct rlimit before = fill_file_table();
    VX_TEST_UNTIL(&d.net, d.net.tcp.stats.exhausted == 1);
    vx_listener_pause(d.listener);
    vx_test_net_settle(&d.net);
    vx_listener_resume(d.listener);
    VX_TEST_UNTIL(&d.net, d.net.tcp.stats.exhausted == 2);
    vx_listener_stop(d.listener);
    assert_int_equal(d.count, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    close(client);
    end(&d);
}

static void a_dial_without_descriptors_is_our_fault(void **state) {
    (void)state;
    struct door d;
    struct vx_error error;
    start(&d, loopback(), false);
    struct vx_dial to = {.address = d.set->address};
    struct rlimit before = fill_file_table();
    assert_null(d.net.rt.dialer->dial(d.net.rt.dialer, &to, &error));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(error.code, VX_ERR_CONNECT_FAILED);
    assert_int_equal(error.source, VX_BY_SELF);
    end(&d);
}

static void put(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

static void reads_the_proxy_header_first(void **state) {
    (void)state;
    struct door d;
    start(&d, loopback(), true);
    int a = knock_at(&d.set->address), b = knock_at(&d.set->address), c = knock_at(&d.set->address);
    VX_TEST_UNTIL(&d.net, vx_listener_pending(d.listener) == 3);
    put(b, "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nhello");
    put(c, "GET / HTTP/1.1\r\n");
    VX_TEST_UNTIL(&d.net, vx_listener_pending(d.listener) == 1);
    assert_int_equal(d.count, 1);
    assert_int_equal(d.guests[0].t->remote.ip[0], 192);
    assert_true(d.guests[0].t->readable);
    /* After stop those who are under way still come. */
    vx_listener_stop(d.listener);
    put(a, "PROXY UNKNOWN\r\n");
    VX_TEST_UNTIL(&d.net, d.count == 2);
    close(a);
    close(b);
    close(c);
    end(&d);
}

static void freeing_ends_those_under_way(void **state) {
    (void)state;
    struct door d;
    char byte;
    start(&d, loopback(), true);
    int a = knock_at(&d.set->address);
    VX_TEST_UNTIL(&d.net, vx_listener_pending(d.listener) == 1);
    vx_listener_free(d.listener);
    d.listener = NULL;
    assert_true(recv(a, &byte, 1, 0) <= 0);
    close(a);
    end(&d);
}

static void raises_the_limit_of_open_files(void **state) {
    (void)state;
    struct rlimit before, now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    now = before;
    now.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    assert_int_equal(vx_tcp_raise_file_limit(), before.rlim_max);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    assert_int_equal(now.rlim_cur, before.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raises_the_limit_of_open_files),
        cmocka_unit_test(hands_over_with_addresses),
        cmocka_unit_test(accepts_many_and_unix),
        cmocka_unit_test(workers_share_a_unix_socket),
        cmocka_unit_test(asks_before_it_accepts),
        cmocka_unit_test(pauses_and_resumes),
        cmocka_unit_test(stopping_takes_those_who_wait),
        cmocka_unit_test(may_be_stopped_from_inside),
        cmocka_unit_test(a_full_file_table_is_a_pause),
        cmocka_unit_test(a_starved_one_may_be_stopped),
        cmocka_unit_test(a_dial_without_descriptors_is_our_fault),
        cmocka_unit_test(reads_the_proxy_header_first),
        cmocka_unit_test(freeing_ends_those_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
