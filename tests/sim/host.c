/* SPDX-License-Identifier: Apache-2.0 */
/* See host.h. Reading and checking requests; host_answer.c answers them. */
#include "sim/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/client.h"

static void changed(struct sim *sim, struct wire *w);

void hosts_init(struct sim *sim) {
    sim->hosts = calloc(SIM_ROUTES * SIM_BACKENDS, sizeof *sim->hosts);
    if (!sim->hosts)
        abort();
    for (unsigned r = 0; r < SIM_ROUTES; r++) {
        for (unsigned b = 0; b < SIM_BACKENDS; b++) {
            struct host *h = host_of(sim, r, b);
            h->route = (uint8_t)r;
            h->index = (uint8_t)b;
            h->address = (struct vx_address){
                .kind = VX_ADDRESS_IP4, .port = 9000, .ip = {10, 1, (uint8_t)r, (uint8_t)b}};
        }
    }
}

void hosts_free(struct sim *sim) {
    for (unsigned i = 0; i < SIM_ROUTES * SIM_BACKENDS; i++) {
        while (sim->hosts[i].conns) {
            struct host_conn *c = sim->hosts[i].conns;
            sim->hosts[i].conns = c->next;
            message_free(&c->in);
            outgoing_free(&c->out);
            free(c);
        }
    }
    free(sim->hosts);
}

struct host *host_of(struct sim *sim, unsigned route, unsigned index) {
    return &sim->hosts[route * SIM_BACKENDS + index];
}

struct host *host_at(struct sim *sim, const struct vx_address *a) {
    if (a->kind != VX_ADDRESS_IP4 || a->ip[0] != 10 || a->ip[1] != 1 || a->ip[2] >= SIM_ROUTES ||
        a->ip[3] >= SIM_BACKENDS || a->port != 9000)
        sim_fail(sim, "a connection to an address that no backend has");
    return host_of(sim, a->ip[2], a->ip[3]);
}

void host_accept(struct sim *sim, struct wire *w) {
    struct host_conn *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->sim = sim;
    c->wire = w;
    c->host = w->host;
    c->next = w->host->conns;
    c->lazy = sim_chance(sim, sim->scenario->slow_backend / 2);
    w->host->conns = c;
    w->actor = c;
    w->changed = changed;
}

void host_leave(struct host_conn *c, bool reset) {
    if (reset)
        wire_reset(c->wire);
    else
        wire_close(c->wire);
    c->e = NULL;
    c->served++;
    message_free(&c->in);
    outgoing_free(&c->out);
}

void host_next_request(struct host_conn *c) {
    c->e = NULL;
    c->served++;
    c->upload_over = c->answering = c->finished = false;
    message_next(&c->in);
}

/* Checks of the head */

static _Noreturn void odd(const struct host_conn *c, const char *what) {
    sim_fail(c->sim, "a backend got %s in:\n%s", what, c->in.head.bytes ? c->in.head.bytes : "(nothing)");
}

static struct exchange *identify(struct host_conn *c) {
    struct message_text *head = &c->in.head;
    uint64_t id;
    if (!message_number(head, "x-sim", &id))
        odd(c, "no X-Sim field");
    struct exchange *e = exchange_at(c->sim, id);
    char path[64], line[160];
    if (!e)
        odd(c, "an X-Sim field that nobody sent");
    exchange_path(e, true, path, sizeof path);
    int n = snprintf(line, sizeof line, "%s %s?q=%u HTTP/1.1\r\n", e->method, path, e->id);
    if (strncmp(head->bytes, line, (size_t)n) != 0)
        odd(c, "another request line than was sent");
    if (c->host->route != e->route)
        odd(c, "a request of another route");
    return e;
}

bool host_is_down(struct sim *sim, const struct host *h) {
    const uint64_t span = SIM_MS(60);
    if (!sim->scenario->outages)
        return false;
    struct vx_random r =
        sim_random_for(sim, UINT64_C(1) << 50 | h->route << 8 | h->index, sim->now_ns / span);
    return vx_random_below(&r, 1000) < sim->scenario->outages;
}

static void check_absent(const struct host_conn *c) {
    static const char *const names[] = {"keep-alive", "proxy-connection", "te",       "http2-settings",
                                        "x-hop",      "forwarded",        "x-real-ip"};
    const char *value;
    size_t len;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (message_field(&c->in.head, names[i], 0, &value, &len))
            odd(c, "a field that does not pass");
}

