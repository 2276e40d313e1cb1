/* SPDX-License-Identifier: Apache-2.0 */
/* What clients get, held against what they were to get. */
#include <stdio.h>
#include <string.h>

#include "sim/client.h"

static _Noreturn void odd(const struct client *c, const char *what) {
    const struct exchange *e = client_current(c);
    sim_fail(c->sim, "request %u (%s, flaw %s): %s in the answer:\n%s", e ? e->id : 0, e ? e->method : "-",
             e ? exchange_flaw_name(e->flaw) : "-", what, c->in.head.bytes ? c->in.head.bytes : "(nothing)");
}

/* RFC 9112 §4 */
static unsigned status_of(const struct client *c) {
    const char *line = c->in.head.bytes;
    if (strncmp(line, "HTTP/1.1 ", 9) != 0)
        odd(c, "a malformed status line");
    unsigned status = 0;
    for (unsigned i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9')
            odd(c, "a malformed status");
        status = status * 10 + (unsigned)(line[i] - '0');
    }
    if (line[12] != ' ' || status < 100 || status > 599)
        odd(c, "a malformed status");
    return status;
}

static bool has(const struct client *c, const char *name) {
    const char *value;
    size_t len;
    return message_field(&c->in.head, name, 0, &value, &len);
}

static void take_interim(struct client *c, unsigned status) {
    const struct exchange *e = client_current(c);
    if (e->http10)
        odd(c, "an interim head for an HTTP/1.0 client");
    if (status == 100 && !e->expects)
        odd(c, "a 100 that was not asked for");
    if (has(c, "content-length") || has(c, "transfer-encoding"))
        odd(c, "framing in an interim head");
    message_next(&c->in);
    if (status == 100)
        client_gate_opens(c);
}

/* How the answer of a backend has to be framed for this client. */
static void check_framing(struct client *c, unsigned status) {
    const struct exchange *e = client_current(c);
    const struct answer_plan *p = &c->plan;
    bool chunked = has(c, "transfer-encoding");
    uint64_t length = 0;
    bool has_length = message_number(&c->in.head, "content-length", &length);
    if (chunked &&
        (has_length || e->http10 || !message_field_is(&c->in.head, "transfer-encoding", "chunked")))
        odd(c, "contradictory framing");
    if (exchange_is_head(e) || status == 204 || status == 304) {
        if (status == 204 && (has_length || chunked))
            odd(c, "framing in a 204");
        bool unknown = !has_length && c->sim->scenario->filters; /* they might have edited the body */
        if (p->framing == ANSWER_LENGTH && exchange_is_head(e) && length != p->body_bytes && !unknown)
            odd(c, "a wrong Content-Length for HEAD");
        message_length(&c->in, 0);
    } else if (chunked) {
        message_chunked(&c->in);
    } else if (has_length) {
        if (length != p->body_bytes)
            odd(c, "a wrong Content-Length");
        message_length(&c->in, length);
    } else {
        c->must_close = true;
        message_raw(&c->in);
    }
}

static void check_passed_on(struct client *c, unsigned status) {
    struct exchange *e = client_current(c);
    uint64_t id, delivery;
    if (!message_number(&c->in.head, "x-sim", &id) || id != e->id)
        odd(c, "the mark of another request");
    if (!message_number(&c->in.head, "x-delivery", &delivery) || delivery == 0 || delivery > e->deliveries)
        odd(c, "the mark of a delivery that never was");
    c->plan = exchange_plan(c->sim, e, (uint32_t)delivery);
    if (status != (status == 101 ? 101 : c->plan.status))
        odd(c, "another status than the backend's");
    if (!message_field_is(&c->in.head, "via", status == 101 ? "1.1 vortex" : exchange_via(&c->plan)))
        odd(c, "no Via, or a wrong one");
    if (has(c, "keep-alive"))
        odd(c, "a hop-by-hop field");
    if (status == 101) {
        if (!e->upgrades || !message_field_is(&c->in.head, "upgrade", "simproto"))
            odd(c, "a 101 that was not asked for");
        c->tunnel = c->must_close = true;
        message_raw(&c->in);
        client_send(c);
        return;
    }
    check_framing(c, status);
}

static void check_own(struct client *c, unsigned status) {
    struct exchange *e = client_current(c);
    uint64_t length = 0;
    bool chunked = c->sim->scenario->filters && has(c, "transfer-encoding"); /* they may have edited it */
    c->own_answer = true;
    c->sim->own_answers++;
    if (!exchange_may_get(c->sim, e, status)) {
        char what[64];
        snprintf(what, sizeof what, "an answer of the proxy (%u) without a reason", status);
        odd(c, what);
    }
    bool edited = c->sim->scenario->filters && !has(c, "content-length");
    bool of_nothing = edited && exchange_is_head(e); /* they might have edited its body */
    bool until_close = edited && e->http10 && !of_nothing;
    if (!chunked && !until_close && !of_nothing && !message_number(&c->in.head, "content-length", &length))
        odd(c, "no Content-Length");
    if (status == 308 ? !has(c, "location")
                      : !message_field_is(&c->in.head, "content-type", "application/json"))
        odd(c, "no Content-Type or Location");
    if (chunked) {
        message_chunked(&c->in);
    } else if (until_close) {
        c->must_close = true;
        message_raw(&c->in);
    } else {
        message_length(&c->in, exchange_is_head(e) && e->begins ? 0 : length);
    }
}

