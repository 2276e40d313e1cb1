/* SPDX-License-Identifier: Apache-2.0 */
/* Picking: what `balance` means, what keeps a backend out, how one comes back. docs/balancing.md tells why.
 *
 * Invariants
 *   1. The active count of a lane is the number of open tickets on it.
 *   2. A backend whose breaker is not closed gets trial requests only, each with a permit of the breaker, given back
 *      exactly once: by its result, or without one at the latest when its ticket ends or is detached.
 *   3. A mark (VX_LANE_SPECIAL) is set after what it stands for and taken off before that is looked at again, so no
 *      pick misses it for good; a mark without a reason costs one look and is taken off.
 *   4. First picks (no backend tried yet) that are spent on a probe are at most one in VX_PICKS_PER_PROBE.
 *
 * A ticket
 * state  | event                    | next   | function
 * none   | pick                     | open   | vx_backend_pick: active + 1
 * open   | head arrived             | open   | vx_backend_ticket_sample: average
 * open   | judged early              | open   | vx_backend_ticket_settle: breaker; average if it failed
 * open   | snapshot is let go       | open   | vx_backend_ticket_detach: permit given back, set forgotten
 * open   | exchange over            | none   | vx_backend_ticket_end: settled unless it was, active - 1
 * none   | any but pick             | panic  |
 */
#include "core/routing/balance/pick.h"

#include <math.h>

#include "core/routing/balance/ewma.h"
#include "core/routing/balance/state.h"

enum { BEGIN_TRIES = 4, RANDOM_TRIES = 8, SAMPLE_TRIES = 16 };
enum { SAMPLED = 1, SETTLED = 2, SUCCEEDED = 4, FAILED = 8, TRIAL = 16 };

/* One pick while it looks around. */
struct search {
    const struct vx_backend_set *set;
    const struct vx_backend_view *view;
    const struct vx_pick_request *request;
    uint32_t tried_count; /* 0 in the last round: then any will do */
    float score;          /* the best so far; INFINITY: none */
    uint32_t position;
    uint32_t ties;
    uint32_t trial;      /* a position that waits for a trial request */
    bool breaker_denied; /* some healthy backend was left out for its breaker */
};

enum usable { UNUSABLE, USABLE, NEEDS_TRIAL };

static struct vx_backend_slot *slot_at(const struct vx_backend_view *view, uint32_t position) {
    return view->places[position].slot;
}

static uint32_t active_at(const struct vx_backend_view *view, uint32_t position) {
    return atomic_load_explicit(&view->lines[position / VX_LANES]->active[position % VX_LANES],
                                memory_order_relaxed);
}

/* Notes that the backend is in use at `tick`; the whole seconds it was left alone before, at most 255. */
static uint8_t touch(struct vx_backend_slot *slot, uint32_t tick) {
    uint32_t last = atomic_exchange_explicit(&slot->touched, tick, memory_order_relaxed);
    /* Workers' clocks differ by their time of reading: a stamp from the future is no idle time. */
    uint32_t idle = (int32_t)(tick - last) < 0 ? 0 : (tick - last) / VX_TOUCH_TICKS_IDLE;
    return (uint8_t)(idle > 255 ? 255 : idle);
}

enum vx_pick_result vx_backend_touch_ticket(struct vx_backend_ticket *ticket, uint32_t tick) {
    ticket->idle = touch(ticket->slot, tick);
    return VX_PICKED;
}

/* The same when a request has ended, without asking how long it was. */
static void touch_again(struct vx_backend_slot *slot, uint64_t now_ns) {
    uint32_t tick = vx_backend_touch_tick(now_ns);
    if (VX_UNLIKELY(atomic_load_explicit(&slot->touched, memory_order_relaxed) != tick))
        atomic_store_explicit(&slot->touched, tick, memory_order_relaxed);
}

/* The share of its weight a backend has by now; ends the gentle start when it is over. */
static float ramp_share(struct vx_backend_slot *slot, uint64_t now_ns) {
    uint64_t from = atomic_load_explicit(&slot->ramp_from_ns, memory_order_relaxed);
    if (from == 0)
        return 1.0f;
    uint64_t elapsed = now_ns > from ? now_ns - from : 0;
    if (elapsed < VX_RAMP_NS) {
        float share = (float)elapsed / (float)VX_RAMP_NS;
        return share < VX_RAMP_LOWEST ? VX_RAMP_LOWEST : share;
    }
    atomic_compare_exchange_strong_explicit(&slot->ramp_from_ns, &from, 0, memory_order_relaxed,
                                            memory_order_relaxed);
    return 1.0f;
}

