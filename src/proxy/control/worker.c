/* SPDX-License-Identifier: Apache-2.0 */
/* See worker.h. */
#include "proxy/control/worker.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proxy/control/worker_sites.h"
#include "proxy/http1/server.h"
#include "proxy/telemetry/log.h"

enum { TICK_MS = 250 };

static void tick_after(struct vx_worker *w, uint64_t ms) {
    vx_timer_set(&w->engine.rt.wheel, &w->tick, w->engine.rt.now_ns + ms * 1000000);
}

void vx_worker_tick_soon(struct vx_worker *w) {
    tick_after(w, 0);
}

/* The times that listeners stopped for want of descriptors or memory. */
static void count_starvation(struct vx_worker *w) {
    uint64_t starved = w->engine.tcp.stats.starved;
    vx_metrics_add(w->counters, VX_WORKER_ACCEPT_PAUSES, (int64_t)(starved - w->starved_counted));
    w->starved_counted = starved;
}

static void adopt(struct vx_message *m, uint64_t now_ns) {
    struct vx_adoption *a = VX_CONTAINER_OF(m, struct vx_adoption, message);
    struct vx_worker *w = a->worker;
    struct vx_snapshot *snapshot = &a->generation->snapshot;
    const struct vx_setup *setup = a->generation->setup;
    w->proxy.rate_store =
        vx_rates_adopt(w->rates, &setup->config->rate_store, setup->store_identity, setup->store_tls);
    vx_worker_sites_take_up(w, a);
    vx_generation_enter(a->generation, w->index, now_ns);
    vx_proxy_adopt(&w->proxy, snapshot);
    vx_http_clients_retire(&w->engine.clients, a->generation->pools_used, a->generation->pool_count);
    vx_snapshot_drop(snapshot, w->index); /* the hold that was handed over; the proxy has its own now */
    free(a->fds);
    free(a);
}

static void drain(struct vx_message *m, uint64_t now_ns) {
    struct vx_worker *w = VX_CONTAINER_OF(m, struct vx_worker, to_drain);
    (void)now_ns;
    if (w->draining)
        return;
    w->draining = true;
    vx_http_clients_drain(&w->engine.clients);
    vx_worker_sites_drain(w);
    vx_worker_tick_soon(w);
}

static void on_tick(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_worker *w = VX_CONTAINER_OF(timer, struct vx_worker, tick);
    (void)now_ns;
    vx_metrics_set(w->counters, VX_WORKER_MEMORY_ARENAS, w->engine.arenas.used_bytes);
    vx_metrics_set(w->counters, VX_WORKER_MEMORY_BLOCKS, w->engine.blocks.used_bytes);
    vx_metrics_set(w->counters, VX_WORKER_MEMORY_CONNECTIONS,
                   vx_h1_server_bytes() * vx_worker_sites_connections(w));
    count_starvation(w);
    vx_worker_sites_reap(w);
    vx_rates_publish(w->rates);
    vx_worker_sites_resume(w);
    if (w->draining && w->drained && !w->proxy.active && !vx_worker_sites_connections(w)) {
        w->drained(w);
        w->drained = NULL;
    }
    tick_after(w, TICK_MS);
}

void vx_worker_adopt(struct vx_adoption *adoption) {
    adoption->message.run = adopt;
    vx_loop_send(adoption->worker->engine.loop, &adoption->message);
}

void vx_worker_drain(struct vx_worker *w) {
    vx_loop_send(w->engine.loop, &w->to_drain);
}

/* One message of a kind at a time to each worker: what it does is good for all that wait. */
static void spare(struct vx_message *m, uint64_t now_ns) {
    (void)now_ns;
    vx_http_clients_spare(&VX_CONTAINER_OF(m, struct vx_worker, to_spare)->engine.clients);
}

static void look(struct vx_message *m, uint64_t now_ns) {
    (void)now_ns;
    vx_places_look(&VX_CONTAINER_OF(m, struct vx_worker, to_look)->engine.clients.places);
}

static struct vx_worker *worker_of(struct vx_places *places) {
    return VX_CONTAINER_OF(places, struct vx_worker, engine.clients.places);
}

