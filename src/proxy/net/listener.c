/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting connections on one worker; see listener.h.
 *
 * State      | event                       | next      | function
 * ACCEPTING  | client                      | ACCEPTING | on_events
 * ACCEPTING  | no descriptor or memory     | STARVED   | starve (not watched: nothing can spin)
 * STARVED    | a connection closed, 100 ms | ACCEPTING | revive (or STARVED again)
 * ACCEPTING, STARVED | pause               | PAUSED    | vx_listener_pause
 * PAUSED     | resume                      | ACCEPTING | vx_listener_resume
 * any        | stop                        | STOPPED   | vx_listener_stop
 */
#include "proxy/net/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "proxy/net/proxy_protocol.h"
#include "proxy/net/sockaddr.h"

enum {
    ACCEPTS_PER_ROUND = 256, /* established connections want their turn, too */
    RETRY_NS = 100 * 1000 * 1000
};

#define LISTENER_STATES(X) X(ACCEPTING) X(STARVED) X(PAUSED) X(STOPPED)

enum listener_state {
#define X(name) LISTENER_##name,
    LISTENER_STATES(X)
#undef X
};

struct vx_listener {
    struct vx_watch watch;
    struct vx_tcp *tcp;
    struct vx_listener_options options;
    bool ask_local; /* bound to a wildcard: each connection's own address is to be asked for */
    bool shared;    /* the socket is other workers' too */
    enum listener_state state;
    struct vx_list starved;
    struct vx_timer retry;
    struct vx_list pending; /* of struct pending */
    uint32_t pending_count;
    struct vx_retired retired;
};

/* A connection whose PROXY header is under way. */
struct pending {
    struct vx_list link;
    struct vx_listener *listener;
    struct vx_proxy_await *await;
};

static struct vx_timer_wheel *wheel_of(struct vx_listener *l) {
    return &vx_loop_runtime(l->tcp->loop)->wheel;
}

static bool watch(struct vx_listener *l) {
    /* Level-triggered, so that what one round leaves comes up in the next. */
    return vx_loop_watch(l->tcp->loop, &l->watch, l->shared ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN);
}

static void starve(struct vx_listener *l, uint64_t now_ns) {
    if (l->state == LISTENER_ACCEPTING)
        vx_loop_unwatch(l->tcp->loop, &l->watch);
    l->tcp->stats.starved += l->state != LISTENER_STARVED;
    l->state = LISTENER_STARVED;
    l->tcp->stats.exhausted++;
    vx_list_remove(&l->starved);
    vx_list_push_back(&l->tcp->starved, &l->starved);
    vx_timer_set(wheel_of(l), &l->retry, now_ns + RETRY_NS);
}

static void feed(struct vx_listener *l) {
    vx_list_remove(&l->starved);
    vx_timer_remove(wheel_of(l), &l->retry);
}

static bool admit(struct vx_listener *l) {
    return !l->options.admit || l->options.admit(l->options.user);
}

/* The other half of each admit() that said yes. */
static void settle(struct vx_listener *l) {
    if (l->options.admit)
        l->options.admitted(l->options.user);
}

static void on_proxy_header(void *user, struct vx_proxy_await *a, struct vx_transport *t, uint64_t now_ns) {
    struct pending *p = user;
    struct vx_listener *l = p->listener;
    (void)a;
    vx_list_remove(&p->link);
    l->pending_count--;
    free(p);
    if (t)
        l->options.on_accept(l->options.user, t, now_ns);
    settle(l);
}

static void await_proxy_header(struct vx_listener *l, struct vx_transport *t) {
    struct pending *p = malloc(sizeof *p);
    if (!p) {
        t->ops->close(t, true);
        settle(l);
        return;
    }
    p->listener = l;
    vx_list_init(&p->link);
    p->await = vx_proxy_await_start(l->tcp, t, l->options.proxy_timeout_ns, on_proxy_header, p);
    if (!p->await) {
        free(p);
        settle(l);
        return;
    }
    vx_list_push_back(&l->pending, &p->link);
    l->pending_count++;
}

/* False: no memory for it, or for the kernel's part of it. */
static bool welcome(struct vx_listener *l, int fd, const union vx_sockaddr *peer, uint64_t now_ns) {
    struct vx_address remote, local = l->options.address;
    vx_sockaddr_to_address(peer, &remote);
    if (l->ask_local) {
        union vx_sockaddr sa;
        socklen_t len = sizeof sa;
        if (getsockname(fd, &sa.any, &len) == 0)
            vx_sockaddr_to_address(&sa, &local);
    }
    struct vx_transport *t = vx_tcp_adopt(l->tcp, fd, &remote, &local);
    if (!t)
        return false;
    l->tcp->stats.accepted++;
    if (l->options.proxy_protocol) {
        await_proxy_header(l, t);
    } else {
        l->options.on_accept(l->options.user, t, now_ns);
        settle(l);
    }
    return true;
}

/* The connection that was to be taken is gone or was refused; the next one may be fine (accept(2)). */
static bool is_lost_connection(int error) {
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENETDOWN ||
           error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET || error == EHOSTUNREACH ||
           error == EOPNOTSUPP || error == ENETUNREACH || error == EPERM;
}

