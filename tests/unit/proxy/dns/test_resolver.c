/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver against a small DNS server on the same loop: first answers, changes when the TTL is over, failures that
 * keep the last good answer, shared look-ups, /etc/hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/dns/resolver.h"
#include "support/net.h"

enum { TYPE_A = 1, TYPE_AAAA = 28 };

/* Answers every name with what it is told to. */
struct dns_server {
    struct vx_watch watch;
    unsigned queries;  /* for A */
    uint8_t ip4[4][4]; /* addresses, in the order they are sent */
    unsigned ip4_count;
    bool ip6; /* 2001:db8::1, too */
    uint32_t ttl;
    uint8_t rcode;
    bool silent;
};

static size_t put_record(uint8_t *to, unsigned type, uint32_t ttl, const uint8_t *data, unsigned len) {
    uint8_t head[12] = {0xc0,
                        12,
                        0,
                        (uint8_t)type,
                        0,
                        1,
                        (uint8_t)(ttl >> 24),
                        (uint8_t)(ttl >> 16),
                        (uint8_t)(ttl >> 8),
                        (uint8_t)ttl,
                        0,
                        (uint8_t)len};
    memcpy(to, head, sizeof head);
    memcpy(to + sizeof head, data, len);
    return sizeof head + len;
}

static void serve(struct vx_watch *w, uint32_t events, uint64_t now_ns) {
    struct dns_server *d = VX_CONTAINER_OF(w, struct dns_server, watch);
    (void)events, (void)now_ns;
    static const uint8_t ip6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    uint8_t q[1024];
    struct sockaddr_storage from;
    socklen_t from_len = sizeof from;
    ssize_t n = recvfrom(w->fd, q, 512, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    if (n < 17)
        return;
    size_t end = 12;
    while (end < (size_t)n && q[end])
        end += q[end] + 1u;
    unsigned type = q[end + 2];
    end += 5;
    d->queries += type == TYPE_A;
    if (d->silent)
        return;
    q[2] = 0x84;
    q[3] = d->rcode;
    q[7] = q[9] = q[11] = 0;
    if (!d->rcode && type == TYPE_A) {
        for (unsigned i = 0; i < d->ip4_count; i++)
            end += put_record(q + end, TYPE_A, d->ttl, d->ip4[i], 4);
        q[7] = (uint8_t)d->ip4_count;
    } else if (!d->rcode && type == TYPE_AAAA && d->ip6) {
        end += put_record(q + end, TYPE_AAAA, d->ttl, ip6, 16);
        q[7] = 1;
    }
    sendto(w->fd, q, end, 0, (struct sockaddr *)&from, from_len);
}

struct told {
    unsigned calls;
    unsigned count;
    struct vx_address addresses[8];
    uint64_t ttl_ns;
    const char *error;
    struct vx_resolver_watch **end; /* watches to be ended from inside the first call */
};

static void on_answer(void *user, const struct vx_resolver_answer *a, uint64_t now_ns) {
    struct told *t = user;
    (void)now_ns;
    t->calls++;
    t->count = a->count;
    t->ttl_ns = a->ttl_ns;
    t->error = a->error;
    assert_true(a->count <= 8);
    for (unsigned i = 0; i < a->count; i++)
        t->addresses[i] = a->addresses[i];
    for (unsigned i = 0; t->end && i < 2; i++) {
        vx_resolver_unwatch(t->end[i]);
        t->end[i] = NULL;
    }
    t->end = NULL;
}

struct scene {
    struct vx_test_net net;
    struct dns_server server;
    struct vx_resolver *resolver;
    struct told told;
};

static void start(struct scene *s) {
    *s = (struct scene){.server = {.ttl = 60, .ip4 = {{192, 0, 2, 1}}, .ip4_count = 1}};
    vx_test_net_start(&s->net);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    s->server.watch = (struct vx_watch){serve, fd};
    assert_true(vx_loop_watch(s->net.loop, &s->server.watch, EPOLLIN));
    char servers[64];
    snprintf(servers, sizeof servers, "127.0.0.1:%u", ntohs(sa.sin_port));
    struct vx_resolver_options o = {.servers = servers,
                                    .timeout_ns = 50000000,
                                    .tries = 2,
                                    .ttl_min_ns = 20000000,
                                    .ttl_max_ns = 100000000000,
                                    .retry_min_ns = 5000000,
                                    .retry_max_ns = 20000000};
    const char *why = NULL;
    s->resolver = vx_resolver_new(s->net.loop, &o, &why);
    if (!s->resolver)
        fail_msg("%s", why);
}

static void end(struct scene *s) {
    vx_resolver_free(s->resolver);
    vx_loop_unwatch(s->net.loop, &s->server.watch);
    close(s->server.watch.fd);
    vx_test_net_end(&s->net);
}

static struct vx_resolver_watch *watch(struct scene *s, const char *host, struct told *t) {
    struct vx_resolver_watch *w = vx_resolver_watch(s->resolver, vx_slice_of(host), on_answer, t);
    assert_non_null(w);
    return w;
}

static void gives_sorted_addresses_and_the_ttl(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    static const uint8_t ips[4][4] = {{192, 0, 2, 9}, {192, 0, 2, 1}, {192, 0, 2, 9}, {10, 0, 0, 1}};
    memcpy(s.server.ip4, ips, sizeof ips);
    s.server.ip4_count = 4;
    s.server.ip6 = true;
    watch(&s, "backend.example.", &s.told);
    assert_int_equal(s.told.calls, 0);
    VX_TEST_UNTIL(&s.net, s.told.calls > 0);
    assert_null(s.told.error);
    assert_int_equal(s.told.count, 4);
    assert_int_equal(s.told.addresses[0].ip[0], 10);
    assert_int_equal(s.told.addresses[1].ip[3], 1);
    assert_int_equal(s.told.addresses[2].ip[3], 9);
    assert_int_equal(s.told.addresses[3].kind, VX_ADDRESS_IP6);
    assert_int_equal(s.told.addresses[3].ip[15], 1);
    assert_int_equal(s.told.ttl_ns, 60000000000u);
    end(&s);
}

static void asks_again_and_tells_changes_only(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    s.server.ttl = 0;
    watch(&s, "backend.example.", &s.told);
    VX_TEST_UNTIL(&s.net, s.server.queries >= 3);
    assert_int_equal(s.told.calls, 1);
    assert_int_equal(s.told.ttl_ns, 20000000);
    s.server.ip4[0][3] = 2;
    VX_TEST_UNTIL(&s.net, s.told.calls > 1);
    assert_int_equal(s.told.count, 1);
    assert_int_equal(s.told.addresses[0].ip[3], 2);
    end(&s);
}

static void failures_keep_the_last_good_answer(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    s.server.ttl = 0;
    watch(&s, "backend.example.", &s.told);
    VX_TEST_UNTIL(&s.net, s.told.calls == 1);
    static const uint8_t rcodes[] = {2 /* SERVFAIL */, 3 /* NXDOMAIN */};
    for (unsigned i = 0; i < 2; i++) {
        s.server.rcode = rcodes[i];
        VX_TEST_UNTIL(&s.net, s.told.calls == 2 + 2 * i);
        assert_non_null(s.told.error);
        assert_int_equal(s.told.count, 1);
        assert_int_equal(s.told.addresses[0].ip[3], 1);
        unsigned queries = s.server.queries;
        VX_TEST_UNTIL(&s.net, s.server.queries > queries + 3);
        assert_int_equal(s.told.calls, 2 + 2 * i);
        s.server.rcode = 0;
        VX_TEST_UNTIL(&s.net, s.told.calls == 3 + 2 * i);
        assert_null(s.told.error);
    }
    /* A server that does not answer at all. */
    s.server.silent = true;
    VX_TEST_UNTIL(&s.net, s.told.calls == 6);
    assert_non_null(s.told.error);
    assert_int_equal(s.told.count, 1);
    end(&s);
}

static void a_name_that_never_was_is_told(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    s.server.rcode = 3;
    watch(&s, "nobody.example.", &s.told);
    VX_TEST_UNTIL(&s.net, s.told.calls == 1);
    assert_int_equal(s.told.count, 0);
    assert_non_null(s.told.error);
    s.server.rcode = 0;
    VX_TEST_UNTIL(&s.net, s.told.calls == 2);
    assert_int_equal(s.told.count, 1);
    end(&s);
}

static void watches_of_one_name_share_it(void **state) {
    (void)state;
    struct scene s;
    struct told second = {0}, third = {0};
    start(&s);
    watch(&s, "backend.example.", &s.told);
    struct vx_resolver_watch *w = watch(&s, "BACKEND.example.", &second);
    VX_TEST_UNTIL(&s.net, s.told.calls == 1 && second.calls == 1);
    assert_int_equal(s.server.queries, 1);
    /* A late one hears at once what is known, but not inside the call. */
    watch(&s, "backend.example.", &third);
    assert_int_equal(third.calls, 0);
    VX_TEST_UNTIL(&s.net, third.calls == 1);
    assert_int_equal(s.server.queries, 1);
    vx_resolver_unwatch(w);
    assert_int_equal(s.told.calls + second.calls, 2);
    end(&s);
}

static void watches_may_end_at_any_moment(void **state) {
    (void)state;
    struct scene s;
    struct told second = {0};
    struct vx_resolver_watch *both[2];
    start(&s);
    /* Before the look-up began, and while it is under way. */
    vx_resolver_unwatch(watch(&s, "a.example.", &s.told));
    struct vx_resolver_watch *w = watch(&s, "b.example.", &s.told);
    vx_loop_run_once(s.net.loop, 0);
    vx_resolver_unwatch(w);
    VX_TEST_UNTIL(&s.net, s.server.queries > 0);
    vx_test_net_settle(&s.net);
    /* From inside the call: its own and another one. */
    both[0] = watch(&s, "c.example.", &s.told);
    both[1] = watch(&s, "c.example.", &second);
    s.told.end = both;
    VX_TEST_UNTIL(&s.net, s.told.calls == 1);
    vx_test_net_settle(&s.net);
    assert_int_equal(second.calls, 0);
    vx_resolver_unwatch(NULL);
    /* The resolver goes while a look-up is under way. */
    watch(&s, "d.example.", &s.told);
    vx_loop_run_once(s.net.loop, 0);
    end(&s);
    vx_resolver_free(NULL);
    assert_int_equal(s.told.calls, 1);
}

static void the_hosts_file_is_honoured(void **state) {
    (void)state;
    struct scene s;
    start(&s);
    watch(&s, "localhost", &s.told);
    VX_TEST_UNTIL(&s.net, s.told.calls == 1);
    assert_null(s.told.error);
    assert_true(s.told.count >= 1);
    assert_int_equal(s.told.addresses[0].ip[0], s.told.addresses[0].kind == VX_ADDRESS_IP4 ? 127 : 0);
    assert_int_equal(s.server.queries, 0);
    end(&s);
}

static void refuses_what_is_no_name(void **state) {
    (void)state;
    struct scene s;
    char name[300];
    start(&s);
    memset(name, 'a', sizeof name);
    assert_null(vx_resolver_watch(s.resolver, vx_slice(name, 254), on_answer, &s.told));
    assert_null(vx_resolver_watch(s.resolver, VX_SLICE_NONE, on_answer, &s.told));
    assert_null(vx_resolver_watch(s.resolver, vx_slice("a\0b", 3), on_answer, &s.told));
    const char *why = NULL;
    struct vx_resolver_options o = {.servers = "not an address"};
    assert_null(vx_resolver_new(s.net.loop, &o, &why));
    assert_non_null(why);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_sorted_addresses_and_the_ttl),
        cmocka_unit_test(asks_again_and_tells_changes_only),
        cmocka_unit_test(failures_keep_the_last_good_answer),
        cmocka_unit_test(a_name_that_never_was_is_told),
        cmocka_unit_test(watches_of_one_name_share_it),
        cmocka_unit_test(watches_may_end_at_any_moment),
        cmocka_unit_test(the_hosts_file_is_honoured),
        cmocka_unit_test(refuses_what_is_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
