/* SPDX-License-Identifier: Apache-2.0 */
/* See net.h. */
#include "support/net.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t vx_test_now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void vx_test_net_start(struct vx_test_net *n) {
    *n = (struct vx_test_net){.rt = {.random = {1}}};
    VX_CHECK(vx_slab_init(&n->arenas, VX_SLAB_ARENA_BYTES, 1 << 20));
    VX_CHECK(vx_slab_init(&n->blocks, VX_SLAB_BLOCK_BYTES, 1 << 20));
    n->rt.arenas = &n->arenas.source;
    n->rt.blocks = &n->blocks.source;
    n->loop = vx_loop_new(&n->rt);
    VX_CHECK(n->loop);
    vx_tcp_init(&n->tcp, n->loop);
    n->rt.dialer = &n->tcp.dialer;
}

void vx_test_net_end(struct vx_test_net *n) {
    vx_test_net_settle(n);
    VX_CHECK(n->tcp.stats.open == 0);
    VX_CHECK(n->arenas.used_bytes == 0);
    VX_CHECK(n->blocks.used_bytes == 0);
    vx_tcp_free(&n->tcp);
    vx_loop_free(n->loop);
    vx_slab_free(&n->arenas);
    vx_slab_free(&n->blocks);
}

void vx_test_net_settle(struct vx_test_net *n) {
    for (int i = 0; i < 8; i++)
        vx_loop_run_once(n->loop, 0);
}

void vx_test_net_round(struct vx_test_net *n, uint64_t until_ns, const char *what, const char *file,
                       int line) {
    if (vx_test_now_ns() > until_ns) {
        vx_panic(file, line, what);
    }
    vx_loop_run_once(n->loop, 1000000000);
}

static void on_ready(struct vx_transport *t, uint32_t ready, uint64_t now_ns) {
    struct vx_test_owner *o = t->owner;
    (void)now_ns;
    VX_CHECK(o->t == t);
    o->calls++;
    o->ready |= ready;
    for (unsigned i = 0; i < 4; i++)
        o->told[i] += ready >> i & 1;
    if (o->victim && o->victim->t) {
        o->victim->t->ops->close(o->victim->t, false);
        o->victim->t = NULL;
    }
    if (o->close_on_ready) {
        o->t = NULL;
        t->ops->close(t, false);
    }
}

void vx_test_own(struct vx_test_owner *o, struct vx_transport *t) {
    *o = (struct vx_test_owner){.t = t};
    t->owner = o;
    t->on_ready = on_ready;
}

void vx_test_unix_pair(int fds[2]) {
    VX_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
}

int vx_test_listen(uint16_t *port) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    VX_CHECK(fd >= 0);
    VX_CHECK(bind(fd, (struct sockaddr *)&sa, len) == 0);
    VX_CHECK(listen(fd, 64) == 0);
    VX_CHECK(getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
    *port = ntohs(sa.sin_port);
    return fd;
}

void vx_test_tcp_pair(int fds[2]) {
    uint16_t port;
    int listener = vx_test_listen(&port), on = 1;
    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    VX_CHECK(fds[1] >= 0);
    VX_CHECK(connect(fds[1], (struct sockaddr *)&sa, sizeof sa) == 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    VX_CHECK(fds[0] >= 0);
    VX_CHECK(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
    for (int i = 0; i < 2; i++)
        VX_CHECK(setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    close(listener);
}

struct vx_transport *vx_test_adopt(struct vx_test_net *n, int fd, struct vx_test_owner *o) {
    struct vx_address none = {.kind = VX_ADDRESS_UNIX};
    struct vx_transport *t = vx_tcp_adopt(&n->tcp, fd, &none, &none);
    VX_CHECK(t);
    vx_test_own(o, t);
    return t;
}
