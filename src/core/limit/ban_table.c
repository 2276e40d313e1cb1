/* SPDX-License-Identifier: Apache-2.0 */
/* See ban_table.h. */
#include "core/limit/ban_table.h"

size_t vx_ban_table_bytes(uint32_t clients) {
    return clients * sizeof(struct vx_ban_slot);
}

static struct vx_ban_slot *group_of(const struct vx_ban_table *t, uint64_t client) {
    return t->slots + (vx_hash_word(&t->key, client) & (t->groups - 1)) * VX_BAN_TABLE_WAYS;
}

bool vx_ban_table_has(const struct vx_ban_table *t, uint64_t client, uint64_t now_ns) {
    if (atomic_load_explicit(&t->used, memory_order_relaxed) == 0 || client == 0)
        return false;
    struct vx_ban_slot *group = group_of(t, client);
    for (unsigned i = 0; i < VX_BAN_TABLE_WAYS; i++) {
        if (atomic_load_explicit(&group[i].client, memory_order_acquire) != client)
            continue;
        uint64_t until_ns = atomic_load_explicit(&group[i].until_ns, memory_order_acquire);
        return until_ns > now_ns && atomic_load_explicit(&group[i].client, memory_order_relaxed) == client;
    }
    return false;
}

/* --- The writer --------------------------------------------------------------------------------------------------- */

static uint64_t until_of(const struct vx_ban_slot *s) {
    return atomic_load_explicit(&s->until_ns, memory_order_relaxed);
}

static void give_slot(struct vx_ban_table *t, struct vx_ban_slot *s, uint64_t client, uint64_t until_ns) {
    uint64_t before = atomic_load_explicit(&s->client, memory_order_relaxed);
    if (before != client) {
        atomic_store_explicit(&s->until_ns, 0, memory_order_relaxed);
        atomic_store_explicit(&s->client, client, memory_order_release);
        atomic_fetch_add_explicit(&t->used, (uint32_t)(client != 0) - (uint32_t)(before != 0),
                                  memory_order_relaxed);
    }
    atomic_store_explicit(&s->until_ns, until_ns, memory_order_release);
}

/* The client's slot, or a free one; in a full group the ban that ends first makes room. */
static bool block(struct vx_ban_list *self, const struct vx_ban *ban) {
    struct vx_ban_table *t = (struct vx_ban_table *)self;
    struct vx_ban_slot *group = group_of(t, ban->client), *chosen = &group[0];
    for (unsigned i = 0; i < VX_BAN_TABLE_WAYS; i++) {
        if (atomic_load_explicit(&group[i].client, memory_order_relaxed) == ban->client) {
            chosen = &group[i];
            break;
        }
        if (until_of(&group[i]) < until_of(chosen))
            chosen = &group[i];
    }
    give_slot(t, chosen, ban->client, ban->until_ns);
    return true;
}

static void unblock(struct vx_ban_list *self, uint64_t client) {
    struct vx_ban_table *t = (struct vx_ban_table *)self;
    struct vx_ban_slot *group = group_of(t, client);
    for (unsigned i = 0; i < VX_BAN_TABLE_WAYS; i++)
        if (atomic_load_explicit(&group[i].client, memory_order_relaxed) == client)
            give_slot(t, &group[i], 0, 0);
}

static bool apply(struct vx_ban_list *self, const struct vx_config *config, char *why, size_t why_size) {
    struct vx_ban_table *t = (struct vx_ban_table *)self;
    (void)why;
    (void)why_size;
    for (uint32_t i = 0; !config && i < t->groups * VX_BAN_TABLE_WAYS; i++)
        give_slot(t, &t->slots[i], 0, 0);
    return true;
}

static const char *state(struct vx_ban_list *self) {
    (void)self;
    return "user";
}

static void nothing_to_free(struct vx_ban_list *self) {
    (void)self;
}

void vx_ban_table_init(struct vx_ban_table *t, void *memory, uint32_t clients, struct vx_hash_key key) {
    *t = (struct vx_ban_table){
        .list = {.apply = apply, .block = block, .unblock = unblock, .state = state, .free = nothing_to_free},
        .slots = memory,
        .groups = clients / VX_BAN_TABLE_WAYS,
        .key = key,
    };
}
