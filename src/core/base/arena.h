/* SPDX-License-Identifier: Apache-2.0 */
/* Bump allocation for what lives as long as one exchange. The first chunk is the owner's own memory; further ones
 * come from a chunk source (the worker's blocks), so the request path never calls malloc. */
#ifndef VX_CORE_BASE_ARENA_H
#define VX_CORE_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/slice.h"

/* Where further chunks come from. One instance a worker; used by that worker only. */
struct vx_chunk_source {
    void *(*take)(struct vx_chunk_source *self, size_t bytes); /* NULL: no memory. Aligned to 16. */
    void (*give)(struct vx_chunk_source *self, void *chunk, size_t bytes);
    size_t chunk_bytes; /* the size it gives out most cheaply */
};

struct vx_arena_chunk {
    struct vx_arena_chunk *next;
    size_t bytes;
};

struct vx_arena {
    char *at, *end;
    char *first, *first_end;
    struct vx_arena_chunk *chunks;
    struct vx_chunk_source *source;
};

/* `first` stays the caller's; `source` may be NULL, then the arena ends with `first`. */
void vx_arena_init(struct vx_arena *a, void *first, size_t first_bytes, struct vx_chunk_source *source);

/* Forgets everything allocated and gives the further chunks back. */
void vx_arena_reset(struct vx_arena *a);

void *vx_arena_grow(struct vx_arena *a, size_t bytes);

/* `bytes` of uninitialised memory aligned to 8, or NULL when there is no more. Lives until reset. */
static inline void *vx_arena_alloc(struct vx_arena *a, size_t bytes) {
    bytes = (bytes + 7) & ~(size_t)7;
    if (__builtin_expect(bytes > (size_t)(a->end - a->at), 0))
        return vx_arena_grow(a, bytes);
    void *p = a->at;
    a->at += bytes;
    return p;
}

/* A copy of `s` in the arena; ptr is NULL when there is no memory. */
struct vx_slice vx_arena_copy(struct vx_arena *a, struct vx_slice s);

/* The parts in a row, in the arena; ptr is NULL when there is no memory. */
struct vx_slice vx_arena_join(struct vx_arena *a, const struct vx_slice *parts, size_t count);

#endif
