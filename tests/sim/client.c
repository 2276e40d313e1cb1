/* SPDX-License-Identifier: Apache-2.0 */
/* See client.h. The life of a client and how it sends; client_answer.c reads. */
#include "sim/client.h"

#include <stdio.h>
#include <stdlib.h>

enum { REQUESTS_MAX = 8, GATE_MS = 300 };

static void changed(struct sim *sim, struct wire *w);

static void tell(const struct client *c, const struct exchange *e) {
    static const char *const bodies[] = {"no body", "length", "chunked"};
    fprintf(stderr, "%llu client %u.%u:%s%s%s%s%s request %u: %s%s%s%s, %s %llu, flaw %s -> %u%s%s\n",
            (unsigned long long)c->sim->now_ns, c->address.ip[2], c->address.ip[3],
            c->pipelined ? " pipelines" : "", c->half_closes ? " half-closes" : "", c->slow ? " slow" : "",
            c->stalls ? " stalls" : "", c->vanish_at != UINT64_MAX ? " vanishes" : "", e->id, e->method,
            e->http10 ? " 1.0" : "", e->upgrades ? " upgrade" : "", e->keeps_alive ? "" : " close",
            bodies[e->body], (unsigned long long)e->body_bytes, exchange_flaw_name((enum sim_flaw)e->flaw),
            e->status, e->answered ? " answered" : "", e->cut ? " cut" : "");
}

static void finish(struct client *c) {
    struct sim *sim = c->sim;
    c->done = true;
    sim->clients_open--;
    for (uint32_t i = 0; i < c->count; i++) {
        struct exchange *e = exchange_at(sim, c->first + i);
        if (e->sent_any && !e->answered)
            e->cut = true;
        /* What stands behind an answer that closes was sent in vain. */
        if (c->must_close && i >= c->answered)
            e->excuse_cut = true;
        sim->answered += e->answered;
        sim->cut += e->cut;
        sim_note(sim, e->id, e->status);
        if (sim->verbose)
            tell(c, e);
    }
    message_free(&c->in);
    outgoing_free(&c->out);
    client_h2_free(c);
    clients_start(sim);
}

void client_leave(struct client *c, bool reset) {
    if (c->done)
        return;
    if (reset)
        wire_reset(c->wire);
    else
        wire_close(c->wire);
    finish(c);
}

void client_excuse_rest(struct client *c) {
    for (uint32_t i = c->answered; i < c->count; i++) {
        struct exchange *e = exchange_at(c->sim, c->first + i);
        e->client_at_fault = e->excuse_cut = e->excuse_408 = true;
    }
}

static void vanish(struct client *c) {
    client_excuse_rest(c);
    c->mute = c->goes_mute && !c->wire->gone && !c->wire->down.fin_arrived;
    if (!c->mute)
        client_leave(c, c->vanish_resets);
}

static bool time_to_vanish(const struct client *c) {
    return c->sent + c->got >= c->vanish_at;
}

/* Sending */

static void build(struct client *c, struct exchange *e) {
    request_head(c->sim, e, &c->out);
    if (e->expects && !c->pipelined) {
        c->gate = true;
        c->late++;
    } else if (e->body != BODY_NONE) {
        request_body(c->sim, e, &c->out);
    }
    c->built++;
}

static void gate_timeout(struct sim *sim, void *actor, uint64_t late) {
    (void)sim;
    struct client *c = actor;
    if (!c->done && c->gate && c->late == late)
        client_gate_opens(c); /* RFC 9110 §10.1.1: nobody has to wait for ever */
}

void client_gate_opens(struct client *c) {
    if (!c->gate)
        return;
    c->gate = false;
    request_body(c->sim, exchange_at(c->sim, c->first + c->built - 1), &c->out);
    client_send(c);
}

/* More to send, in the order of the requests. */
static void refill(struct client *c) {
    if (c->tunnel) {
        const struct exchange *e = client_current(c);
        uint64_t left = e->tunnel_up - c->tunnel_sent;
        size_t n = left < 8192 ? left : 8192;
        char *to = outgoing_extend(&c->out, n);
        for (size_t i = 0; i < n; i++)
            to[i] = (char)sim_pattern((uint64_t)1 << 40 | e->id, c->tunnel_sent + i);
        c->tunnel_sent += n;
        return;
    }
    bool may = c->pipelined || c->built == c->answered;
    if (c->built < c->count && may && !c->gate && !c->must_close && !c->shut) {
        build(c, exchange_at(c->sim, c->first + c->built));
        if (c->gate)
            sim_after(c->sim, SIM_MS(GATE_MS), gate_timeout, c, c->late);
    }
}

