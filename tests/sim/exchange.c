/* SPDX-License-Identifier: Apache-2.0 */
/* See exchange.h. */
#include "sim/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/client.h"
#include "sim/host.h"

enum { JSON_HEAD_MAX = 64 };

uint16_t exchange_flaw_status(enum sim_flaw flaw) {
    static const uint16_t statuses[] = {
#define X(name, status) status,
        SIM_FLAW_LIST(X)
#undef X
    };
    return statuses[flaw];
}

const char *exchange_flaw_name(enum sim_flaw flaw) {
    static const char *const names[] = {
#define X(name, status) #name,
        SIM_FLAW_LIST(X)
#undef X
    };
    return names[flaw];
}

const char *exchange_deed_name(enum sim_deed deed) {
    static const char *const names[] = {
#define X(name) #name,
        SIM_DEED_LIST(X)
#undef X
    };
    return names[deed];
}

static struct exchange *add(struct sim *sim) {
    if (sim->exchange_count == sim->exchange_room)
        sim_fail(sim, "simulator: more exchanges than planned");
    struct exchange *e = &sim->exchanges[sim->exchange_count];
    *e = (struct exchange){.id = sim->exchange_count++};
    return e;
}

static uint64_t size_of_body(struct sim *sim) {
    if (sim_chance(sim, sim->scenario->big))
        return sim_between(sim, 60000, 400000);
    switch (sim_below(sim, 4)) {
    case 0:
        return sim_below(sim, 3);
    case 1:
        return sim_below(sim, 200);
    case 2:
        return sim_below(sim, 6000);
    default:
        return sim_below(sim, 40000);
    }
}

static void choose_body(struct sim *sim, struct exchange *e) {
    static const char *const methods[] = {"POST", "PUT", "POST", "PATCH", "DELETE", "POST"};
    const struct scenario *s = sim->scenario;
    e->method = methods[sim_below(sim, 6)];
    e->body = !e->http10 && sim_chance(sim, s->chunked) ? BODY_CHUNKED : BODY_LENGTH;
    e->body_bytes = size_of_body(sim);
    e->trailers = e->body == BODY_CHUNKED && sim_chance(sim, 300);
    e->expects = !e->http10 && sim_chance(sim, s->expect) && (e->body == BODY_CHUNKED || e->body_bytes);
    if (e->body == BODY_CHUNKED && sim_chance(sim, s->bad_body)) {
        e->flaw = FLAW_BAD_CHUNK;
        e->expects = false;
        e->body_bytes += 20;
    }
}

static void choose_model(struct sim *sim, struct exchange *e) {
    static const char *const models[] = {"alpha", "beta", "gamma", "nobody"};
    e->route = ROUTE_MODELS;
    uint32_t which = sim_below(sim, 5);
    if (which == 4) {
        e->json_without_model = e->body != BODY_NONE;
        return;
    }
    e->model = models[which];
    e->must_be_404 = which == 3;
    e->model_in_body = e->body != BODY_NONE && e->flaw == FLAW_NONE && sim_chance(sim, 600);
    if (e->model_in_body && e->body_bytes < JSON_HEAD_MAX)
        e->body_bytes = JSON_HEAD_MAX;
}

static void choose_route(struct sim *sim, struct exchange *e) {
    const struct scenario *s = sim->scenario;
    static const uint8_t odd[] = {ROUTE_REDIRECT, ROUTE_VARIABLE, ROUTE_NONE, ROUTE_REWRITE};
    if (sim_chance(sim, s->models)) {
        choose_model(sim, e);
        if (e->body_bytes > SIM_BUFFERED_BODY && s->all_answered)
            e->body_bytes = SIM_BUFFERED_BODY;
    } else if (sim_chance(sim, s->odd_routes))
        e->route = odd[sim_below(sim, 4)];
    else
        e->route = sim_chance(sim, s->limited_route) ? ROUTE_LIMITED : ROUTE_MAIN;
    if (e->route == ROUTE_NONE)
        e->must_be_404 = true;
}

