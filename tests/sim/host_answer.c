/* SPDX-License-Identifier: Apache-2.0 */
/* What backends answer, whole or broken in one of the ways of SIM_DEED_LIST. */
#include <string.h>

#include "sim/host.h"

enum { PIECE_BYTES = 16384, SEND_AHEAD = 8192, HUGE_BYTES = 80 * 1024 };

static void interims(struct host_conn *c) {
    for (unsigned i = 0; i < c->plan.interims; i++) {
        if (i == 0 && c->e->expects)
            outgoing_text(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
        else
            outgoing_text(&c->out, "HTTP/1.1 103 Early Hints\r\nLink: </%u>\r\n\r\n", c->e->id);
    }
}

static void framing_fields(struct host_conn *c) {
    const struct answer_plan *p = &c->plan;
    if (p->framing == ANSWER_LENGTH)
        outgoing_text(&c->out, "Content-Length: %llu\r\n", (unsigned long long)p->body_bytes);
    if (p->framing == ANSWER_CHUNKED || p->deed == DEED_BAD_FRAMING)
        outgoing_text(&c->out, "Transfer-Encoding: chunked\r\n");
    if (p->deed == DEED_BAD_FRAMING && p->framing != ANSWER_LENGTH)
        outgoing_text(&c->out, "Content-Length: 5\r\n");
    if (p->trailers)
        outgoing_text(&c->out, "Trailer: X-Sum\r\n");
    if (p->afterwards == AFTER_CLOSE_SAID)
        outgoing_text(&c->out, "Connection: close\r\n");
}

static void answer_head(struct host_conn *c) {
    const struct answer_plan *p = &c->plan;
    const struct exchange *e = c->e;
    if (!outgoing_left(&c->out))
        outgoing_clear(&c->out);
    size_t before = c->out.len;
    outgoing_text(&c->out, "HTTP/1.%d %u %s\r\n", p->old ? 0 : 1, p->status,
                  p->status == 200 ? "OK" : "As Planned");
    outgoing_text(&c->out, "X-Sim: %u\r\nX-Delivery: %u\r\nKeep-Alive: timeout=5\r\n", e->id, e->deliveries);
    framing_fields(c);
    if (p->deed == DEED_HUGE_HEAD) {
        outgoing_text(&c->out, "X-Huge: ");
        memset(outgoing_extend(&c->out, HUGE_BYTES), 'h', HUGE_BYTES);
        outgoing_text(&c->out, "\r\n");
    }
    outgoing_text(&c->out, "\r\n");
    if (p->deed == DEED_RESET_IN_HEAD || p->deed == DEED_CLOSE_IN_HEAD)
        c->out.len = before + (c->out.len - before) / 2;
}

static void accept_upgrade(struct host_conn *c) {
    outgoing_text(
        &c->out,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: simproto\r\nX-Sim: %u\r\n"
        "X-Delivery: %u\r\n\r\n",
        c->e->id, c->e->deliveries);
    c->tunnel = true;
    c->upload_over = false;
    message_raw(&c->in);
    c->in.got = 0;
}

/* How much of the body goes out. */
static uint64_t body_end(const struct host_conn *c) {
    const struct answer_plan *p = &c->plan;
    if (c->tunnel)
        return c->e->tunnel_down;
    if (p->head_only || p->framing == ANSWER_NONE)
        return 0;
    switch ((enum sim_deed)p->deed) {
    case DEED_RESET_IN_HEAD:
    case DEED_CLOSE_IN_HEAD:
    case DEED_BAD_FRAMING:
    case DEED_UNASKED_101:
    case DEED_GARBAGE:
    case DEED_HUGE_HEAD:
        return 0;
    case DEED_RESET_IN_BODY:
    case DEED_CLOSE_IN_BODY:
    case DEED_STALL:
    case DEED_BAD_CHUNK:
        return p->body_bytes / 2;
    default:
        if (c->sim->mischief == SIM_SHORT_ANSWER && p->framing == ANSWER_CHUNKED && p->body_bytes)
            return p->body_bytes - 1;
        return p->body_bytes;
    }
}

static void piece(struct host_conn *c, uint64_t left) {
    struct sim *sim = c->sim;
    uint64_t key = c->tunnel ? tunnel_key(c->e, false) : c->plan.key;
    size_t n = 1 + sim_below(sim, PIECE_BYTES);
    bool chunked = !c->tunnel && c->plan.framing == ANSWER_CHUNKED;
    if (n > left)
        n = left;
    if (chunked)
        outgoing_text(&c->out, sim_chance(sim, 100) ? "%zX;note=\"x\"\r\n" : "%zx\r\n", n);
    char *to = outgoing_extend(&c->out, n);
    for (size_t i = 0; i < n; i++)
        to[i] = (char)sim_pattern(key, c->body_at + i);
    if (sim->mischief == SIM_WRONG_BYTE && sim_below(sim, 8) == 0)
        to[n / 2] = (char)(to[n / 2] ^ 1);
    if (chunked)
        outgoing_text(&c->out, "\r\n");
    c->body_at += n;
}

/* All of the body that goes out is in `out`. */
static void end_of_body(struct host_conn *c) {
    const struct answer_plan *p = &c->plan;
    c->finished = true;
    if (c->tunnel || p->head_only)
        return;
    bool whole = p->deed == DEED_ANSWER || p->deed == DEED_EXTRA;
    if (whole && p->framing == ANSWER_CHUNKED) {
        outgoing_text(&c->out, "0\r\n");
        if (p->trailers)
            outgoing_text(&c->out, "X-Sum: %u\r\n", c->e->id);
        outgoing_text(&c->out, "\r\n");
    }
    if (p->deed == DEED_BAD_CHUNK)
        outgoing_text(&c->out, "zz\r\n");
}

void host_after_answer(struct host_conn *c) {
    const struct answer_plan *p = &c->plan;
    switch ((enum sim_deed)p->deed) {
    case DEED_ANSWER:
        break;
    case DEED_STALL:
    case DEED_DEAF:
        return;
    case DEED_EXTRA:
        outgoing_text(&c->out, "\x01 bytes that nobody asked for\r\n\r\n");
        host_next_request(c);
        host_send(c);
        return;
    default:
        host_leave(c, p->deed == DEED_RESET_IN_HEAD || p->deed == DEED_RESET_IN_BODY);
        return;
    }
    if (!c->upload_over && !c->tunnel) {
        c->draining = true; /* an early answer: closing now would cost it */
        return;
    }
    if (c->tunnel) {
        wire_shut(c->wire);
        if (c->upload_over)
            host_leave(c, false);
        return;
    }
    if (p->afterwards == AFTER_CLOSE || p->afterwards == AFTER_CLOSE_SAID || p->old)
        host_leave(c, false);
    else
        host_next_request(c);
}

static void leave_idle(struct sim *sim, void *actor, uint64_t arg) {
    (void)sim;
    struct host_conn *c = actor;
    uint32_t served = (uint32_t)(arg >> 1);
    bool answer_there = c->wire->up.start == c->wire->up.end;
    if (c->served == served && !c->wire->far_closed && !message_begun(&c->in) && answer_there)
        host_leave(c, arg & 1);
}

void host_send(struct host_conn *c) {
    struct sim *sim = c->sim;
    while (!c->wire->far_closed) {
        while (c->answering && !c->finished && outgoing_left(&c->out) < SEND_AHEAD) {
            uint64_t end = body_end(c);
            if (c->body_at < end)
                piece(c, end - c->body_at);
            else
                end_of_body(c);
        }
        size_t left = outgoing_left(&c->out);
        if (left) {
            size_t n = wire_write(c->wire, c->out.bytes + c->out.at, left);
            c->out.at += n;
            if (n < left)
                return;
            continue;
        }
        if (!c->finished || (c->draining))
            return;
        uint8_t afterwards = c->plan.afterwards;
        bool idle = c->plan.deed == DEED_ANSWER && !c->tunnel && c->upload_over;
        c->finished = c->tunnel; /* told once, but a tunnel stays one */
        c->answering = false;
        host_after_answer(c);
        if (idle && !c->wire->far_closed &&
            (afterwards == AFTER_CLOSE_LATER || afterwards == AFTER_RESET_LATER))
            sim_after(sim, sim_between(sim, 0, SIM_MS(8)), leave_idle, c,
                      (uint64_t)c->served << 1 | (afterwards == AFTER_RESET_LATER));
        if (c->tunnel)
            return;
    }
}

void host_answer(struct sim *sim, void *actor, uint64_t served) {
    struct host_conn *c = actor;
    if (c->served != served || c->wire->far_closed || c->answering || !c->e || sim->mischief == SIM_NO_ANSWER)
        return;
    const struct answer_plan *p = &c->plan;
    if (p->deed == DEED_SILENT)
        return;
    c->answering = true;
    interims(c);
    if (p->deed == DEED_GARBAGE)
        outgoing_text(&c->out, "%s",
                      sim_chance(sim, 500) ? "HTTP/1.1 2x0 OK\r\n\r\n" : "\x16\x03\x01\x02 what?\n");
    else if (p->deed == DEED_UNASKED_101)
        outgoing_text(&c->out,
                      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    else if (p->accepts_upgrade && (p->deed == DEED_ANSWER || p->deed == DEED_DEAF))
        accept_upgrade(c);
    else
        answer_head(c);
    if (sim->mischief == SIM_TWO_ANSWERS)
        outgoing_bytes(&c->out, c->out.bytes + c->out.at, outgoing_left(&c->out));
    host_send(c);
}
