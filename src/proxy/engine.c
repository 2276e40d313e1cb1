/* SPDX-License-Identifier: Apache-2.0 */
/* See engine.h. The only file that puts concrete adapters together. */
#include "proxy/engine.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
    KEEP_ARENAS_BYTES = 16 * 1024 * 1024,
    KEEP_BLOCKS_BYTES = 32 * 1024 * 1024,
};

/* Shows the wall clock to all who write a Date, and comes again with its next second. */
static void show_date(struct vx_timer *timer, uint64_t now_ns) {
    enum { SECOND_NS = 1000000000 };
    struct vx_engine *e = VX_CONTAINER_OF(timer, struct vx_engine, next_second);
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    vx_timestamp_set(&e->date, (uint64_t)wall.tv_sec * SECOND_NS + (uint64_t)wall.tv_nsec);
    e->rt.date = vx_slice(e->date.http, sizeof e->date.http);
    vx_timer_set(&e->rt.wheel, timer, now_ns + SECOND_NS - (uint64_t)wall.tv_nsec);
}

bool vx_engine_init(struct vx_engine *e, uint32_t worker) {
    memset(e, 0, sizeof *e);
    if (!vx_slab_init(&e->arenas, VX_SLAB_ARENA_BYTES, KEEP_ARENAS_BYTES))
        return false;
    if (!vx_slab_init(&e->blocks, VX_SLAB_BLOCK_BYTES, KEEP_BLOCKS_BYTES)) {
        vx_slab_free(&e->arenas);
        return false;
    }
    e->rt.arenas = &e->arenas.source;
    e->rt.blocks = &e->blocks.source;
    e->rt.worker = worker;
    if (getrandom(&e->rt.random.state, sizeof e->rt.random.state, 0) < 0)
        e->rt.random.state = worker + 1;
    e->loop = vx_loop_new(&e->rt);
    e->tls = e->loop ? vx_tls_worker_new(&e->rt) : NULL;
    if (!e->tls) {
        if (e->loop)
            vx_loop_free(e->loop);
        vx_slab_free(&e->arenas);
        vx_slab_free(&e->blocks);
        return false;
    }
    vx_tcp_init(&e->tcp, e->loop);
    vx_tls_dialer_init(&e->dialer, &e->tcp.dialer, e->tls);
    e->rt.dialer = &e->dialer.dialer;
    vx_http_clients_init(&e->clients, &e->rt);
    vx_timer_init(&e->next_second, show_date);
    show_date(&e->next_second, e->rt.now_ns);
    return true;
}

void vx_engine_free(struct vx_engine *e) {
    vx_http_clients_destroy(&e->clients);
    vx_runtime_run_tasks(&e->rt);
    vx_loop_run_once(e->loop, 0); /* frees what was put off to the end of a round */
    vx_tls_worker_free(e->tls);
    vx_tcp_free(&e->tcp);
    vx_loop_free(e->loop);
    vx_slab_free(&e->arenas);
    vx_slab_free(&e->blocks);
}

static void on_accept(void *user, struct vx_transport *transport, uint64_t now_ns) {
    struct vx_site *site = user;
    if (site->allows && !site->allows(site, &transport->remote, now_ns)) {
        transport->ops->close(transport, true);
        return;
    }
    if (site->tls)
        transport = vx_tls_server_wrap(site->tls, site->engine->tls, transport);
    if (transport)
        vx_http_server_accept(&site->server, transport);
}

static bool admit(void *user) {
    struct vx_site *site = user;
    return site->admit(site);
}

static void admitted(void *user) {
    struct vx_site *site = user;
    site->admitted(site);
}

static bool covers(const struct vx_transport *transport, struct vx_slice host) {
    const struct vx_tls_server *tls = vx_tls_server_of(transport);
    return !tls || vx_tls_server_covers(tls, transport->tls->certificate, host);
}

bool vx_site_start(struct vx_site *site, struct vx_engine *engine, int fd, const struct vx_address *address,
                   bool proxy_protocol) {
    struct vx_listener_options options = {
        .on_accept = on_accept,
        .admit = site->admit ? admit : NULL,
        .admitted = admitted,
        .user = site,
        .address = *address,
        .proxy_protocol = proxy_protocol,
        .proxy_timeout_ns = site->server.timeouts.header_ns,
    };
    site->engine = engine;
    site->server.covers = site->tls ? covers : NULL;
    site->listener = vx_listener_start(&engine->tcp, fd, &options);
    return site->listener != NULL;
}

void vx_site_stop(struct vx_site *site) {
    if (site->listener)
        vx_listener_stop(site->listener);
}
