/* SPDX-License-Identifier: Apache-2.0 */
/* The memory behind registry, set and pick; private to this folder, its tests and its benchmark.
 *
 * What every pick reads and every request writes is packed: a line is one cache line with the active counts and
 * averages of eight backends, so a pick among eight reads one line of shared memory and one among a thousand reads
 * 125, scored eight at a time. Lines belong to one route, so routes share none. Everything else about a backend is in
 * its slot, which a pick leaves alone unless the top bit of the active count says that there is something to look at
 * (breaker not closed, unhealthy, starting gently). docs/balancing.md has the measurements behind this. */
#ifndef VX_CORE_ROUTING_BALANCE_STATE_H
#define VX_CORE_ROUTING_BALANCE_STATE_H

#include <stdatomic.h>

#include "core/base/assert.h"
#include "core/base/random.h"
#include "core/routing/balance/pick.h"
#include "core/routing/resilience/retry_budget.h"

enum {
    VX_LANES = 8,
    VX_TOUCH_SHIFT = 26, /* a touch tick is 2^26 ns (67 ms): the stamp is written at most 15 times a second */
    VX_TOUCH_TICKS_IDLE = 16,  /* ticks (1.07 s) that count as one second left alone */
    VX_PICKS_SHARED = 64,      /* a worker adds its picks to the shared count in steps of this */
    VX_PICKS_PER_PROBE = 1024, /* one probe at most in so many picks of all workers */
};

#define VX_LANE_SPECIAL ((uint32_t)1 << 31) /* look at the slot before using this backend */

#define VX_RAMP_NS                                                                                           \
    ((uint64_t)10000000000) /* a new or recovered backend reaches its full weight in this time */
#define VX_RAMP_LOWEST 0.1f /* the share of its weight that it starts with */

#define VX_FAILURE_FACTOR   4.0f /* a failure counts as this many times the highest score among the peers */
#define VX_FAILURE_FLOOR_US 1e4f /* and at least as 10 ms */
#define VX_FAILURE_LIMIT_US 6e8f /* and, without having taken so long, at most as 10 minutes */

struct vx_backend_line {
    _Alignas(64) _Atomic uint32_t active[VX_LANES]; /* requests under way, VX_LANE_SPECIAL */
    _Atomic uint32_t ewma[VX_LANES];                /* float bits, microseconds; 0: not measured */
};
_Static_assert(sizeof(struct vx_backend_line) == 64, "one cache line");

struct vx_backend_slot {
    _Alignas(64) _Atomic uint64_t ramp_from_ns; /* start of the gentle start; 0: none */
    _Atomic uint32_t touched;                   /* touch tick of the last pick or sample */
    struct vx_health health;
    uint64_t key; /* never changes while a set uses the slot */
    struct vx_breaker breaker;
};

/* Who a slot belongs to. Control thread only. */
struct vx_backend_identity {
    uint64_t text_hash; /* of the address as written, which the resolved one may lack */
    uint32_t id;
    uint32_t sets;  /* that use the slot; 0: free once nothing is active on it */
    uint32_t index; /* its place in the set being built, UINT32_MAX outside */
    uint16_t port;
    uint8_t kind;
    uint8_t ip[16];
};

/* Slots allocated together; lane n is lines[n / VX_LANES] lane n % VX_LANES, slots[n], identities[n]. */
struct vx_backend_page {
    struct vx_backend_page *next;
    void *memory; /* as taken */
    size_t bytes;
    uint32_t lane_count;
    struct vx_backend_line *lines;
    struct vx_backend_slot *slots;
    struct vx_backend_identity *identities;
};

/* What one worker counts for one route; nobody else writes or reads it. */
struct vx_backend_worker {
    _Alignas(64) uint64_t picks; /* first picks, one a request */
    struct vx_retry_budget retries;
};

