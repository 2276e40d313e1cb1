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
        struct vx_random random = sim_random_for(sim, UINT64_C(1) << 51, r);
        bool http2 = vx_random_below(&random, 1000) < sim->scenario->http2_backends;
        for (unsigned b = 0; b < SIM_BACKENDS; b++) {
            struct host *h = host_of(sim, r, b);
            h->route = (uint8_t)r;
            h->index = (uint8_t)b;
            h->http2 = http2;
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
        host_h2_free(&sim->hosts[i]);
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
    if (w->host->http2) {
        host_h2_accept(sim, w);
        return;
    }
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

static _Noreturn void odd(const struct host_conn *c, const char *what) {
    host_odd(c->sim, &c->in.head, what);
}

static struct exchange *identify(struct host_conn *c) {
    const struct exchange *e = host_exchange_of(c->sim, c->host, &c->in.head);
    char path[64], line[160];
    exchange_path(e, true, path, sizeof path);
    int n = snprintf(line, sizeof line, "%s %s?q=%u HTTP/1.1\r\n", e->method, path, e->id);
    if (strncmp(c->in.head.bytes, line, (size_t)n) != 0)
        odd(c, "another request line than was sent");
    return exchange_at(c->sim, e->id);
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

static void take_head(struct host_conn *c) {
    struct sim *sim = c->sim;
    struct exchange *e = identify(c);
    host_check_fields(sim, e, &c->in.head);
    c->e = e;
    c->plan = host_take_delivery(sim, c->wire, e);
    c->body_at = 0;
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
