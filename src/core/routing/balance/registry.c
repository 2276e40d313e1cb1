/* SPDX-License-Identifier: Apache-2.0 */
/* Groups by route name, pages of slots in them. Memory comes from the control thread's chunk source, which aligns to
 * 16, so cache lines are aligned here. */
#include "core/routing/balance/registry.h"

#include <string.h>

#include "core/base/hash.h"
#include "core/routing/balance/state.h"

/* Keys of these tables come from the configuration, not from peers: nobody gains from collisions. */
static const struct vx_hash_key config_key = {0x9e3779b97f4a7c15u, 0xd1b54a32d192ed03u};

enum { FIRST_BUCKETS = 64, CACHE_LINE = 64 };

static size_t rounded(size_t bytes) {
    return (bytes + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
}

/* The first whole cache line in memory that was taken with CACHE_LINE bytes to spare. */
static char *aligned(void *memory) {
    return (char *)memory + (-(uintptr_t)memory & (CACHE_LINE - 1));
}

void vx_backend_registry_init(struct vx_backend_registry *r, struct vx_chunk_source *memory,
                              uint32_t workers) {
    VX_CHECK(workers > 0);
    *r = (struct vx_backend_registry){.memory = memory, .workers = workers, .next_key = 1};
}

static struct vx_backend_group **bucket_of(struct vx_backend_registry *r, uint64_t hash) {
    return &r->buckets[hash & (r->bucket_count - 1)];
}

/* Doubles the table when it is full. False: no memory, and no table at all. */
static bool make_room(struct vx_backend_registry *r) {
    if (r->group_count < r->bucket_count)
        return true;
    uint32_t count = r->bucket_count ? r->bucket_count * 2 : FIRST_BUCKETS;
    struct vx_backend_group **buckets = r->memory->take(r->memory, count * sizeof(void *));
    if (!buckets)
        return r->bucket_count > 0;
    memset(buckets, 0, count * sizeof(void *));
    struct vx_backend_group **old = r->buckets;
    uint32_t old_count = r->bucket_count;
    r->buckets = buckets;
    r->bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct vx_backend_group *g = old[i];
            old[i] = g->next;
            g->next = *bucket_of(r, g->hash);
            *bucket_of(r, g->hash) = g;
        }
    }
    if (old)
        r->memory->give(r->memory, old, old_count * sizeof(void *));
    return true;
}

static struct vx_backend_group *new_group(struct vx_backend_registry *r, struct vx_slice name,
                                          uint64_t hash) {
    size_t group_bytes = rounded(sizeof(struct vx_backend_group));
    size_t workers_bytes = r->workers * sizeof(struct vx_backend_worker);
    size_t bytes = CACHE_LINE + group_bytes + workers_bytes + name.len;
    void *memory = r->memory->take(r->memory, bytes);
    if (!memory)
        return NULL;
    memset(memory, 0, bytes);
    struct vx_backend_group *g = (struct vx_backend_group *)(void *)aligned(memory);
    g->memory = memory;
    g->bytes = bytes;
    g->hash = hash;
    g->workers = (struct vx_backend_worker *)(void *)((char *)g + group_bytes);
    char *text = (char *)g->workers + workers_bytes;
    if (name.len)
        memcpy(text, name.ptr, name.len);
    g->name = vx_slice(text, name.len);
    return g;
}

struct vx_backend_group *vx_backend_registry_group(struct vx_backend_registry *r, struct vx_slice route) {
    uint64_t hash = vx_hash_fast(&config_key, route);
    if (r->bucket_count) {
        for (struct vx_backend_group *g = *bucket_of(r, hash); g; g = g->next)
            if (g->hash == hash && vx_slice_eq(g->name, route))
                return g;
    }
    if (!make_room(r))
        return NULL;
    struct vx_backend_group *g = new_group(r, route, hash);
    if (!g)
        return NULL;
    g->next = *bucket_of(r, hash);
    *bucket_of(r, hash) = g;
    r->group_count++;
    return g;
}