/* What a mark on the lane at `position` means now. *share is set when it is usable. */
static enum usable look(struct search *s, uint32_t position, float *share) {
    struct vx_backend_slot *slot = slot_at(s->view, position);
    uint64_t now_ns = s->request->now_ns;
    *share = 1.0f;
    if (vx_health_state(&slot->health) == VX_HEALTH_UNHEALTHY)
        return UNUSABLE;
    if (vx_breaker_state(&slot->breaker) != VX_BREAKER_CLOSED) {
        if (vx_breaker_ready(&slot->breaker, &s->set->route->breaker, now_ns))
            return NEEDS_TRIAL;
        s->breaker_denied = true;
        return UNUSABLE;
    }
    *share = ramp_share(slot, now_ns);
    if (*share == 1.0f)
        vx_backend_unmark(s->view->lines[position / VX_LANES], slot, position % VX_LANES);
    return USABLE;
}

static bool was_tried(const struct search *s, uint32_t position) {
    for (uint32_t i = 0; i < s->tried_count; i++)
        if (s->request->tried[i] == s->view->places[position].index)
            return true;
    return false;
}

static void offer(struct search *s, uint32_t position, float score) {
    if (score > s->score)
        return;
    if (score < s->score)
        s->ties = 0;
    s->score = score;
    s->ties++;
    if (s->ties == 1 || vx_random_below(s->request->random, s->ties) == 0)
        s->position = position;
}

/* Scores one lane with everything that may be said about it. */
static void consider(struct search *s, uint32_t position) {
    uint32_t active = active_at(s->view, position);
    float share = 1.0f;
    if (was_tried(s, position))
        return;
    if (active & VX_LANE_SPECIAL) {
        enum usable usable = look(s, position, &share);
        if (usable == NEEDS_TRIAL)
            s->trial = position;
        if (usable != USABLE)
            return;
    }
    float ewma_us = 0;
    if (s->set->balance == VX_BALANCE_PEAK_EWMA)
        ewma_us = vx_float_of_bits(atomic_load_explicit(
            &s->view->lines[position / VX_LANES]->ewma[position % VX_LANES], memory_order_relaxed));
    float weight = s->view->inverse_weight[position] / share;
    offer(s, position, vx_ewma_score(ewma_us, active & ~VX_LANE_SPECIAL, weight));
}

static void consider_all(struct search *s) {
    for (uint32_t i = 0; i < s->view->member_count; i++)
        consider(s, s->view->members[i]);
}

static void consider_marked(struct search *s) {
    const struct vx_backend_view *view = s->view;
    for (uint32_t line = s->set->search->marked_line(view, 0); line < view->line_count;
         line = s->set->search->marked_line(view, line + 1)) {
        for (uint32_t position = line * VX_LANES; position < (line + 1) * VX_LANES; position++)
            if (active_at(view, position) & VX_LANE_SPECIAL && view->inverse_weight[position] != INFINITY)
                consider(s, position);
    }
}

/* Adds a worker's VX_PICKS_SHARED picks to the count of all; true once in VX_PICKS_PER_PROBE of them. */
static bool probe_turn(struct vx_backend_group *g) {
    uint64_t before = atomic_fetch_add_explicit(&g->picked, VX_PICKS_SHARED, memory_order_relaxed);
    return before / VX_PICKS_PER_PROBE != (before + VX_PICKS_SHARED) / VX_PICKS_PER_PROBE;
}

/* The usable backend that was left alone for longest, if for a second at least and nothing is active on it. */
static uint32_t probe_target(const struct search *s) {
    uint32_t now = vx_backend_touch_tick(s->request->now_ns), longest = VX_TOUCH_TICKS_IDLE - 1;
    uint32_t target = VX_POSITION_NONE;
    for (uint32_t i = 0; i < s->view->member_count; i++) {
        uint32_t position = s->view->members[i];
        uint32_t idle =
            now - atomic_load_explicit(&slot_at(s->view, position)->touched, memory_order_relaxed);
        if (idle > longest && (int32_t)idle > 0 && active_at(s->view, position) == 0) {
            longest = idle;
            target = position;
        }
    }
    return target;
}

/* Peak EWMA and least request: the lowest score. A backend that waits for a trial goes first, or its old average
 * would keep it waiting for ever; but not for a retry, which has lost one attempt already. */
static uint32_t choose_lowest(struct search *s) {
    if (s->tried_count) {
        consider_all(s);
        return s->position == VX_POSITION_NONE ? s->trial : s->position;
    }
    uint32_t found = s->view->score.lowest(s->view, s->request->random);
    if (!(found & VX_POSITION_MARKED))
        return found;
    found &= ~VX_POSITION_MARKED;
    if (found != VX_POSITION_NONE)
        consider(s, found);
    consider_marked(s);
    return s->trial == VX_POSITION_NONE ? s->position : s->trial;
}

