/* SPDX-License-Identifier: Apache-2.0 */
/* See dump.h.
 *
 * 1. A dump lives until every worker it was posted to has written its part, however long that takes: they write into it.
 * 2. Its call is answered once: when the last part is there, or when the time is up with the parts that are missing named. */
#include "proxy/control/dump.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "core/routing/balance/set.h"
#include "proxy/compose_filters.h"
#include "proxy/compose_limits.h"
#include "proxy/control/dump_worker.h"
#include "proxy/control/internal.h"

enum { WAIT_MS = 2000, LOOK_AGAIN_MS = 1000 };

struct part {
    struct dump *dump;
    struct vx_worker *worker;
    struct vx_text text;
    atomic_bool written; /* the worker's last word; after it the text is the control thread's */
    bool asked;
};

struct dump {
    struct vx_list link;
    struct vx_control *control;
    struct vx_admin_call *call; /* NULL once answered */
    struct vx_timer timer;
    uint32_t part_count;
    struct part parts[];
};

/* --- What the control thread knows -------------------------------------------------------------------------------- */

static void write_snapshots(const struct vx_control *c, struct vx_text *out) {
    for (const struct vx_list *at = c->generations.next; at != &c->generations; at = at->next) {
        const struct vx_generation *g = VX_CONTAINER_OF(at, const struct vx_generation, link);
        vx_text_format(out, "snapshot: version %llu, %s, used by %u and kept by %u of %u threads\n",
                       (unsigned long long)g->snapshot.version, g == c->generation ? "current" : "superseded",
                       atomic_load_explicit(&g->snapshot.workers_left, memory_order_relaxed),
                       atomic_load_explicit(&g->snapshot.workers_keeping, memory_order_relaxed),
                       g->snapshot.worker_count);
    }
}

static void write_backend(const struct vx_route *route, uint32_t index, struct vx_text *out) {
    const struct vx_target *t = &route->targets[index];
    struct vx_backend_stats s = vx_backend_set_stats(route->set, index);
    char address[VX_ADDRESS_TEXT_MAX];
    vx_address_format(&t->address, address);
    vx_text_format(
        out,
        "  backend %.*s (%s): EWMA %.3f ms, %u active, breaker %s, health %s, %u connections, %u waiting, "
        "%llu "
        "opened, pool %u\n",
        VX_SLICE_ARG(t->name), address, (double)s.ewma_us / 1000, s.active, vx_breaker_state_name(s.breaker),
        vx_health_state_name(s.health), atomic_load_explicit(&t->shared->connections, memory_order_relaxed),
        atomic_load_explicit(&t->shared->waiting, memory_order_relaxed),
        (unsigned long long)atomic_load_explicit(&t->shared->connections_opened, memory_order_relaxed),
        t->pool);
}

static void write_routes(const struct vx_snapshot *s, struct vx_text *out) {
    for (uint32_t r = 0; r < s->route_count; r++) {
        const struct vx_route *route = &s->routes[r];
        vx_text_format(out, "route %.*s:%s\n", VX_SLICE_ARG(route->config->name),
                       route->set ? "" : " a redirect");
        for (uint32_t f = 0; route->chain && f < route->chain->count; f++)
            vx_text_format(out, "  filter %.*s\n", VX_SLICE_ARG(route->chain->filters[f]->name));
        for (uint32_t i = 0; route->set && i < vx_backend_set_count(route->set); i++)
            write_backend(route, i, out);
    }
}

static void write_filters(const struct vx_setup *s, struct vx_text *out) {
    for (uint32_t i = 0; i < s->config->filter_count; i++) {
        const struct vx_config_filter *f = &s->config->filters[i];
        vx_text_format(out, "filter %.*s: %s%.*s\n", VX_SLICE_ARG(f->name),
                       s->loaded[i]->pushed ? "pushed, in place of " : "", VX_SLICE_ARG(f->wasm_path));
    }
}

static void write_bans(const struct vx_control *c, struct vx_text *out) {
    struct vx_ban ban;
    uint32_t count = 0;
    for (uint32_t at = 0; vx_bans_next(c->bans, &at, &ban);)
        count++;
    vx_text_format(out, "bans: %s, %u in effect\n", c->setup->config->bans.enabled ? "on" : "off", count);
}

static void write_control(const struct vx_control *c, struct vx_text *out) {
    struct vx_slice state = vx_readiness_name(c->readiness);
    vx_text_format(out, "vortex " VX_VERSION ": %.*s, %u workers\nconfiguration: version %llu of %s\n",
                   VX_SLICE_ARG(state), c->worker_count, (unsigned long long)c->version, c->path);
    write_snapshots(c, out);
    vx_text_format(out, "connections: %u open, limit %u\n",
                   atomic_load_explicit(&c->budget.open, memory_order_relaxed),
                   atomic_load_explicit(&c->budget.limit, memory_order_relaxed));
    write_filters(c->setup, out);
    vx_ahead_dump(&c->ahead, out);
    if (c->filters)
        vx_compose_filters_dump(c->filters, out);
    write_bans(c, out);
    vx_compose_rate_memory_dump(c->rate_memory, c->engine.rt.now_ns, out);
    write_routes(&c->generation->snapshot, out);
    vx_text_format(out, "control thread:\n");
    vx_dump_engine(&c->engine, out);
}