/* Accepts while `state` stays what it is, nothing runs out, and at most `limit`. */
static void accept_some(struct vx_listener *l, unsigned limit, uint64_t now_ns) {
    enum listener_state state = l->state;
    for (unsigned i = 0; i < limit && l->state == state && admit(l); i++) {
        union vx_sockaddr sa = {.any.sa_family = AF_UNSPEC};
        socklen_t len = sizeof sa;
        int fd = accept4(l->watch.fd, &sa.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && welcome(l, fd, &sa, now_ns))
            continue;
        int error = fd >= 0 ? ENOMEM : errno;
        settle(l);
        if (is_lost_connection(error))
            continue;
        if (error != EAGAIN)
            starve(l, now_ns);
        return;
    }
}

static void on_events(struct vx_watch *w, uint32_t events, uint64_t now_ns) {
    struct vx_listener *l = VX_CONTAINER_OF(w, struct vx_listener, watch);
    (void)events;
    if (l->state == LISTENER_ACCEPTING)
        accept_some(l, ACCEPTS_PER_ROUND, now_ns);
}

/* A starved listener asks again; it is watched as soon as accept does not fail for want of something. */
static void revive(struct vx_listener *l, uint64_t now_ns) {
    feed(l);
    accept_some(l, ACCEPTS_PER_ROUND, now_ns);
    if (l->state != LISTENER_STARVED || !vx_list_empty(&l->starved))
        return;
    if (watch(l))
        l->state = LISTENER_ACCEPTING;
    else
        starve(l, now_ns);
}

static void on_retry(struct vx_timer *t, uint64_t now_ns) {
    revive(VX_CONTAINER_OF(t, struct vx_listener, retry), now_ns);
}

void vx_listener_revive(struct vx_task *task, uint64_t now_ns) {
    struct vx_tcp *tcp = VX_CONTAINER_OF(task, struct vx_tcp, revive);
    /* One that starves again goes to the end of the list: look at each once. */
    for (uint32_t count = vx_list_length(&tcp->starved); count > 0 && !vx_list_empty(&tcp->starved); count--)
        revive(VX_CONTAINER_OF(tcp->starved.next, struct vx_listener, starved), now_ns);
}

static bool is_wildcard(const struct vx_address *a) {
    static const uint8_t zero[16];
    if (a->kind == VX_ADDRESS_UNIX)
        return false;
    return memcmp(a->ip, zero, a->kind == VX_ADDRESS_IP4 ? 4 : 16) == 0;
}

struct vx_listener *vx_listener_start(struct vx_tcp *tcp, int fd, const struct vx_listener_options *options) {
    struct vx_listener *l = calloc(1, sizeof *l);
    if (!l) {
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    l->watch = (struct vx_watch){on_events, fd};
    l->tcp = tcp;
    l->options = *options;
    l->options.address.text = VX_SLICE_NONE;
    l->ask_local = is_wildcard(&options->address);
    l->shared = options->address.kind == VX_ADDRESS_UNIX;
    l->state = LISTENER_ACCEPTING;
    vx_list_init(&l->starved);
    vx_list_init(&l->pending);
    vx_timer_init(&l->retry, on_retry);
    if (!watch(l)) {
        int error = errno;
        close(fd);
        free(l);
        errno = error;
        return NULL;
    }
    return l;
}

void vx_listener_pause(struct vx_listener *l) {
    if (l->state == LISTENER_ACCEPTING)
        vx_loop_unwatch(l->tcp->loop, &l->watch);
    else if (l->state == LISTENER_STARVED)
        feed(l);
    else
        return;
    l->state = LISTENER_PAUSED;
}

void vx_listener_resume(struct vx_listener *l) {
    if (l->state != LISTENER_PAUSED)
        return;
    if (watch(l))
        l->state = LISTENER_ACCEPTING;
    else
        starve(l, vx_loop_runtime(l->tcp->loop)->now_ns);
}

static void close_listener(struct vx_listener *l) {
    if (l->state == LISTENER_STOPPED)
        return;
    vx_listener_pause(l);
    l->state = LISTENER_STOPPED;
    close(l->watch.fd);
    l->watch.fd = -1;
}

void vx_listener_stop(struct vx_listener *l) {
    if (l->state == LISTENER_STOPPED)
        return;
    accept_some(l, UINT32_MAX, vx_loop_runtime(l->tcp->loop)->now_ns);
    close_listener(l);
}

uint32_t vx_listener_pending(const struct vx_listener *l) {
    return l->pending_count;
}

static void free_listener(struct vx_retired *r) {
    free(VX_CONTAINER_OF(r, struct vx_listener, retired));
}

void vx_listener_free(struct vx_listener *l) {
    if (!l)
        return;
    close_listener(l);
    struct vx_list *next;
    for (struct vx_list *node = l->pending.next; node != &l->pending; node = next) {
        struct pending *p = VX_CONTAINER_OF(node, struct pending, link);
        next = node->next;
        vx_proxy_await_cancel(p->await);
        free(p);
        settle(l);
    }
    vx_list_init(&l->pending);
    l->pending_count = 0;
    l->retired.free = free_listener;
    vx_loop_retire(l->tcp->loop, &l->retired);
}

int vx_listener_fd(const struct vx_listener *l) {
    return l->watch.fd;
}
