/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by metrics.c (the registry, and what workers count) and metrics_page.c (the page). */
#ifndef VX_PROXY_TELEMETRY_METRICS_INTERNAL_H
#define VX_PROXY_TELEMETRY_METRICS_INTERNAL_H

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/histogram.h"
#include "core/base/list.h"
#include "core/http/grpc.h"
#include "proxy/telemetry/counter_pool.h"
#include "proxy/telemetry/metrics.h"

#define VX_PROTOCOL_LIST(X)                                                                                  \
    X(HTTP10, "http/1.0")                                                                                    \
    X(HTTP11, "http/1.1")                                                                                    \
    X(HTTP2, "h2")                                                                                           \
    X(HTTP3, "h3")                                                                                           \
    X(UNKNOWN, "unknown") /* the head was refused before its version was known */

enum vx_protocol {
#define X(name, text) VX_PROTOCOL_##name,
    VX_PROTOCOL_LIST(X)
#undef X
        VX_PROTOCOL_COUNT
};

/* Pairs of status and protocol that one worker tells apart for one route. A backend that answers with more of
 * them is up to something; the rest is counted together. */
enum { VX_ROUTE_CODES = 31 };

/* What one worker counts of one route. Zero is empty. */
struct vx_route_cell {
    _Atomic uint16_t
        keys[VX_ROUTE_CODES + 1]; /* status, protocol and VX_KEY_USED; 0: free. The last is never used */
    _Atomic uint64_t counts[VX_ROUTE_CODES + 1]; /* the last one counts what found no key */
    _Atomic uint64_t grpc[VX_GRPC_STATUS_COUNT]; /* calls by how they ended */
    _Atomic uint64_t retries, rate_limited;
    _Atomic uint64_t request_bytes, response_bytes;
    struct vx_histogram duration;
};

_Static_assert(sizeof(struct vx_route_cell) <= 1344, "three cells a page");

enum { VX_KEY_USED = 0x8000, VX_KEY_PROTOCOL_SHIFT = 10, VX_KEY_STATUS_MASK = 0x3ff };

struct vx_backend_cell {
    _Atomic uint64_t requests;
};

/* What routes and backends have in common: found by parent and name, counted, listed in order of creation. */
struct vx_counted {
    struct vx_list link;
    struct vx_counted *next; /* in the hash table */
    uint64_t hash;
    struct vx_route_metrics *parent; /* a backend's route, held by it; NULL for routes */
    void *cells;                     /* from the pool */
    uint32_t holds;
    struct vx_slice name;  /* as given; this and the label follow the struct in its memory */
    struct vx_slice label; /* route="..." or route="...",backend="...", escaped */
};

struct vx_route_metrics {
    struct vx_counted counted;
};

/* State of the backend's endpoints in the current snapshot, gathered while a page is rendered. */
struct vx_backend_now {
    bool present;
    bool checked;                        /* by active health checks */
    bool usable;                         /* these have left at least one endpoint in */
    unsigned breaker;                    /* 0 closed, 1 half-open, 2 open; the worst of the endpoints */
    uint64_t ewma_ns;                    /* the slowest */
    uint64_t active, connections_opened; /* all together */
};

struct vx_backend_metrics {
    struct vx_counted counted;
    struct vx_backend_now now;
};

struct vx_worker_block {
    struct vx_metrics_worker values;
    _Alignas(64) _Atomic uint64_t errors[VX_ERR_COUNT]; /* exchanges by how they ended */
    struct vx_histogram rate_store;                     /* answers of the Redis of rate limits */
};

struct vx_metrics {
    uint32_t workers;
    struct vx_worker_block *blocks; /* workers + 1 */
    struct vx_counter_pool route_cells, backend_cells;
    struct vx_list routes, backends; /* of struct vx_counted */
    struct vx_counted **table;
    uint32_t table_size, table_used; /* the size is a power of two */
    struct vx_hash_key key;
    struct vx_route_metrics *no_route; /* requests that no route took */
    uint64_t reloads[2];               /* failed, good */
    bool last_reload_good;
    uint64_t last_good_reload_wall_ns; /* 0: none yet */
    uint64_t start_time_s;
};

#endif
