/* SPDX-License-Identifier: Apache-2.0 */
/* See health_check.h. */
#include "proxy/control/health_check.h"

#include <stdlib.h>
#include <string.h>

#include "core/routing/balance/set.h"
#include "proxy/telemetry/log.h"

enum { ARENA_BYTES = 2048 };

struct check {
    struct vx_health_checks *checks;
    const struct vx_route *route;
    struct vx_target target; /* the endpoint's, with the checks' own limits and counts */
    uint32_t index;          /* in the route's set */
    struct vx_timer timer;
    struct vx_arena arena;
    struct vx_request request;
    struct vx_upstream *up; /* a check under way */
    char first[ARENA_BYTES];
};

struct vx_health_checks {
    struct vx_engine *engine;
    struct vx_target_shared shared; /* a check takes no place among max_connections */
    struct check *all;
    uint32_t count;
};

static void end(struct check *c, bool passed, const char *why, uint64_t now_ns) {
    if (c->up) {
        struct vx_upstream *up = c->up;
        c->up = NULL;
        up->stream.ops->release(&up->stream);
    }
    vx_arena_reset(&c->arena);
    if (vx_backend_set_checked(c->route->set, c->index, passed, now_ns))
        vx_log(passed ? VX_LOG_INFO : VX_LOG_WARN, "route %.*s: backend %.*s is %s (%s)",
               VX_SLICE_ARG(c->route->config->name), VX_SLICE_ARG(c->target.name),
               passed ? "healthy" : "unhealthy", why);
}

static void on_failed(void *user, uint64_t now_ns) {
    struct check *c = user;
    end(c, false, vx_error_info(c->up->stream.error.code)->word, now_ns);
}

static void drain_body(void *user, uint64_t now_ns) {
    struct check *c = user;
    struct vx_stream *s = &c->up->stream;
    struct vx_slice bytes;
    for (;;) {
        switch (s->ops->pull(s, &bytes)) {
        case VX_PULL_BYTES:
            s->ops->consume(s, bytes.len);
            break;
        case VX_PULL_WAIT:
            return;
        case VX_PULL_END:
            end(c, true, "check passed", now_ns);
            return;
        case VX_PULL_FAILED:
            on_failed(c, now_ns);
            return;
        }
    }
}

static void on_response(void *user, struct vx_response *response, uint64_t now_ns) {
    struct check *c = user;
    if (response->status < 200)
        return;
    if (response->status < 400)
        drain_body(c, now_ns);
    else
        end(c, false, "refused by its status", now_ns);
}

static void on_writable(void *user, uint64_t now_ns) {
    (void)user; /* a check has no body */
    (void)now_ns;
}

static const struct vx_stream_events events = {
    .on_readable = drain_body,
    .on_writable = on_writable,
    .on_failed = on_failed,
    .on_response = on_response,
};

static bool write_request(struct check *c) {
    c->request = (struct vx_request){
        .method = VX_METHOD_GET,
        .method_text = VX_SLICE("GET"),
        .version = VX_HTTP_11,
        .path = c->route->config->health_check.path,
    };
    return vx_headers_add(&c->request.headers, &c->arena, VX_HEADER_HOST, vx_header_id_name(VX_HEADER_HOST),
                          c->target.name) &&
           vx_headers_add(&c->request.headers, &c->arena, VX_HEADER_USER_AGENT,
                          vx_header_id_name(VX_HEADER_USER_AGENT), VX_SLICE("vortex-health-check"));
}

static void begin(struct vx_timer *timer, uint64_t now_ns) {
    struct check *c = VX_CONTAINER_OF(timer, struct check, timer);
    struct vx_engine *engine = c->checks->engine;
    vx_timer_set(&engine->rt.wheel, &c->timer, now_ns + c->route->config->health_check.interval_ns);
    if (c->up)
        end(c, false, "the check before has not ended", now_ns);
    struct vx_error error = vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL);
    struct vx_upstream_open open = {
        .target = &c->target,
        .request = &c->request,
        .arena = &c->arena,
        .events = &events,
        .user = c,
    };
    if (write_request(c))
        c->up = engine->clients.port.open(&engine->clients.port, &open, &error, now_ns);
    if (!c->up) {
        end(c, false, vx_error_info(error.code)->word, now_ns);
        return;
    }
    c->up->stream.ops->finish(&c->up->stream, NULL);
}

static void prepare(struct check *c, struct vx_health_checks *checks, const struct vx_route *route,
                    uint32_t index) {
    const struct vx_config_health_check *config = &route->config->health_check;
    struct vx_runtime *rt = &checks->engine->rt;
    c->checks = checks;
    c->route = route;
    c->index = index;
    c->target = route->targets[index];
    c->target.shared = &checks->shared;
    c->target.max_connections = 0;
    c->target.max_idle = 0;
    c->target.connect_timeout_ns = config->timeout_ns;
    c->target.response_timeout_ns = config->timeout_ns;
    c->target.idle_timeout_ns = config->timeout_ns;
    vx_arena_init(&c->arena, c->first, sizeof c->first, rt->arenas);
    vx_timer_init(&c->timer, begin);
    uint64_t spread_ns = (uint64_t)vx_random_below(&rt->random, 1000) * (config->interval_ns / 1000) / 4;
    vx_timer_set(&rt->wheel, &c->timer, rt->now_ns + spread_ns);
}

static uint32_t count_checks(const struct vx_generation *g) {
    uint32_t count = 0;
    for (uint32_t r = 0; r < g->snapshot.route_count; r++) {
        const struct vx_route *route = &g->snapshot.routes[r];
        if (route->set && route->config->health_check.enabled)
            count += vx_backend_set_count(route->set);
    }
    return count;
}

struct vx_health_checks *vx_health_checks_start(struct vx_engine *engine, struct vx_generation *g,
                                                bool *failed) {
    uint32_t count = count_checks(g);
    *failed = false;
    if (!count)
        return NULL;
    struct vx_health_checks *checks = calloc(1, sizeof *checks);
    struct check *all = calloc(count, sizeof *all);
    if (!checks || !all) {
        free(checks);
        free(all);
        *failed = true;
        return NULL;
    }
    *checks = (struct vx_health_checks){.engine = engine, .all = all, .count = count};
    uint32_t at = 0;
    for (uint32_t r = 0; r < g->snapshot.route_count; r++) {
        const struct vx_route *route = &g->snapshot.routes[r];
        for (uint32_t i = 0;
             route->set && route->config->health_check.enabled && i < vx_backend_set_count(route->set); i++)
            prepare(&all[at++], checks, route, i);
    }
    return checks;
}

void vx_health_checks_stop(struct vx_health_checks *checks) {
    if (!checks)
        return;
    for (uint32_t i = 0; i < checks->count; i++) {
        struct check *c = &checks->all[i];
        if (c->up)
            c->up->stream.ops->release(&c->up->stream);
        vx_timer_remove(&checks->engine->rt.wheel, &c->timer);
        vx_arena_reset(&c->arena);
    }
    free(checks->all);
    free(checks);
}
