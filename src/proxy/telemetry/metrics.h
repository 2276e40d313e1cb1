/* SPDX-License-Identifier: Apache-2.0 */
/* Every number that /metrics shows. Each worker counts into memory of its own with relaxed stores (it is the
 * only writer, so an increment is a plain load, add and store); the reader adds the workers' values up
 * whenever it likes, without locks. Nothing here is ever waited for, and nothing is allocated on a worker's
 * thread: the counters of a route exist before the route does.
 *
 * Counters are keyed by route name and backend name and outlive snapshots: a reload that keeps a route keeps
 * its counts. What nobody holds any more disappears from the page. */
#ifndef VX_PROXY_TELEMETRY_METRICS_H
#define VX_PROXY_TELEMETRY_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/slice.h"
#include "core/ports/recorder.h"
#include "proxy/telemetry/text.h"

struct vx_metrics;
struct vx_route_metrics;
struct vx_backend_metrics;
struct vx_snapshot;
struct vx_histogram;

/* What a worker counts that belongs to no route: name, kind, metric, label (without braces, may be empty),
 * help. Rows of one metric stand together; only the first one's help is shown. */
#define VX_WORKER_VALUE_LIST(X)                                                                              \
    X(CONNECTIONS_ACTIVE, "gauge", "vortex_connections_active", "", "Client connections open now.")          \
    X(CONNECTIONS, "counter", "vortex_connections_total", "", "Client connections accepted.")                \
    X(ACCEPT_PAUSES, "counter", "vortex_accept_pauses_total", "",                                            \
      "Times a worker stopped accepting: limits.connections was reached, or no descriptor was left.")        \
    X(ACCESS_LOG_DROPPED, "counter", "vortex_access_log_dropped_total", "",                                  \
      "Access log lines lost: the writer could not keep up or the write failed.")                            \
    X(GLITCH_RESET, "counter", "vortex_http2_glitches_total", "kind=\"reset\"",                              \
      "What HTTP/2 clients did that is cheap for them and dear for us, by kind.")                            \
    X(GLITCH_BAD_FRAME, "counter", "vortex_http2_glitches_total", "kind=\"bad_frame\"", "")                  \
    X(GLITCH_BAD_HEAD, "counter", "vortex_http2_glitches_total", "kind=\"bad_head\"", "")                    \
    X(GLITCH_REFUSED, "counter", "vortex_http2_glitches_total", "kind=\"refused\"", "")                      \
    X(GLITCH_LARGE_HEAD, "counter", "vortex_http2_glitches_total", "kind=\"large_head\"", "")                \
    X(GLITCH_CONTINUATION, "counter", "vortex_http2_glitches_total", "kind=\"continuation\"", "")            \
    X(GLITCH_EMPTY_DATA, "counter", "vortex_http2_glitches_total", "kind=\"empty_data\"", "")                \
    X(GLITCH_SMALL_WINDOW, "counter", "vortex_http2_glitches_total", "kind=\"small_window\"", "")            \
    X(GLITCH_CONTROL, "counter", "vortex_http2_glitches_total", "kind=\"control\"", "")                      \
    X(CALMED, "counter", "vortex_http2_calmed_total", "",                                                    \
      "HTTP/2 connections ended with ENHANCE_YOUR_CALM.")                                                    \
    X(RATE_STORE_UP, "gauge", "vortex_rate_store_connected_workers", "",                                     \
      "Workers that have a connection to the Redis of rate limits.")                                         \
    X(RATE_STORE_ASKED, "counter", "vortex_rate_store_requests_total", "",                                   \
      "Questions sent to the Redis of rate limits.")                                                         \
    X(RATE_STORE_LOST, "counter", "vortex_rate_store_errors_total", "reason=\"lost\"",                       \
      "Questions that the Redis of rate limits did not decide, by why.")                                     \
    X(RATE_STORE_ERROR, "counter", "vortex_rate_store_errors_total", "reason=\"error\"", "")                 \
    X(RATE_STORE_AWAY, "counter", "vortex_rate_store_errors_total", "reason=\"away\"", "")                   \
    X(RATE_LOCAL_REFUSALS, "counter", "vortex_rate_limited_locally_total", "",                               \
      "Refusals without asking the Redis, which had refused the key until later.")                           \
    X(RATE_EVICTIONS, "counter", "vortex_rate_limit_evictions_total", "",                                    \
      "Keys forgotten before they were paid off, because their part of the table in memory was full.")       \
    X(MEMORY_CONNECTIONS, "gauge", "vortex_memory_bytes", "kind=\"connections\"",                            \
      "Memory of ours in use, by kind.")                                                                     \
    X(MEMORY_ARENAS, "gauge", "vortex_memory_bytes", "kind=\"arenas\"", "")                                  \
    X(MEMORY_BLOCKS, "gauge", "vortex_memory_bytes", "kind=\"blocks\"", "")                                  \
    X(BANNED_CONNECTIONS, "counter", "vortex_banned_connections_total", "",                                  \
      "Connections of banned clients that were closed as they were accepted.")                               \
    X(BAN_REPORTS_DROPPED, "counter", "vortex_ban_reports_dropped_total", "",                                \
      "Refusals that were not counted towards a ban: the queue was full.")                                   \
    X(BANS_OVERLOOKED, "counter", "vortex_ban_refusals_overlooked_total", "",                                \
      "Refusals that were not counted towards a ban: the table was full of bans.")                           \
    X(BANS_ACTIVE, "gauge", "vortex_bans_active", "", "Clients that are banned now.")                        \
    X(BANS_POLICY, "counter", "vortex_bans_total", "origin=\"policy\"", "Bans, by who asked for them.")      \
    X(BANS_MANUAL, "counter", "vortex_bans_total", "origin=\"operator\"", "")                                \
    X(XDP_NATIVE, "gauge", "vortex_xdp_attached", "mode=\"native\"",                                         \
      "1: the XDP program is attached in this mode.")                                                        \
    X(XDP_GENERIC, "gauge", "vortex_xdp_attached", "mode=\"generic\"", "")                                   \
    X(XDP_PASSED, "counter", "vortex_xdp_passed_packets_total", "",                                          \
      "Packets that the XDP program let through.")                                                           \
    X(XDP_BANNED, "counter", "vortex_xdp_dropped_packets_total", "reason=\"banned\"",                        \
      "Packets that the XDP program dropped.")                                                               \
    X(XDP_PREFIX, "counter", "vortex_xdp_dropped_packets_total", "reason=\"prefix\"", "")                    \
    X(XDP_MALFORMED, "counter", "vortex_xdp_dropped_packets_total", "reason=\"malformed\"", "")              \
    X(XDP_FRAGMENT, "counter", "vortex_xdp_dropped_packets_total", "reason=\"fragment\"", "")                \
    X(XDP_AMPLIFICATION, "counter", "vortex_xdp_dropped_packets_total", "reason=\"amplification\"", "")      \
    X(XDP_SYN_RATE, "counter", "vortex_xdp_dropped_packets_total", "reason=\"syn_rate\"", "")                \
    X(XDP_UDP_RATE, "counter", "vortex_xdp_dropped_packets_total", "reason=\"udp_rate\"", "")                \
    X(XDP_CONNECTION_RATE, "counter", "vortex_xdp_dropped_packets_total", "reason=\"connection_rate\"", "")

