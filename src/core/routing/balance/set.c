/* SPDX-License-Identifier: Apache-2.0 */
/* Building a set from configuration and registry, and what is asked of it beside picking. */
#include "core/routing/balance/set.h"

#include <math.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/routing/balance/ewma.h"
#include "core/routing/balance/state.h"

static const struct vx_hash_key config_key = {0x9e3779b97f4a7c15u, 0xd1b54a32d192ed03u};

/* Zeroed memory for `count` things, at least one so that NULL always means no memory. */
static void *zeroed(struct vx_arena *arena, size_t count, size_t bytes) {
    size_t all = (count ? count : 1) * bytes;
    void *p = vx_arena_alloc(arena, all);
    if (p)
        memset(p, 0, all);
    return p;
}

static bool lists(const struct vx_config_backend *backend, struct vx_slice model) {
    if (model.len == 0)
        return true;
    for (uint32_t i = 0; i < backend->ai_model_count; i++)
        if (vx_slice_eq(backend->ai_models[i], model))
            return true;
    return false;
}

/* How many of the lanes of one line are in the set and list `model`; `index` tells their place in the set. */
static uint32_t members_of_line(const struct vx_backend_set *set, const struct vx_backend_page *page,
                                uint32_t line, struct vx_slice model, uint32_t index[VX_LANES]) {
    uint32_t found = 0;
    for (uint32_t lane = 0; lane < VX_LANES; lane++) {
        uint32_t at = line * VX_LANES + lane;
        index[lane] = at < page->lane_count ? page->identities[at].index : UINT32_MAX;
        if (index[lane] == UINT32_MAX)
            continue;
        if (lists(set->endpoints[index[lane]].backend, model))
            found++;
        else
            index[lane] = UINT32_MAX;
    }
    return found;
}

static uint32_t line_count(const struct vx_backend_page *page) {
    return (page->lane_count + VX_LANES - 1) / VX_LANES;
}

static bool view_alloc(struct vx_arena *arena, struct vx_backend_view *view) {
    size_t positions = (size_t)view->line_count * VX_LANES;
    view->lines = zeroed(arena, view->line_count, sizeof(struct vx_backend_line *));
    /* Read by vectors, which must not cross cache lines. */
    char *weights = zeroed(arena, positions * sizeof *view->inverse_weight + 64, 1);
    view->inverse_weight = weights ? (float *)(void *)(weights + (-(uintptr_t)weights & 63)) : NULL;
    view->places = zeroed(arena, positions, sizeof *view->places);
    view->members = zeroed(arena, view->member_count, sizeof *view->members);
    view->weights = zeroed(arena, view->member_count, sizeof *view->weights);
    view->cumulative = zeroed(arena, view->member_count, sizeof *view->cumulative);
    return view->lines && view->inverse_weight && view->places && view->members && view->weights &&
           view->cumulative;
}

static void view_add_line(const struct vx_backend_set *set, struct vx_backend_view *view,
                          struct vx_backend_page *page, uint32_t line, const uint32_t index[VX_LANES]) {
    uint32_t at = view->line_count++;
    view->lines[at] = &page->lines[line];
    for (uint32_t lane = 0; lane < VX_LANES; lane++) {
        uint32_t position = at * VX_LANES + lane;
        view->inverse_weight[position] = INFINITY;
        if (index[lane] == UINT32_MAX)
            continue;
        uint32_t weight = set->endpoints[index[lane]].backend->weight;
        uint32_t member = view->member_count++;
        view->inverse_weight[position] = 1.0f / (float)weight;
        view->places[position] = set->places[index[lane]];
        view->members[member] = position;
        view->weights[member] = weight;
        view->cumulative[member] = weight + (member ? view->cumulative[member - 1] : 0);
        if (weight > view->heaviest)
            view->heaviest = weight;
    }
}

