/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for counters that every worker has its own copy of. One item is a cell per worker; the cells of one
 * worker lie together and away from those of the others, so workers never write to a common cache line. The
 * memory is reserved when an item is made and becomes resident when a worker first counts into it: items that
 * see no traffic cost address space only, and no worker ever allocates. */
#ifndef VX_PROXY_TELEMETRY_COUNTER_POOL_H
#define VX_PROXY_TELEMETRY_COUNTER_POOL_H

#include <stddef.h>
#include <stdint.h>

struct vx_counter_chunk;

struct vx_counter_pool {
    size_t cell_bytes;   /* of one worker, a multiple of 8 */
    size_t stride_bytes; /* from a worker's cell to the next worker's */
    uint32_t workers;
    struct vx_counter_chunk *chunks;
    void *spare; /* items given back; the first word of each points to the next */
};

/* `cell_bytes` <= 4096. Nothing is allocated yet. */
void vx_counter_pool_init(struct vx_counter_pool *pool, size_t cell_bytes, uint32_t workers);
void vx_counter_pool_destroy(struct vx_counter_pool *pool);

/* An item with all cells zero, or NULL when there is no memory. Control thread, as the rest but
 * vx_counter_cell. */
void *vx_counter_pool_take(struct vx_counter_pool *pool);

/* No worker may use the item any more. */
void vx_counter_pool_give(struct vx_counter_pool *pool, void *item);

/* The worker's cell of an item. Any thread. */
static inline void *vx_counter_cell(const struct vx_counter_pool *pool, void *item, uint32_t worker) {
    return (char *)item + worker * pool->stride_bytes;
}

#endif
