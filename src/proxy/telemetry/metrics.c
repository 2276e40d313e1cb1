/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of counters and what workers count into it. See metrics.h; the page is in metrics_page.c. */
#include <stdlib.h>
#include <sys/random.h>

#include "core/exchange/snapshot.h"
#include "proxy/telemetry/metrics_internal.h"
#include "proxy/telemetry/process.h"

enum { TABLE_SIZE_FIRST = 64 };

/* The worker is the only writer, so this needs no read-modify-write instruction. */
static inline void bump(_Atomic uint64_t *counter, uint64_t n) {
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, old + n, memory_order_relaxed);
}

struct vx_metrics *vx_metrics_new(uint32_t workers) {
    struct vx_metrics *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->workers = workers;
    m->last_reload_good = true;
    m->start_time_s = vx_process_start_time_s();
    vx_list_init(&m->routes);
    vx_list_init(&m->backends);
    vx_counter_pool_init(&m->route_cells, sizeof(struct vx_route_cell), workers);
    vx_counter_pool_init(&m->backend_cells, sizeof(struct vx_backend_cell), workers);
    /* Names come from the configuration; should the kernel have no randomness yet, a fixed key will do. */
    if (getrandom(&m->key, sizeof m->key, GRND_NONBLOCK) != (ssize_t)sizeof m->key)
        m->key = (struct vx_hash_key){0x9e3779b97f4a7c15u, 0xbf58476d1ce4e5b9u};
    size_t bytes = (workers + 1) * sizeof *m->blocks;
    m->blocks = aligned_alloc(64, bytes);
    if (m->blocks)
        memset(m->blocks, 0, bytes);
    m->table = calloc(TABLE_SIZE_FIRST, sizeof(struct vx_counted *));
    m->table_size = TABLE_SIZE_FIRST;
    if (m->blocks && m->table)
        m->no_route = vx_metrics_route(m, VX_SLICE(""));
    if (!m->no_route) {
        vx_metrics_free(m);
        return NULL;
    }
    return m;
}

static void free_all(struct vx_list *list) {
    struct vx_list *next;
    for (struct vx_list *at = list->next; at != list; at = next) {
        next = at->next;
        free(VX_CONTAINER_OF(at, struct vx_counted, link));
    }
}

void vx_metrics_free(struct vx_metrics *m) {
    if (!m)
        return;
    free_all(&m->backends);
    free_all(&m->routes);
    vx_counter_pool_destroy(&m->route_cells);
    vx_counter_pool_destroy(&m->backend_cells);
    free(m->table);
    free(m->blocks);
    free(m);
}

struct vx_metrics_worker *vx_metrics_worker(struct vx_metrics *m, uint32_t worker) {
    return &m->blocks[worker].values;
}

struct vx_histogram *vx_metrics_rate_store(struct vx_metrics *m, uint32_t worker) {
    return &m->blocks[worker].rate_store;
}

uint64_t vx_metrics_total(const struct vx_metrics *m, enum vx_worker_value value) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i <= m->workers; i++)
        sum += atomic_load_explicit(&m->blocks[i].values.values[value], memory_order_relaxed);
    return sum;
}

static struct vx_counted **bucket_of(const struct vx_metrics *m, uint64_t hash) {
    return &m->table[hash & (m->table_size - 1)];
}

static uint64_t hash_of(const struct vx_metrics *m, const struct vx_route_metrics *parent,
                        struct vx_slice name) {
    return vx_hash_fast(&m->key, name) ^ vx_hash_word(&m->key, (uintptr_t)parent);
}

static struct vx_counted *find(const struct vx_metrics *m, uint64_t hash,
                               const struct vx_route_metrics *parent, struct vx_slice name) {
    struct vx_counted *c = *bucket_of(m, hash);
    while (c && !(c->hash == hash && c->parent == parent && vx_slice_eq(c->name, name)))
        c = c->next;
    return c;
}