static struct vx_score_method score_for(const struct vx_backend_set *set,
                                        const struct vx_backend_view *view) {
    bool one = view->line_count == 1;
    switch (set->balance) {
    case VX_BALANCE_PEAK_EWMA:
        return one ? set->search->ewma_line : set->search->ewma_lines;
    case VX_BALANCE_LEAST_REQUEST:
        return one ? set->search->queue_line : set->search->queue_lines;
    case VX_BALANCE_ROUND_ROBIN:
    case VX_BALANCE_RANDOM:
        break;
    }
    return (struct vx_score_method){NULL, NULL};
}

/* The view of all endpoints that list `model` (empty: of all). Every place of the set is marked in its page. */
static bool view_build(struct vx_arena *arena, const struct vx_backend_set *set, struct vx_slice model,
                       uint32_t number, struct vx_backend_view *view) {
    uint32_t index[VX_LANES];
    *view = (struct vx_backend_view){.model = model, .number = number};
    for (struct vx_backend_page *page = set->group->pages; page; page = page->next) {
        for (uint32_t line = 0; line < line_count(page); line++) {
            uint32_t members = members_of_line(set, page, line, model, index);
            view->member_count += members;
            view->line_count += members > 0;
        }
    }
    if (!view_alloc(arena, view))
        return false;
    view->line_count = view->member_count = 0;
    for (struct vx_backend_page *page = set->group->pages; page; page = page->next)
        for (uint32_t line = 0; line < line_count(page); line++)
            if (members_of_line(set, page, line, model, index) > 0)
                view_add_line(set, view, page, line, index);
    view->first = view->line_count ? view->lines[0] : NULL;
    view->score = score_for(set, view);
    return true;
}

/* The bucket that holds `model`, or the empty one where it would go. */
static uint32_t *model_bucket(const struct vx_backend_set *set, struct vx_slice model) {
    uint32_t at = (uint32_t)vx_hash_fast(&config_key, model) & set->model_bucket_mask;
    while (set->model_buckets[at] && !vx_slice_eq(set->models[set->model_buckets[at] - 1].model, model))
        at = (at + 1) & set->model_bucket_mask;
    return &set->model_buckets[at];
}

static bool models_build(struct vx_arena *arena, struct vx_backend_set *set) {
    uint32_t listed = 0, buckets = 2;
    for (uint32_t i = 0; i < set->count; i++)
        listed += set->endpoints[i].backend->ai_model_count;
    if (listed == 0)
        return true;
    while (buckets < listed * 2)
        buckets *= 2;
    set->models = zeroed(arena, listed, sizeof *set->models);
    set->model_buckets = zeroed(arena, buckets, sizeof *set->model_buckets);
    set->model_bucket_mask = buckets - 1;
    if (!set->models || !set->model_buckets)
        return false;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct vx_config_backend *backend = set->endpoints[i].backend;
        for (uint32_t m = 0; m < backend->ai_model_count; m++) {
            uint32_t *bucket = model_bucket(set, backend->ai_models[m]);
            if (*bucket)
                continue;
            uint32_t number = set->model_count + 1;
            if (!view_build(arena, set, backend->ai_models[m], number, &set->models[set->model_count]))
                return false;
            set->model_count++;
            *bucket = number;
        }
    }
    return true;
}

/* A worker's cursors share no cache line with another's. */
static bool cursors_build(struct vx_arena *arena, struct vx_backend_set *set, uint32_t workers) {
    if (set->route->balance != VX_BALANCE_ROUND_ROBIN)
        return true;
    size_t stride = ((set->model_count + 1) * sizeof(struct vx_backend_cursor) + 63) & ~(size_t)63;
    set->cursors = zeroed(arena, workers, sizeof(struct vx_backend_cursor *));
    char *memory = zeroed(arena, workers * stride + 64, 1);
    if (!set->cursors || !memory)
        return false;
    memory += -(uintptr_t)memory & 63;
    for (uint32_t w = 0; w < workers; w++) {
        set->cursors[w] = (struct vx_backend_cursor *)(void *)(memory + w * stride);
        /* Workers begin in different places, or the first backends would get all first requests. */
        for (uint32_t v = 0; v <= set->model_count; v++) {
            uint32_t members = v ? set->models[v - 1].member_count : set->all.member_count;
            set->cursors[w][v].member = members ? (uint32_t)((uint64_t)members * w / workers) : 0;
        }
    }
    return true;
}

