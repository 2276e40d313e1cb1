/* SPDX-License-Identifier: Apache-2.0 */
/* See control.h. One loop on the main thread: signals by signalfd, the metrics page, names, health checks, the clock of
 * the drain. */
#include "proxy/control/control.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/compose.h"
#include "proxy/compose_filters.h"
#include "proxy/compose_limits.h"
#include "proxy/control/internal.h"
#include "proxy/telemetry/log.h"

enum {
    TICK_MS = 60 * 1000,
    FILTERS_TICK_MS = 50,
    ENDING_TICK_MS = 5,   /* while the end waits for filters */
    NAMES_WAIT_MS = 5000, /* for the first answers about backend names, before listening */
    LOG_FLUSH_MS = 2000,
    REGISTRY_KEEP_BYTES = 1024 * 1024,
};

static void complain(const struct vx_control *c, const struct vx_config_error *error) {
    char text[1024];
    vx_compose_config_source()->explain(c->path, error, text, sizeof text);
    vx_log(VX_LOG_ERROR, "%s", text);
}

/* The end */

/* The workers are drained; filters may still wait for answers to their last words. */
static void end_if_filters_have(struct vx_control *c) {
    if (!c->filters->is_ending(c->filters))
        vx_loop_stop(c->engine.loop);
}

static void worker_is_drained(struct vx_message *m, uint64_t now_ns) {
    struct vx_worker *w = VX_CONTAINER_OF(m, struct vx_worker, last);
    struct vx_control *c = w->user;
    c->filters->wind_up(c->filters, w->index);
    vx_timer_set(&c->engine.rt.wheel, &c->filters_tick, now_ns);
    if (--c->workers_draining == 0)
        end_if_filters_have(c);
}

/* On the worker's thread. */
static void drained(struct vx_worker *w) {
    struct vx_control *c = w->user;
    w->last.run = worker_is_drained;
    vx_loop_send(c->engine.loop, &w->last);
}

static void drain_is_over(struct vx_timer *timer, uint64_t now_ns) {
    (void)now_ns;
    struct vx_control *c = VX_CONTAINER_OF(timer, struct vx_control, drain_timer);
    vx_log(VX_LOG_WARN, "the drain took longer than shutdown.drain: what is left is cut");
    vx_loop_stop(c->engine.loop);
}

static void begin_drain(struct vx_control *c, uint64_t now_ns) {
    c->readiness = VX_DRAINING;
    if (!c->setup)
        return; /* it is still starting: there is nothing to wait for */
    c->workers_draining = c->worker_count;
    vx_log(VX_LOG_INFO, "draining: no new connections, running requests end");
    vx_timer_set(&c->engine.rt.wheel, &c->drain_timer, now_ns + c->setup->config->drain_ns);
    for (uint32_t w = 0; w < c->worker_count; w++)
        vx_worker_drain(&c->workers[w]);
}

static void reopen_logs(struct vx_control *c) {
    char why[256];
    if (!vx_access_log_reopen(c->access_log, why, sizeof why))
        vx_log(VX_LOG_ERROR, "the access log cannot be reopened: %s", why);
}

static void on_signal(void *user, int number, uint64_t now_ns) {
    struct vx_control *c = user;
    bool draining = c->readiness == VX_DRAINING;
    if (number == SIGUSR1)
        reopen_logs(c);
    else if (number == SIGHUP && c->setup) /* else the file is about to be read anyway */
        vx_ahead_reload(c, VX_SLICE_NONE, NULL);
    else if (number == SIGHUP)
        return;
    else if (!draining)
        begin_drain(c, now_ns);
    else
        vx_loop_stop(c->engine.loop);
}

static bool watch_signals(struct vx_control *c) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    return vx_signals_start(&c->signals, c->engine.loop, numbers, sizeof numbers / sizeof *numbers, on_signal,
                            c);
}

static void on_tick(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_control *c = VX_CONTAINER_OF(timer, struct vx_control, tick);
    vx_tls_tickets_rotate(c->tickets, now_ns);
    vx_backend_registry_collect(&c->registry);
    vx_pool_table_collect(&c->pools);
    vx_timer_set(&c->engine.rt.wheel, &c->tick, now_ns + (uint64_t)TICK_MS * 1000000);
}

/* Instances of filters that have failed wait for this thread to start them anew, those that have ended to be freed. */
static void tend_filters(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_control *c = VX_CONTAINER_OF(timer, struct vx_control, filters_tick);
    bool waits = c->readiness == VX_DRAINING && c->workers_draining == 0;
    uint64_t ms = waits ? ENDING_TICK_MS : FILTERS_TICK_MS;
    c->filters->tend(c->filters);
    if (waits)
        end_if_filters_have(c);
    vx_timer_set(&c->engine.rt.wheel, &c->filters_tick, now_ns + ms * 1000000);
}

