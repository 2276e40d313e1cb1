/* SPDX-License-Identifier: Apache-2.0 */
/* What sends requests to backends: exchanges, health checks, later exporters and plugins. One client a worker, with
 * its pools of idle connections. */
#ifndef VX_CORE_PORTS_HTTP_CLIENT_H
#define VX_CORE_PORTS_HTTP_CLIENT_H

#include <stdatomic.h>

#include "core/ports/stream.h"

struct vx_tls_client;      /* proxy/tls */
struct vx_backend_metrics; /* the recorder's own; keyed by route and name, outlives snapshots */

enum { VX_WORKERS_MAX = 1024 };

/* Counts of one target over all workers. Lives from snapshot to snapshot, as long as any refers to it. */
struct vx_target_shared {
    _Atomic uint32_t connections;                          /* open or opening */
    _Atomic uint32_t waiting;                              /* requests queued for a connection */
    _Atomic uint32_t holders;                              /* see vx_target_hold */
    _Atomic uint64_t connections_opened;                   /* ever */
    _Atomic uint64_t waiting_workers[VX_WORKERS_MAX / 64]; /* a bit for each that waits for a place */
};

/* One place requests can go, and how. Immutable; lives as long as the snapshot that holds it. */
struct vx_target {
    struct vx_address address;
    struct vx_slice name; /* address as configured, for logs and for Host where the client sent none */
    const struct vx_tls_client *tls; /* NULL: plain */
    struct vx_slice server_name;
    struct vx_target_shared *shared;
    struct vx_backend_metrics *metrics; /* NULL: not counted */
    bool http2;                         /* what it speaks; else HTTP/1.1 */
    uint32_t pool; /* index of its pool in every worker: the same identity keeps it over reloads */
    uint32_t max_connections, max_idle, max_requests, queue_length;
    uint64_t connect_timeout_ns, response_timeout_ns, idle_timeout_ns; /* 0: none */
    uint64_t pool_idle_ns, pool_max_age_ns, queue_timeout_ns;
};

/* Whether max_connections leaves a place just now. Any worker. */
static inline bool vx_target_has_place(const struct vx_target *target) {
    return !target->max_connections ||
           atomic_load_explicit(&target->shared->connections, memory_order_seq_cst) < target->max_connections;
}

/* Once no connection counts in it the control thread may free it (vx_pool_table_collect): who gives a place up and still looks
 * at it afterwards holds it from before until then. Any worker. */
static inline void vx_target_hold(struct vx_target_shared *shared) {
    atomic_fetch_add_explicit(&shared->holders, 1, memory_order_relaxed);
}

static inline void vx_target_let_go(struct vx_target_shared *shared) {
    atomic_fetch_sub_explicit(&shared->holders, 1, memory_order_release);
}

/* In this order: who has given the last place up is seen to hold it. Control thread, once no snapshot refers to it. */
static inline bool vx_target_is_unused(const struct vx_target_shared *shared) {
    return atomic_load_explicit(&shared->connections, memory_order_acquire) == 0 &&
           atomic_load_explicit(&shared->holders, memory_order_acquire) == 0;
}

/* Where requests wait, one of them is to be told (proxy/runtime/places.h). Any worker. */
static inline void vx_target_give_place(struct vx_target_shared *shared) {
    atomic_fetch_sub_explicit(&shared->connections, 1, memory_order_seq_cst);
}

/* A place among max_connections, over all workers, to be given back when the connection has closed. False: all are
 * taken, by connections that count and not by others who are looking as well. Any worker. */
static inline bool vx_target_take_place(const struct vx_target *target) {
    struct vx_target_shared *shared = target->shared;
    if (!target->max_connections) {
        atomic_fetch_add_explicit(&shared->connections, 1, memory_order_relaxed);
        return true;
    }
    uint32_t open = atomic_load_explicit(&shared->connections, memory_order_seq_cst);
    while (open < target->max_connections)
        if (atomic_compare_exchange_weak_explicit(&shared->connections, &open, open + 1, memory_order_seq_cst,
                                                  memory_order_seq_cst))
            return true;
    return false;
}

struct vx_upstream_open {
    const struct vx_target *target;
    /* As it is to be sent: path, query, authority and header fields already edited. */
    struct vx_request *request;
    struct vx_arena *arena; /* for the response's head; outlives the upstream */
    const struct vx_stream_events *events;
    void *user;
    bool fresh; /* take no pooled connection: one of them has just turned out to be stale */
};

struct vx_http_client {
    /* Sends the request's head now (pooled connection) or as soon as a connection is there; the body is pushed into
     * the stream. The upstream lives until its release(). NULL with *error filled: not even begun. */
    struct vx_upstream *(*open)(struct vx_http_client *self, const struct vx_upstream_open *open,
                                struct vx_error *error, uint64_t now_ns);
};

#endif