/* How many measured members other than `except` have an average of at most `bits`; positive floats are ordered as
 * their bits are. */
static uint32_t measured_up_to(const struct vx_backend_set *set, uint32_t except, uint32_t bits) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t ewma =
            atomic_load_explicit(&set->places[i].line->ewma[set->places[i].lane], memory_order_relaxed);
        n += i != except && ewma != 0 && ewma <= bits;
    }
    return n;
}

/* The `rank`th (from 1) smallest average, by halving the range of bits: no memory to sort in, and few calls. */
static float ranked(const struct vx_backend_set *set, uint32_t except, uint32_t rank) {
    uint32_t low = 1, high = vx_bits_of_float(INFINITY);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (measured_up_to(set, except, middle) >= rank)
            high = middle;
        else
            low = middle + 1;
    }
    return vx_float_of_bits(low);
}

/* The median average of the measured members but `except`; 0 when there are none. */
static float median(const struct vx_backend_set *set, uint32_t except) {
    uint32_t n = measured_up_to(set, except, vx_bits_of_float(INFINITY));
    if (n == 0)
        return 0;
    return (ranked(set, except, (n + 1) / 2) + ranked(set, except, n / 2 + 1)) / 2;
}

/* New endpoints start at the median of their peers, and gently. Where nothing is measured yet there is nobody to be
 * gentle to: the first sample of the group then stands in for all (see pick.c). */
static void seed_new(struct vx_backend_set *set, const struct vx_backend_registry *r, uint64_t first_new_key,
                     uint64_t now_ns) {
    if (r->next_key == first_new_key)
        return;
    float start = median(set, UINT32_MAX);
    if (start == 0)
        return;
    for (uint32_t i = 0; i < set->count; i++) {
        struct vx_backend_ticket *p = &set->places[i];
        if (p->slot->key < first_new_key)
            continue;
        atomic_store_explicit(&p->line->ewma[p->lane], vx_bits_of_float(start), memory_order_relaxed);
        vx_backend_ramp(p->line, p->slot, p->lane, now_ns);
    }
}

/* State that a policy no longer judges must not stay as it was when it was switched off. */
static void forget_unjudged(struct vx_backend_set *set) {
    const struct vx_config_route *route = set->route;
    bool breaker = route->breaker.failures > 0 || route->breaker.failure_rate_percent > 0;
    for (uint32_t i = 0; i < set->count; i++) {
        struct vx_backend_slot *slot = set->places[i].slot;
        if (!breaker && vx_breaker_state(&slot->breaker) != VX_BREAKER_CLOSED)
            vx_breaker_reset(&slot->breaker);
        if (!route->health_check.enabled)
            vx_health_reset(&slot->health);
    }
}

static void release_places(struct vx_backend_set *set, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct vx_backend_identity *identity = vx_backend_group_identity(set->group, &set->places[i]);
        identity->sets--;
        identity->index = UINT32_MAX;
    }
}

/* The places stay marked with their index until the views are built. */
static bool take_places(struct vx_backend_registry *r, struct vx_backend_set *set, uint64_t now_ns) {
    for (uint32_t i = 0; i < set->count; i++) {
        if (!vx_backend_group_place(r, set->group, &set->endpoints[i], set->count - i, i, now_ns,
                                    &set->places[i])) {
            release_places(set, i);
            return false;
        }
        set->places[i].set = set;
    }
    return true;
}