static void names_changed(void *user) {
    struct vx_control *c = user;
    if (c->readiness == VX_READY)
        vx_control_rebuild(c);
}

/* The start */

/* The CPUs this process may use; the return value is how many. */
static uint32_t allowed_cpus(cpu_set_t *set) {
    CPU_ZERO(set);
    if (sched_getaffinity(0, sizeof *set, set) != 0)
        return 1;
    int n = CPU_COUNT(set);
    return n > 0 ? (uint32_t)n : 1;
}

static int nth_cpu(const cpu_set_t *set, uint32_t n) {
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, set) && n-- == 0)
            return cpu;
    return -1;
}

static bool start_workers(struct vx_control *c, uint32_t wanted) {
    cpu_set_t cpus;
    uint32_t cpu_count = allowed_cpus(&cpus);
    uint32_t count = wanted ? wanted : cpu_count;
    c->metrics = vx_metrics_new(count);
    c->access_log = c->metrics ? vx_access_log_new(count, c->metrics) : NULL;
    c->workers = calloc(count, sizeof *c->workers);
    if (!c->access_log || !c->workers)
        return false;
    c->bans = vx_bans_new(c->engine.loop, c->metrics, count, vx_compose_kernel_bans(VX_BANS_CLIENTS));
    if (!c->bans)
        return false;
    vx_backend_registry_init(&c->registry, &c->registry_memory.source, count);
    for (uint32_t w = 0; w < count; w++) {
        struct vx_worker_options options = {
            .index = w,
            .all = c->workers,
            .count = count,
            .cpu = nth_cpu(&cpus, w % cpu_count),
            .metrics = c->metrics,
            .access_log = c->access_log,
            .budget = &c->budget,
            .rate_memory = c->rate_memory,
            .filters = c->filters,
            .bans = vx_bans_gate(c->bans, w),
            .drained = drained,
            .user = c,
        };
        if (!vx_worker_init(&c->workers[w], &options))
            return false;
        c->worker_count++; /* what end_service() has to stop */
    }
    return true;
}

/* What the file asks for that has to be known before anything else is built, and cannot change later. */
struct dimensions {
    uint32_t workers, filters;
    uint64_t rate_memory_bytes;
};

static bool peek(const struct vx_control *c, struct dimensions *d, struct vx_config_error *error) {
    struct vx_config *config = vx_compose_config_source()->load(c->path, error);
    if (!config)
        return false;
    *d = (struct dimensions){config->workers, config->filter_count, config->rate_store.memory_bytes};
    vx_compose_config_source()->free(config);
    return true;
}

static bool make_shared(struct vx_control *c, const struct dimensions *d) {
    if (!vx_slab_init(&c->registry_memory, VX_SLAB_ARENA_BYTES, REGISTRY_KEEP_BYTES))
        return false;
    /* A reload may bring limits where there were none, so there is a table in any case; unused, it is address space. */
    c->rate_memory = vx_compose_rate_memory(d->rate_memory_bytes);
    if (!c->rate_memory)
        return false;
    c->tickets = vx_tls_tickets_new(c->engine.rt.now_ns);
    c->filters = vx_compose_filters();
    return c->tickets && c->filters;
}

/* Gives DNS a moment, so that the first requests find backends; who has no answer then gets 503 until there is one. */
static void await_names(struct vx_control *c) {
    uint64_t end_ns = c->engine.rt.now_ns + (uint64_t)NAMES_WAIT_MS * 1000000;
    while (!vx_names_settled(&c->names) && c->engine.rt.now_ns < end_ns)
        vx_loop_run_once(c->engine.loop, end_ns - c->engine.rt.now_ns);
    if (c->names.first)
        vx_control_rebuild(c);
}

static bool run_workers(struct vx_control *c) {
    for (uint32_t w = 0; w < c->worker_count; w++)
        if (!vx_worker_start(&c->workers[w]))
            return false;
    return true;
}

static void say_ready(struct vx_control *c) {
    const struct vx_config *config = c->setup->config;
    char list[512] = "";
    size_t used = 0;
    for (uint32_t l = 0; l < config->listener_count && used < sizeof list - VX_ADDRESS_TEXT_MAX - 4; l++) {
        char text[VX_ADDRESS_TEXT_MAX];
        size_t n = vx_address_format(&config->listeners[l].address, text);
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.*s%s", l ? ", " : "", (int)n, text,
                                 config->listeners[l].tls ? " (TLS)" : "");
    }
    c->readiness = VX_READY;
    vx_log(VX_LOG_INFO, "ready: %u worker(s), listening on %s", c->worker_count, list);
}

/* A signal came while modules were compiled or names looked up. Always false. */
static bool was_stopped(struct vx_control *c) {
    c->exit_code = 0;
    return false;
}

