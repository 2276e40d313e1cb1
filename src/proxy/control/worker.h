/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: one thread, pinned to one core, with its own engine, listening sockets and proxy. The control thread talks
 * to it by messages only. */
#ifndef VX_PROXY_CONTROL_WORKER_H
#define VX_PROXY_CONTROL_WORKER_H

#include <pthread.h>

#include "core/exchange/exchange.h"
#include "core/ports/ban_list.h"
#include "core/ports/filter.h"
#include "proxy/compose_limits.h"
#include "proxy/control/generation.h"
#include "proxy/engine.h"
#include "proxy/telemetry/recorder.h"

/* Open client connections over all workers, against limits.connections. */
struct vx_connection_budget {
    _Atomic uint32_t open;
    _Atomic uint32_t limit; /* 0: none */
};

/* A listener as a worker has it. Connections outlast the listener, and it lives as long as they. */
struct vx_worker_site {
    struct vx_site site;
    struct vx_worker *worker;
    struct vx_worker_site *next;
    struct vx_address address; /* its text is the site's own: the generation that opened it goes */
    bool proxy_protocol;
    bool wanted; /* by the generation being taken up */
};

struct vx_worker {
    struct vx_engine engine;
    struct vx_proxy proxy;
    struct vx_filter_worker filters;            /* what filters may use of it */
    struct vx_filter_engine *engine_of_filters; /* NULL: there are none */
    struct vx_worker_recorder recorder;
    struct vx_rates *rates; /* where rate limits are counted */
    struct vx_metrics_worker *counters;
    struct vx_connection_budget *budget;
    struct vx_ban_gate *bans;
    struct vx_worker_site *sites;
    struct vx_timer tick; /* gauges, paused listeners, the end of a drain */
    /* Not beside flags that the control thread writes: compilers read such neighbours in one go. */
    bool draining, paused;
    uint32_t index;
    int cpu;                    /* pinned to; -1: not */
    struct vx_message to_drain; /* to it, from the control thread */
    struct vx_message last;     /* for `drained` to send: nothing of a client's is left */
    struct vx_worker *all;      /* with `count` workers */
    uint32_t count;
    struct vx_message to_spare; /* to it: connections that another worker's requests wait for */
    struct vx_message to_look;  /* to it: for a place that another worker has given up */
    uint64_t starved_counted;   /* of the listeners' pauses for want of descriptors */
    pthread_t thread;
    bool started;
    /* Called on the worker's thread, once, when a drain has nothing left to wait for. */
    void (*drained)(struct vx_worker *w);
    void *user;
};

/* Everything a worker needs to begin, in one place. Pointers outlive the worker. */
struct vx_worker_options {
    uint32_t index;
    struct vx_worker *all; /* every worker, this one among them; none is stopped before all are halted */
    uint32_t count;
    int cpu;
    struct vx_metrics *metrics;
    struct vx_access_log *access_log;
    struct vx_connection_budget *budget;
    struct vx_rate_memory *rate_memory; /* the table of rate limits in memory */
    struct vx_filter_engine *filters;   /* NULL: there are no filters */
    struct vx_ban_gate *bans;
    void (*drained)(struct vx_worker *w);
    void *user;
};

/* False: no memory or descriptors (errno). The thread is not running yet. Control thread, as all below. */
bool vx_worker_init(struct vx_worker *w, const struct vx_worker_options *options);

/* Starts the thread. False with errno. */
bool vx_worker_start(struct vx_worker *w);

/* New listening sockets that come with a generation; -1 at an index: this listener exists already (or is nobody's). */
struct vx_adoption {
    struct vx_message message; /* to the worker, that it is to be taken up */
    struct vx_worker *worker;
    struct vx_generation *generation;
    int *fds; /* by listener of the config; owned */
};

/* Takes the generation up: new requests use it, listeners are opened, changed and closed as it says. Hands over the
 * worker's hold on the snapshot. `adoption` and its fds are the worker's from here on. */
void vx_worker_adopt(struct vx_adoption *adoption);

/* No new connections, the running exchanges end, then `drained`. */
void vx_worker_drain(struct vx_worker *w);

/* For worker_sites.c, on the worker's thread: looks after gauges, listeners and the drain at the end of the round. */
void vx_worker_tick_soon(struct vx_worker *w);

/* Ends the thread. From then on nothing of it talks to other workers. */
void vx_worker_halt(struct vx_worker *w);

/* Cuts what is left, ends the thread if it runs, and frees everything. */
void vx_worker_stop(struct vx_worker *w);

#endif