struct exchange *exchange_new(struct sim *sim, struct client *client, bool alone, bool last) {
    const struct scenario *s = sim->scenario;
    struct exchange *e = add(sim);
    e->client = client;
    e->method = "GET";
    e->http10 = sim_chance(sim, s->http10);
    if (sim_chance(sim, s->bodies))
        choose_body(sim, e);
    else if (sim_chance(sim, s->head))
        e->method = "HEAD";
    choose_route(sim, e);
    if (alone && !e->http10 && e->body == BODY_NONE && e->method[0] == 'G' && sim_chance(sim, s->upgrade)) {
        e->upgrades = true;
        e->tunnel_up = size_of_body(sim);
        e->tunnel_down = size_of_body(sim);
    }
    if (e->flaw == FLAW_NONE && !e->upgrades && sim_chance(sim, s->malformed)) {
        e->flaw = (uint8_t)(1 + sim_below(sim, FLAW_BAD_CHUNK - 1));
        e->http10 = e->flaw == FLAW_OLD_CHUNKED;
        e->expects = false;
    }
    e->keeps_alive = !last || e->upgrades || sim_chance(sim, 500);
    if (e->http10 && !sim_chance(sim, 500))
        e->keeps_alive = false;
    e->idempotent = strcmp(e->method, "POST") != 0 && strcmp(e->method, "PATCH") != 0;
    return e;
}

struct exchange *exchange_at(struct sim *sim, uint64_t id) {
    return id < sim->exchange_count ? &sim->exchanges[id] : NULL;
}

/* {"model":"alpha","pad":"..."} */
unsigned char exchange_body_byte(const struct exchange *e, uint64_t at) {
    unsigned char byte = sim_pattern((uint64_t)e->id * 2 + 1, at);
    if (!e->model_in_body)
        return byte;
    char head[JSON_HEAD_MAX];
    int n = snprintf(head, sizeof head, "{\"model\":\"%s\",\"pad\":\"", e->model);
    if (at < (uint64_t)n)
        return (unsigned char)head[at];
    if (at == e->body_bytes - 2)
        return '"';
    return at == e->body_bytes - 1 ? '}' : (unsigned char)('a' + byte % 26);
}

int exchange_path(const struct exchange *e, bool at_backend, char *out, size_t room) {
    static const char *const prefixes[] = {"a", "b", "m", "w", "r", "v", "z"};
    const char *prefix = at_backend && e->route == ROUTE_REWRITE ? "rewritten" : prefixes[e->route];
    return snprintf(out, room, "/%s/%u", prefix, e->id);
}

uint64_t exchange_id_in_path(const char *path, size_t len) {
    size_t at = 1;
    while (at < len && path[at] != '/')
        at++;
    uint64_t id = 0;
    size_t digits = 0;
    for (at++; at < len && path[at] >= '0' && path[at] <= '9'; at++, digits++)
        id = id * 10 + (unsigned)(path[at] - '0');
    return digits && digits < 10 ? id : UINT64_MAX;
}

/* Plans */

static uint8_t choose_deed(const struct scenario *s, const struct exchange *e, struct vx_random *r) {
    static const uint8_t silences[] = {DEED_SILENT, DEED_STALL, DEED_DEAF};
    if (vx_random_below(r, 1000) < s->silent)
        return silences[vx_random_below(r, 3)];
    if (vx_random_below(r, 1000) >= s->faults)
        return DEED_ANSWER;
    uint8_t deed = (uint8_t)(1 + vx_random_below(r, DEED_SILENT - 1));
    if (deed == DEED_UNASKED_101 && e->upgrades)
        return DEED_GARBAGE;
    return deed;
}

static void plan_framing(struct answer_plan *p, const struct scenario *s, const struct exchange *e,
                         struct vx_random *r) {
    uint32_t sizes[] = {0, 300, 5000, 30000};
    uint32_t size = sizes[vx_random_below(r, 4)];
    if (vx_random_below(r, 1000) < s->big)
        size = 400000;
    p->body_bytes = size ? vx_random_below(r, size) : 0;
    p->old = vx_random_below(r, 1000) < s->old_backend;
    p->framing = ANSWER_LENGTH;
    if (vx_random_below(r, 1000) < s->until_close)
        p->framing = ANSWER_UNTIL_CLOSE;
    else if (!p->old && vx_random_below(r, 1000) < s->chunked)
        p->framing = ANSWER_CHUNKED;
    p->head_only = exchange_is_head(e) || p->status == 204 || p->status == 304;
    if (p->status == 204)
        p->framing = ANSWER_NONE;
    p->trailers = p->framing == ANSWER_CHUNKED && vx_random_below(r, 2);
}