static void ask_others(struct vx_places *places) {
    struct vx_worker *w = worker_of(places);
    for (uint32_t i = 0; i < w->count; i++)
        if (i != w->index)
            vx_loop_send(w->all[i].engine.loop, &w->all[i].to_spare);
}

static void tell(struct vx_places *places, uint32_t worker) {
    struct vx_worker *other = &worker_of(places)->all[worker];
    vx_loop_send(other->engine.loop, &other->to_look);
}

static void pin(const struct vx_worker *w) {
    if (w->cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)w->cpu, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0)
        vx_log(VX_LOG_WARN, "worker %u: cannot be pinned to CPU %d", w->index, w->cpu);
}

static void *run(void *arg) {
    struct vx_worker *w = arg;
    pin(w);
    tick_after(w, TICK_MS);
    vx_loop_run(w->engine.loop);
    vx_worker_sites_cut(w);
    return NULL;
}

static bool post(const struct vx_filter_worker *self, void (*run_it)(void *, uint64_t), void *arg) {
    return vx_loop_post(VX_CONTAINER_OF(self, struct vx_worker, filters)->engine.loop, run_it, arg);
}

static uint64_t wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void attach_filters(struct vx_worker *w, struct vx_filter_engine *engine) {
    w->filters = (struct vx_filter_worker){
        .wheel = &w->engine.rt.wheel,
        .client = &w->engine.clients.port,
        .post = post,
        .wall_ns = wall_ns,
    };
    w->engine_of_filters = engine;
    engine->attach(engine, w->index, &w->filters);
}

bool vx_worker_init(struct vx_worker *w, const struct vx_worker_options *options) {
    memset(w, 0, sizeof *w);
    if (!vx_engine_init(&w->engine, options->index))
        return false;
    w->index = options->index;
    w->all = options->all;
    w->count = options->count;
    w->engine.clients.places.ask = ask_others;
    w->engine.clients.places.tell = tell;
    w->cpu = options->cpu;
    w->budget = options->budget;
    w->bans = options->bans;
    w->to_drain.run = drain;
    w->to_spare.run = spare;
    w->to_look.run = look;
    w->drained = options->drained;
    w->user = options->user;
    w->counters = vx_metrics_worker(options->metrics, options->index);
    vx_worker_recorder_init(&w->recorder, options->metrics, options->access_log, options->index);
    vx_proxy_init(&w->proxy, &w->engine.clients.port, &w->recorder.recorder, &w->engine.rt.random,
                  &w->engine.rt.wheel, options->index);
    w->rates = vx_rates_new(&w->engine, options->rate_memory, options->metrics, options->index);
    if (!w->rates) {
        vx_engine_free(&w->engine);
        return false;
    }
    w->proxy.bans = options->bans;
    vx_timer_init(&w->tick, on_tick);
    if (options->filters)
        attach_filters(w, options->filters);
    return true;
}

bool vx_worker_start(struct vx_worker *w) {
    errno = pthread_create(&w->thread, NULL, run, w);
    w->started = errno == 0;
    return w->started;
}

void vx_worker_halt(struct vx_worker *w) {
    if (!w->started)
        return;
    vx_loop_stop(w->engine.loop);
    pthread_join(w->thread, NULL);
    w->started = false;
}

void vx_worker_stop(struct vx_worker *w) {
    vx_worker_halt(w);
    /* Others may be gone already. */
    w->engine.clients.places.ask = NULL;
    w->engine.clients.places.tell = NULL;
    /* A generation that was handed over too late, or before there was a thread, has to be let go as well. */
    vx_loop_run_once(w->engine.loop, 0);
    vx_worker_sites_cut(w);
    while (vx_runtime_run_tasks(&w->engine.rt))
        ;
    vx_rates_free(w->rates);
    while (vx_runtime_run_tasks(&w->engine.rt))
        ;
    if (w->proxy.snapshot)
        vx_snapshot_drop(w->proxy.snapshot, w->index);
    if (w->engine_of_filters)
        w->engine_of_filters->detach(w->engine_of_filters, w->index);
    vx_timer_remove(&w->engine.rt.wheel, &w->tick);
    vx_worker_sites_free(w);
    vx_engine_free(&w->engine);
}
