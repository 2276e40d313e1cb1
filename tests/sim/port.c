/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's end of a wire: a transport that does what proxy/net/tcp.c does over a socket, rule by rule, with the
 * liberties that transport.h leaves (short reads and writes, edges without reason), and the dialer. */
#include "sim/port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/host.h"

enum { PIPE_BYTES = 65536 };

static const struct vx_transport_ops port_ops;

static struct wire *wire_of(struct vx_transport *t, const char *call) {
    struct port *p = (struct port *)t;
    if (!p->wire)
        sim_fail(p->sim, "%s() on a transport that is closed", call);
    return p->wire;
}

static size_t out_threshold(const struct wire_lane *lane) {
    return lane->capacity / 3 + 1;
}

void wire_notify(struct wire *w) {
    if (vx_list_empty(&w->ready))
        vx_list_push_back(&w->sim->ready, &w->ready);
}

static void poke(struct sim *sim, void *actor, uint64_t arg) {
    (void)sim, (void)arg;
    struct wire *w = actor;
    if (w->port)
        wire_notify(w);
}

/* Room for the far end, which waits for it. */
static void far_room(struct sim *sim, void *actor, uint64_t arg) {
    (void)sim, (void)arg;
    struct wire *w = actor;
    if (w->up.blocked && lane_room(&w->up)) {
        w->up.blocked = false;
        wire_tell_far(w);
    }
}

static void drop_pipe(struct wire *w) {
    w->pipe_start = w->pipe_end = 0;
    w->port->base.pending_bytes = 0;
}

static void break_port(struct wire *w, const char *detail) {
    struct vx_transport *t = &w->port->base;
    if (!w->broken) {
        if (w->state == WIRE_CONNECTING)
            t->error = vx_error(VX_ERR_CONNECT_FAILED, true, detail);
        else
            t->error = vx_error(w->dialed ? VX_ERR_BACKEND_RESET : VX_ERR_CLIENT_GONE, false, detail);
    }
    w->broken = true;
    t->readable = t->writable = t->peer_shut = true;
    drop_pipe(w);
}

/* A fault of the connection itself: both ends lose it. */
static void sever(struct wire *w) {
    w->up.end = w->up.start + w->up.arrived;
    if (w->sim->verbose)
        fprintf(stderr, "%llu wire %u (%u.%u.%u.%u): severed\n", (unsigned long long)w->sim->now_ns,
                w->number, w->address.ip[0], w->address.ip[1], w->address.ip[2], w->address.ip[3]);
    break_port(w, "injected");
    if (!w->gone)
        wire_reset_far(w, false);
}

static ssize_t port_read(struct vx_transport *t, char *to, size_t room) {
    struct wire *w = wire_of(t, "read");
    struct sim *sim = w->sim;
    struct wire_lane *lane = &w->up;
    if (room == 0)
        sim_fail(sim, "read() without room");
    if (!w->broken && sim_fault_hits(sim, SIM_FAULT_READ)) {
        lane->arrived = 0;
        sever(w);
        return VX_IO_FAILED;
    }
    if (lane->arrived) {
        size_t n = lane->arrived < room ? lane->arrived : room;
        if (n > 1 && sim_chance(sim, sim->scenario->short_io))
            n = 1 + sim_below(sim, (uint32_t)n);
        memcpy(to, lane->bytes + lane->start, n);
        if (sim->mischief == SIM_WRONG_REQUEST_BYTE && !w->dialed && n > 2000)
            to[n - 1] ^= 1;
        lane->start += n;
        lane->arrived -= n;
        lane->read += n;
        if (lane->blocked)
            sim_after(sim, SIM_US(20), far_room, w, 0);
        if (n < room && !t->peer_shut && !w->broken) {
            if (lane->arrived == 0)
                t->readable = false;
            else if (sim_chance(sim, 500)) {
                t->readable = false;
                sim_after(sim, SIM_US(5), poke, w, 0);
            }
        }
        sim_note(sim, w->number, n);
        return (ssize_t)n;
    }
    if (w->broken || w->reset_pending) {
        break_port(w, "reset by peer");
        return VX_IO_FAILED;
    }
    if (lane->fin_arrived) {
        t->peer_shut = true;
        return 0;
    }
    t->readable = false;
    return VX_IO_AGAIN;
}

