/* SPDX-License-Identifier: Apache-2.0 */
/* See loop.h.
 *
 * The inbox is Vyukov's bounded queue: a cell's sequence number says whose turn it is (equal to the position: free to
 * be written; position + 1: to be read), so posting is one compare-and-swap and the loop takes without a lock. What is sent
 * lies in a stack, the newest on top, that the loop takes as a whole. The eventfd is written only by the poster that finds `roused` clear. It is watched edge-triggered and therefore never
 * read: each write is an edge of its own, and 2^64 of them are not to be lived to see. */
#include "proxy/net/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/base/assert.h"

enum { EVENTS_PER_ROUND = 256 };

struct cell {
    atomic_size_t sequence;
    void (*run)(void *arg, uint64_t now_ns);
    void *arg;
};

struct vx_loop {
    struct vx_runtime *rt;
    int epoll_fd;
    bool tasks_left;
    struct vx_retired *retired;
    struct vx_watch wake;
    struct vx_loop_stats stats;
    size_t inbox_read; /* the loop's own position */
    struct epoll_event events[EVENTS_PER_ROUND];

    /* Touched by other threads too. */
    _Alignas(64) atomic_size_t inbox_write;
    atomic_bool roused; /* the eventfd was written since the inbox was last looked at */
    atomic_bool stopping;
    atomic_uint_fast64_t refused;
    _Atomic(struct vx_message *) sent; /* the newest one */
    struct cell inbox[VX_LOOP_INBOX];
};

_Static_assert((VX_LOOP_INBOX & (VX_LOOP_INBOX - 1)) == 0, "positions are taken modulo a power of two");

static uint64_t clock_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void rouse(struct vx_loop *l) {
    if (atomic_exchange(&l->roused, true))
        return;
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(l->wake.fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
}

/* The eventfd's edge has done its work by ending the wait: messages are looked at in every round. */
static void ignore_wake(struct vx_watch *w, uint32_t events, uint64_t now_ns) {
    (void)w, (void)events, (void)now_ns;
}

struct vx_loop *vx_loop_new(struct vx_runtime *rt) {
    struct vx_loop *l = aligned_alloc(64, (sizeof *l + 63) / 64 * 64);
    if (!l)
        return NULL;
    memset(l, 0, sizeof *l);
    l->rt = rt;
    for (size_t i = 0; i < VX_LOOP_INBOX; i++)
        atomic_init(&l->inbox[i].sequence, i);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake = (struct vx_watch){ignore_wake, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (l->epoll_fd < 0 || l->wake.fd < 0 || !vx_loop_watch(l, &l->wake, EPOLLIN | EPOLLET)) {
        int error = errno;
        vx_loop_free(l);
        errno = error;
        return NULL;
    }
    rt->now_ns = clock_ns();
    vx_timer_wheel_init(&rt->wheel, rt->now_ns);
    vx_list_init(&rt->tasks);
    vx_list_init(&rt->later);
    return l;
}

static void free_retired(struct vx_loop *l) {
    while (l->retired) {
        struct vx_retired *r = l->retired;
        l->retired = r->next;
        r->free(r);
    }
}

void vx_loop_free(struct vx_loop *l) {
    free_retired(l);
    if (l->wake.fd >= 0)
        close(l->wake.fd);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    free(l);
}

struct vx_runtime *vx_loop_runtime(struct vx_loop *l) {
    return l->rt;
}

const struct vx_loop_stats *vx_loop_stats(struct vx_loop *l) {
    l->stats.messages_refused = atomic_load_explicit(&l->refused, memory_order_relaxed);
    return &l->stats;
}

bool vx_loop_watch(struct vx_loop *l, struct vx_watch *w, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = w};
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, w->fd, &e) == 0;
}

bool vx_loop_rewatch(struct vx_loop *l, struct vx_watch *w, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = w};
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &e) == 0;
}

void vx_loop_unwatch(struct vx_loop *l, struct vx_watch *w) {
    /* Closing alone would not do: while a child between fork and exec holds a copy of the descriptor, the kernel
     * goes on reporting it, with a pointer to memory that is gone. */
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
}

void vx_loop_retire(struct vx_loop *l, struct vx_retired *r) {
    r->next = l->retired;
    l->retired = r;
}

