/* SPDX-License-Identifier: Apache-2.0 */
/* Picking a backend for a request, and the ticket that cannot leak an active count: each pick that succeeds gives a
 * ticket, and each ticket is ended exactly once however the exchange ends. */
#ifndef VX_CORE_ROUTING_BALANCE_PICK_H
#define VX_CORE_ROUTING_BALANCE_PICK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/random.h"
#include "core/routing/balance/set.h"

enum vx_pick_result {
    VX_PICKED,
    VX_PICK_BREAKER_OPEN, /* there are healthy backends, their breakers let nothing through */
    VX_PICK_NONE_HEALTHY, /* no backends, or health checks say that all are down */
};

struct vx_pick_request {
    const struct vx_backend_view *view; /* from vx_backend_set_model; NULL: all endpoints */
    const uint32_t *tried;    /* indexes this exchange has tried already; avoided if others are left */
    uint32_t tried_count;     /* 0: the first attempt, which adds to the retry budget */
    uint32_t worker;          /* 0 .. workers - 1 of the registry: the calling worker */
    struct vx_random *random; /* the worker's */
    uint64_t now_ns;
};

enum vx_backend_outcome {
    VX_OUTCOME_NEUTRAL, /* says nothing about the backend: the client's fault, cancelled, ours */
    VX_OUTCOME_SUCCESS,
    VX_OUTCOME_FAILURE,        /* counts as slow and against the breaker */
    VX_OUTCOME_SHARED_FAILURE, /* by what counts against the breaker already: as slow, and for a trial */
};

struct vx_backend_line;
struct vx_backend_slot;

/* One active request on one backend. Plain memory of the caller, who may move it. Zero: no ticket. */
struct vx_backend_ticket {
    struct vx_backend_line *line; /* NULL: none, or ended */
    struct vx_backend_slot *slot;
    uint32_t index; /* the endpoint's index in the set */
    uint8_t lane;
    uint8_t flags;
    uint8_t epoch;                    /* of the breaker, when this is a trial request */
    uint8_t idle;                     /* whole seconds the backend was left alone before this request */
    const struct vx_backend_set *set; /* NULL: detached from its snapshot */
    uint64_t begun_ns;
};

/* Picks an endpoint as the route's `balance` says and counts the request as active on it. VX_PICKED: *ticket is open
 * and must be ended once; otherwise *ticket is zero. Any worker thread, bounded work, never fails otherwise. */
enum vx_pick_result vx_backend_pick(const struct vx_backend_set *set, const struct vx_pick_request *request,
                                    struct vx_backend_ticket *ticket);

static inline bool vx_backend_ticket_open(const struct vx_backend_ticket *ticket) {
    return ticket->line != NULL;
}

/* Feeds the EWMA with the time from the request's head sent to the answer's head received. To be called when the
 * head has arrived, so that a long body neither delays nor poisons it. Any thread; at most once a ticket. */
void vx_backend_ticket_sample(struct vx_backend_ticket *ticket, uint64_t latency_ns, uint64_t now_ns);

/* Judges the request before it ends, when the head of the answer tells how it went. A failure counts as slow and
 * against the breaker at once. A success ends a trial at once; any other waits for the end, in case the body breaks.
 * At most once a ticket. */
void vx_backend_ticket_settle(struct vx_backend_ticket *ticket, enum vx_backend_outcome outcome,
                              uint64_t now_ns);

/* Cuts the ticket off its snapshot, which may then be dropped before the ticket ends: for tunnels. Unsettled, it
 * counts as neutral; its end then only takes the request off the active count. */
void vx_backend_ticket_detach(struct vx_backend_ticket *ticket);

/* Whether a failure would still count: not of one that is not open, is cut off its snapshot, or has failed already. */
bool vx_backend_ticket_may_fail(const struct vx_backend_ticket *ticket);

/* Ends the ticket: the request is no longer active. Settles it with `outcome` unless that was done; a failure after
 * a settled success (the body broke) counts as a failure. Ending a ticket that is not open is a bug and panics. */
void vx_backend_ticket_end(struct vx_backend_ticket *ticket, enum vx_backend_outcome outcome,
                           uint64_t now_ns);

#endif