/* Round robin and random take a backend without comparing: whether this one may be taken. A gentle start takes part
 * of its turns. */
static bool acceptable(struct search *s, uint32_t position) {
    if (was_tried(s, position))
        return false;
    if (!(active_at(s->view, position) & VX_LANE_SPECIAL))
        return true;
    float share;
    enum usable usable = look(s, position, &share);
    if (usable == NEEDS_TRIAL)
        return true;
    return usable == USABLE &&
           (share == 1.0f || (float)(vx_random_next(s->request->random) >> 40) < share * (float)(1 << 24));
}

/* The first member from `from` on that is usable at all. */
static uint32_t next_usable(struct search *s, uint32_t from) {
    for (uint32_t i = 0; i < s->view->member_count; i++) {
        uint32_t position = s->view->members[(from + i) % s->view->member_count];
        float share;
        if (was_tried(s, position))
            continue;
        if (!(active_at(s->view, position) & VX_LANE_SPECIAL) || look(s, position, &share) != UNUSABLE)
            return position;
    }
    return VX_POSITION_NONE;
}

/* Smooth weighted round robin without state in the backends (gRFC A58's static stride): in each generation every
 * member has a turn, and one with a share w of the heaviest weight takes it w of the time, evenly spread. */
static bool stride_takes(const struct vx_backend_view *view, uint32_t member, uint32_t generation) {
    const uint64_t whole = 65535;
    uint64_t weight = (uint64_t)view->weights[member] * whole / view->heaviest;
    weight += weight == 0;
    uint64_t mod = (weight * generation + (uint64_t)member * (whole / 2)) % whole;
    return mod >= whole - weight;
}

static uint32_t choose_round_robin(struct search *s) {
    const struct vx_backend_view *view = s->view;
    struct vx_backend_cursor *c = &s->set->cursors[s->request->worker][view->number];
    uint32_t from = c->member;
    for (uint32_t i = 0; i < 2 * view->member_count + 64; i++) {
        uint32_t member = c->member;
        if (++c->member >= view->member_count) {
            c->member = 0;
            c->generation++;
        }
        if (stride_takes(view, member, c->generation) && acceptable(s, view->members[member]))
            return view->members[member];
    }
    return next_usable(s, from);
}

