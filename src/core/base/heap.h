/* SPDX-License-Identifier: Apache-2.0 */
/* A chunk source over malloc and free. The libraries around the core share it here, as they may not know each other; they
 * hand in both functions, as the core may not call them. Any thread. */
#ifndef VX_CORE_BASE_HEAP_H
#define VX_CORE_BASE_HEAP_H

#include "core/base/arena.h"
#include "core/base/assert.h"

struct vx_heap {
    struct vx_chunk_source source; /* what users are given; it must not move while they have it */
    void *(*take)(size_t bytes);
    void (*give)(void *chunk);
};

static inline void *vx_heap_take(struct vx_chunk_source *self, size_t bytes) {
    return VX_CONTAINER_OF(self, struct vx_heap, source)->take(bytes);
}

static inline void vx_heap_give(struct vx_chunk_source *self, void *chunk, size_t bytes) {
    (void)bytes;
    VX_CONTAINER_OF(self, struct vx_heap, source)->give(chunk);
}

static inline struct vx_heap vx_heap(void *(*take)(size_t bytes), void (*give)(void *chunk),
                                     size_t chunk_bytes) {
    return (struct vx_heap){{vx_heap_take, vx_heap_give, chunk_bytes}, take, give};
}

#endif