/* Sends what the pipe holds. False when some is left. */
static bool flush_pipe(struct wire *w) {
    struct vx_transport *t = &w->port->base;
    size_t left = w->pipe_end - w->pipe_start;
    if (left == 0)
        return true;
    size_t room = lane_room(&w->down);
    size_t n = left < room ? left : room;
    if (n) {
        lane_put(&w->down, w->pipe + w->pipe_start, n);
        w->pipe_start += n;
        wire_send_on(w, false);
    }
    t->pending_bytes = w->pipe_end - w->pipe_start;
    if (t->pending_bytes) {
        t->writable = false;
        w->down.blocked = true;
        return false;
    }
    if (w->shut_wanted) {
        w->down.fin = true;
        wire_send_on(w, false);
    }
    return true;
}

static ssize_t out_of_room(struct wire *w) {
    w->port->base.writable = false;
    w->down.blocked = true;
    return VX_IO_AGAIN;
}

static ssize_t port_write(struct vx_transport *t, const struct vx_slice *slices, unsigned count) {
    struct wire *w = wire_of(t, "write");
    struct sim *sim = w->sim;
    if (count == 0 || count > VX_WRITE_SLICES_MAX || w->shut_wanted)
        sim_fail(sim, "write() of %u slices%s", count, w->shut_wanted ? " after shut()" : "");
    if (w->broken)
        return VX_IO_FAILED;
    if (w->state == WIRE_CONNECTING)
        return out_of_room(w);
    if (sim_fault_hits(sim, SIM_FAULT_WRITE)) {
        sever(w);
        return VX_IO_FAILED;
    }
    if (w->reset_pending) {
        break_port(w, "broken pipe");
        return VX_IO_FAILED;
    }
    if (!flush_pipe(w))
        return VX_IO_AGAIN;
    size_t total = 0, taken = 0;
    for (unsigned i = 0; i < count; i++)
        total += slices[i].len;
    size_t room = lane_room(&w->down);
    bool full = sim_fault_hits(sim, SIM_FAULT_WRITE_FULL);
    bool lazy = full || sim_chance(sim, sim->scenario->short_io);
    if (lazy && room)
        room = full ? 0 : sim_below(sim, (uint32_t)(total < room ? total : room) + 1);
    if (room == 0 && total) {
        if (lazy)
            sim_after(sim, SIM_US(50), poke, w, 0);
        return out_of_room(w);
    }
    for (unsigned i = 0; i < count && taken < room; i++) {
        size_t n = slices[i].len < room - taken ? slices[i].len : room - taken;
        if (n)
            lane_put(&w->down, slices[i].ptr, n);
        taken += n;
    }
    if (taken < total) {
        out_of_room(w);
        if (lazy)
            sim_after(sim, SIM_US(50), poke, w, 0);
    }
    wire_send_on(w, false);
    sim_note(sim, w->number, taken);
    if (sim->verbose)
        fprintf(stderr, "%llu wire %u (%u.%u.%u.%u): %zu of %zu bytes\n", (unsigned long long)sim->now_ns,
                w->number, w->address.ip[0], w->address.ip[1], w->address.ip[2], w->address.ip[3], taken,
                total);
    return (ssize_t)taken;
}