/* A page with `lanes` slots at the end of the group's list. */
static struct vx_backend_page *new_page(struct vx_backend_registry *r, struct vx_backend_group *g,
                                        uint32_t lanes) {
    size_t header = rounded(sizeof(struct vx_backend_page));
    size_t lines = (size_t)(lanes + VX_LANES - 1) / VX_LANES * sizeof(struct vx_backend_line);
    size_t slots = (size_t)lanes * sizeof(struct vx_backend_slot);
    size_t bytes = CACHE_LINE + header + lines + slots + lanes * sizeof(struct vx_backend_identity);
    void *memory = r->memory->take(r->memory, bytes);
    if (!memory)
        return NULL;
    memset(memory, 0, bytes);
    char *at = aligned(memory);
    struct vx_backend_page *page = (struct vx_backend_page *)(void *)at;
    page->memory = memory;
    page->bytes = bytes;
    page->lane_count = lanes;
    page->lines = (struct vx_backend_line *)(void *)(at + header);
    page->slots = (struct vx_backend_slot *)(void *)(at + header + lines);
    page->identities = (struct vx_backend_identity *)(void *)(at + header + lines + slots);
    for (uint32_t i = 0; i < lanes; i++)
        page->identities[i].index = UINT32_MAX;
    struct vx_backend_page **last = &g->pages;
    while (*last)
        last = &(*last)->next;
    *last = page;
    return page;
}

static uint32_t active_on(const struct vx_backend_page *page, uint32_t lane) {
    const struct vx_backend_line *line = &page->lines[lane / VX_LANES];
    /* Acquire: what a worker did before its request ended is done before the slot is used again. */
    return atomic_load_explicit(&line->active[lane % VX_LANES], memory_order_acquire) & ~VX_LANE_SPECIAL;
}

static struct vx_backend_identity identity_of(const struct vx_backend_endpoint *e) {
    struct vx_backend_identity identity = {
        .text_hash = vx_hash_fast(&config_key, e->backend->address_text),
        .id = e->backend->id,
        .port = e->address.port,
        .kind = e->address.kind,
        .index = UINT32_MAX,
    };
    if (e->address.kind == VX_ADDRESS_IP4)
        memcpy(identity.ip, e->address.ip, 4);
    else if (e->address.kind == VX_ADDRESS_IP6)
        memcpy(identity.ip, e->address.ip, sizeof identity.ip);
    return identity;
}