bool vx_loop_post(struct vx_loop *l, void (*run)(void *arg, uint64_t now_ns), void *arg) {
    size_t at = atomic_load_explicit(&l->inbox_write, memory_order_relaxed);
    for (;;) {
        struct cell *m = &l->inbox[at % VX_LOOP_INBOX];
        size_t sequence = atomic_load_explicit(&m->sequence, memory_order_acquire);
        ptrdiff_t ahead = (ptrdiff_t)(sequence - at);
        if (ahead < 0) {
            atomic_fetch_add_explicit(&l->refused, 1, memory_order_relaxed);
            return false;
        }
        if (ahead > 0) {
            at = atomic_load_explicit(&l->inbox_write, memory_order_relaxed);
            continue;
        }
        if (atomic_compare_exchange_weak_explicit(&l->inbox_write, &at, at + 1, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            m->run = run;
            m->arg = arg;
            atomic_store_explicit(&m->sequence, at + 1, memory_order_release);
            rouse(l);
            return true;
        }
    }
}

void vx_loop_send(struct vx_loop *l, struct vx_message *m) {
    if (atomic_exchange(&m->under_way, true))
        return;
    m->before = atomic_load_explicit(&l->sent, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&l->sent, &m->before, m, memory_order_release,
                                                  memory_order_relaxed))
        ;
    rouse(l);
}

/* Each is let go before it runs, in one order with what its senders wrote before they found it on its way. */
static void read_sent(struct vx_loop *l, uint64_t now_ns) {
    struct vx_message *newest = atomic_exchange_explicit(&l->sent, NULL, memory_order_acquire),
                      *oldest = NULL;
    while (newest) {
        struct vx_message *before = newest->before;
        newest->before = oldest;
        oldest = newest;
        newest = before;
    }
    while (oldest) {
        struct vx_message *m = oldest;
        oldest = m->before;
        l->stats.messages++;
        atomic_exchange(&m->under_way, false);
        m->run(m, now_ns);
    }
}

/* At most a whole inbox a round, so that a busy poster cannot hold the loop. */
static void read_inbox(struct vx_loop *l, uint64_t now_ns) {
    for (unsigned i = 0; i < VX_LOOP_INBOX; i++) {
        struct cell *m = &l->inbox[l->inbox_read % VX_LOOP_INBOX];
        if (atomic_load_explicit(&m->sequence, memory_order_acquire) != l->inbox_read + 1)
            return;
        void (*run)(void *, uint64_t) = m->run;
        void *arg = m->arg;
        atomic_store_explicit(&m->sequence, l->inbox_read + VX_LOOP_INBOX, memory_order_release);
        l->inbox_read++;
        l->stats.messages++;
        run(arg, now_ns);
    }
    rouse(l);
}

void vx_loop_stop(struct vx_loop *l) {
    int error = errno; /* a signal handler may call this */
    atomic_store(&l->stopping, true);
    rouse(l);
    errno = error;
}

/* epoll's timeout, rounded up so that the timer is due when the wait ends. */
static int wait_ms(struct vx_loop *l, uint64_t limit_ns) {
    if (l->tasks_left || !vx_list_empty(&l->rt->tasks))
        return 0;
    uint64_t ns = vx_timer_wheel_next_ns(&l->rt->wheel, l->rt->now_ns);
    if (limit_ns < ns)
        ns = limit_ns;
    if (ns == UINT64_MAX)
        return -1;
    uint64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    return ms > 3600000 ? 3600000 : (int)ms;
}

bool vx_loop_run_once(struct vx_loop *l, uint64_t timeout_ns) {
    struct vx_runtime *rt = l->rt;
    int n = epoll_wait(l->epoll_fd, l->events, EVENTS_PER_ROUND, wait_ms(l, timeout_ns));
    VX_CHECK(n >= 0 || errno == EINTR);
    uint64_t now_ns = rt->now_ns = clock_ns();
    for (int i = 0; i < n; i++) {
        struct vx_watch *w = l->events[i].data.ptr;
        w->on_events(w, l->events[i].events, now_ns);
    }
    if (VX_UNLIKELY(atomic_load_explicit(&l->roused, memory_order_relaxed))) {
        atomic_exchange(&l->roused, false); /* an exchange, so that what its last setter posted is visible */
        read_sent(l, now_ns);
        read_inbox(l, now_ns);
    }
    l->tasks_left = vx_runtime_run_tasks(rt);
    vx_timer_wheel_run(&rt->wheel, now_ns);
    free_retired(l);
    l->stats.rounds++;
    l->stats.events += n > 0 ? (unsigned)n : 0;
    return !atomic_load_explicit(&l->stopping, memory_order_acquire);
}

void vx_loop_run(struct vx_loop *l) {
    while (vx_loop_run_once(l, UINT64_MAX))
        ;
    atomic_store(&l->stopping, false);
}