/* True once it runs; else c->exit_code says how it ends. */
static bool start(struct vx_control *c) {
    struct vx_config_error error;
    struct dimensions dimensions;
    if (!peek(c, &dimensions, &error)) {
        complain(c, &error);
        c->exit_code = 2;
        return false;
    }
    c->exit_code = 1;
    if (!make_shared(c, &dimensions) || !watch_signals(c) || !start_workers(c, dimensions.workers)) {
        vx_log(VX_LOG_ERROR, "cannot start: %s", strerror(errno ? errno : ENOMEM));
        return false;
    }
    if (dimensions.filters) {
        vx_log(VX_LOG_INFO, "compiling %u filter(s)", dimensions.filters);
        vx_ahead_first(c);
    }
    if (c->readiness == VX_DRAINING)
        return was_stopped(c);
    bool loaded = vx_control_load(c, c->path, &error);
    c->filters->forget_compiled(c->filters);
    if (!loaded) {
        complain(c, &error);
        c->exit_code = 2;
        return false;
    }
    await_names(c);
    if (c->readiness == VX_DRAINING)
        return was_stopped(c);
    if (!run_workers(c)) {
        vx_log(VX_LOG_ERROR, "cannot start a worker: %s", strerror(errno));
        return false;
    }
    vx_timer_set(&c->engine.rt.wheel, &c->tick, c->engine.rt.now_ns + (uint64_t)TICK_MS * 1000000);
    vx_timer_set(&c->engine.rt.wheel, &c->filters_tick, c->engine.rt.now_ns);
    say_ready(c);
    c->exit_code = 0;
    return true;
}

/* Nobody outside sees anything of the proxy any more when it returns. */
static void end_service(struct vx_control *c) {
    vx_ahead_end(c);
    for (uint32_t w = 0; w < c->worker_count; w++)
        vx_worker_halt(&c->workers[w]);
    for (uint32_t w = 0; w < c->worker_count; w++)
        vx_worker_stop(&c->workers[w]);
    vx_dumps_end(&c->admin.dumps, &c->engine.rt);
    vx_health_checks_stop(c->checks);
    vx_names_free(&c->names);
    if (c->generation)
        vx_snapshot_drop(&c->generation->snapshot, c->worker_count);
    vx_loop_run_once(c->engine.loop, 0); /* what was just answered leaves */
    vx_control_close_sites(c);
    vx_bans_free(c->bans);
    for (unsigned rounds = 0; c->generations_left && rounds < 100; rounds++)
        vx_loop_run_once(c->engine.loop, 1000000);
    vx_control_free_listeners(c);
    vx_setup_drop(c->setup);
    if (c->access_log)
        vx_access_log_stop(c->access_log, LOG_FLUSH_MS);
}

static void free_all(struct vx_control *c) {
    vx_compose_filters_free(c->filters);
    vx_access_log_free(c->access_log);
    if (c->metrics)
        vx_backend_registry_destroy(&c->registry);
    if (c->tickets)
        vx_tls_tickets_drop(c->tickets);
    vx_timer_remove(&c->engine.rt.wheel, &c->drain_timer);
    vx_timer_remove(&c->engine.rt.wheel, &c->tick);
    vx_timer_remove(&c->engine.rt.wheel, &c->filters_tick);
    vx_signals_stop(&c->signals);
    vx_engine_free(&c->engine);
    vx_control_admin_free(c);
    vx_pool_table_free(&c->pools);
    vx_metrics_free(c->metrics);
    vx_compose_rate_memory_free(c->rate_memory);
    vx_slab_free(&c->registry_memory);
    free(c->workers);
}

int vx_control_run(const char *path) {
    struct vx_control c = {.exit_code = 1};
    snprintf(c.path, sizeof c.path, "%s", path);
    vx_list_init(&c.generations);
    vx_ahead_init(&c.ahead);
    vx_tcp_raise_file_limit();
    if (!vx_control_admin_init(&c) || !vx_engine_init(&c.engine, 0)) {
        vx_log(VX_LOG_ERROR, "cannot start: %s", strerror(errno));
        vx_control_admin_free(&c);
        return 1;
    }
    c.started_ns = c.engine.rt.now_ns;
    vx_names_init(&c.names, c.engine.loop, names_changed, &c);
    vx_timer_init(&c.drain_timer, drain_is_over);
    vx_timer_init(&c.tick, on_tick);
    vx_timer_init(&c.filters_tick, tend_filters);
    if (start(&c))
        vx_loop_run(c.engine.loop);
    end_service(&c);
    bool compiling = !vx_ahead_end(&c);
    if (compiling)
        vx_ahead_leave(&c);
    else
        free_all(&c);
    if (c.exit_code == 0)
        vx_log(VX_LOG_INFO, "ended");
    if (compiling)
        _exit(c.exit_code); /* what a compiler works with cannot be freed under it */
    return c.exit_code;
}