static bool same_identity(const struct vx_backend_identity *a, const struct vx_backend_identity *b) {
    return a->text_hash == b->text_hash && a->id == b->id && a->port == b->port && a->kind == b->kind &&
           memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static void place_at(struct vx_backend_page *page, uint32_t at, uint32_t index,
                     struct vx_backend_ticket *place) {
    *place = (struct vx_backend_ticket){
        .line = &page->lines[at / VX_LANES], .slot = &page->slots[at], .index = index, .lane = at % VX_LANES};
}

/* A slot that is in use under this identity and not yet part of the set being built. */
static bool find_known(struct vx_backend_group *g, const struct vx_backend_identity *wanted, uint32_t index,
                       struct vx_backend_ticket *place) {
    for (struct vx_backend_page *page = g->pages; page; page = page->next) {
        for (uint32_t i = 0; i < page->lane_count; i++) {
            struct vx_backend_identity *at = &page->identities[i];
            if (at->sets == 0 || at->index != UINT32_MAX || !same_identity(at, wanted))
                continue;
            at->sets++;
            at->index = index;
            place_at(page, i, index, place);
            return true;
        }
    }
    return false;
}

static void reset_slot(struct vx_backend_registry *r, struct vx_backend_ticket *place, uint64_t now_ns) {
    atomic_store_explicit(&place->line->active[place->lane], 0, memory_order_relaxed);
    atomic_store_explicit(&place->line->ewma[place->lane], 0, memory_order_relaxed);
    atomic_store_explicit(&place->slot->ramp_from_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&place->slot->touched, (uint32_t)(now_ns >> VX_TOUCH_SHIFT), memory_order_relaxed);
    vx_health_reset(&place->slot->health);
    vx_breaker_reset(&place->slot->breaker);
    place->slot->key = r->next_key++;
}

bool vx_backend_group_place(struct vx_backend_registry *r, struct vx_backend_group *g,
                            const struct vx_backend_endpoint *endpoint, uint32_t wanted, uint32_t index,
                            uint64_t now_ns, struct vx_backend_ticket *place) {
    struct vx_backend_identity identity = identity_of(endpoint);
    if (find_known(g, &identity, index, place))
        return true;
    identity.sets = 1;
    identity.index = index;
    for (struct vx_backend_page *page = g->pages; page; page = page->next) {
        for (uint32_t i = 0; i < page->lane_count; i++) {
            if (page->identities[i].sets > 0 || active_on(page, i) > 0)
                continue;
            page->identities[i] = identity;
            place_at(page, i, index, place);
            reset_slot(r, place, now_ns);
            return true;
        }
    }
    /* A first page fits what is there; a later one leaves room, or backends that come one by one would make a line
     * each. */
    uint32_t lanes = g->pages && wanted < VX_LANES ? VX_LANES : wanted;
    struct vx_backend_page *page = new_page(r, g, lanes);
    if (!page)
        return false;
    page->identities[0] = identity;
    place_at(page, 0, index, place);
    reset_slot(r, place, now_ns);
    return true;
}

struct vx_backend_identity *vx_backend_group_identity(struct vx_backend_group *g,
                                                      const struct vx_backend_ticket *place) {
    struct vx_backend_page *page = g->pages;
    while (place->slot < page->slots || place->slot >= page->slots + page->lane_count)
        page = page->next;
    return &page->identities[place->slot - page->slots];
}

static bool page_unused(const struct vx_backend_page *page) {
    for (uint32_t i = 0; i < page->lane_count; i++)
        if (page->identities[i].sets > 0 || active_on(page, i) > 0)
            return false;
    return true;
}

static void collect_pages(struct vx_backend_registry *r, struct vx_backend_group *g) {
    struct vx_backend_page **at = &g->pages;
    while (*at) {
        struct vx_backend_page *page = *at;
        if (!page_unused(page)) {
            at = &page->next;
            continue;
        }
        *at = page->next;
        r->memory->give(r->memory, page->memory, page->bytes);
    }
}

/* Collects the group that *at leads to; false: it stays. */
static bool collect_group(struct vx_backend_registry *r, struct vx_backend_group **at) {
    struct vx_backend_group *g = *at;
    collect_pages(r, g);
    if (g->sets > 0 || g->pages)
        return false;
    *at = g->next;
    r->group_count--;
    r->memory->give(r->memory, g->memory, g->bytes);
    return true;
}

void vx_backend_group_release(struct vx_backend_registry *r, struct vx_backend_group *g) {
    VX_CHECK(g->sets > 0);
    g->sets--;
    struct vx_backend_group **at = bucket_of(r, g->hash);
    while (*at != g)
        at = &(*at)->next;
    collect_group(r, at);
}

void vx_backend_registry_collect(struct vx_backend_registry *r) {
    for (uint32_t i = 0; i < r->bucket_count; i++) {
        struct vx_backend_group **at = &r->buckets[i];
        while (*at)
            if (!collect_group(r, at))
                at = &(*at)->next;
    }
}

void vx_backend_registry_destroy(struct vx_backend_registry *r) {
    vx_backend_registry_collect(r);
    VX_CHECK(r->group_count == 0);
    if (r->buckets)
        r->memory->give(r->memory, r->buckets, r->bucket_count * sizeof(void *));
    r->buckets = NULL;
    r->bucket_count = 0;
}
