/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's loop, memory and sockets for tests, and a transport owner that writes down what it is told. */
#ifndef VX_TESTS_SUPPORT_NET_H
#define VX_TESTS_SUPPORT_NET_H

#include "proxy/net/loop.h"
#include "proxy/net/tcp.h"
#include "proxy/runtime/slab.h"

struct vx_test_net {
    struct vx_runtime rt;
    struct vx_slab arenas, blocks;
    struct vx_loop *loop;
    struct vx_tcp tcp;
};

/* Starts and ends one; fails the test where it cannot. At the end no transport may be open and no memory be taken. */
void vx_test_net_start(struct vx_test_net *n);
void vx_test_net_end(struct vx_test_net *n);

/* Rounds that take what is there now and do not wait. */
void vx_test_net_settle(struct vx_test_net *n);

/* Runs rounds until `condition` holds; stops the program when it does not within half a minute, which only a broken
 * program needs. */
#define VX_TEST_UNTIL(net, condition)                                                                        \
    do {                                                                                                     \
        uint64_t until_ns = vx_test_now_ns() + 30000000000u;                                                 \
        while (!(condition))                                                                                 \
            vx_test_net_round(net, until_ns, #condition, __FILE__, __LINE__);                                \
    } while (0)
void vx_test_net_round(struct vx_test_net *n, uint64_t until_ns, const char *what, const char *file,
                       int line);
uint64_t vx_test_now_ns(void);

/* An owner of one transport. */
struct vx_test_owner {
    struct vx_transport *t;
    uint32_t ready;   /* all bits ever told */
    uint32_t told[4]; /* how often each bit was told: READABLE, WRITABLE, FAILED, PEER_SHUT */
    uint32_t calls;
    bool close_on_ready;          /* closes the transport in the first call */
    struct vx_test_owner *victim; /* whose transport it closes in its first call */
};

void vx_test_own(struct vx_test_owner *o, struct vx_transport *t);

/* A connected pair of non-blocking sockets: [0] for the transport, [1] for the test's bare hands. */
void vx_test_unix_pair(int fds[2]);
void vx_test_tcp_pair(int fds[2]);

/* A transport over fds[0] of such a pair. */
struct vx_transport *vx_test_adopt(struct vx_test_net *n, int fd, struct vx_test_owner *o);

/* A descriptor that listens on a free port of 127.0.0.1, and the port. */
int vx_test_listen(uint16_t *port);

#endif