/* A deed that needs something to break needs something to break. */
static void fit_deed(struct answer_plan *p, const struct exchange *e) {
    if (p->deed == DEED_RESET_IN_UPLOAD && e->body_bytes < 2)
        p->deed = DEED_RESET_AT_HEAD;
    bool in_body = p->deed == DEED_RESET_IN_BODY || p->deed == DEED_CLOSE_IN_BODY || p->deed == DEED_STALL ||
                   p->deed == DEED_BAD_CHUNK;
    if (in_body && (p->head_only || p->framing == ANSWER_NONE))
        p->deed = DEED_RESET_IN_HEAD;
    if (p->deed == DEED_BAD_CHUNK) {
        p->framing = ANSWER_CHUNKED;
        p->old = false;
    }
    if (p->deed == DEED_EXTRA && (p->framing == ANSWER_UNTIL_CLOSE || p->early))
        p->deed = DEED_ANSWER;
    /* An end inside a body that ends with the connection cannot be told from its end. */
    if (p->deed == DEED_CLOSE_IN_BODY && p->framing == ANSWER_UNTIL_CLOSE)
        p->deed = DEED_RESET_IN_BODY;
    if (in_body && p->body_bytes < 10)
        p->body_bytes = 10;
    if (p->framing == ANSWER_UNTIL_CLOSE || p->deed != DEED_ANSWER)
        p->afterwards =
            p->head_only ? AFTER_CLOSE_SAID : AFTER_CLOSE; /* where nothing shows it, it is said */
}

/* Over HTTP/2 there is no end by the connection's, no HTTP/1.0 and no 101; an answer ends without its connection. */
static void fit_http2(struct answer_plan *p, const struct exchange *e) {
    p->http2 = true;
    p->old = p->accepts_upgrade = false;
    if (p->framing == ANSWER_UNTIL_CLOSE)
        p->framing = ANSWER_CHUNKED;
    if (p->deed == DEED_EXTRA)
        p->deed = DEED_ANSWER;
    if (p->deed == DEED_BAD_FRAMING && p->head_only)
        p->deed = DEED_GARBAGE;
    if (p->deed == DEED_BAD_FRAMING) {
        p->framing = ANSWER_LENGTH;
        p->trailers = false;
        p->body_bytes += 10;
    }
    fit_deed(p, e);
}

struct answer_plan exchange_plan(struct sim *sim, const struct exchange *e, uint32_t delivery) {
    static const uint16_t statuses[] = {200, 200, 200, 200, 201, 204, 301, 304, 404, 206};
    static const uint16_t failures[] = {500, 502, 503, 504};
    const struct scenario *s = sim->scenario;
    struct vx_random r = sim_random_for(sim, e->id, delivery);
    struct answer_plan p = {.key = (uint64_t)e->id * 64 + delivery * 2 + 2};
    p.status = statuses[vx_random_below(&r, 10)];
    if (vx_random_below(&r, 1000) < s->errors)
        p.status = failures[vx_random_below(&r, 4)];
    p.deed = choose_deed(s, e, &r);
    p.think_ns = vx_random_below(&r, 1000) < s->slow_backend ? SIM_MS(100 + vx_random_below(&r, 900))
                                                             : SIM_US(vx_random_below(&r, 3000));
    p.accepts_upgrade = e->upgrades && vx_random_below(&r, 4) > 0;
    if (e->upgrades && !p.accepts_upgrade)
        p.status = 200;
    plan_framing(&p, s, e, &r);
    p.interims = vx_random_below(&r, 1000) < s->interim ? (uint8_t)(1 + vx_random_below(&r, 3)) : 0;
    p.early = e->body_bytes && vx_random_below(&r, 1000) < s->early;
    p.afterwards = AFTER_STAY;
    if (vx_random_below(&r, 1000) < s->stale)
        p.afterwards = (uint8_t)(AFTER_CLOSE_SAID + vx_random_below(&r, 4));
    if (p.early)
        p.afterwards = AFTER_CLOSE_SAID;
    if (p.early && p.framing == ANSWER_UNTIL_CLOSE)
        p.framing = ANSWER_LENGTH; /* it has to wait for the upload's end, so its own end needs a mark */
    if (e->route < SIM_ROUTES && host_of(sim, e->route, 0)->http2)
        fit_http2(&p, e);
    else
        fit_deed(&p, e);
    return p;
}

/* Judgement */

static bool may_be_refused(const struct sim *sim, const struct exchange *e, unsigned status) {
    if (e->flaw != FLAW_NONE)
        return status == exchange_flaw_status(e->flaw) || (e->flaw == FLAW_BAD_CHUNK && status == 413);
    if (status == 413)
        return (sim->scenario->body_limit && e->body_bytes > sim->scenario->body_limit) ||
               (e->route == ROUTE_MODELS && e->body_bytes > SIM_BUFFERED_BODY);
    return false;
}

bool exchange_may_get(const struct sim *sim, const struct exchange *e, unsigned status) {
    bool memory = sim->scenario->lost_memory || sim->faults.injected;
    switch (status) {
    case 308:
        return e->route == ROUTE_REDIRECT;
    case 403:
        return sim->scenario->bans > 0;
    case 404:
        return e->must_be_404 || e->route == ROUTE_VARIABLE;
    case 408:
        return e->excuse_408;
    case 429:
        return sim->scenario->limits;
    case 502:
        return e->excuse_502 || sim->excuse_502;
    case 503:
        return memory || e->route == ROUTE_LIMITED || sim->breaker_openings || sim->excuse_503;
    case 504:
        return e->excuse_504 || sim->excuse_504;
    default:
        return may_be_refused(sim, e, status);
    }
}