/* All shared state of one route, by its name. */
struct vx_backend_group {
    _Alignas(64) _Atomic uint64_t picked; /* first picks of all workers, in steps of VX_PICKS_SHARED */
    _Alignas(64) struct vx_backend_group *next;
    void *memory; /* as taken */
    size_t bytes;
    uint64_t hash;
    struct vx_slice name; /* own copy */
    uint32_t sets;
    struct vx_backend_page *pages; /* oldest first */
    struct vx_backend_worker *workers;
};

#define VX_POSITION_NONE ((uint32_t)0x7fffffff)
#define VX_POSITION_MARKED                                                                                   \
    ((uint32_t)1 << 31) /* beside a position: some lane of the view's lines has a mark */

struct vx_backend_view;

/* One way to look for the lowest score. */
struct vx_score_method {
    /* The position of the lowest score of a view, chosen at random among equals, or VX_POSITION_NONE. Lanes with a
     * mark are left out; VX_POSITION_MARKED is added when there are any, members or not. */
    uint32_t (*lowest)(const struct vx_backend_view *view, struct vx_random *random);
    /* A pick that looks for it and has nothing else to think of; hands over to vx_backend_pick_slowly if it has. */
    enum vx_pick_result (*pick)(const struct vx_backend_set *set, const struct vx_backend_view *view,
                                const struct vx_pick_request *request, struct vx_backend_ticket *ticket);
};

/* score.c: searching the lines of a view, as fast as this CPU can. */
struct vx_score_search {
    struct vx_score_method ewma_line, ewma_lines;   /* average and queue; views of one line, of any number */
    struct vx_score_method queue_line, queue_lines; /* the queue only */
    /* The first line from `line` on that has a lane with a mark, or line_count. */
    uint32_t (*marked_line)(const struct vx_backend_view *view, uint32_t line);
};

/* Positions in a view count lanes: position / VX_LANES is the line, the rest the lane. */
struct vx_backend_view {
    struct vx_slice model; /* empty: the view of all */
    uint32_t number;       /* of the view in its set */
    uint32_t line_count, member_count;
    struct vx_score_method score; /* as the route's balance asks for; NULLs with round robin and random */
    struct vx_backend_line **lines;
    struct vx_backend_line *first;    /* lines[0], one load nearer; NULL when there is none */
    float *inverse_weight;            /* by position; INFINITY: the lane is not a member */
    struct vx_backend_ticket *places; /* by position, only of members: a ticket for it but for the time */
    uint32_t *members;                /* positions */
    uint32_t *weights;                /* by member */
    uint64_t *cumulative;             /* by member: sum of the weights up to and with it */
    uint32_t heaviest;
};

/* Where a worker's round robin over one view stands. */
struct vx_backend_cursor {
    uint32_t member, generation;
};

struct vx_backend_set {
    const struct vx_config_route *route;
    struct vx_backend_group *group;
    struct vx_backend_endpoint *endpoints;
    struct vx_backend_ticket *places; /* by index: where the state lies, as a ticket tells it */
    uint32_t count;
    float decay;
    enum vx_balance_kind balance;
    struct vx_backend_worker *workers; /* the group's */
    const struct vx_score_search *search;
    struct vx_backend_view all;
    struct vx_backend_view *models; /* a view for each model that is listed */
    uint32_t model_count;
    uint32_t *model_buckets; /* open addressing by hash; index into models + 1, 0: empty */
    uint32_t model_bucket_mask;
    struct vx_backend_cursor **cursors; /* by worker, then by view; round robin only */
};

/* registry.c, for set.c. Control thread. */

/* The group of a route, made when there is none; NULL: no memory. */
struct vx_backend_group *vx_backend_registry_group(struct vx_backend_registry *r, struct vx_slice route);

/* The place of `endpoint`: the slot that has its identity and no place in the set being built, else a fresh one.
 * Counts one more set on it and notes `index`. False: no memory. */
bool vx_backend_group_place(struct vx_backend_registry *r, struct vx_backend_group *g,
                            const struct vx_backend_endpoint *endpoint, uint32_t wanted, uint32_t index,
                            uint64_t now_ns, struct vx_backend_ticket *place);