const struct vx_backend_set *vx_backend_set_build(struct vx_backend_registry *r, struct vx_arena *arena,
                                                  const struct vx_config_route *route,
                                                  const struct vx_backend_endpoint *endpoints, uint32_t count,
                                                  uint64_t now_ns) {
    struct vx_backend_set *set = zeroed(arena, 1, sizeof *set);
    if (!set)
        return NULL;
    set->route = route;
    set->count = count;
    set->decay = (float)route->ewma_decay;
    set->balance = route->balance;
    set->search = vx_score_search_best();
    set->endpoints = zeroed(arena, count, sizeof *set->endpoints);
    set->places = zeroed(arena, count, sizeof *set->places);
    set->group = vx_backend_registry_group(r, route->name);
    if (!set->endpoints || !set->places || !set->group)
        return NULL;
    if (count)
        memcpy(set->endpoints, endpoints, count * sizeof *endpoints);
    set->workers = set->group->workers;
    uint64_t first_new_key = r->next_key;
    if (!take_places(r, set, now_ns))
        return NULL;
    if (!view_build(arena, set, VX_SLICE_NONE, 0, &set->all) || !models_build(arena, set) ||
        !cursors_build(arena, set, r->workers)) {
        release_places(set, count);
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++)
        vx_backend_group_identity(set->group, &set->places[i])->index = UINT32_MAX;
    set->group->sets++;
    forget_unjudged(set);
    seed_new(set, r, first_new_key, now_ns);
    return set;
}

void vx_backend_set_drop(struct vx_backend_registry *r, const struct vx_backend_set *set) {
    for (uint32_t i = 0; i < set->count; i++)
        vx_backend_group_identity(set->group, &set->places[i])->sets--;
    vx_backend_group_release(r, set->group);
}

uint32_t vx_backend_set_count(const struct vx_backend_set *set) {
    return set->count;
}

const struct vx_backend_endpoint *vx_backend_set_endpoint(const struct vx_backend_set *set, uint32_t index) {
    return &set->endpoints[index];
}

uint64_t vx_backend_set_key(const struct vx_backend_set *set, uint32_t index) {
    return set->places[index].slot->key;
}

bool vx_backend_set_has_models(const struct vx_backend_set *set) {
    return set->model_count > 0;
}

const struct vx_backend_view *vx_backend_set_model(const struct vx_backend_set *set, struct vx_slice model) {
    if (set->model_count == 0)
        return &set->all;
    uint32_t number = *model_bucket(set, model);
    return number ? &set->models[number - 1] : NULL;
}

struct vx_backend_stats vx_backend_set_stats(const struct vx_backend_set *set, uint32_t index) {
    const struct vx_backend_ticket *p = &set->places[index];
    return (struct vx_backend_stats){
        .ewma_us = vx_float_of_bits(atomic_load_explicit(&p->line->ewma[p->lane], memory_order_relaxed)),
        .active = atomic_load_explicit(&p->line->active[p->lane], memory_order_relaxed) & ~VX_LANE_SPECIAL,
        .breaker = vx_breaker_state(&p->slot->breaker),
        .health = vx_health_state(&p->slot->health),
    };
}

bool vx_backend_set_checked(const struct vx_backend_set *set, uint32_t index, bool passed, uint64_t now_ns) {
    const struct vx_backend_ticket *p = &set->places[index];
    bool was_down = vx_health_state(&p->slot->health) == VX_HEALTH_UNHEALTHY;
    if (!vx_health_checked(&p->slot->health, &set->route->health_check, passed))
        return false;
    if (!passed) {
        vx_backend_mark(p->line, p->lane);
    } else if (was_down) {
        /* Its average is from before it went down, failures and all: it starts as a new one does. */
        float start = median(set, index);
        if (start > 0)
            atomic_store_explicit(&p->line->ewma[p->lane], vx_bits_of_float(start), memory_order_relaxed);
        vx_backend_ramp(p->line, p->slot, p->lane, now_ns);
    }
    return true;
}

bool vx_backend_set_take_retry(const struct vx_backend_set *set, uint32_t worker, uint64_t now_ns) {
    struct vx_backend_worker *w = &set->workers[worker];
    return vx_retry_budget_take(&w->retries, set->route->retry_budget_percent, w->picks, now_ns);
}
