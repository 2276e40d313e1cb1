/* SPDX-License-Identifier: Apache-2.0 */
/* See worker.h. */
#include "proxy/control/worker.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/telemetry/log.h"

enum { TICK_MS = 250 };

static void tick_after(struct vx_worker *w, uint64_t ms) {
    vx_timer_set(&w->engine.rt.wheel, &w->tick, w->engine.rt.now_ns + ms * 1000000);
}

static bool over_budget(const struct vx_connection_budget *budget) {
    uint32_t limit = atomic_load_explicit(&budget->limit, memory_order_relaxed);
    return limit && atomic_load_explicit(&budget->open, memory_order_relaxed) >= limit;
}

static void pause_listeners(struct vx_worker *w, bool pause) {
    w->paused = pause;
    for (struct vx_worker_site *s = w->sites; s; s = s->next)
        if (s->site.listener)
            (pause ? vx_listener_pause : vx_listener_resume)(s->site.listener);
}

/* A connection takes its place before it is accepted, or two workers would both take the last one. */
static bool admit(struct vx_site *site) {
    struct vx_worker *w = VX_CONTAINER_OF(site, struct vx_worker_site, site)->worker;
    uint32_t limit = atomic_load_explicit(&w->budget->limit, memory_order_relaxed);
    uint32_t open = atomic_load_explicit(&w->budget->open, memory_order_relaxed);
    while (!limit || open < limit)
        if (atomic_compare_exchange_weak_explicit(&w->budget->open, &open, open + 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    if (!w->paused)
        vx_metrics_add(w->counters, VX_WORKER_ACCEPT_PAUSES, 1);
    pause_listeners(w, true);
    return false;
}

/* The place goes back: if there is a connection, it has taken another one for itself. */
static void admitted(struct vx_site *site) {
    struct vx_worker *w = VX_CONTAINER_OF(site, struct vx_worker_site, site)->worker;
    atomic_fetch_sub_explicit(&w->budget->open, 1, memory_order_relaxed);
}

/* A connection of some listener has come or gone. */
static void counted(void *user, int change) {
    struct vx_worker *w = user;
    atomic_fetch_add_explicit(&w->budget->open, (uint32_t)change, memory_order_relaxed);
    vx_metrics_add(w->counters, VX_WORKER_CONNECTIONS_ACTIVE, change);
    if (change > 0)
        vx_metrics_add(w->counters, VX_WORKER_CONNECTIONS, 1);
    if (change < 0 && (w->draining || w->paused))
        tick_after(w, 0); /* perhaps the one that was waited for */
}

/* Who is banned is not served, on no listener. */
static bool admits(void *user, const struct vx_address *remote, uint64_t now_ns) {
    struct vx_worker *w = user;
    if (!w->bans->is_banned(w->bans, remote, now_ns))
        return true;
    vx_metrics_add(w->counters, VX_WORKER_BANNED_CONNECTIONS, 1);
    return false;
}

_Static_assert(VX_WORKER_GLITCH_CONTROL - VX_WORKER_GLITCH_RESET == VX_H2_GLITCH_COUNT - 1,
               "the kinds of glitches in the order of the metrics");

/* A peer whose connection has to be ended for them counts as one that was refused: else it would simply come again. */
static void glitched(void *user, const struct vx_client_info *client, enum vx_h2_glitch kind, bool last) {
    struct vx_worker *w = user;
    vx_metrics_add(w->counters, VX_WORKER_GLITCH_RESET + (enum vx_worker_value)kind, 1);
    if (!last)
        return;
    vx_metrics_add(w->counters, VX_WORKER_CALMED, 1);
    w->bans->refused(w->bans, &client->remote, w->engine.rt.now_ns);
}

static uint32_t open_connections(const struct vx_worker *w) {
    uint32_t n = 0;
    for (const struct vx_worker_site *s = w->sites; s; s = s->next)
        n += s->site.server.connection_count + (s->site.listener ? vx_listener_pending(s->site.listener) : 0);
    return n;
}

/* The times that listeners stopped for want of descriptors or memory. */
static void count_starvation(struct vx_worker *w) {
    uint64_t starved = w->engine.tcp.stats.starved;
    vx_metrics_add(w->counters, VX_WORKER_ACCEPT_PAUSES, (int64_t)(starved - w->starved_counted));
    w->starved_counted = starved;
}

static void free_site(struct vx_worker_site *s) {
    vx_listener_free(s->site.listener);
    vx_tls_server_drop(s->site.tls);
    free((char *)s->address.text.ptr);
    free(s);
}

/* Listeners that were closed go once their last connection has gone. */
static void reap_sites(struct vx_worker *w) {
    struct vx_worker_site **at = &w->sites;
    while (*at) {
        struct vx_worker_site *s = *at;
        const struct vx_listener *l = s->site.listener;
        bool accepts = l && (vx_listener_fd(l) >= 0 || vx_listener_pending(l));
        if (accepts || s->site.server.connection_count) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        free_site(s);
    }
}

static struct vx_worker_site *find_site(struct vx_worker *w, const struct vx_address *address) {
    for (struct vx_worker_site *s = w->sites; s; s = s->next)
        if (s->site.listener && vx_listener_fd(s->site.listener) >= 0 && vx_address_eq(&s->address, address))
            return s;
    return NULL;
}

/* The site holds what it accepts with: a connection whose PROXY header is late outlives the generation. */
static void use_tls(struct vx_site *site, struct vx_tls_server *tls) {
    struct vx_tls_server *before = site->tls;
    site->tls = tls ? vx_tls_server_hold(tls) : NULL;
    vx_tls_server_drop(before);
}

static void configure(struct vx_worker_site *s, const struct vx_generation *g, uint32_t listener) {
    const struct vx_config *config = g->snapshot.config;
    struct vx_http_server *server = &s->site.server;
    server->limits = (struct vx_h1_limits){
        .header_bytes = config->limits.header_bytes,
        .headers = (uint16_t)config->limits.headers,
        .uri_bytes = config->limits.uri_bytes,
        .merge_slashes = config->merge_slashes,
    };
    server->timeouts = config->timeouts;
    server->body_bytes = config->limits.body_bytes;
    server->concurrent_streams = config->limits.concurrent_streams;
    server->glitches_a_minute = config->limits.glitches_a_minute;
    server->counted = counted;
    server->glitched = glitched;
    server->user = s->worker;
    use_tls(&s->site, g->setup->servers[listener]);
    s->wanted = true;
}

static void open_site(struct vx_worker *w, const struct vx_generation *g, uint32_t listener, int fd) {
    const struct vx_config_listener *config = &g->snapshot.config->listeners[listener];
    struct vx_worker_site *s = calloc(1, sizeof *s);
    char *path = s ? malloc(config->address.text.len + 1) : NULL;
    if (!path) {
        free(s);
        close(fd);
        vx_log(VX_LOG_ERROR, "worker %u: no memory for a listener", w->index);
        return;
    }
    s->worker = w;
    s->address = config->address;
    if (config->address.text.len)
        memcpy(path, config->address.text.ptr, config->address.text.len);
    s->address.text.ptr = path;
    s->proxy_protocol = config->proxy_protocol;
    s->site.admit = admit;
    s->site.admitted = admitted;
    vx_http_server_init(&s->site.server, &w->engine.rt, &w->proxy.handler);
    s->site.admits = admits;
    s->site.admits_user = w;
    configure(s, g, listener);
    s->next = w->sites;
    w->sites = s;
    if (!vx_site_start(&s->site, &w->engine, fd, &config->address, config->proxy_protocol))
        vx_log(VX_LOG_ERROR, "worker %u: cannot accept: %s", w->index, strerror(errno));
    else if (w->paused)
        vx_listener_pause(s->site.listener);
}

/* Whether a listener begins with TLS or a PROXY header is settled when it starts: it starts anew on the same socket. */
static bool begins_alike(const struct vx_worker_site *s, const struct vx_generation *g, uint32_t listener) {
    return s->proxy_protocol == g->snapshot.config->listeners[listener].proxy_protocol &&
           (s->site.tls != NULL) == (g->setup->servers[listener] != NULL);
}

static void close_site(struct vx_worker_site *s) {
    vx_site_stop(&s->site);
    vx_http_server_drain(&s->site.server);
    if (!s->site.listener || !vx_listener_pending(s->site.listener))
        use_tls(&s->site, NULL);
}

static void take_up_listeners(struct vx_worker *w, const struct vx_adoption *a) {
    const struct vx_config *config = a->generation->snapshot.config;
    for (struct vx_worker_site *s = w->sites; s; s = s->next)
        s->wanted = false;
    for (uint32_t i = 0; i < config->listener_count; i++) {
        struct vx_worker_site *s = find_site(w, &config->listeners[i].address);
        if (a->fds[i] >= 0) {
            open_site(w, a->generation, i, a->fds[i]);
        } else if (s && begins_alike(s, a->generation, i)) {
            configure(s, a->generation, i);
        } else if (s) {
            int fd = dup(vx_listener_fd(s->site.listener));
            close_site(s);
            if (fd >= 0)
                open_site(w, a->generation, i, fd);
        }
    }
    for (struct vx_worker_site *s = w->sites; s; s = s->next)
        if (!s->wanted && s->site.listener && vx_listener_fd(s->site.listener) >= 0)
            close_site(s);
}

static void adopt(struct vx_worker *w, struct vx_adoption *a, uint64_t now_ns) {
    struct vx_snapshot *snapshot = &a->generation->snapshot;
    const struct vx_setup *setup = a->generation->setup;
    w->proxy.rate_store =
        vx_rates_adopt(w->rates, &setup->config->rate_store, setup->store_identity, setup->store_tls);
    take_up_listeners(w, a);
    vx_generation_enter(a->generation, w->index, now_ns);
    vx_proxy_adopt(&w->proxy, snapshot);
    vx_http_clients_retire(&w->engine.clients, a->generation->pools_used, a->generation->pool_count);
    vx_snapshot_drop(snapshot, w->index); /* the hold that was handed over; the proxy has its own now */
    free(a->fds);
    free(a);
}

static void drain(struct vx_worker *w) {
    w->draining = true;
    vx_http_clients_drain(&w->engine.clients);
    for (struct vx_worker_site *s = w->sites; s; s = s->next)
        close_site(s);
    tick_after(w, 0);
}

/* What the control thread has handed over, in its order. */
static void take_up_news(void *arg, uint64_t now_ns) {
    struct vx_worker *w = arg;
    struct vx_adoption *newest = atomic_exchange_explicit(&w->adoptions, NULL, memory_order_acquire);
    struct vx_adoption *oldest = NULL;
    while (newest) {
        struct vx_adoption *before = newest->before;
        newest->before = oldest;
        oldest = newest;
        newest = before;
    }
    while (oldest) {
        struct vx_adoption *next = oldest->before;
        adopt(w, oldest, now_ns);
        oldest = next;
    }
    if (!w->draining && atomic_load_explicit(&w->drain_wanted, memory_order_acquire))
        drain(w);
}

static void on_tick(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_worker *w = VX_CONTAINER_OF(timer, struct vx_worker, tick);
    take_up_news(w, now_ns);
    vx_metrics_set(w->counters, VX_WORKER_MEMORY_ARENAS, w->engine.arenas.used_bytes);
    vx_metrics_set(w->counters, VX_WORKER_MEMORY_BLOCKS, w->engine.blocks.used_bytes);
    vx_metrics_set(w->counters, VX_WORKER_MEMORY_CONNECTIONS, vx_h1_server_bytes() * open_connections(w));
    count_starvation(w);
    reap_sites(w);
    vx_rates_publish(w->rates);
    if (w->paused && !over_budget(w->budget))
        pause_listeners(w, false);
    if (w->draining && w->drained && !w->proxy.active && !open_connections(w)) {
        atomic_store_explicit(&w->is_drained, true, memory_order_release);
        w->drained(w->user);
        w->drained = NULL;
    }
    tick_after(w, TICK_MS);
}

/* An inbox that is full is being read, but nobody would be told a second time: a tick looks for news as well. */
static void announce(struct vx_worker *w) {
    (void)vx_loop_post(w->engine.loop, take_up_news, w);
}

void vx_worker_adopt(struct vx_adoption *adoption) {
    struct vx_worker *w = adoption->worker;
    adoption->before = atomic_load_explicit(&w->adoptions, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&w->adoptions, &adoption->before, adoption,
                                                  memory_order_release, memory_order_relaxed))
        ;
    announce(w);
}

void vx_worker_drain(struct vx_worker *w) {
    atomic_store_explicit(&w->drain_wanted, true, memory_order_release);
    announce(w);
}

/* One message of a kind at a time to each worker: what it does is good for all that wait. The flag goes down before the
 * worker looks, in one order with what was written before it was found up (see places.h). False: the inbox is full. */
static bool notify(struct vx_worker *w, atomic_bool *notified, void (*run_it)(void *, uint64_t)) {
    if (atomic_exchange(notified, true) || vx_loop_post(w->engine.loop, run_it, w))
        return true;
    atomic_store(notified, false);
    return false;
}

static void spare(void *arg, uint64_t now_ns) {
    (void)now_ns;
    struct vx_worker *w = arg;
    atomic_exchange(&w->asked_to_spare, false);
    vx_http_clients_spare(&w->engine.clients);
}

static void look(void *arg, uint64_t now_ns) {
    (void)now_ns;
    struct vx_worker *w = arg;
    atomic_exchange(&w->told_to_look, false);
    vx_places_look(&w->engine.clients.places);
}

static struct vx_worker *worker_of(struct vx_places *places) {
    return VX_CONTAINER_OF(places, struct vx_worker, engine.clients.places);
}

static void ask_others(struct vx_places *places) {
    struct vx_worker *w = worker_of(places);
    for (uint32_t i = 0; i < w->count; i++)
        if (i != w->index)
            notify(&w->all[i], &w->all[i].asked_to_spare, spare);
}

static bool tell(struct vx_places *places, uint32_t worker) {
    struct vx_worker *other = &worker_of(places)->all[worker];
    return notify(other, &other->told_to_look, look);
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

static void close_sites(struct vx_worker *w) {
    for (struct vx_worker_site *s = w->sites; s; s = s->next) {
        vx_listener_free(s->site.listener);
        s->site.listener = NULL;
        vx_http_server_close_all(&s->site.server);
    }
}

static void *run(void *arg) {
    struct vx_worker *w = arg;
    pin(w);
    tick_after(w, TICK_MS);
    vx_loop_run(w->engine.loop);
    close_sites(w);
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
    take_up_news(w, w->engine.rt.now_ns);
    close_sites(w);
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
    while (w->sites) {
        struct vx_worker_site *next = w->sites->next;
        free_site(w->sites);
        w->sites = next;
    }
    vx_engine_free(&w->engine);
}
