/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between the proxy's parts: a handler before the exchange, a client port behind it, a recorder. They pass
 * everything on, keep the book (exchange.h), and check what each port promises. */
#include <stdio.h>

#include "sim/exchange.h"
#include "sim/world.h"

static struct exchange *exchange_of(struct sim *sim, const struct vx_request *request) {
    uint64_t id = request->path.len ? exchange_id_in_path(request->path.ptr, request->path.len) : UINT64_MAX;
    return id == UINT64_MAX ? NULL : exchange_at(sim, id);
}

static void begin(struct vx_handler *handler, struct vx_downstream *d, uint64_t now_ns) {
    struct sim *sim = VX_CONTAINER_OF(handler, struct sim, handler);
    struct exchange *e = exchange_of(sim, d->request);
    if (!e)
        sim_fail(sim, "a request began that nobody sent");
    if (e->flaw != FLAW_NONE && e->flaw != FLAW_BAD_CHUNK)
        sim_fail(sim, "request %u began in spite of its flaw %s", e->id, exchange_flaw_name(e->flaw));
    e->begins++;
    sim->begins++;
    sim_wrap_downstream(sim, &d->stream);
    sim->proxy.handler.begin(&sim->proxy.handler, d, now_ns);
}

static void refused(struct vx_handler *handler, const struct vx_refusal *refusal, uint64_t now_ns) {
    struct sim *sim = VX_CONTAINER_OF(handler, struct sim, handler);
    sim->refusals++;
    if (refusal->error.source == VX_BY_BACKEND)
        sim_fail(sim, "a request was refused for a backend's fault");
    sim->proxy.handler.refused(&sim->proxy.handler, refusal, now_ns);
}

static struct vx_upstream *open_upstream(struct vx_http_client *port, const struct vx_upstream_open *open,
                                         struct vx_error *error, uint64_t now_ns) {
    struct sim *sim = VX_CONTAINER_OF(port, struct sim, client_port);
    struct exchange *e = exchange_of(sim, open->request);
    if (!e)
        sim_fail(sim, "an attempt for a request that nobody sent");
    if (e->records)
        sim_fail(sim, "request %u: an attempt after its end", e->id);
    sim->attempts++;
    if (sim_fault_hits(sim, SIM_FAULT_OPEN)) {
        *error = vx_error(VX_ERR_OUT_OF_MEMORY, false, "injected");
        return NULL;
    }
    if (sim->verbose)
        fprintf(stderr, "%llu request %u: an attempt at backend %u.%u%s\n", (unsigned long long)now_ns, e->id,
                open->target->address.ip[2], open->target->address.ip[3],
                open->fresh ? " on a fresh connection" : "");
    struct vx_upstream *up = sim->upstreams.port.open(&sim->upstreams.port, open, error, now_ns);
    if (up)
        sim_wrap_upstream(sim, &up->stream);
    return up;
}

/* The recorder */

static void check_record(struct sim *sim, const struct exchange *e, const struct vx_exchange_record *r) {
    const struct vx_error_info *info = vx_error_info(r->error);
    if (r->started_ns > r->ended_ns || r->ended_ns != sim->now_ns)
        sim_fail(sim, "request %u: its record ends before it began, or not now", e->id);
    if (r->error != VX_ERR_NONE && r->status && r->status != info->status && !e->deliveries)
        sim_fail(sim, "request %u: status %u with the reason %s", e->id, r->status, info->word);
    if (r->error == VX_ERR_NONE && !r->status)
        sim_fail(sim, "request %u: no status and no reason", e->id);
    if (r->attempts && !r->backend.len)
        sim_fail(sim, "request %u: %u attempts and no backend", e->id, r->attempts);
    if (r->backend_ns > r->ended_ns - r->started_ns)
        sim_fail(sim, "request %u: its backend took %llu ns, more than the whole", e->id,
                 (unsigned long long)r->backend_ns);
    if (!r->tunnel && r->request_bytes > e->body_bytes)
        sim_fail(sim, "request %u: %llu bytes of a body of %llu", e->id, (unsigned long long)r->request_bytes,
                 (unsigned long long)e->body_bytes);
    if (sim->scenario->backends_sound && !r->tunnel && info->source == VX_BY_BACKEND &&
        r->error != VX_ERR_NONE)
        sim_fail(sim, "request %u: a faultless backend was blamed (%s, %s)", e->id, info->word,
                 r->error_detail ? r->error_detail : "");
    bool full = r->error == VX_ERR_QUEUE_FULL || r->error == VX_ERR_QUEUE_TIMEOUT;
    bool excused = e->must_be_404 || e->route == ROUTE_VARIABLE || (e->route == ROUTE_LIMITED && full);
    if (sim->scenario->all_answered && r->error != VX_ERR_NONE && !excused)
        sim_fail(sim, "request %u: %s (%s) although nothing was wrong", e->id, info->word,
                 r->error_detail ? r->error_detail : "");
    /* Far below every timeout: somebody who was woken by another's timer would be late. */
    if (sim->scenario->all_answered && !r->tunnel && !full && r->ended_ns - r->started_ns > SIM_MS(1900))
        sim_fail(sim, "request %u took %.3f s: somebody was woken late", e->id,
                 (double)(r->ended_ns - r->started_ns) / 1e9);
}

