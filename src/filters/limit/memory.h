/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits in memory: one table of fixed size for all workers, without locks. */
#ifndef VX_FILTERS_LIMIT_MEMORY_H
#define VX_FILTERS_LIMIT_MEMORY_H

#include <stddef.h>

#include "core/base/hash.h"
#include "core/ports/rate_store.h"

struct vx_rate_memory;

/* A table of `bytes`, rounded down to whole buckets, at least one. Its pages become resident as they are used. `seed`
 * is random and secret: who knew it could put his keys where another's lie. NULL: no memory. */
struct vx_rate_memory *vx_rate_memory_new(size_t bytes, struct vx_hash_key seed);

/* Nobody asks any more. NULL is allowed. */
void vx_rate_memory_free(struct vx_rate_memory *m);

/* The store over it, the same one for all workers: decides at once, from any thread, without allocating. Keys with equal
 * 64-bit hashes count as one. */
struct vx_rate_store *vx_rate_memory_store(struct vx_rate_memory *m);

/* How many keys were forgotten in favour of others before they were paid off, because their part of the table was full.
 * Any thread. */
uint64_t vx_rate_memory_evictions(const struct vx_rate_memory *m);

struct vx_rate_memory_stats {
    uint64_t places, looked_at; /* of these places, which lie all over the table, so many were looked at */
    uint64_t in_debt;           /* of those looked at: keys that are not paid off */
    uint64_t placed;            /* how often a key was given a place, so far */
};

/* How full it is. Looks at some hundred KiB of it at most. Any thread. */
struct vx_rate_memory_stats vx_rate_memory_stats(const struct vx_rate_memory *m, uint64_t now_ns);

#endif
