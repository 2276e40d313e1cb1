/* SPDX-License-Identifier: Apache-2.0 */
/* Pinned receive blocks: bytes from a peer lie in a block, slices point into it, and the block stays until the last
 * holder lets go. One pool a worker, so the counts are plain integers. */
#ifndef VX_CORE_BASE_BLOCK_H
#define VX_CORE_BASE_BLOCK_H

#include "core/base/arena.h"
#include "core/base/assert.h"

struct vx_block {
    struct vx_chunk_source *source;
    uint32_t bytes; /* room in data */
    uint32_t holders;
    char data[];
};

/* A block with room for at least `bytes`, held once by the caller; NULL when there is no memory. */
static inline struct vx_block *vx_block_take(struct vx_chunk_source *source, size_t bytes) {
    size_t want = bytes + sizeof(struct vx_block);
    if (want < source->chunk_bytes)
        want = source->chunk_bytes;
    struct vx_block *b = source->take(source, want);
    if (!b)
        return NULL;
    b->source = source;
    b->bytes = (uint32_t)(want - sizeof *b);
    b->holders = 1;
    return b;
}

static inline struct vx_block *vx_block_hold(struct vx_block *b) {
    b->holders++;
    return b;
}

/* Lets go of one hold; the last one gives the block back. NULL is allowed. */
static inline void vx_block_drop(struct vx_block *b) {
    if (!b)
        return;
    VX_ASSERT(b->holders > 0);
    if (--b->holders == 0)
        b->source->give(b->source, b, b->bytes + sizeof *b);
}

/* Bytes in a block that are still to be used: data[start..end). Owns one hold on `block` (NULL: empty). */
struct vx_buffer {
    struct vx_block *block;
    uint32_t start, end;
};

static inline size_t vx_buffer_len(const struct vx_buffer *b) {
    return b->end - b->start;
}

static inline size_t vx_buffer_room(const struct vx_buffer *b) {
    return b->block ? b->block->bytes - b->end : 0;
}

static inline struct vx_slice vx_buffer_slice(const struct vx_buffer *b) {
    return vx_slice(b->block ? b->block->data + b->start : NULL, b->end - b->start);
}

/* Lets go of the block and whatever it still held. */
static inline void vx_buffer_release(struct vx_buffer *b) {
    vx_block_drop(b->block);
    *b = (struct vx_buffer){NULL, 0, 0};
}

/* Takes what it still holds along into a new block, which has room for `bytes` in all and is nobody else's. False: no
 * memory, and nothing has changed. */
static inline bool vx_buffer_renew(struct vx_buffer *b, struct vx_chunk_source *source, size_t bytes) {
    size_t kept = vx_buffer_len(b);
    struct vx_block *block = vx_block_take(source, bytes);
    if (!block)
        return false;
    if (b->block)
        memcpy(block->data, b->block->data + b->start, kept);
    vx_block_drop(b->block);
    *b = (struct vx_buffer){block, 0, (uint32_t)kept};
    return true;
}

#endif