static ssize_t port_move(struct vx_transport *from, struct vx_transport *to, size_t bytes) {
    if (to->ops != &port_ops)
        return VX_IO_UNSUPPORTED;
    struct wire *source = wire_of(from, "move"), *sink = wire_of(to, "move");
    struct sim *sim = source->sim;
    if (bytes == 0 || sink->shut_wanted || source->state != WIRE_OPEN || sink->state != WIRE_OPEN)
        sim_fail(sim, "move() of %zu bytes between transports that are not both open", bytes);
    if (!sink->broken && sink->reset_pending)
        break_port(sink, "broken pipe");
    if (sink->broken)
        return VX_IO_FAILED;
    flush_pipe(sink);
    if (!to->writable || !from->readable)
        return VX_IO_AGAIN;
    if (sim_chance(sim, 50))
        return VX_IO_UNSUPPORTED; /* no pipe was to be had */
    struct wire_lane *lane = &source->up;
    if (!lane->arrived) {
        if (source->broken || source->reset_pending) {
            break_port(source, "reset by peer");
            return VX_IO_FAILED;
        }
        if (lane->fin_arrived) {
            from->peer_shut = true;
            return 0;
        }
        from->readable = false;
        return VX_IO_AGAIN;
    }
    size_t n = lane->arrived < bytes ? lane->arrived : bytes;
    n = n < PIPE_BYTES ? n : PIPE_BYTES;
    if (!sink->pipe && !(sink->pipe = malloc(PIPE_BYTES)))
        abort();
    memcpy(sink->pipe, lane->bytes + lane->start, n);
    sink->pipe_start = 0;
    sink->pipe_end = n;
    to->pending_bytes = n;
    lane->start += n;
    lane->arrived -= n;
    lane->read += n;
    if (lane->blocked)
        sim_after(sim, SIM_US(20), far_room, source, 0);
    flush_pipe(sink);
    return (ssize_t)n;
}

static void port_shut(struct vx_transport *t) {
    struct wire *w = wire_of(t, "shut");
    if (w->shut_wanted)
        sim_fail(w->sim, "shut() twice");
    w->shut_wanted = true;
    if (w->broken || w->reset_pending || t->pending_bytes)
        return;
    w->down.fin = true;
    wire_send_on(w, false);
}

static void port_close(struct vx_transport *t, bool reset) {
    struct wire *w = wire_of(t, "close");
    struct port *p = w->port;
    struct sim *sim = w->sim;
    if (t->pending_bytes)
        reset = true;
    if (w->dialed) {
        sim->dialed_open--;
        w->host->open--;
    } else {
        sim->accepted_open--;
    }
    sim_note(sim, w->number, reset);
    if (sim->verbose)
        fprintf(stderr, "%llu wire %u (%u.%u.%u.%u): the proxy closes%s, %zu unread, sent %llu\n",
                (unsigned long long)sim->now_ns, w->number, w->address.ip[0], w->address.ip[1],
                w->address.ip[2], w->address.ip[3], reset ? " by a reset" : "", w->up.arrived,
                (unsigned long long)w->down.sent);
    vx_list_remove(&w->ready);
    w->port = NULL;
    p->wire = NULL;
    p->next = sim->retired;
    sim->retired = p;
    if (w->pipe_end > w->pipe_start)
        w->pipe_start = w->pipe_end = 0;
    wire_closed_by_proxy(w, reset);
}

static const struct vx_transport_ops port_ops = {
    .read = port_read,
    .write = port_write,
    .move = port_move,
    .shut = port_shut,
    .close = port_close,
};

void wire_free_retired(struct sim *sim) {
    while (sim->retired) {
        struct port *p = sim->retired;
        sim->retired = p->next;
        free(p);
    }
}

static struct port *new_port(struct wire *w) {
    struct port *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->base.ops = &port_ops;
    p->base.remote = w->address;
    p->sim = w->sim;
    p->wire = w;
    w->port = p;
    return p;
}

static const struct vx_tls_info session;

/* The handshake is over, unless the client does not take part in it. */
static void shake_hands(struct sim *sim, void *actor, uint64_t arg) {
    (void)arg;
    struct wire *w = actor;
    if (!w->port || sim_chance(sim, sim->scenario->mute / 4))
        return;
    w->ready_to_talk = true;
    wire_notify(w);
}

static void accept_wire(struct wire *w) {
    struct sim *sim = w->sim;
    w->wants_accept = false;
    if (sim->server.draining) {
        /* The listening socket is closed: what waits in it is reset. */
        w->proxy_closed = true;
        wire_reset_far(w, false);
        return;
    }
    struct port *p = new_port(w);
    sim->accepted_open++;
    if (sim->scenario->handshakes) {
        p->base.tls = &session;
        sim_after(sim, sim_between(sim, SIM_US(10), SIM_MS(2)), shake_hands, w, 0);
    } else {
        p->base.writable = w->ready_to_talk = true;
    }
    vx_http_server_accept(&sim->server, &p->base);
    if (w->port && (w->up.arrived || w->up.fin_arrived || w->reset_pending))
        wire_notify(w);
}