/* --- What the workers say ----------------------------------------------------------------------------------------- */

static bool is_whole(const struct dump *d) {
    for (uint32_t i = 0; i < d->part_count; i++)
        if (d->parts[i].asked && !atomic_load_explicit(&d->parts[i].written, memory_order_acquire))
            return false;
    return true;
}

static void answer(struct dump *d) {
    struct vx_text text = {0};
    struct vx_admin_answer a = {.outcome = VX_ADMIN_DONE};
    write_control(d->control, &text);
    for (uint32_t i = 0; i < d->part_count; i++) {
        const struct part *p = &d->parts[i];
        vx_text_format(&text, "worker %u:\n", i);
        if (p->asked && atomic_load_explicit(&p->written, memory_order_acquire))
            vx_text_add(&text, vx_slice(p->text.data, p->text.len));
        else
            vx_text_format(&text, "  %s\n",
                           p->asked ? "has not answered yet" : "could not be asked: its inbox is full");
    }
    if (text.failed)
        a = (struct vx_admin_answer){.outcome = VX_ADMIN_REFUSED, .text = VX_SLICE("out of memory")};
    else
        a.text = vx_slice(text.data, text.len);
    struct vx_admin_call *call = d->call;
    d->call = NULL;
    call->answered(call, &a);
    vx_text_free(&text);
}

/* The list is the caller's business. */
static void free_dump(struct dump *d, struct vx_runtime *rt) {
    d->control->admin.dumps.count--;
    vx_timer_remove(&rt->wheel, &d->timer);
    for (uint32_t i = 0; i < d->part_count; i++)
        vx_text_free(&d->parts[i].text);
    free(d);
}

static void look(struct dump *d, bool time_is_up) {
    struct vx_runtime *rt = &d->control->engine.rt;
    bool whole = is_whole(d);
    if (d->call && (whole || time_is_up))
        answer(d);
    if (!whole) {
        vx_timer_set(&rt->wheel, &d->timer, rt->now_ns + (uint64_t)LOOK_AGAIN_MS * 1000000);
        return;
    }
    vx_list_remove(&d->link);
    free_dump(d, rt);
}

static void on_timer(struct vx_timer *timer, uint64_t now_ns) {
    (void)now_ns;
    look(VX_CONTAINER_OF(timer, struct dump, timer), true);
}

/* A worker is through. Which dump it was for is not said: it may be gone already, seen to by its timer. */
static void part_is_there(void *arg, uint64_t now_ns) {
    (void)now_ns;
    struct vx_dumps *dumps = arg;
    struct vx_list *next;
    for (struct vx_list *at = dumps->under_way.next; at != &dumps->under_way; at = next) {
        next = at->next;
        struct dump *d = VX_CONTAINER_OF(at, struct dump, link);
        if (is_whole(d))
            look(d, false);
    }
}

/* On the worker's thread. */
static void write_part(void *arg, uint64_t now_ns) {
    (void)now_ns;
    struct part *p = arg;
    struct vx_control *c = p->dump->control;
    vx_dump_worker(p->worker, &p->text);
    if (c->filters)
        vx_compose_filters_dump_worker(c->filters, p->worker->index, &p->text);
    atomic_store_explicit(&p->written, true, memory_order_release);
    vx_loop_post(c->engine.loop, part_is_there, &c->admin.dumps); /* a full inbox: the timer looks */
}

void vx_dumps_init(struct vx_dumps *d) {
    vx_list_init(&d->under_way);
    d->count = 0;
}

bool vx_dump_start(struct vx_control *c, struct vx_admin_call *call, const char **why) {
    struct vx_dumps *dumps = &c->admin.dumps;
    struct dump *d = NULL;
    *why = "too many dumps are under way";
    if (!c->generation || dumps->count == VX_DUMPS_MAX)
        return false;
    *why = "out of memory";
    d = calloc(1, sizeof *d + c->worker_count * sizeof *d->parts);
    if (!d)
        return false;
    dumps->count++;
    vx_list_init(&d->link);
    vx_list_push_back(&dumps->under_way, &d->link);
    d->control = c;
    d->call = call;
    d->part_count = c->worker_count;
    for (uint32_t i = 0; i < d->part_count; i++) {
        struct part *p = &d->parts[i];
        p->dump = d;
        p->worker = &c->workers[i];
        p->asked = vx_loop_post(p->worker->engine.loop, write_part, p);
    }
    vx_timer_init(&d->timer, on_timer);
    vx_timer_set(&c->engine.rt.wheel, &d->timer, c->engine.rt.now_ns + (uint64_t)WAIT_MS * 1000000);
    return true;
}

void vx_dumps_end(struct vx_dumps *d, struct vx_runtime *rt) {
    struct vx_list *next;
    for (struct vx_list *at = d->under_way.next; at != &d->under_way; at = next) {
        next = at->next;
        struct dump *dump = VX_CONTAINER_OF(at, struct dump, link);
        struct vx_admin_answer a = {.outcome = VX_ADMIN_REFUSED, .text = VX_SLICE("the proxy has ended")};
        if (dump->call)
            dump->call->answered(dump->call, &a);
        free_dump(dump, rt);
    }
    vx_list_init(&d->under_way);
}