/* One set less uses the group, whose places it has let go of; frees what nothing uses any more. */
void vx_backend_group_release(struct vx_backend_registry *r, struct vx_backend_group *g);

/* The identity behind a place of this group. */
struct vx_backend_identity *vx_backend_group_identity(struct vx_backend_group *g,
                                                      const struct vx_backend_ticket *place);

/* pick.c and set.c: the marks on lanes. Any thread. */
static inline void vx_backend_mark(struct vx_backend_line *line, uint32_t lane) {
    /* Release: whoever sees the mark sees why. Acquire: see vx_backend_unmark. */
    atomic_fetch_or_explicit(&line->active[lane], VX_LANE_SPECIAL, memory_order_acq_rel);
}

/* True when a pick has to look at the slot. */
static inline bool vx_backend_slot_special(const struct vx_backend_slot *slot) {
    return vx_breaker_state(&slot->breaker) != VX_BREAKER_CLOSED ||
           vx_health_state(&slot->health) == VX_HEALTH_UNHEALTHY ||
           atomic_load_explicit(&slot->ramp_from_ns, memory_order_relaxed) != 0;
}

/* Takes the mark off unless there is still a reason for it. A cause is stored before its mark is set, so one that
 * comes in between is either seen by the second look or sets the mark after it was taken off. */
static inline void vx_backend_unmark(struct vx_backend_line *line, const struct vx_backend_slot *slot,
                                     uint32_t lane) {
    atomic_fetch_and_explicit(&line->active[lane], ~VX_LANE_SPECIAL, memory_order_acq_rel);
    if (vx_backend_slot_special(slot))
        vx_backend_mark(line, lane);
}

/* Begins the gentle start of a backend. */
static inline void vx_backend_ramp(struct vx_backend_line *line, struct vx_backend_slot *slot, uint32_t lane,
                                   uint64_t now_ns) {
    atomic_store_explicit(&slot->ramp_from_ns, now_ns | 1, memory_order_relaxed);
    vx_backend_mark(line, lane);
}

/* pick.c: notes the use of a backend that was used last in another tick; see there. */
enum vx_pick_result vx_backend_touch_ticket(struct vx_backend_ticket *ticket, uint32_t tick);

static inline uint32_t vx_backend_touch_tick(uint64_t now_ns) {
    return (uint32_t)(now_ns >> VX_TOUCH_SHIFT);
}

/* Opens the ticket on a member of the view, whatever state that is in. Always VX_PICKED. */
static inline enum vx_pick_result vx_backend_open_ticket(const struct vx_backend_view *view,
                                                         const struct vx_pick_request *request,
                                                         uint32_t position,
                                                         struct vx_backend_ticket *ticket) {
    /* The line is at hand here, while the place has yet to be loaded. */
    struct vx_backend_line *line = position < VX_LANES ? view->first : view->lines[position / VX_LANES];
    atomic_fetch_add_explicit(&line->active[position % VX_LANES], 1, memory_order_relaxed);
    struct vx_backend_slot *slot = view->places[position].slot;
    *ticket = view->places[position];
    ticket->begun_ns = request->now_ns;
    uint32_t tick = vx_backend_touch_tick(request->now_ns);
    if (VX_LIKELY(atomic_load_explicit(&slot->touched, memory_order_relaxed) == tick))
        return VX_PICKED;
    return vx_backend_touch_ticket(ticket, tick);
}

/* pick.c: every kind of pick, whatever state the backends are in. */
enum vx_pick_result vx_backend_pick_slowly(const struct vx_backend_set *set,
                                           const struct vx_backend_view *view,
                                           const struct vx_pick_request *request,
                                           struct vx_backend_ticket *ticket);

/* The fastest implementation that this CPU has, and the one that every CPU has. Any thread. */
const struct vx_score_search *vx_score_search_best(void);
const struct vx_score_search *vx_score_search_portable(void);

#endif