enum vx_worker_value {
#define X(name, kind, metric, label, help) VX_WORKER_##name,
    VX_WORKER_VALUE_LIST(X)
#undef X
        VX_WORKER_VALUE_COUNT
};

/* One worker's (or the control thread's) own. */
struct vx_metrics_worker {
    _Alignas(64) _Atomic uint64_t values[VX_WORKER_VALUE_COUNT];
};

/* Adds `n`, which may be negative for a gauge. The owner's thread only. */
static inline void vx_metrics_add(struct vx_metrics_worker *w, enum vx_worker_value value, int64_t n) {
    uint64_t old = atomic_load_explicit(&w->values[value], memory_order_relaxed);
    atomic_store_explicit(&w->values[value], old + (uint64_t)n, memory_order_relaxed);
}

/* Sets a gauge that its owner keeps elsewhere. The owner's thread only. */
static inline void vx_metrics_set(struct vx_metrics_worker *w, enum vx_worker_value value, uint64_t n) {
    atomic_store_explicit(&w->values[value], n, memory_order_relaxed);
}

/* For `workers` workers (>= 1), numbered from 0, and the control thread, which has the number `workers`.
 * NULL: no memory. Everything below that is not said to be the worker's runs on the control thread. */
struct vx_metrics *vx_metrics_new(uint32_t workers);

/* No worker runs and nothing is held any more but by `m` itself. NULL is allowed. */
void vx_metrics_free(struct vx_metrics *m);

/* The values of one worker; they live as long as `m`. */
struct vx_metrics_worker *vx_metrics_worker(struct vx_metrics *m, uint32_t worker);

/* Where a worker notes how long the Redis of rate limits took; lives as long as `m`. */
struct vx_histogram *vx_metrics_rate_store(struct vx_metrics *m, uint32_t worker);

/* The sum of one value over all workers. Any thread. */
uint64_t vx_metrics_total(const struct vx_metrics *m, enum vx_worker_value value);

/* The counters of the route with this name, with one hold more; made when there are none. `name` is copied.
 * NULL: no memory (the route then counts nowhere; struct vx_route allows it). */
struct vx_route_metrics *vx_metrics_route(struct vx_metrics *m, struct vx_slice name);

/* One hold less; the last one ends it. No worker may still count into it: drop when the snapshot that held it
 * is unused. NULL is allowed. */
void vx_metrics_route_drop(struct vx_metrics *m, struct vx_route_metrics *route);

/* The same for a backend of a route (NULL gives NULL), by the name that metrics and logs show. Endpoints of one backend (a DNS
 * name with several addresses, two backends on one address) share a name and are shown as one: counts added
 * up, of EWMA and breaker the worst. Holds `route` as well, until it is dropped. */
struct vx_backend_metrics *vx_metrics_backend(struct vx_metrics *m, struct vx_route_metrics *route,
                                              struct vx_slice name);
void vx_metrics_backend_drop(struct vx_metrics *m, struct vx_backend_metrics *backend);

/* A load of the configuration that was asked for while running has ended well or not. `wall_ns`: the time. */
void vx_metrics_reloaded(struct vx_metrics *m, bool success, uint64_t wall_ns);

/* Counts the end of an exchange, or the beginning of a tunnel (record->part); `worker` is the caller's number. The worker's thread; bounded, no
 * allocation. */
void vx_metrics_record(struct vx_metrics *m, uint32_t worker, const struct vx_exchange_record *record);

/* Counts a retry of the route and the request sent to the target that failed. The worker's thread. */
void vx_metrics_retried(struct vx_metrics *m, uint32_t worker, const struct vx_route *route,
                        const struct vx_target *target);

/* Appends the whole page in Prometheus' text format 0.0.4 to `page`. `snapshot` is the current one, whose
 * backends' state is shown; NULL before there is one. False: no memory. */
bool vx_metrics_render(struct vx_metrics *m, const struct vx_snapshot *snapshot, struct vx_text *page);

#endif
