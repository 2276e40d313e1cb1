/* SPDX-License-Identifier: Apache-2.0 */
/* See worker_sites.h. */
#include "proxy/control/worker_sites.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/telemetry/log.h"

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

void vx_worker_sites_resume(struct vx_worker *w) {
    if (w->paused && !over_budget(w->budget))
        pause_listeners(w, false);
}

static struct vx_worker *worker_of(struct vx_site *site) {
    return VX_CONTAINER_OF(site, struct vx_worker_site, site)->worker;
}

/* A connection takes its place before it is accepted, or two workers would both take the last one. */
static bool admit(struct vx_site *site) {
    struct vx_worker *w = worker_of(site);
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
    struct vx_worker *w = worker_of(site);
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
        vx_worker_tick_soon(w); /* perhaps the one that was waited for */
}

/* Who is banned is not served, on no listener. */
static bool allows(struct vx_site *site, const struct vx_address *remote, uint64_t now_ns) {
    struct vx_worker *w = worker_of(site);
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

uint32_t vx_worker_sites_connections(const struct vx_worker *w) {
    uint32_t n = 0;
    for (const struct vx_worker_site *s = w->sites; s; s = s->next)
        n += s->site.server.connection_count + (s->site.listener ? vx_listener_pending(s->site.listener) : 0);
    return n;
}

static void free_site(struct vx_worker_site *s) {
    vx_listener_free(s->site.listener);
    vx_tls_server_drop(s->site.tls);
    free((char *)s->address.text.ptr);
    free(s);
}

void vx_worker_sites_reap(struct vx_worker *w) {
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
    s->site.allows = allows;
    vx_http_server_init(&s->site.server, &w->engine.rt, &w->proxy.handler);
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

void vx_worker_sites_take_up(struct vx_worker *w, const struct vx_adoption *a) {
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

void vx_worker_sites_drain(struct vx_worker *w) {
    for (struct vx_worker_site *s = w->sites; s; s = s->next)
        close_site(s);
}

void vx_worker_sites_cut(struct vx_worker *w) {
    for (struct vx_worker_site *s = w->sites; s; s = s->next) {
        vx_listener_free(s->site.listener);
        s->site.listener = NULL;
        vx_http_server_close_all(&s->site.server);
    }
}

void vx_worker_sites_free(struct vx_worker *w) {
    while (w->sites) {
        struct vx_worker_site *next = w->sites->next;
        free_site(w->sites);
        w->sites = next;
    }
}