/* The proxy may answer by itself before the upload has ended. What is then still to come ends the connection if nobody knows
 * how much it is, or whether it comes at all, or it is much. */
static bool may_end(const struct client *c) {
    enum { REST_MAX_BYTES = 256 * 1024 };
    const struct exchange *e = client_current(c);
    bool unknown = e->flaw != FLAW_NONE || e->body == BODY_CHUNKED || e->expects;
    return c->own_answer && (unknown || e->body_bytes > REST_MAX_BYTES);
}

static void take_head(struct client *c) {
    struct exchange *e = client_current(c);
    unsigned status = status_of(c);
    if (status < 200 && status != 101) {
        take_interim(c, status);
        return;
    }
    e->head_seen = true;
    e->status = (uint16_t)status;
    c->final_head = true;
    c->own_answer = false;
    if (message_field_is(&c->in.head, "connection", "close"))
        c->must_close = true;
    if (has(c, "x-sim"))
        check_passed_on(c, status);
    else
        check_own(c, status);
    if (c->sim->scenario->all_answered && c->must_close && e->keeps_alive && !e->http10 && !may_end(c) &&
        !c->tunnel)
        odd(c, "a close without a reason");
    if (e->http10 && !message_field_is(&c->in.head, "connection", "keep-alive"))
        c->must_close = true;
    if (!e->keeps_alive && !c->must_close)
        odd(c, "no Connection: close, though it was asked for");
}

static void take_data(struct client *c, const char *data, size_t len) {
    const struct exchange *e = client_current(c);
    uint64_t at = c->in.got - len;
    if (c->own_answer) {
        static const char start[] = "{\"error\":\"";
        for (size_t i = 0; i < len && at + i < sizeof start - 1; i++)
            if (data[i] != start[at + i])
                odd(c, "a body that is no JSON error");
        return;
    }
    uint64_t key = c->tunnel ? ((uint64_t)1 << 41) + e->id : c->plan.key;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)data[i] != sim_pattern(key, at + i))
            sim_fail(c->sim, "request %u: byte %llu of its answer is wrong", e->id,
                     (unsigned long long)at + i);
    if (c->tunnel && c->in.got > e->tunnel_down)
        sim_fail(c->sim, "request %u: more tunnel bytes than were sent", e->id);
}

static void answer_over(struct client *c) {
    const struct exchange *e = client_current(c);
    bool none = exchange_is_head(e) || c->plan.status == 204 || c->plan.status == 304;
    if (!c->own_answer && !c->tunnel) {
        if (c->in.got != (none ? 0 : c->plan.body_bytes))
            sim_fail(c->sim, "request %u: its answer looks whole, but has %llu of %llu bytes", e->id,
                     (unsigned long long)c->in.got, (unsigned long long)c->plan.body_bytes);
        char want[32];
        snprintf(want, sizeof want, "%u", e->id);
        if (c->plan.trailers && c->in.chunked && !message_field_is(&c->in.trailers, "x-sum", want))
            sim_fail(c->sim, "request %u: the trailer field of its answer is missing", e->id);
    }
    message_next(&c->in);
    client_answer_done(c);
}

bool client_take(struct client *c, const char *at, size_t left) {
    const char *data;
    size_t len;
    while (left && !c->done) {
        if (c->answered == c->built || (c->must_close && !c->final_head))
            sim_fail(c->sim, "client %u.%u got bytes that answer nothing: %.*s", c->address.ip[2],
                     c->address.ip[3], (int)(left < 200 ? left : 200), at);
        switch (message_read(&c->in, &at, &left, &data, &len)) {
        case MESSAGE_BAD:
            odd(c, c->in.why);
        case MESSAGE_GOT_HEAD:
            take_head(c);
            break;
        case MESSAGE_DATA:
            take_data(c, data, len);
            break;
        case MESSAGE_END:
        case MESSAGE_MORE:
            break;
        }
        if (!c->done && c->final_head && c->in.part == MESSAGE_OVER)
            answer_over(c);
    }
    return !c->done;
}

static void tunnel_ended(struct client *c, bool reset) {
    const struct exchange *e = client_current(c);
    if (c->sim->scenario->all_answered && (reset || c->in.got != e->tunnel_down))
        sim_fail(c->sim, "request %u: its tunnel ended after %llu of %llu bytes", e->id,
                 (unsigned long long)c->in.got, (unsigned long long)e->tunnel_down);
}

void client_ended(struct client *c, bool reset) {
    /* A reset takes along what was on its way, earlier answers too. */
    for (uint32_t i = c->answered; reset && i < c->count; i++)
        exchange_at(c->sim, c->first + i)->was_reset = true;
    struct exchange *e = c->answered < c->built ? client_current(c) : NULL;
    if (e && c->tunnel) {
        tunnel_ended(c, reset);
        e->answered = true;
        if (!reset && !c->shut && c->in.got == e->tunnel_down) {
            c->tunnel_over = true; /* half-closed: our direction goes on */
            return;
        }
    } else if (e && c->final_head && c->in.part == MESSAGE_RAW && !reset) {
        answer_over(c);
    }
    bool silent = !reset && !c->must_close && !c->shut && c->answered < c->count;
    if (silent && c->sim->scenario->all_answered)
        sim_fail(c->sim, "request %u: its connection ended without a word before it", c->first + c->answered);
    if (!c->done)
        client_leave(c, false);
}
