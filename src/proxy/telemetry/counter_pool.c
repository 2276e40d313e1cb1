/* SPDX-License-Identifier: Apache-2.0 */
/* See counter_pool.h. */
#include "proxy/telemetry/counter_pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* What one worker gets of a chunk: large enough that few mappings are made, small enough for a small
 * configuration. */
enum { STRIDE_MAX_BYTES = 64 * 1024, CELLS_MAX = 512 };

struct vx_counter_chunk {
    struct vx_counter_chunk *next;
    char *memory;
    size_t used_bytes; /* of the first worker's part */
};

void vx_counter_pool_init(struct vx_counter_pool *pool, size_t cell_bytes, uint32_t workers) {
    size_t cells = STRIDE_MAX_BYTES / cell_bytes;
    if (cells > CELLS_MAX)
        cells = CELLS_MAX;
    *pool = (struct vx_counter_pool){
        .cell_bytes = cell_bytes,
        .stride_bytes = cells * cell_bytes,
        .workers = workers,
    };
}

void vx_counter_pool_destroy(struct vx_counter_pool *pool) {
    while (pool->chunks) {
        struct vx_counter_chunk *chunk = pool->chunks;
        pool->chunks = chunk->next;
        munmap(chunk->memory, pool->stride_bytes * pool->workers);
        free(chunk);
    }
    pool->spare = NULL;
}

static struct vx_counter_chunk *add_chunk(struct vx_counter_pool *pool) {
    struct vx_counter_chunk *chunk = malloc(sizeof *chunk);
    if (!chunk)
        return NULL;
    /* mmap and not calloc: only it promises that untouched pages cost nothing. */
    void *memory = mmap(NULL, pool->stride_bytes * pool->workers, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        free(chunk);
        return NULL;
    }
    *chunk = (struct vx_counter_chunk){.next = pool->chunks, .memory = memory};
    pool->chunks = chunk;
    return chunk;
}

void *vx_counter_pool_take(struct vx_counter_pool *pool) {
    void *item = pool->spare;
    if (item) {
        memcpy(&pool->spare, item, sizeof pool->spare);
        memset(item, 0, sizeof pool->spare);
        return item;
    }
    struct vx_counter_chunk *chunk = pool->chunks;
    if (!chunk || chunk->used_bytes == pool->stride_bytes)
        chunk = add_chunk(pool);
    if (!chunk)
        return NULL;
    item = chunk->memory + chunk->used_bytes;
    chunk->used_bytes += pool->cell_bytes;
    return item;
}

void vx_counter_pool_give(struct vx_counter_pool *pool, void *item) {
    for (uint32_t worker = 0; worker < pool->workers; worker++)
        memset(vx_counter_cell(pool, item, worker), 0, pool->cell_bytes);
    memcpy(item, &pool->spare, sizeof pool->spare);
    pool->spare = item;
}