/* No timeout may strike where nobody was slow: it would hide that somebody was not woken. */
static void check_timeout(struct sim *sim, const struct exchange *e, const struct vx_exchange_record *r) {
    bool backend = r->error == VX_ERR_RESPONSE_TIMEOUT || r->error == VX_ERR_BODY_TIMEOUT ||
                   r->error == VX_ERR_WRITE_TIMEOUT;
    bool tunnel = r->tunnel && e->client_at_fault; /* where both are silent, either may be to blame */
    if ((backend && !e->excuse_504 && !tunnel) || (r->error == VX_ERR_REQUEST_TIMEOUT && !e->excuse_408) ||
        (r->error == VX_ERR_CLIENT_WRITE_TIMEOUT && !e->client_at_fault) ||
        (r->error == VX_ERR_CONNECT_TIMEOUT && !sim->excuse_504))
        sim_fail(sim, "request %u: %s, but nobody was slow%s: somebody was not woken", e->id,
                 vx_error_info(r->error)->word, e->client_at_fault ? " but the client" : "");
}

static void record(struct vx_recorder *recorder, const struct vx_exchange_record *r) {
    struct sim *sim = VX_CONTAINER_OF(recorder, struct sim, recorder);
    struct exchange *e = exchange_of(sim, r->request);
    vx_metrics_record(sim->metrics, 0, r);
    sim->records++;
    if (!e || !e->begins) {
        if (r->attempts || r->route)
            sim_fail(sim, "a record of a request that never began, with a route or an attempt");
        return;
    }
    if (sim->mischief == SIM_LOST_RECORD && e->id % 50 == 7)
        return;
    if (sim->verbose)
        fprintf(stderr, "%llu request %u: %u %s (%s), %u attempts, part %d\n",
                (unsigned long long)sim->now_ns, e->id, r->status, vx_error_info(r->error)->word,
                r->error_detail ? r->error_detail : "", r->attempts, r->part);
    check_timeout(sim, e, r);
    if (r->part == VX_RECORD_TUNNEL_BEGUN) {
        e->tunnel_begun = true;
        sim->tunnels_begun++;
        return;
    }
    check_record(sim, e, r);
    limits_recorded(sim, r, e->deliveries);
    bans_recorded(sim, r, e->deliveries);
    e->tunnel_ended = r->part == VX_RECORD_TUNNEL_ENDED;
    sim->tunnels_ended += e->tunnel_ended;
    e->records++;
    e->recorded_ns = sim->now_ns;
    e->recorded_status = r->status;
    e->recorded_error = (uint16_t)r->error;
}

static void retried(struct vx_recorder *recorder, const struct vx_route *route,
                    const struct vx_target *target) {
    struct sim *sim = VX_CONTAINER_OF(recorder, struct sim, recorder);
    sim->retries++;
    vx_metrics_retried(sim->metrics, 0, route, target);
}

void ports_init(struct sim *sim) {
    sim->handler = (struct vx_handler){.begin = begin, .refused = refused};
    sim->client_port.open = open_upstream;
    sim->recorder = (struct vx_recorder){.record = record, .retried = retried};
}
