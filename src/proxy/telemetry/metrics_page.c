/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics page in Prometheus' text exposition format 0.0.4: all samples of a metric stand together
 * beneath its HELP and TYPE lines. The values of the workers are added up here, while they go on counting. */
#include <stdio.h>

#include "core/exchange/snapshot.h"
#include "core/routing/balance/set.h"
#include "proxy/telemetry/metrics_internal.h"
#include "proxy/telemetry/process.h"

struct bound {
    uint64_t ns;
    struct vx_slice le;
};

/* Upper bounds that the page shows. Each is a bucket bound of core/base/histogram.h, which has more. */
static const struct bound bounds[] = {
    {100000, VX_SLICE("0.0001")},  {200000, VX_SLICE("0.0002")},  {500000, VX_SLICE("0.0005")},
    {1000000, VX_SLICE("0.001")},  {2000000, VX_SLICE("0.002")},  {5000000, VX_SLICE("0.005")},
    {10000000, VX_SLICE("0.01")},  {20000000, VX_SLICE("0.02")},  {50000000, VX_SLICE("0.05")},
    {100000000, VX_SLICE("0.1")},  {200000000, VX_SLICE("0.2")},  {500000000, VX_SLICE("0.5")},
    {1000000000, VX_SLICE("1")},   {2000000000, VX_SLICE("2")},   {5000000000, VX_SLICE("5")},
    {10000000000, VX_SLICE("10")}, {30000000000, VX_SLICE("30")}, {60000000000, VX_SLICE("60")},
};

static const struct vx_slice protocols[VX_PROTOCOL_COUNT] = {
#define X(name, text) [VX_PROTOCOL_##name] = {text, sizeof(text) - 1},
    VX_PROTOCOL_LIST(X)
#undef X
};

