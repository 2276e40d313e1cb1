/* SPDX-License-Identifier: Apache-2.0 */
/* See dump_worker.h. */
#include "proxy/control/dump_worker.h"

#include "core/routing/balance/set.h"
#include "proxy/compose_limits.h"

static void write_slab(const char *what, const struct vx_slab *s, struct vx_text *out) {
    vx_text_format(out, "  %s: %zu bytes in use, %zu kept free, %llu taken, %llu from malloc\n", what,
                   s->used_bytes, vx_slab_kept_bytes(s), (unsigned long long)s->taken_total,
                   (unsigned long long)s->malloc_total);
}

void vx_dump_engine(const struct vx_engine *e, struct vx_text *out) {
    const struct vx_loop_stats *s = vx_loop_stats(e->loop);
    vx_text_format(out, "  loop: %llu rounds, %llu events, %llu messages, %llu refused\n",
                   (unsigned long long)s->rounds, (unsigned long long)s->events,
                   (unsigned long long)s->messages, (unsigned long long)s->messages_refused);
    write_slab("arenas", &e->arenas, out);
    write_slab("blocks", &e->blocks, out);
}

static const char *acceptance(const struct vx_worker *w, const struct vx_site *site) {
    if (!site->listener || vx_listener_fd(site->listener) < 0)
        return "closed";
    return w->paused ? "paused" : "accepting";
}

static void write_site(const struct vx_worker *w, const struct vx_worker_site *s, struct vx_text *out) {
    char address[VX_ADDRESS_TEXT_MAX];
    vx_address_format(&s->address, address);
    vx_text_format(out, "  listener %s%s%s: %s, %u connections", address, s->site.tls ? " (TLS)" : "",
                   s->proxy_protocol ? " (PROXY)" : "", acceptance(w, &s->site),
                   s->site.server.connection_count);
    vx_http_server_dump(&s->site.server, out);
    vx_text_add(out, VX_SLICE("\n"));
}

static void write_pools(const struct vx_worker *w, struct vx_text *out) {
    const struct vx_snapshot *snapshot = w->proxy.snapshot;
    for (uint32_t r = 0; snapshot && r < snapshot->route_count; r++) {
        const struct vx_route *route = &snapshot->routes[r];
        for (uint32_t i = 0; route->set && i < vx_backend_set_count(route->set); i++)
            vx_http_clients_dump(&w->engine.clients, &route->targets[i], out);
    }
}

void vx_dump_worker(const struct vx_worker *w, struct vx_text *out) {
    const struct vx_snapshot *s = w->proxy.snapshot;
    vx_text_format(out, "  cpu %d%s, snapshot version %llu with %u users, %u exchanges\n", w->cpu,
                   w->draining ? ", draining" : "", s ? (unsigned long long)s->version : 0,
                   s ? s->users[w->index].count : 0, w->proxy.active);
    vx_dump_engine(&w->engine, out);
    for (const struct vx_worker_site *site = w->sites; site; site = site->next)
        write_site(w, site, out);
    const struct vx_places *places = &w->engine.clients.places;
    vx_text_format(out, "  places: others told %llu times, told by others %llu times, %llu found late\n",
                   (unsigned long long)places->told, (unsigned long long)places->heard,
                   (unsigned long long)places->late);
    write_pools(w, out);
    vx_rates_dump(w->rates, out);
}
