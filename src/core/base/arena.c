/* SPDX-License-Identifier: Apache-2.0 */
/* See arena.h. */
#include "core/base/arena.h"

enum { CHUNK_HEADER_BYTES = 16 };

_Static_assert(sizeof(struct vx_arena_chunk) <= CHUNK_HEADER_BYTES, "a chunk's header precedes its memory");

void vx_arena_init(struct vx_arena *a, void *first, size_t first_bytes, struct vx_chunk_source *source) {
    uintptr_t skip = (8 - (uintptr_t)first % 8) % 8;
    a->first = (char *)first + skip;
    a->first_end = (char *)first + first_bytes;
    a->at = a->first;
    a->end = a->first_end;
    a->chunks = NULL;
    a->source = source;
}

void vx_arena_reset(struct vx_arena *a) {
    while (a->chunks) {
        struct vx_arena_chunk *chunk = a->chunks;
        a->chunks = chunk->next;
        a->source->give(a->source, chunk, chunk->bytes);
    }
    a->at = a->first;
    a->end = a->first_end;
}

void *vx_arena_grow(struct vx_arena *a, size_t bytes) {
    if (!a->source || bytes > SIZE_MAX / 2)
        return NULL;
    size_t want = bytes + CHUNK_HEADER_BYTES;
    if (want < a->source->chunk_bytes)
        want = a->source->chunk_bytes;
    struct vx_arena_chunk *chunk = a->source->take(a->source, want);
    if (!chunk)
        return NULL;
    chunk->next = a->chunks;
    chunk->bytes = want;
    a->chunks = chunk;
    char *memory = (char *)chunk + CHUNK_HEADER_BYTES;
    /* The chunk with more room left stays the one we bump, so one large value does not waste a whole chunk. */
    if (want - CHUNK_HEADER_BYTES - bytes > (size_t)(a->end - a->at)) {
        a->at = memory + bytes;
        a->end = (char *)chunk + want;
    }
    return memory;
}

struct vx_slice vx_arena_copy(struct vx_arena *a, struct vx_slice s) {
    return vx_arena_join(a, &s, 1);
}

struct vx_slice vx_arena_join(struct vx_arena *a, const struct vx_slice *parts, size_t count) {
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    char *whole = vx_arena_alloc(a, len ? len : 1), *at = whole;
    if (!whole)
        return VX_SLICE_NONE;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len)
            memcpy(at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
    return vx_slice(whole, len);
}
