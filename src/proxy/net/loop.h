/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop of one thread over epoll. A round: wait (until an event, the next timer or a message) →
 * events → messages → tasks → timers → memory that was put off. All file descriptors of a worker are known
 * here and in the adapters on top; nothing else in the proxy sees them.
 *
 * Everything is for the loop's own thread, except vx_loop_post, vx_loop_send and vx_loop_stop. */
#ifndef VX_PROXY_NET_LOOP_H
#define VX_PROXY_NET_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "proxy/runtime/runtime.h"

struct vx_loop;

/* A file descriptor that the loop waits for. Embedded in what handles it. */
struct vx_watch {
    /* `events` are epoll's; `now_ns` is the loop's clock. */
    void (*on_events)(struct vx_watch *w, uint32_t events, uint64_t now_ns);
    int fd;
};

/* Memory that an event of this round may still point to: freed when the round is over. */
struct vx_retired {
    struct vx_retired *next;
    void (*free)(struct vx_retired *r);
};

/* What one thread has to say to another and must not get lost: it lies in the sender's own object, so there is always room for
 * it. Zero but for `run` when it is not on its way. */
struct vx_message {
    void (*run)(struct vx_message *m, uint64_t now_ns);
    struct vx_message *before; /* sent before it; the loop's, while it is on its way */
    atomic_bool under_way;
};

struct vx_loop_stats {
    uint64_t rounds, events, messages;
    uint64_t messages_refused; /* by a full inbox */
};

/* A loop that keeps `rt->now_ns` and runs its tasks and timers. Calls vx_timer_wheel_init(&rt->wheel) and
 * vx_list_init(&rt->tasks) itself; what else is in `rt` is the caller's. `rt` outlives the loop. NULL with
 * errno set: no memory or no file descriptor. */
struct vx_loop *vx_loop_new(struct vx_runtime *rt);

/* Closes the loop's own descriptors. Watched ones stay open and belong to their owners. Messages that were
 * never delivered are dropped. Not while another thread may still post. */
void vx_loop_free(struct vx_loop *l);

struct vx_runtime *vx_loop_runtime(struct vx_loop *l);
const struct vx_loop_stats *vx_loop_stats(struct vx_loop *l);

/* Runs rounds until vx_loop_stop. */
void vx_loop_run(struct vx_loop *l);

/* One round; waits at most `timeout_ns` (UINT64_MAX: until something happens). For tests and for a drain with
 * a deadline. False once stopped. */
bool vx_loop_run_once(struct vx_loop *l, uint64_t timeout_ns);

/* vx_loop_run returns after the round under way; a later vx_loop_run starts anew. Any thread, any number of
 * times; async-signal-safe. */
void vx_loop_stop(struct vx_loop *l);

/* Any thread: `run(arg, now_ns)` on the loop's thread, soon, in order of posting. False: the inbox is full
 * (VX_LOOP_INBOX messages wait), nothing was posted. For what the poster can do without, or tries again. */
bool vx_loop_post(struct vx_loop *l, void (*run)(void *arg, uint64_t now_ns), void *arg);

/* Any thread: m->run(m, now_ns) on the loop's thread, soon, in order of sending. A message that is on its way already arrives
 * once, and whoever sends it then has what was written before seen by that run. It may be freed by its run at the earliest. */
void vx_loop_send(struct vx_loop *l, struct vx_message *m);

enum { VX_LOOP_INBOX = 1024 };

/* Starts, changes or ends waiting on w->fd (`events` as epoll_ctl takes them, EPOLLET included where wanted).
 * False with errno set: the kernel refused. Unwatching something not watched is harmless. After
 * vx_loop_unwatch an event of the current round may still arrive: w must stay valid until the round is over
 * (vx_loop_retire) and its on_events must bear it. */
bool vx_loop_watch(struct vx_loop *l, struct vx_watch *w, uint32_t events);
bool vx_loop_rewatch(struct vx_loop *l, struct vx_watch *w, uint32_t events);
void vx_loop_unwatch(struct vx_loop *l, struct vx_watch *w);

/* Calls r->free(r) at the end of the round. */
void vx_loop_retire(struct vx_loop *l, struct vx_retired *r);

#endif