static void check_fields(struct host_conn *c, const struct exchange *e) {
    const struct message_text *head = &c->in.head;
    char ip[VX_ADDRESS_TEXT_MAX];
    ip[vx_address_format_ip(&e->client->address, ip)] = '\0';
    if (!message_field_is(head, "x-forwarded-for", ip) ||
        !message_field_is(head, "x-forwarded-proto", c->sim->scenario->handshakes ? "https" : "http"))
        odd(c, "a wrong identity");
    if (!message_field_is(head, "via", e->http2 ? "2.0 vortex" : e->http10 ? "1.0 vortex" : "1.1 vortex"))
        odd(c, "no Via, or a wrong one");
    if (!message_field_is(head, "host", "sim.example"))
        odd(c, "a wrong Host");
    check_absent(c);
    const char *value;
    size_t len;
    bool connection = message_field(head, "connection", 0, &value, &len);
    if (e->upgrades ? !message_field_is(head, "upgrade", "simproto") || !connection : connection)
        odd(c, "a wrong Connection or Upgrade field");
    if (message_field(head, "expect", 0, &value, &len) && !e->expects)
        odd(c, "an Expect field that nobody sent");
}

static void begin_upload(struct host_conn *c, const struct exchange *e) {
    const struct message_text *head = &c->in.head;
    uint64_t length;
    const char *value;
    size_t len;
    bool chunked = message_field_is(head, "transfer-encoding", "chunked");
    bool any_length = message_field(head, "content-length", 0, &value, &len);
    if (!chunked && message_field(head, "transfer-encoding", 0, &value, &len))
        odd(c, "an odd Transfer-Encoding");
    if (e->body == BODY_NONE && (chunked || any_length))
        odd(c, "a body where none was sent");
    if (e->body == BODY_CHUNKED && (!chunked || any_length))
        odd(c, "a chunked body framed in another way");
    /* A body that filters may edit goes without its length. */
    bool reframed = c->sim->scenario->filters && chunked && !any_length;
    if (e->body == BODY_LENGTH && !reframed &&
        (chunked || !message_number(head, "content-length", &length) || length != e->body_bytes))
        odd(c, "a wrong Content-Length");
    if (chunked)
        message_chunked(&c->in);
    else
        message_length(&c->in, e->body == BODY_LENGTH ? e->body_bytes : 0);
}

/* What the plan says about failures to come. */
static void note_excuses(struct sim *sim, struct exchange *e, const struct answer_plan *p) {
    if (p->deed == DEED_SILENT || p->deed == DEED_STALL || p->deed == DEED_DEAF)
        e->excuse_504 = true;
    else if (p->deed != DEED_ANSWER)
        e->excuse_502 = true;
    if (p->deed == DEED_EXTRA || p->afterwards == AFTER_CLOSE_LATER || p->afterwards == AFTER_RESET_LATER ||
        p->afterwards == AFTER_CLOSE)
        sim->excuse_502 = true;
    if (p->early)
        e->excuse_502 = true;
    e->excuse_cut = e->excuse_cut || p->deed != DEED_ANSWER;
}

static void take_head(struct host_conn *c) {
    struct sim *sim = c->sim;
    struct exchange *e = identify(c);
    check_fields(c, e);
    e->deliveries++;
    if (sim->mischief == SIM_TWICE && !e->idempotent)
        e->deliveries++;
    if (e->records && !e->tunnel_begun && sim->now_ns - e->recorded_ns > SIM_S(1))
        odd(c, "a request that had been answered long ago");
    c->e = e;
    c->plan = exchange_plan(sim, e, e->deliveries);
    if (sim->mischief == SIM_BLAME && sim_below(sim, 4) == 0)
        c->plan.deed = DEED_RESET_AT_HEAD;
    if (host_is_down(sim, c->host))
        c->plan.deed = DEED_RESET_AT_HEAD;
    c->body_at = 0;
    note_excuses(sim, e, &c->plan);
    sim_note(sim, e->id, c->plan.deed);
    if (sim->verbose)
        fprintf(stderr,
                "%llu backend %u.%u wire %u: request %u, delivery %u: %s%s, %u, framing %u of %llu, "
                "afterwards %u\n",
                (unsigned long long)sim->now_ns, c->host->route, c->host->index, c->wire->number, e->id,
                e->deliveries, exchange_deed_name((enum sim_deed)c->plan.deed), c->plan.early ? " early" : "",
                c->plan.status, c->plan.framing, (unsigned long long)c->plan.body_bytes, c->plan.afterwards);
    begin_upload(c, e);
    if (c->plan.deed == DEED_DEAF) {
        c->deaf = true;
        if (c->plan.accepts_upgrade)
            sim_after(sim, c->plan.think_ns, host_answer, c, c->served);
        return;
    }
    if (c->plan.deed == DEED_RESET_AT_HEAD || c->plan.deed == DEED_CLOSE_AT_HEAD) {
        host_leave(c, c->plan.deed == DEED_RESET_AT_HEAD);
        return;
    }
    if (e->expects && message_field_is(&c->in.head, "expect", "100-continue") && !c->plan.early) {
        outgoing_text(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
        host_send(c);
    }
    if (c->plan.early)
        sim_after(sim, c->plan.think_ns, host_answer, c, c->served);
}

static void take_upload(struct host_conn *c, const char *data, size_t len) {
    const struct exchange *e = c->e;
    uint64_t at = c->in.got - len;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)data[i] != exchange_body_byte(e, at + i))
            sim_fail(c->sim, "request %u: byte %llu of its body is not what was sent", e->id,
                     (unsigned long long)at + i);
    if (c->plan.deed == DEED_RESET_IN_UPLOAD && c->in.got * 2 > e->body_bytes)
        host_leave(c, true);
}

