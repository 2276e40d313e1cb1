/* SPDX-License-Identifier: Apache-2.0 */
/* See pool_table.h. */
#include "proxy/control/pool_table.h"

#include <stdlib.h>

static bool start(struct vx_pool_entry *e, uint64_t key, uint64_t identity) {
    struct vx_target_shared *shared = calloc(1, sizeof *shared);
    if (!shared)
        return false;
    *e = (struct vx_pool_entry){.key = key, .identity = identity, .shared = shared, .users = 1};
    return true;
}

bool vx_pool_table_take(struct vx_pool_table *t, uint64_t key, uint64_t identity, uint32_t *index) {
    uint32_t unused = t->count;
    for (uint32_t i = 0; i < t->count; i++) {
        struct vx_pool_entry *e = &t->entries[i];
        if (e->users && e->key == key && e->identity == identity) {
            e->users++;
            *index = i;
            return true;
        }
        if (!e->users && unused == t->count)
            unused = i;
    }
    if (unused == t->count) {
        struct vx_pool_entry *entries = realloc(t->entries, (t->count + 1) * sizeof *entries);
        if (!entries)
            return false;
        t->entries = entries;
        t->entries[t->count++] = (struct vx_pool_entry){0};
    }
    *index = unused;
    return start(&t->entries[unused], key, identity);
}

void vx_pool_table_give(struct vx_pool_table *t, uint32_t index) {
    struct vx_pool_entry *e = &t->entries[index];
    if (--e->users)
        return;
    if (t->retired_count == t->retired_room) {
        uint32_t room = t->retired_room ? t->retired_room * 2 : 16;
        struct vx_target_shared **retired = realloc(t->retired, room * sizeof *retired);
        if (!retired)
            return; /* some bytes are lost, nothing else */
        t->retired = retired;
        t->retired_room = room;
    }
    t->retired[t->retired_count++] = e->shared;
    e->shared = NULL;
}

void vx_pool_table_collect(struct vx_pool_table *t) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->retired_count; i++) {
        if (vx_target_is_unused(t->retired[i]))
            free(t->retired[i]);
        else
            t->retired[kept++] = t->retired[i];
    }
    t->retired_count = kept;
}

void vx_pool_table_free(struct vx_pool_table *t) {
    vx_pool_table_collect(t);
    for (uint32_t i = 0; i < t->count; i++)
        free(t->entries[i].shared);
    free(t->entries);
    free(t->retired);
    *t = (struct vx_pool_table){0};
}
