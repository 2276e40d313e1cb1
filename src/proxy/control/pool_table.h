/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for the workers' connection pools: the same backend, spoken to in the same way, keeps its number over reloads,
 * so its idle connections stay; another one never inherits them. Control thread. */
#ifndef VX_PROXY_CONTROL_POOL_TABLE_H
#define VX_PROXY_CONTROL_POOL_TABLE_H

#include "core/ports/http_client.h"

struct vx_pool_entry {
    uint64_t key; /* of the backend, from its set */
    /* Of the way it is spoken to (TLS settings and the contents of their files); 0: plain. */
    uint64_t identity;
    struct vx_target_shared *shared;
    uint32_t users; /* generations that refer to it */
};

struct vx_pool_table {
    struct vx_pool_entry *entries;
    uint32_t count;
    struct vx_target_shared **retired; /* of given up numbers, freed once vx_target_is_unused */
    uint32_t retired_count, retired_room;
};

/* The number for this backend, with one user more, in *index. False: no memory. */
bool vx_pool_table_take(struct vx_pool_table *t, uint64_t key, uint64_t identity, uint32_t *index);

/* One user less. */
void vx_pool_table_give(struct vx_pool_table *t, uint32_t index);

/* Frees what no connection counts in any more. Now and then. */
void vx_pool_table_collect(struct vx_pool_table *t);

/* No generation and no connection is left. */
void vx_pool_table_free(struct vx_pool_table *t);

#endif