static uint64_t load(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void head(struct vx_text *page, const char *metric, const char *kind, const char *help) {
    vx_text_add(page, VX_SLICE("# HELP "));
    vx_text_add(page, vx_slice_of(metric));
    vx_text_add(page, VX_SLICE(" "));
    vx_text_add(page, vx_slice_of(help));
    vx_text_add(page, VX_SLICE("\n# TYPE "));
    vx_text_add(page, vx_slice_of(metric));
    vx_text_add(page, VX_SLICE(" "));
    vx_text_add(page, vx_slice_of(kind));
    vx_text_add(page, VX_SLICE("\n"));
}

/* The beginning of a sample up to its value. `label` is what stands between the braces; empty: none. */
static void sample(struct vx_text *page, const char *metric, struct vx_slice label) {
    vx_text_add(page, vx_slice_of(metric));
    if (label.len) {
        vx_text_add(page, VX_SLICE("{"));
        vx_text_add(page, label);
        vx_text_add(page, VX_SLICE("}"));
    }
    vx_text_add(page, VX_SLICE(" "));
}

static void sample_u64(struct vx_text *page, const char *metric, struct vx_slice label, uint64_t value) {
    sample(page, metric, label);
    vx_text_u64(page, value);
    vx_text_add(page, VX_SLICE("\n"));
}

static void sample_seconds(struct vx_text *page, const char *metric, struct vx_slice label, uint64_t ns) {
    sample(page, metric, label);
    vx_text_seconds(page, ns);
    vx_text_add(page, VX_SLICE("\n"));
}

static void single_u64(struct vx_text *page, const char *metric, const char *kind, const char *help,
                       uint64_t value) {
    head(page, metric, kind, help);
    sample_u64(page, metric, VX_SLICE_NONE, value);
}

static void single_seconds(struct vx_text *page, const char *metric, const char *kind, const char *help,
                           uint64_t ns) {
    head(page, metric, kind, help);
    sample_seconds(page, metric, VX_SLICE_NONE, ns);
}

/* One route's counts of all workers. */
struct route_sum {
    uint16_t keys[VX_ROUTE_CODES * 4];
    uint64_t counts[VX_ROUTE_CODES * 4];
    unsigned key_count;
    uint64_t other;
};

static const struct vx_route_cell *route_cell(const struct vx_metrics *m, const struct vx_counted *route,
                                              uint32_t worker) {
    return vx_counter_cell(&m->route_cells, route->cells, worker);
}

static void add_code(struct route_sum *sum, uint16_t key, uint64_t count) {
    unsigned i = 0;
    while (i < sum->key_count && sum->keys[i] != key)
        i++;
    if (i == sum->key_count) {
        /* The workers may each have seen other codes than their peers, up to a bound. */
        if (i == sizeof sum->keys / sizeof sum->keys[0]) {
            sum->other += count;
            return;
        }
        sum->keys[i] = key;
        sum->counts[i] = 0;
        sum->key_count++;
    }
    sum->counts[i] += count;
}

static void sum_codes(const struct vx_metrics *m, const struct vx_counted *route, struct route_sum *sum) {
    sum->key_count = 0;
    sum->other = 0;
    for (uint32_t worker = 0; worker < m->workers; worker++) {
        const struct vx_route_cell *cell = route_cell(m, route, worker);
        for (unsigned i = 0; i < VX_ROUTE_CODES; i++) {
            uint16_t key = atomic_load_explicit(&cell->keys[i], memory_order_relaxed);
            if (key == 0)
                break;
            add_code(sum, key, load(&cell->counts[i]));
        }
        sum->other += load(&cell->counts[VX_ROUTE_CODES]);
    }
}

static void put_code_sample(struct vx_text *page, struct vx_slice label, struct vx_slice code,
                            struct vx_slice protocol, uint64_t count) {
    vx_text_add(page, VX_SLICE("vortex_http_requests_total{"));
    vx_text_add(page, label);
    vx_text_add(page, VX_SLICE(",code=\""));
    vx_text_add(page, code);
    vx_text_add(page, VX_SLICE("\",protocol=\""));
    vx_text_add(page, protocol);
    vx_text_add(page, VX_SLICE("\"} "));
    vx_text_u64(page, count);
    vx_text_add(page, VX_SLICE("\n"));
}

static void put_requests(const struct vx_metrics *m, struct vx_text *page) {
    head(page, "vortex_http_requests_total", "counter",
         "Requests that ended, by route (empty: none matched or refused before routing), status sent (0: "
         "none could "
         "be sent) and protocol.");
    for (const struct vx_list *at = m->routes.next; at != &m->routes; at = at->next) {
        const struct vx_counted *route = VX_CONTAINER_OF(at, struct vx_counted, link);
        struct route_sum sum;
        sum_codes(m, route, &sum);
        for (unsigned i = 0; i < sum.key_count; i++) {
            char digits[VX_TEXT_U64_MAX];
            size_t len = vx_format_u64(digits, sum.keys[i] & VX_KEY_STATUS_MASK);
            unsigned protocol = (sum.keys[i] & ~VX_KEY_USED) >> VX_KEY_PROTOCOL_SHIFT;
            put_code_sample(page, route->label, vx_slice(digits, len), protocols[protocol], sum.counts[i]);
        }
        if (sum.other)
            put_code_sample(page, route->label, VX_SLICE("other"), VX_SLICE("other"), sum.other);
    }
}

/* Only what has occurred: few routes carry gRPC at all, and those few statuses. */
static void put_grpc(const struct vx_metrics *m, struct vx_text *page) {
    head(page, "vortex_grpc_responses_total", "counter",
         "gRPC calls that ended, by route and status, the proxy's own answers included.");
    for (const struct vx_list *at = m->routes.next; at != &m->routes; at = at->next) {
        const struct vx_counted *route = VX_CONTAINER_OF(at, struct vx_counted, link);
        for (unsigned status = 0; status < VX_GRPC_STATUS_COUNT; status++) {
            uint64_t sum = 0;
            for (uint32_t worker = 0; worker < m->workers; worker++)
                sum += load(&route_cell(m, route, worker)->grpc[status]);
            if (!sum)
                continue;
            vx_text_add(page, VX_SLICE("vortex_grpc_responses_total{"));
            vx_text_add(page, route->label);
            vx_text_add(page, VX_SLICE(",grpc_status=\""));
            vx_text_add(page, vx_grpc_status_text((uint8_t)status));
            vx_text_add(page, VX_SLICE("\"} "));
            vx_text_u64(page, sum);
            vx_text_add(page, VX_SLICE("\n"));
        }
    }
}

static void put_bucket(struct vx_text *page, const char *metric, struct vx_slice label, struct vx_slice le,
                       uint64_t count) {
    vx_text_add(page, vx_slice_of(metric));
    vx_text_add(page, VX_SLICE("_bucket{"));
    vx_text_add(page, label);
    vx_text_add(page, label.len ? VX_SLICE(",le=\"") : VX_SLICE("le=\""));
    vx_text_add(page, le);
    vx_text_add(page, VX_SLICE("\"} "));
    vx_text_u64(page, count);
    vx_text_add(page, VX_SLICE("\n"));
}

/* One histogram of a metric whose name ends in `_seconds`. */
static void put_histogram(struct vx_text *page, const char *metric, struct vx_slice label,
                          const struct vx_histogram_sum *sum) {
    char part[80];
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        put_bucket(page, metric, label, bounds[i].le, vx_histogram_at_most(sum, bounds[i].ns));
    put_bucket(page, metric, label, VX_SLICE("+Inf"), sum->count);
    snprintf(part, sizeof part, "%s_sum", metric);
    sample_seconds(page, part, label, sum->sum_ns);
    snprintf(part, sizeof part, "%s_count", metric);
    sample_u64(page, part, label, sum->count);
}

static void put_durations(const struct vx_metrics *m, struct vx_text *page) {
    static const char metric[] = "vortex_http_request_duration_seconds";
    head(page, metric, "histogram",
         "Time from the first byte of a request to the last byte of its answer, without tunnels. Routes "
         "appear with "
         "their first request.");
    for (const struct vx_list *at = m->routes.next; at != &m->routes; at = at->next) {
        const struct vx_counted *route = VX_CONTAINER_OF(at, struct vx_counted, link);
        struct vx_histogram_sum sum = {0};
        for (uint32_t worker = 0; worker < m->workers; worker++)
            vx_histogram_add(&sum, &route_cell(m, route, worker)->duration);
        if (sum.count)
            put_histogram(page, metric, route->label, &sum);
    }
}

static void put_rate_store(const struct vx_metrics *m, struct vx_text *page) {
    static const char metric[] = "vortex_rate_store_duration_seconds";
    struct vx_histogram_sum sum = {0};
    for (uint32_t worker = 0; worker < m->workers; worker++)
        vx_histogram_add(&sum, &m->blocks[worker].rate_store);
    if (!sum.count)
        return;
    head(page, metric, "histogram", "Time from a question to the Redis of rate limits to its answer.");
    put_histogram(page, metric, VX_SLICE_NONE, &sum);
}

/* One counter of every route: the one `offset` bytes into the cell. */
static void put_route_counter(const struct vx_metrics *m, struct vx_text *page, const char *metric,
                              const char *help, size_t offset) {
    head(page, metric, "counter", help);
    for (const struct vx_list *at = m->routes.next; at != &m->routes; at = at->next) {
        const struct vx_counted *route = VX_CONTAINER_OF(at, struct vx_counted, link);
        uint64_t sum = 0;
        for (uint32_t worker = 0; worker < m->workers; worker++)
            sum += load((const _Atomic uint64_t *)((const char *)route_cell(m, route, worker) + offset));
        sample_u64(page, metric, route->label, sum);
    }
}

static void put_routes(const struct vx_metrics *m, struct vx_text *page) {
    put_requests(m, page);
    put_grpc(m, page);
    put_durations(m, page);
    put_route_counter(m, page, "vortex_http_request_body_bytes_total", "Bytes of request bodies received.",
                      offsetof(struct vx_route_cell, request_bytes));
    put_route_counter(m, page, "vortex_http_response_bytes_total", "Bytes of responses sent, heads included.",
                      offsetof(struct vx_route_cell, response_bytes));
    put_route_counter(m, page, "vortex_retries_total", "Attempts beyond the first.",
                      offsetof(struct vx_route_cell, retries));
    put_route_counter(m, page, "vortex_rate_limited_total", "Requests refused by a rate limit.",
                      offsetof(struct vx_route_cell, rate_limited));
}

/* Worse is larger, so that the worst of several endpoints is the maximum. */
static unsigned breaker_value(enum vx_breaker_state state) {
    return state == VX_BREAKER_OPEN ? 2 : state == VX_BREAKER_HALF_OPEN ? 1 : 0;
}

static void gather_endpoint(const struct vx_route *route, uint32_t index) {
    const struct vx_target *target = &route->targets[index];
    if (!target->metrics)
        return;
    struct vx_backend_now *now = &target->metrics->now;
    struct vx_backend_stats stats = vx_backend_set_stats(route->set, index);
    uint64_t ewma_ns = stats.ewma_us > 0 ? (uint64_t)((double)stats.ewma_us * 1000) : 0;
    now->present = true;
    now->checked = route->config->health_check.enabled;
    now->usable |= stats.health != VX_HEALTH_UNHEALTHY;
    now->active += stats.active;
    if (ewma_ns > now->ewma_ns)
        now->ewma_ns = ewma_ns;
    if (breaker_value(stats.breaker) > now->breaker)
        now->breaker = breaker_value(stats.breaker);
    if (target->shared)
        now->connections_opened += load(&target->shared->connections_opened);
}

static void gather_backends(struct vx_metrics *m, const struct vx_snapshot *snapshot) {
    for (struct vx_list *at = m->backends.next; at != &m->backends; at = at->next) {
        struct vx_counted *c = VX_CONTAINER_OF(at, struct vx_counted, link);
        ((struct vx_backend_metrics *)c)->now = (struct vx_backend_now){0};
    }
    if (!snapshot)
        return;
    for (uint32_t i = 0; i < snapshot->route_count; i++) {
        const struct vx_route *route = &snapshot->routes[i];
        uint32_t count = route->set ? vx_backend_set_count(route->set) : 0;
        for (uint32_t index = 0; index < count; index++)
            gather_endpoint(route, index);
    }
}

enum backend_value { EWMA, ACTIVE, BREAKER, HEALTHY, OPENED };

static void put_backend_value(struct vx_text *page, const char *metric, const struct vx_backend_metrics *b,
                              enum backend_value value) {
    const struct vx_backend_now *now = &b->now;
    if (!now->present || (value == HEALTHY && !now->checked))
        return;
    if (value == EWMA)
        sample_seconds(page, metric, b->counted.label, now->ewma_ns);
    else
        sample_u64(page, metric, b->counted.label,
                   value == ACTIVE    ? now->active
                   : value == BREAKER ? now->breaker
                   : value == HEALTHY ? now->usable
                                      : now->connections_opened);
}

static void put_backend_family(const struct vx_metrics *m, struct vx_text *page, const char *metric,
                               const char *kind, const char *help, enum backend_value value) {
    head(page, metric, kind, help);
    for (const struct vx_list *at = m->backends.next; at != &m->backends; at = at->next) {
        const struct vx_counted *c = VX_CONTAINER_OF(at, struct vx_counted, link);
        put_backend_value(page, metric, (const struct vx_backend_metrics *)c, value);
    }
}

static void put_backends(struct vx_metrics *m, const struct vx_snapshot *snapshot, struct vx_text *page) {
    gather_backends(m, snapshot);
    head(page, "vortex_backend_requests_total", "counter", "Attempts given to a backend, retries included.");
    for (const struct vx_list *at = m->backends.next; at != &m->backends; at = at->next) {
        const struct vx_counted *c = VX_CONTAINER_OF(at, struct vx_counted, link);
        uint64_t sum = 0;
        for (uint32_t worker = 0; worker < m->workers; worker++) {
            const struct vx_backend_cell *cell = vx_counter_cell(&m->backend_cells, c->cells, worker);
            sum += load(&cell->requests);
        }
        sample_u64(page, "vortex_backend_requests_total", c->label, sum);
    }
    put_backend_family(m, page, "vortex_backend_ewma_seconds", "gauge",
                       "Peak EWMA of the time to the answer's head; 0: not measured yet.", EWMA);
    put_backend_family(m, page, "vortex_backend_active_requests", "gauge",
                       "Requests a backend is working on.", ACTIVE);
    put_backend_family(m, page, "vortex_backend_breaker_state", "gauge",
                       "Circuit breaker: 0 closed, 1 half-open, 2 open.", BREAKER);
    put_backend_family(m, page, "vortex_backend_healthy", "gauge",
                       "1: active health checks pass, 0: they fail. Only where health_check is configured.",
                       HEALTHY);
    put_backend_family(m, page, "vortex_backend_connections_opened_total", "counter",
                       "Connections opened to a backend; reused ones count once.", OPENED);
}

struct worker_row {
    const char *kind, *metric, *label, *help;
};

static void put_worker_values(const struct vx_metrics *m, struct vx_text *page) {
    static const struct worker_row rows[VX_WORKER_VALUE_COUNT] = {
#define X(name, kind, metric, label, help) {kind, metric, label, help},
        VX_WORKER_VALUE_LIST(X)
#undef X
    };
    for (unsigned i = 0; i < VX_WORKER_VALUE_COUNT; i++) {
        const struct worker_row *row = &rows[i];
        if (i == 0 || strcmp(row->metric, rows[i - 1].metric) != 0)
            head(page, row->metric, row->kind, row->help);
        /* A sum read while workers change it may pass below zero for a moment, e.g. when memory moves on. */
        int64_t sum = (int64_t)vx_metrics_total(m, (enum vx_worker_value)i);
        sample_u64(page, row->metric, vx_slice_of(row->label), sum > 0 ? (uint64_t)sum : 0);
    }
}

static void put_errors(const struct vx_metrics *m, struct vx_text *page) {
    head(page, "vortex_errors_total", "counter",
         "Requests that ended in an error, by the reason in the access log.");
    for (unsigned code = VX_ERR_NONE + 1; code < VX_ERR_COUNT; code++) {
        uint64_t sum = 0;
        for (uint32_t worker = 0; worker <= m->workers; worker++)
            sum += load(&m->blocks[worker].errors[code]);
        vx_text_add(page, VX_SLICE("vortex_errors_total{reason=\""));
        vx_text_label(page, vx_slice_of(vx_error_info((enum vx_error_code)code)->word));
        vx_text_add(page, VX_SLICE("\"} "));
        vx_text_u64(page, sum);
        vx_text_add(page, VX_SLICE("\n"));
    }
}

static void put_config(const struct vx_metrics *m, const struct vx_snapshot *snapshot, struct vx_text *page) {
    head(page, "vortex_config_reloads_total", "counter", "Reloads of the configuration since the start.");
    sample_u64(page, "vortex_config_reloads_total", VX_SLICE("result=\"success\""), m->reloads[true]);
    sample_u64(page, "vortex_config_reloads_total", VX_SLICE("result=\"failure\""), m->reloads[false]);
    single_u64(
        page, "vortex_config_last_reload_successful", "gauge",
        "1: the last reload went well (or there was none), 0: it was refused and the older one goes on.",
        m->last_reload_good);
    single_seconds(page, "vortex_config_last_reload_success_timestamp_seconds", "gauge",
                   "When the last good reload happened, seconds since 1970; 0: none yet.",
                   m->last_good_reload_wall_ns);
    single_u64(page, "vortex_config_version", "gauge", "Counts the configurations published since the start.",
               snapshot ? snapshot->version : 0);
}

static void put_process(const struct vx_metrics *m, struct vx_text *page) {
    struct vx_process_stats p = vx_process_stats_read();
    single_seconds(page, "vortex_process_cpu_seconds_total", "counter", "CPU time used, user and system.",
                   p.cpu_ns);
    single_u64(page, "vortex_process_resident_memory_bytes", "gauge", "Resident memory.", p.resident_bytes);
    single_u64(page, "vortex_process_virtual_memory_bytes", "gauge", "Virtual memory.", p.virtual_bytes);
    single_u64(page, "vortex_process_open_fds", "gauge", "Open file descriptors.", p.open_files);
    head(page, "vortex_process_max_fds", "gauge", "Limit of open file descriptors.");
    if (p.max_files == UINT64_MAX)
        vx_text_add(page, VX_SLICE("vortex_process_max_fds +Inf\n"));
    else
        sample_u64(page, "vortex_process_max_fds", VX_SLICE_NONE, p.max_files);
    single_u64(page, "vortex_process_start_time_seconds", "gauge",
               "Start of the process, seconds since 1970.", m->start_time_s);
    single_u64(page, "vortex_workers", "gauge", "Worker threads.", m->workers);
    head(page, "vortex_build_info", "gauge", "Always 1; the label tells the version.");
    sample_u64(page, "vortex_build_info", VX_SLICE("version=\"" VX_VERSION "\""), 1);
}

bool vx_metrics_render(struct vx_metrics *m, const struct vx_snapshot *snapshot, struct vx_text *page) {
    put_routes(m, page);
    put_backends(m, snapshot, page);
    put_worker_values(m, page);
    put_rate_store(m, page);
    put_errors(m, page);
    put_config(m, snapshot, page);
    put_process(m, page);
    return !page->failed;
}
