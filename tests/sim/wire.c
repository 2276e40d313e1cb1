/* SPDX-License-Identifier: Apache-2.0 */
/* See wire.h. The far end's side, and how bytes travel; port.c has the proxy's side. */
#include "sim/wire.h"

#include <stdlib.h>
#include <string.h>

#include "sim/port.h"

enum { LANE_FIRST = 4096, DRIBBLE_BYTES = 3000 };

static void arrive(struct sim *sim, void *actor, uint64_t up);

void lane_put(struct wire_lane *lane, const char *bytes, size_t len) {
    if (lane->start == lane->end)
        lane->start = lane->end = 0;
    if (lane->end + len > lane->room) {
        if (lane->start) {
            memmove(lane->bytes, lane->bytes + lane->start, lane->end - lane->start);
            lane->end -= lane->start;
            lane->start = 0;
        }
        while (lane->end + len > lane->room) {
            lane->room = lane->room ? lane->room * 2 : LANE_FIRST;
            lane->bytes = realloc(lane->bytes, lane->room);
            if (!lane->bytes)
                abort();
        }
    }
    memcpy(lane->bytes + lane->end, bytes, len);
    lane->end += len;
    lane->sent += len;
}

static void lane_free(struct wire_lane *lane) {
    free(lane->bytes);
    lane->bytes = NULL;
    lane->start = lane->end = lane->room = lane->arrived = 0;
}

/* Bytes that are on their way are lost. */
static void lane_cut(struct wire_lane *lane) {
    lane->end = lane->start + lane->arrived;
}

static uint64_t delay(struct wire *w) {
    struct sim *sim = w->sim;
    if (w->dribbles)
        return sim_between(sim, SIM_US(1), SIM_US(60));
    return sim_chance(sim, 50) ? sim_between(sim, SIM_US(500), WIRE_DELAY_MAX)
                               : sim_between(sim, 0, SIM_US(200));
}

void wire_send_on(struct wire *w, bool up) {
    struct wire_lane *lane = up ? &w->up : &w->down;
    bool more = lane_len(lane) > lane->arrived || (lane->fin && !lane->fin_arrived);
    if (lane->moving || !more)
        return;
    lane->moving = true;
    sim_after(w->sim, delay(w), arrive, w, up);
}

static size_t segment(struct wire *w, const struct wire_lane *lane) {
    struct sim *sim = w->sim;
    size_t left = lane_len(lane) - lane->arrived;
    if (w->dribbles && lane->read + lane->arrived < DRIBBLE_BYTES) {
        size_t few = 1 + sim_below(sim, 3);
        return few < left ? few : left;
    }
    if (left > 1 && sim_chance(sim, 300))
        return 1 + sim_below(sim, (uint32_t)left);
    return left;
}

void wire_tell_far(struct wire *w) {
    if (w->actor && !w->far_closed)
        w->changed(w->sim, w);
}

static void reset_reaches_far(struct sim *sim, void *actor, uint64_t keep) {
    struct wire *w = actor;
    if (w->gone || w->far_closed)
        return;
    /* What was not read yet may be lost with the connection, as it is on many systems. */
    if (!keep || sim_chance(sim, 500))
        w->down.end = w->down.start + (w->down.arrived = 0);
    else
        lane_cut(&w->down);
    w->gone = true;
    wire_tell_far(w);
}

void wire_reset_far(struct wire *w, bool keep_arrived) {
    lane_cut(&w->down);
    w->down.fin = w->down.fin_arrived;
    sim_after(w->sim, delay(w), reset_reaches_far, w, keep_arrived);
}

static void reset_reaches_proxy(struct sim *sim, void *actor, uint64_t arg) {
    (void)sim, (void)arg;
    struct wire *w = actor;
    if (w->proxy_closed || w->reset_pending)
        return;
    lane_cut(&w->up);
    w->up.fin = w->up.fin_arrived;
    w->reset_pending = true;
    wire_notify(w);
}

/* A segment has come to the far end. */
static void arrive_down(struct wire *w) {
    struct wire_lane *lane = &w->down;
    if (w->far_closed) {
        /* Nobody is there to take it: bytes are answered by a reset, an end by nothing. */
        if (lane->arrived) {
            lane->start = lane->end;
            lane->arrived = 0;
            sim_after(w->sim, delay(w), reset_reaches_proxy, w, 0);
        }
        return;
    }
    wire_tell_far(w);
}

/* A segment has come to the proxy. */
static void arrive_up(struct wire *w) {
    struct wire_lane *lane = &w->up;
    if (!w->proxy_closed) {
        wire_notify(w);
        return;
    }
    if (lane->arrived) {
        lane->start = lane->end;
        lane->arrived = 0;
        wire_reset_far(w, true);
    }
}