static uint32_t random_member(const struct vx_backend_view *view, struct vx_random *random) {
    uint64_t total = view->cumulative[view->member_count - 1];
    if (total == (uint64_t)view->heaviest * view->member_count)
        return vx_random_below(random, view->member_count);
    uint64_t at = (uint64_t)(((unsigned __int128)vx_random_next(random) * total) >> 64);
    uint32_t low = 0, high = view->member_count - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (view->cumulative[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static uint32_t choose_random(struct search *s) {
    uint32_t member = 0;
    for (int i = 0; i < RANDOM_TRIES; i++) {
        member = random_member(s->view, s->request->random);
        if (acceptable(s, s->view->members[member]))
            return s->view->members[member];
    }
    return next_usable(s, member);
}

static uint32_t choose(struct search *s) {
    s->score = INFINITY;
    s->ties = 0;
    s->position = s->trial = VX_POSITION_NONE;
    if (s->view->member_count == 0)
        return VX_POSITION_NONE;
    if (s->view->score.lowest)
        return choose_lowest(s);
    return s->set->balance == VX_BALANCE_ROUND_ROBIN ? choose_round_robin(s) : choose_random(s);
}

/* Opens the ticket on a chosen lane; false: another worker took the last permit of its breaker meanwhile. */
static bool begin(struct search *s, uint32_t position, struct vx_backend_ticket *ticket) {
    uint8_t epoch = 0;
    enum vx_breaker_verdict verdict = VX_BREAKER_PASS;
    if (active_at(s->view, position) & VX_LANE_SPECIAL)
        verdict = vx_breaker_admit(&slot_at(s->view, position)->breaker, &s->set->route->breaker,
                                   s->request->now_ns, &epoch);
    if (verdict == VX_BREAKER_DENY) {
        s->breaker_denied = true;
        return false;
    }
    vx_backend_open_ticket(s->view, s->request, position, ticket);
    if (verdict == VX_BREAKER_TRIAL) {
        ticket->flags = TRIAL;
        ticket->epoch = epoch;
    }
    return true;
}

/* Every kind of pick, whatever state the backends are in. */
static enum vx_pick_result pick_carefully(struct search *s, struct vx_backend_ticket *ticket) {
    for (int i = 0; i < BEGIN_TRIES; i++) {
        uint32_t position = choose(s);
        if (position == VX_POSITION_NONE) {
            if (s->tried_count == 0)
                break;
            s->tried_count = 0; /* nobody else is left: the same one once more */
            continue;
        }
        if (begin(s, position, ticket))
            return VX_PICKED;
    }
    *ticket = (struct vx_backend_ticket){0};
    return s->breaker_denied ? VX_PICK_BREAKER_OPEN : VX_PICK_NONE_HEALTHY;
}

/* One pick in VX_PICKS_SHARED of a worker: what is not worth doing each time. */
static uint32_t share_picks(struct search *s) {
    struct vx_backend_worker *worker = &s->set->workers[s->request->worker];
    vx_retry_budget_count(&worker->retries, worker->picks, s->request->now_ns);
    if (!probe_turn(s->set->group) || s->set->balance != VX_BALANCE_PEAK_EWMA)
        return VX_POSITION_NONE;
    return probe_target(s);
}

static bool shares_now(const struct vx_backend_set *set, const struct vx_pick_request *request) {
    return set->workers[request->worker].picks % VX_PICKS_SHARED == 0;
}

__attribute__((noinline)) enum vx_pick_result vx_backend_pick_slowly(const struct vx_backend_set *set,
                                                                     const struct vx_backend_view *view,
                                                                     const struct vx_pick_request *request,
                                                                     struct vx_backend_ticket *ticket) {
    struct search s = {.set = set, .view = view, .request = request, .tried_count = request->tried_count};
    if (request->tried_count == 0 && shares_now(set, request)) {
        uint32_t target = share_picks(&s);
        if (target != VX_POSITION_NONE)
            return vx_backend_open_ticket(view, request, target, ticket);
    }
    return pick_carefully(&s, ticket);
}

enum vx_pick_result vx_backend_pick(const struct vx_backend_set *set, const struct vx_pick_request *request,
                                    struct vx_backend_ticket *ticket) {
    const struct vx_backend_view *view = request->view ? request->view : &set->all;
    if (VX_UNLIKELY(request->tried_count > 0))
        return vx_backend_pick_slowly(set, view, request, ticket);
    set->workers[request->worker].picks++;
    if (VX_UNLIKELY(shares_now(set, request) || !view->score.pick))
        return vx_backend_pick_slowly(set, view, request, ticket);
    return view->score.pick(set, view, request, ticket);
}

/* Stores what `sample_us` makes of the average; the average before, 0 when there was none. */
static float update_average(struct vx_backend_ticket *t, float sample_us, float decay) {
    _Atomic uint32_t *ewma = &t->line->ewma[t->lane];
    uint32_t old = atomic_load_explicit(ewma, memory_order_relaxed);
    for (int i = 0; i < SAMPLE_TRIES; i++) {
        uint32_t next = vx_bits_of_float(vx_ewma_next(vx_float_of_bits(old), sample_us, decay));
        if (next == old || atomic_compare_exchange_weak_explicit(ewma, &old, next, memory_order_relaxed,
                                                                 memory_order_relaxed))
            break;
    }
    return vx_float_of_bits(old);
}

/* The first sample of a group stands in for the members without one: an unmeasured backend must not look faster than
 * all measured ones and draw every request to it. */
static void seed_unmeasured(const struct vx_backend_set *set, float sample_us) {
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t none = 0;
        atomic_compare_exchange_strong_explicit(&set->places[i].line->ewma[set->places[i].lane], &none,
                                                vx_bits_of_float(sample_us), memory_order_relaxed,
                                                memory_order_relaxed);
    }
}

/* How slow a failure counts: slower than what any peer offers right now, however fast it failed. */
static float failure_us(const struct vx_backend_ticket *t, uint64_t now_ns) {
    const struct vx_backend_set *set = t->set;
    float highest = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct vx_backend_ticket *p = &set->places[i];
        uint32_t active = atomic_load_explicit(&p->line->active[p->lane], memory_order_relaxed);
        if (p->slot == t->slot || active & VX_LANE_SPECIAL)
            continue;
        float ewma_us = vx_float_of_bits(atomic_load_explicit(&p->line->ewma[p->lane], memory_order_relaxed));
        float score = vx_ewma_score(ewma_us, active, 1.0f);
        highest = score > highest ? score : highest;
    }
    float penalty = highest * VX_FAILURE_FACTOR;
    penalty = penalty < VX_FAILURE_FLOOR_US ? VX_FAILURE_FLOOR_US : penalty;
    penalty = penalty > VX_FAILURE_LIMIT_US ? VX_FAILURE_LIMIT_US : penalty;
    float took = vx_ewma_sample_us(now_ns > t->begun_ns ? now_ns - t->begun_ns : 0);
    return took > penalty ? took : penalty;
}

void vx_backend_ticket_sample(struct vx_backend_ticket *t, uint64_t latency_ns, uint64_t now_ns) {
    VX_CHECK(t->line && t->set && !(t->flags & SAMPLED));
    t->flags |= SAMPLED;
    float sample_us = vx_ewma_sample_us(latency_ns);
    if (VX_UNLIKELY(update_average(t, sample_us, vx_ewma_aged(t->set->decay, t->idle)) == 0))
        seed_unmeasured(t->set, sample_us);
    touch_again(t->slot, now_ns);
}

/* Tells the breaker of a success that was settled and has held to the end. */
static void succeed(struct vx_backend_ticket *t, uint64_t now_ns) {
    t->flags &= (uint8_t)~SUCCEEDED;
    bool closed =
        vx_breaker_success(&t->slot->breaker, &t->set->route->breaker, t->flags & TRIAL, t->epoch, now_ns);
    if (VX_UNLIKELY(closed))
        vx_backend_ramp(t->line, t->slot, t->lane, now_ns);
    t->flags &= (uint8_t)~TRIAL;
}

static bool is_failure(enum vx_backend_outcome outcome) {
    return outcome == VX_OUTCOME_FAILURE || outcome == VX_OUTCOME_SHARED_FAILURE;
}

/* A trial that fails tells the breaker in any case: who shares its failure may be none, and is not heard then. */
static void fail(struct vx_backend_ticket *t, enum vx_backend_outcome outcome, uint64_t now_ns) {
    t->flags |= FAILED;
    /* A decay of 1 keeps an average that is worse already: failing never makes a backend look better. */
    update_average(t, failure_us(t, now_ns), 1.0f);
    touch_again(t->slot, now_ns);
    if (outcome == VX_OUTCOME_SHARED_FAILURE && !(t->flags & TRIAL))
        return;
    if (vx_breaker_failure(&t->slot->breaker, &t->set->route->breaker, t->flags & TRIAL, t->epoch, now_ns))
        vx_backend_mark(t->line, t->lane);
    t->flags &= (uint8_t)~TRIAL;
}

static void give_permit_back(struct vx_backend_ticket *t) {
    if (t->flags & TRIAL)
        vx_breaker_cancel(&t->slot->breaker, t->epoch);
    t->flags &= (uint8_t)~TRIAL;
}

void vx_backend_ticket_settle(struct vx_backend_ticket *t, enum vx_backend_outcome outcome, uint64_t now_ns) {
    VX_CHECK(t->line && t->set && !(t->flags & SETTLED));
    t->flags |= SETTLED;
    switch (outcome) {
    case VX_OUTCOME_SUCCESS:
        /* A trial is over with this; else the body may still break, and a success now would end the row of failures
         * of a backend that breaks every body. */
        t->flags |= SUCCEEDED;
        if (t->flags & TRIAL)
            succeed(t, now_ns);
        break;
    case VX_OUTCOME_FAILURE:
    case VX_OUTCOME_SHARED_FAILURE:
        fail(t, outcome, now_ns);
        break;
    case VX_OUTCOME_NEUTRAL:
        give_permit_back(t);
        break;
    }
}

void vx_backend_ticket_detach(struct vx_backend_ticket *t) {
    VX_CHECK(t->line);
    if (t->flags & SUCCEEDED)
        succeed(t, t->begun_ns);
    give_permit_back(t);
    t->set = NULL;
}

bool vx_backend_ticket_may_fail(const struct vx_backend_ticket *t) {
    return t->line && t->set && !(t->flags & FAILED);
}

void vx_backend_ticket_end(struct vx_backend_ticket *t, enum vx_backend_outcome outcome, uint64_t now_ns) {
    VX_CHECK(t->line);
    if (t->set) {
        if (!(t->flags & SETTLED))
            vx_backend_ticket_settle(t, outcome, now_ns);
        else if (is_failure(outcome) && !(t->flags & FAILED))
            fail(t, outcome, now_ns);
        if (t->flags & SUCCEEDED && !(t->flags & FAILED))
            succeed(t, now_ns);
    }
    /* Release: see active_on in registry.c. */
    uint32_t before = atomic_fetch_sub_explicit(&t->line->active[t->lane], 1, memory_order_release);
    VX_CHECK((before & ~VX_LANE_SPECIAL) > 0);
    t->line = NULL;
}