static bool nothing_follows(const struct client *c) {
    if (c->tunnel)
        return c->tunnel_sent == client_current(c)->tunnel_up;
    return c->half_closes && c->built == c->count && !c->gate;
}

static void write_later(struct sim *sim, void *actor, uint64_t arg) {
    (void)sim, (void)arg;
    struct client *c = actor;
    c->write_later = false;
    if (!c->done)
        client_send(c);
}

/* How long a slow client takes over its next few bytes. */
static uint64_t hesitation(struct client *c) {
    struct sim *sim = c->sim;
    if (!sim_chance(sim, 20))
        return sim_between(sim, SIM_US(100), SIM_MS(20));
    client_excuse_rest(c);
    return sim_between(sim, SIM_MS(500), SIM_S(6));
}

static size_t portion(struct client *c, size_t left) {
    if (c->slow) {
        size_t few = 1 + sim_below(c->sim, 60);
        return few < left ? few : left;
    }
    uint64_t until = c->vanish_at - c->sent - c->got;
    return c->vanish_at != UINT64_MAX && until < left ? (size_t)until : left;
}

/* Notes which of the requests have left, for the judgement. */
static void note_sent(struct client *c) {
    bool all = outgoing_left(&c->out) == 0 && !c->gate;
    for (uint32_t i = c->answered; i < c->built; i++) {
        struct exchange *e = exchange_at(c->sim, c->first + i);
        e->sent_any = true;
        e->sent_whole = all || i + 1 < c->built;
    }
}

void client_send(struct client *c) {
    while (!c->done && !c->mute && !c->write_later && !c->shut && !c->wire->gone) {
        if (outgoing_left(&c->out) == 0)
            refill(c);
        size_t left = outgoing_left(&c->out);
        if (left == 0) {
            if (nothing_follows(c)) {
                c->shut = true;
                wire_shut(c->wire);
                if (c->tunnel_over)
                    client_leave(c, false);
            }
            return;
        }
        size_t n = portion(c, left);
        size_t taken = wire_write(c->wire, c->out.bytes + c->out.at, n);
        c->out.at += taken;
        c->sent += taken;
        note_sent(c);
        if (time_to_vanish(c)) {
            vanish(c);
            return;
        }
        if (taken < n)
            return;
        if (c->slow) {
            c->write_later = true;
            sim_after(c->sim, hesitation(c), write_later, c, 0);
        }
    }
}

/* Receiving */

static void linger(struct sim *sim, void *actor, uint64_t arg) {
    (void)sim, (void)arg;
    struct client *c = actor;
    if (!c->done && !c->mute)
        client_leave(c, sim_chance(sim, 200));
}

void client_answer_done(struct client *c) {
    struct exchange *e = client_current(c);
    e->answered = true;
    c->answered++;
    c->final_head = false;
    c->gate = false;
    if (c->must_close || c->shut)
        return; /* the proxy closes */
    if (c->answered < c->count) {
        client_send(c);
        return;
    }
    if (c->stays)
        return;
    sim_after(c->sim, sim_between(c->sim, 0, SIM_MS(5)), linger, c, 0);
}

static void read_later(struct sim *sim, void *actor, uint64_t arg) {
    (void)arg;
    struct client *c = actor;
    c->read_later = false;
    if (!c->done)
        changed(sim, c->wire);
}

/* A stalling reader stops now and then; false: it goes on. */
static bool pauses(struct client *c) {
    struct sim *sim = c->sim;
    if (!c->stalls || !sim_chance(sim, 100))
        return false;
    uint64_t pause = sim_chance(sim, 100) ? sim_between(sim, SIM_S(2), SIM_S(8))
                                          : sim_between(sim, SIM_US(100), SIM_MS(300));
    if (pause >= SIM_S(1))
        client_excuse_rest(c);
    c->read_later = true;
    sim_after(sim, pause, read_later, c, 0);
    return true;
}