/* Twice the buckets. Without the memory for that the chains just grow longer. */
static void grow_table(struct vx_metrics *m) {
    uint32_t old_size = m->table_size;
    struct vx_counted **old = m->table;
    struct vx_counted **table = calloc((size_t)old_size * 2, sizeof(struct vx_counted *));
    if (!table)
        return;
    m->table = table;
    m->table_size = old_size * 2;
    for (uint32_t i = 0; i < old_size; i++) {
        while (old[i]) {
            struct vx_counted *c = old[i];
            old[i] = c->next;
            struct vx_counted **bucket = bucket_of(m, c->hash);
            c->next = *bucket;
            *bucket = c;
        }
    }
    free(old);
}

/* Builds the label text, route="..." or route="...",backend="..."; it is escaped once, here. */
static bool make_label(struct vx_text *label, const struct vx_route_metrics *parent, struct vx_slice name) {
    if (parent) {
        vx_text_add(label, parent->counted.label);
        vx_text_add(label, VX_SLICE(",backend=\""));
    } else {
        vx_text_add(label, VX_SLICE("route=\""));
    }
    vx_text_label(label, name);
    vx_text_add(label, VX_SLICE("\""));
    return !label->failed;
}

/* A struct of `bytes` that begins with the struct vx_counted, followed by copies of name and label. */
static struct vx_counted *new_counted(size_t bytes, const struct vx_route_metrics *parent,
                                      struct vx_slice name) {
    struct vx_text label = {0};
    struct vx_counted *c = make_label(&label, parent, name) ? calloc(1, bytes + name.len + label.len) : NULL;
    if (c) {
        char *text = (char *)c + bytes;
        if (name.len)
            memcpy(text, name.ptr, name.len);
        memcpy(text + name.len, label.data, label.len);
        c->name = vx_slice(text, name.len);
        c->label = vx_slice(text + name.len, label.len);
    }
    vx_text_free(&label);
    return c;
}

/* The entry with one hold more; made with `bytes` and a cell of `pool` when there is none. */
static struct vx_counted *take(struct vx_metrics *m, struct vx_counter_pool *pool, struct vx_list *list,
                               size_t bytes, struct vx_route_metrics *parent, struct vx_slice name) {
    uint64_t hash = hash_of(m, parent, name);
    struct vx_counted *c = find(m, hash, parent, name);
    if (c) {
        c->holds++;
        return c;
    }
    c = new_counted(bytes, parent, name);
    if (!c)
        return NULL;
    c->cells = vx_counter_pool_take(pool);
    if (!c->cells) {
        free(c);
        return NULL;
    }
    if (m->table_used >= m->table_size)
        grow_table(m);
    c->hash = hash;
    c->parent = parent;
    c->holds = 1;
    struct vx_counted **bucket = bucket_of(m, hash);
    c->next = *bucket;
    *bucket = c;
    m->table_used++;
    vx_list_init(&c->link);
    vx_list_push_back(list, &c->link);
    return c;
}

/* One hold less; true when that was the last one and `c` is gone. */
static bool drop(struct vx_metrics *m, struct vx_counter_pool *pool, struct vx_counted *c) {
    VX_CHECK(c->holds > 0);
    if (--c->holds > 0)
        return false;
    struct vx_counted **at = bucket_of(m, c->hash);
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    m->table_used--;
    vx_list_remove(&c->link);
    vx_counter_pool_give(pool, c->cells);
    free(c);
    return true;
}

struct vx_route_metrics *vx_metrics_route(struct vx_metrics *m, struct vx_slice name) {
    return (struct vx_route_metrics *)take(m, &m->route_cells, &m->routes, sizeof(struct vx_route_metrics),
                                           NULL, name);
}

void vx_metrics_route_drop(struct vx_metrics *m, struct vx_route_metrics *route) {
    if (route)
        drop(m, &m->route_cells, &route->counted);
}

struct vx_backend_metrics *vx_metrics_backend(struct vx_metrics *m, struct vx_route_metrics *route,
                                              struct vx_slice name) {
    if (!route)
        return NULL;
    struct vx_counted *c =
        take(m, &m->backend_cells, &m->backends, sizeof(struct vx_backend_metrics), route, name);
    if (c && c->holds == 1)
        route->counted.holds++;
    return (struct vx_backend_metrics *)c;
}

