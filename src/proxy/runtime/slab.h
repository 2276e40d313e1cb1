/* SPDX-License-Identifier: Apache-2.0 */
/* Chunk sources over free lists: where a worker's arenas and blocks come from, so that the request path does
 * not call malloc once it is warm. Free chunks are kept up to a bound; what is beyond goes back to malloc,
 * and so does every size that is larger than the slab's own. One thread. */
#ifndef VX_PROXY_RUNTIME_SLAB_H
#define VX_PROXY_RUNTIME_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/arena.h"

enum {
    VX_SLAB_ARENA_BYTES = 4096,
    /* A block of 16 KiB and its header, rounded up to the allocator's next size class: one TLS record of the
     * largest size with all its overhead fits too. */
    VX_SLAB_BLOCK_BYTES = 20480
};

struct vx_slab {
    struct vx_chunk_source source; /* what users are given */
    void **kept;                   /* free chunks, the warmest last */
    uint32_t kept_count, kept_max;
    size_t used_bytes;     /* with users now, other sizes included */
    uint64_t taken_total;  /* chunks ever taken */
    uint64_t malloc_total; /* of these, from malloc */
};

/* `chunk_bytes` is a multiple of 16. At most `keep_bytes` of free chunks are kept. False: no memory. */
bool vx_slab_init(struct vx_slab *s, size_t chunk_bytes, size_t keep_bytes);

/* Gives everything kept back to malloc. Chunks that users still hold are theirs to give back before. */
void vx_slab_free(struct vx_slab *s);

/* Bytes that lie in the slab unused. */
static inline size_t vx_slab_kept_bytes(const struct vx_slab *s) {
    return s->kept_count * s->source.chunk_bytes;
}

#endif