/* What epoll would say, edge-triggered, as on_events of tcp.c takes it. */
static uint32_t edges(struct wire *w) {
    struct vx_transport *t = &w->port->base;
    uint32_t ready = 0;
    if (w->broken)
        return 0;
    if (w->reset_pending) {
        break_port(w, "reset by peer");
        return w->up.arrived ? VX_READABLE | VX_WRITABLE | VX_PEER_SHUT : VX_FAILED;
    }
    if (!w->ready_to_talk)
        return 0;
    bool spurious = sim_chance(w->sim, w->sim->scenario->spurious);
    if ((w->up.arrived || w->up.fin_arrived || spurious) && !t->readable) {
        t->readable = true;
        ready |= VX_READABLE;
    }
    if (w->up.fin_arrived && !t->peer_shut) {
        t->peer_shut = true;
        ready |= VX_PEER_SHUT;
    }
    if (!t->writable && lane_room(&w->down) >= out_threshold(&w->down) && flush_pipe(w)) {
        w->down.blocked = false;
        t->writable = true;
        ready |= VX_WRITABLE;
    }
    return ready;
}

static uint32_t connect_edges(struct wire *w) {
    if (w->outcome == 0 || w->broken)
        return 0;
    if (w->outcome == 2) {
        break_port(w, "Connection refused");
        return VX_FAILED;
    }
    w->state = WIRE_OPEN;
    w->ready_to_talk = true;
    return edges(w);
}

void wire_deliver(struct wire *w) {
    struct sim *sim = w->sim;
    if (w->wants_accept) {
        accept_wire(w);
        return;
    }
    if (!w->port)
        return;
    if (sim->mischief == SIM_LOST_EDGE && !w->dialed && sim_below(sim, 20) == 0)
        return;
    uint32_t ready = w->state == WIRE_CONNECTING ? connect_edges(w) : edges(w);
    if (!ready)
        return;
    sim_note(sim, w->number, ready);
    struct vx_transport *t = &w->port->base;
    t->on_ready(t, ready, sim->now_ns);
}

/* The dialer */

static void connect_done(struct sim *sim, void *actor, uint64_t outcome) {
    struct wire *w = actor;
    if (w->proxy_closed || !w->port)
        return;
    w->outcome = (uint8_t)outcome;
    if (outcome == 1)
        host_accept(sim, w);
    else
        sim->excuse_502 = true;
    wire_notify(w);
}

static struct vx_transport *dial(struct vx_dialer *self, const struct vx_dial *to, struct vx_error *error) {
    struct sim *sim = VX_CONTAINER_OF(self, struct sim, dialer);
    const struct scenario *s = sim->scenario;
    if (sim_fault_hits(sim, SIM_FAULT_DIAL)) {
        sim->excuse_502 = true;
        *error = vx_error(VX_ERR_CONNECT_FAILED, true, "Too many open files");
        error->source = VX_BY_SELF;
        return NULL;
    }
    struct host *host = host_at(sim, &to->address);
    struct wire *w = wire_new_dialed(sim, &to->address);
    struct port *p = new_port(w);
    w->host = host;
    host->open++;
    sim->dialed_open++;
    sim->backend_connections++;
    uint64_t after = sim_between(sim, SIM_US(5), SIM_US(500));
    if (sim_fault_hits(sim, SIM_FAULT_CONNECT) || sim_chance(sim, s->refuse) || host_is_down(sim, host))
        sim_after(sim, after, connect_done, w, 2);
    else if (sim_chance(sim, s->unreachable))
        sim->excuse_504 = true;
    else
        sim_after(sim, after, connect_done, w, 1);
    return &p->base;
}

void wire_dialer_init(struct sim *sim) {
    sim->dialer.dial = dial;
}