static void take_tunnel(struct host_conn *c, const char *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)data[i] != sim_pattern(tunnel_key(c->e, true), c->tunnel_got + i))
            sim_fail(c->sim, "request %u: byte %llu of its tunnel is wrong at the backend", c->e->id,
                     (unsigned long long)c->tunnel_got + i);
    c->tunnel_got += len;
    if (c->tunnel_got > c->e->tunnel_up)
        sim_fail(c->sim, "request %u: more tunnel bytes than were sent", c->e->id);
}

static void upload_over(struct host_conn *c) {
    struct exchange *e = c->e;
    c->upload_over = true;
    e->uploads++;
    if (c->in.got != (e->body == BODY_NONE ? 0 : e->body_bytes))
        sim_fail(c->sim, "request %u: its body came to %llu bytes instead of %llu", e->id,
                 (unsigned long long)c->in.got, (unsigned long long)e->body_bytes);
    char want[32];
    snprintf(want, sizeof want, "%u", e->id);
    if (e->trailers && !message_field_is(&c->in.trailers, "x-sum", want))
        sim_fail(c->sim, "request %u: its trailer field did not arrive", e->id);
    if (!c->plan.early)
        sim_after(c->sim, c->plan.think_ns, host_answer, c, c->served);
}

/* Goes on in bytes that have come. False: the connection is over. */
static bool take_bytes(struct host_conn *c, const char *at, size_t left) {
    while (left) {
        const char *data;
        size_t len;
        if (c->draining || c->deaf)
            return true;
        if (c->upload_over && !c->tunnel)
            sim_fail(c->sim, "a backend got bytes behind request %u before it answered", c->e->id);
        switch (message_read(&c->in, &at, &left, &data, &len)) {
        case MESSAGE_BAD:
            odd(c, c->in.why);
        case MESSAGE_GOT_HEAD:
            take_head(c);
            break;
        case MESSAGE_DATA:
            if (c->tunnel)
                take_tunnel(c, data, len);
            else
                take_upload(c, data, len);
            break;
        case MESSAGE_END:
        case MESSAGE_MORE:
            break;
        }
        if (c->wire->far_closed)
            return false;
        if (c->in.part == MESSAGE_OVER && !c->upload_over && !c->deaf)
            upload_over(c);
    }
    return true;
}

static void read_later(struct sim *sim, void *actor, uint64_t arg) {
    (void)arg;
    struct host_conn *c = actor;
    c->reading_later = false;
    if (!c->wire->far_closed)
        changed(sim, c->wire);
}

/* The proxy's end of the connection. */
static void peer_ended(struct host_conn *c, bool reset) {
    if (c->tunnel && !reset) {
        if (c->sim->scenario->all_answered && c->tunnel_got != c->e->tunnel_up)
            sim_fail(c->sim, "request %u: its tunnel ended at the backend after %llu of %llu bytes", c->e->id,
                     (unsigned long long)c->tunnel_got, (unsigned long long)c->e->tunnel_up);
        c->upload_over = true;
        if (!c->finished || outgoing_left(&c->out))
            return; /* half-closed: our direction goes on */
    }
    host_leave(c, false);
}

static void changed(struct sim *sim, struct wire *w) {
    struct host_conn *c = w->actor;
    char bytes[16384];
    host_send(c);
    if (c->deaf && (w->gone || w->down.fin_arrived))
        host_leave(c, false);
    while (!w->far_closed && !c->reading_later && !c->deaf) {
        size_t room = c->lazy ? 1 + sim_below(sim, 700) : sizeof bytes;
        if (c->tunnel && c->upload_over)
            return;
        ssize_t n = wire_read(w, bytes, room);
        if (n == -1)
            return;
        if (n <= 0) {
            peer_ended(c, n < 0);
            return;
        }
        sim->bytes_up += (uint64_t)n;
        if (!take_bytes(c, bytes, (size_t)n))
            return;
        if (c->lazy) {
            c->reading_later = true;
            sim_after(sim, sim_between(sim, SIM_US(10), SIM_US(400)), read_later, c, 0);
        }
    }
}