void vx_metrics_backend_drop(struct vx_metrics *m, struct vx_backend_metrics *backend) {
    if (!backend)
        return;
    struct vx_route_metrics *route = backend->counted.parent;
    if (drop(m, &m->backend_cells, &backend->counted))
        vx_metrics_route_drop(m, route);
}

void vx_metrics_reloaded(struct vx_metrics *m, bool success, uint64_t wall_ns) {
    m->reloads[success]++;
    m->last_reload_good = success;
    if (success)
        m->last_good_reload_wall_ns = wall_ns;
}

/* Status and protocol in one word that is never 0. */
static uint16_t code_key(const struct vx_exchange_record *r) {
    /* A request line that could not be read leaves no method and a version that means nothing. */
    unsigned protocol = r->request && r->request->method_text.len ? r->request->version : VX_PROTOCOL_UNKNOWN;
    return (uint16_t)(VX_KEY_USED | protocol << VX_KEY_PROTOCOL_SHIFT | (r->status & VX_KEY_STATUS_MASK));
}

static void count_code(struct vx_route_cell *cell, uint16_t key) {
    unsigned i = 0;
    for (; i < VX_ROUTE_CODES; i++) {
        uint16_t have = atomic_load_explicit(&cell->keys[i], memory_order_relaxed);
        if (VX_LIKELY(have == key))
            break;
        if (have == 0) {
            atomic_store_explicit(&cell->keys[i], key, memory_order_relaxed);
            break;
        }
    }
    bump(&cell->counts[i], 1);
}

static void count_sent(struct vx_metrics *m, uint32_t worker, const struct vx_target *target) {
    if (!target || !target->metrics)
        return;
    struct vx_backend_cell *cell = vx_counter_cell(&m->backend_cells, target->metrics->counted.cells, worker);
    bump(&cell->requests, 1);
}

void vx_metrics_record(struct vx_metrics *m, uint32_t worker, const struct vx_exchange_record *record) {
    /* A tunnel that ends has been counted when it began; only what ended it is news, and its route may be gone. */
    bool ended = record->part == VX_RECORD_TUNNEL_ENDED;
    if (!ended || record->error != VX_ERR_NONE)
        bump(&m->blocks[worker].errors[record->error < VX_ERR_COUNT ? record->error : VX_ERR_NONE], 1);
    if (ended)
        return;
    if (record->attempts > 0)
        count_sent(m, worker, record->target);
    struct vx_route_metrics *route = record->route ? record->route->metrics : m->no_route;
    if (VX_UNLIKELY(!route))
        return;
    struct vx_route_cell *cell = vx_counter_cell(&m->route_cells, route->counted.cells, worker);
    count_code(cell, code_key(record));
    if (record->error == VX_ERR_RATE_LIMITED)
        bump(&cell->rate_limited, 1);
    if (record->grpc)
        bump(&cell->grpc[record->grpc_status < VX_GRPC_STATUS_COUNT ? record->grpc_status : VX_GRPC_UNKNOWN],
             1);
    bump(&cell->request_bytes, record->request_bytes);
    bump(&cell->response_bytes, record->response_bytes);
    /* How long a tunnel stays open says nothing about how long requests take. */
    if (record->part == VX_RECORD_WHOLE && !record->tunnel)
        vx_histogram_record(&cell->duration, record->ended_ns > record->started_ns
                                                 ? record->ended_ns - record->started_ns
                                                 : 0);
}

void vx_metrics_retried(struct vx_metrics *m, uint32_t worker, const struct vx_route *route,
                        const struct vx_target *target) {
    count_sent(m, worker, target);
    if (!route->metrics)
        return;
    struct vx_route_cell *cell = vx_counter_cell(&m->route_cells, route->metrics->counted.cells, worker);
    bump(&cell->retries, 1);
}