static void check_deliveries(struct sim *sim, const struct exchange *e) {
    bool head_flawed = e->flaw != FLAW_NONE && e->flaw != FLAW_BAD_CHUNK;
    if (head_flawed && e->deliveries)
        sim_fail(sim, "request %u (%s) reached a backend", e->id, exchange_flaw_name(e->flaw));
    if (e->flaw == FLAW_BAD_CHUNK && e->uploads)
        sim_fail(sim, "request %u: a body with broken framing reached a backend as a whole one", e->id);
    if (!e->idempotent && e->deliveries > 1)
        sim_fail(sim, "request %u (%s) was delivered %u times", e->id, e->method, e->deliveries);
    if (e->deliveries > e->begins * 16u)
        sim_fail(sim, "request %u was delivered but never begun", e->id);
    if (e->behind_flaw && e->begins)
        sim_fail(sim, "request %u was begun although it stands behind a malformed one", e->id);
    if (e->begins > 1)
        sim_fail(sim, "request %u was begun %u times", e->id, e->begins);
}

static void check_record(struct sim *sim, const struct exchange *e) {
    if (e->begins != e->records)
        sim_fail(sim, "request %u was begun %u times and recorded %u times", e->id, e->begins, e->records);
    if (e->tunnel_begun != e->tunnel_ended)
        sim_fail(sim, "request %u: a tunnel that was recorded as %s", e->id,
                 e->tunnel_begun ? "begun and never ended" : "ended and never begun");
    bool lossy = e->recorded_error != VX_ERR_NONE || sim->faults.injected || sim->scenario->lost_memory;
    if (e->recorded_status && !e->head_seen && !e->client_at_fault && !e->was_reset && !lossy)
        sim_fail(sim, "request %u: recorded was %u, the client saw nothing", e->id, e->recorded_status);
    if (e->head_seen && e->begins && e->recorded_status != e->status)
        sim_fail(sim, "request %u: the client saw %u, recorded was %u", e->id, e->status, e->recorded_status);
}

/* Whether nothing that happened in this world excuses a failure of this request. */
static bool is_owed(const struct sim *sim, const struct exchange *e) {
    const struct scenario *s = sim->scenario;
    bool again = e->idempotent && e->body == BODY_NONE && !e->upgrades;
    bool finishes = s->drain_after_ms && !s->cut_after_ms && e->begins; /* a drain lets end what has begun */
    return s->all_answered || s->nothing_done || (s->backends_sound && !s->lost_memory) || finishes ||
           (s->gets_answered && again);
}

static void check_answer(struct sim *sim, const struct exchange *e) {
    if (e->sent_whole && !e->client_at_fault && !e->answered && !e->cut)
        sim_fail(sim, "request %u got no answer, and its connection was not cut", e->id);
    bool refused_early = e->flaw != FLAW_NONE && e->sent_any;
    if ((!e->sent_whole && !refused_early) || e->client_at_fault || e->behind_flaw || !is_owed(sim, e))
        return;
    /* Who speaks another protocol is sent away without an answer. */
    if (e->cut && !e->excuse_cut && e->flaw != FLAW_GARBAGE)
        sim_fail(sim, "request %u (%s, flaw %s) was cut although nothing was wrong", e->id, e->method,
                 exchange_flaw_name((enum sim_flaw)e->flaw));
    if (!e->answered)
        return;
    if (e->flaw != FLAW_NONE && e->flaw != FLAW_BAD_CHUNK &&
        e->status != exchange_flaw_status((enum sim_flaw)e->flaw) && e->status != 408)
        sim_fail(sim, "request %u (flaw %s) was answered with %u", e->id,
                 exchange_flaw_name((enum sim_flaw)e->flaw), e->status);
    bool full = e->route == ROUTE_LIMITED && e->status == 503;
    if (e->flaw == FLAW_NONE && e->status >= 500 && !full && !sim->scenario->errors)
        sim_fail(sim, "request %u (%s) got %u although nothing was wrong", e->id, e->method, e->status);
}

void exchange_check_all(struct sim *sim) {
    for (uint32_t i = 0; i < sim->exchange_count; i++) {
        const struct exchange *e = &sim->exchanges[i];
        check_deliveries(sim, e);
        check_record(sim, e);
        check_answer(sim, e);
    }
}