static void arrive(struct sim *sim, void *actor, uint64_t up) {
    struct wire *w = actor;
    struct wire_lane *lane = up ? &w->up : &w->down;
    lane->moving = false;
    size_t left = lane_len(lane) - lane->arrived;
    size_t n = left ? segment(w, lane) : 0;
    lane->arrived += n;
    /* The end may come together with the last bytes or on its own. */
    if (n == left && lane->fin && (n == 0 || sim_chance(sim, 500)))
        lane->fin_arrived = true;
    sim_note(sim, w->number * 2 + up, n);
    if (up)
        arrive_up(w);
    else
        arrive_down(w);
    wire_send_on(w, up);
}

/* The far end's calls */

static struct wire *new_wire(struct sim *sim, const struct vx_address *address) {
    struct wire *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    const struct scenario *s = sim->scenario;
    w->sim = sim;
    w->number = ++sim->wire_count;
    w->address = *address;
    w->dribbles = sim_chance(sim, s->dribble);
    w->narrow = sim_chance(sim, s->narrow);
    w->up.capacity = w->narrow ? sim_between(sim, 64, 4096) : sim_between(sim, 16384, 262144);
    w->down.capacity = w->narrow ? sim_between(sim, 64, 4096) : sim_between(sim, 16384, 262144);
    vx_list_init(&w->ready);
    vx_list_push_back(&sim->wires, &w->link);
    return w;
}

struct wire *wire_new_dialed(struct sim *sim, const struct vx_address *address) {
    struct wire *w = new_wire(sim, address);
    w->dialed = true;
    w->state = WIRE_CONNECTING;
    return w;
}

struct wire *wire_connect(struct sim *sim, const struct vx_address *from, wire_changed_fn *changed,
                          void *actor) {
    struct wire *w = new_wire(sim, from);
    w->state = WIRE_OPEN;
    w->changed = changed;
    w->actor = actor;
    w->wants_accept = true;
    wire_notify(w);
    return w;
}

ssize_t wire_read(struct wire *w, char *to, size_t room) {
    struct wire_lane *lane = &w->down;
    if (lane->arrived) {
        size_t n = lane->arrived < room ? lane->arrived : room;
        memcpy(to, lane->bytes + lane->start, n);
        lane->start += n;
        lane->arrived -= n;
        lane->read += n;
        if (lane->blocked && lane_room(lane) >= lane->capacity / 3 + 1 && !w->proxy_closed)
            wire_notify(w);
        return (ssize_t)n;
    }
    if (w->gone)
        return -2;
    return lane->fin_arrived ? 0 : -1;
}

size_t wire_write(struct wire *w, const char *bytes, size_t len) {
    struct wire_lane *lane = &w->up;
    if (w->gone || w->far_closed)
        return len; /* into the void; the reading side tells */
    if (lane->fin)
        sim_fail(w->sim, "simulator: a write after the end");
    size_t room = lane_room(lane);
    size_t n = len < room ? len : room;
    if (n)
        lane_put(lane, bytes, n);
    lane->blocked = n < len;
    wire_send_on(w, true);
    return n;
}

void wire_shut(struct wire *w) {
    if (w->gone || w->far_closed || w->up.fin)
        return;
    w->up.fin = true;
    wire_send_on(w, true);
}

void wire_close(struct wire *w) {
    if (w->far_closed)
        return;
    bool unread = w->down.arrived > 0;
    if (unread && !w->gone) {
        wire_reset(w);
        return;
    }
    wire_shut(w);
    w->far_closed = true;
    w->actor = NULL;
}

void wire_reset(struct wire *w) {
    if (w->far_closed)
        return;
    bool gone = w->gone;
    w->far_closed = true;
    w->actor = NULL;
    if (gone)
        return;
    /* What was on its way may still get through before the reset. */
    if (sim_chance(w->sim, 500))
        w->up.arrived = lane_len(&w->up);
    sim_after(w->sim, delay(w), reset_reaches_proxy, w, 0);
}

/* The proxy closed; see port.c. */
void wire_closed_by_proxy(struct wire *w, bool reset) {
    bool unread = w->up.arrived > 0;
    w->proxy_closed = true;
    w->proxy_reset = reset || unread;
    w->up.start = w->up.start + w->up.arrived;
    w->up.arrived = 0;
    if (w->broken || w->reset_pending)
        return; /* both ends know already, or will: the far end broke it */
    if (w->state == WIRE_CONNECTING) {
        w->outcome = 2;
        return;
    }
    if (w->proxy_reset) {
        wire_reset_far(w, true);
    } else {
        w->down.fin = true;
        wire_send_on(w, false);
    }
}

void wire_free_all(struct sim *sim) {
    struct vx_list *node;
    while ((node = vx_list_pop_front(&sim->wires)) != NULL) {
        struct wire *w = VX_CONTAINER_OF(node, struct wire, link);
        lane_free(&w->up);
        lane_free(&w->down);
        free(w->pipe);
        free(w);
    }
}