static void changed(struct sim *sim, struct wire *w) {
    struct client *c = w->actor;
    char bytes[16384];
    client_send(c);
    if (c->mute && (w->gone || w->down.fin_arrived))
        client_leave(c, false);
    while (!c->done && !c->mute && !c->read_later && !pauses(c)) {
        size_t room = c->stalls ? 1 + sim_below(sim, 2000) : sizeof bytes;
        ssize_t n = wire_read(w, bytes, room);
        if (n == -1)
            return;
        if (n <= 0) {
            client_ended(c, n < 0);
            return;
        }
        c->got += (uint64_t)n;
        sim->bytes_down += (uint64_t)n;
        if (!client_take(c, bytes, (size_t)n))
            return;
        if (time_to_vanish(c)) {
            vanish(c);
            return;
        }
    }
}

/* Starting */

static void choose_manners(struct client *c) {
    struct sim *sim = c->sim;
    const struct scenario *s = sim->scenario;
    c->pipelined = sim_chance(sim, s->pipelined);
    c->half_closes = sim_chance(sim, s->half_close);
    c->slow = sim_chance(sim, s->slow);
    c->stalls = sim_chance(sim, s->stall);
    c->stays = sim_chance(sim, s->stay);
    c->vanish_at = UINT64_MAX;
    c->goes_mute = sim_chance(sim, s->mute);
    if (c->goes_mute || sim_chance(sim, s->vanish)) {
        c->vanish_at = 1 + sim_below(sim, sim_chance(sim, 300) ? 400 : sim_chance(sim, 500) ? 20000 : 200000);
        c->vanish_resets = sim_chance(sim, 500);
    }
}

static void choose_requests(struct client *c, bool http2) {
    struct sim *sim = c->sim;
    uint32_t count = sim_chance(sim, sim->scenario->one_shot) ? 1 : 1 + sim_below(sim, REQUESTS_MAX);
    uint32_t left = sim->exchange_room - sim->exchange_count;
    bool flawed = false;
    count = count < left ? count : left;
    c->first = sim->exchange_count;
    while (c->count < count) {
        struct exchange *e = exchange_new(sim, c, count == 1, c->count + 1 == count);
        if (http2)
            client_h2_adapt(e);
        e->behind_flaw = flawed;
        flawed = flawed || e->flaw != FLAW_NONE;
        e->excuse_408 = c->slow;
        c->half_closes = c->half_closes && !e->upgrades; /* a tunnel ends when its bytes are out */
        c->count++;
        if (!e->keeps_alive || (c->pipelined && e->http10))
            break;
    }
}

static void start(struct sim *sim, void *actor, uint64_t arg) {
    (void)arg;
    struct client *c = actor;
    c->wire = wire_connect(sim, &c->address, c->h2 ? client_h2_changed : changed, c);
    if (c->h2)
        client_h2_send(c);
    else
        client_send(c);
}

void clients_start(struct sim *sim) {
    while (sim->clients_open < sim->scenario->clients && sim->exchange_count < sim->wanted) {
        struct client *c = calloc(1, sizeof *c);
        if (!c)
            abort();
        uint32_t n = sim->clients_started++;
        c->sim = sim;
        c->next = sim->clients;
        sim->clients = c;
        sim->clients_open++;
        c->address = (struct vx_address){.kind = VX_ADDRESS_IP4,
                                         .port = (uint16_t)(1024 + n % 60000),
                                         .ip = {10, 2, (uint8_t)(n >> 8), (uint8_t)n}};
        choose_manners(c);
        bool http2 = sim_chance(sim, sim->scenario->http2);
        choose_requests(c, http2);
        if (http2)
            client_h2_init(c);
        sim_after(sim, sim_between(sim, 0, SIM_MS(1)), start, c, 0);
    }
}

void clients_free(struct sim *sim) {
    while (sim->clients) {
        struct client *c = sim->clients;
        sim->clients = c->next;
        message_free(&c->in);
        outgoing_free(&c->out);
        client_h2_free(c);
        free(c);
    }
}

void clients_check_done(struct sim *sim) {
    for (const struct client *c = sim->clients; c; c = c->next) {
        if (c->done)
            continue;
        const struct exchange *e = exchange_at(sim, c->first + c->answered);
        sim_fail(sim,
                 "client %u.%u waits for ever: %u of %u answered, then request %u: %s, body %llu (%u), %s, "
                 "%zu bytes to "
                 "send, %u delivered, %u whole",
                 c->address.ip[2], c->address.ip[3], c->answered, c->count, e->id, e->method,
                 (unsigned long long)e->body_bytes, e->body, e->sent_whole ? "sent" : "not sent",
                 outgoing_left(&c->out), e->deliveries, e->uploads);
    }
}
