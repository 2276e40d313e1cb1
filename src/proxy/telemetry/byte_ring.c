/* SPDX-License-Identifier: Apache-2.0 */
/* See byte_ring.h. */
#include "proxy/telemetry/byte_ring.h"

void vx_byte_ring_init(struct vx_byte_ring *ring, char *data, size_t bytes) {
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
    ring->tail_seen = 0;
    ring->data = data;
    ring->bytes = bytes;
}

bool vx_byte_ring_put(struct vx_byte_ring *ring, struct vx_slice piece, uint64_t *used) {
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    *used = head - ring->tail_seen;
    if (*used + piece.len > ring->bytes / 2) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        *used = head - ring->tail_seen;
        if (piece.len > ring->bytes - *used)
            return false;
    }
    size_t at = head & (ring->bytes - 1);
    size_t first = ring->bytes - at;
    if (piece.len <= first) {
        memcpy(ring->data + at, piece.ptr, piece.len);
    } else {
        memcpy(ring->data + at, piece.ptr, first);
        memcpy(ring->data, piece.ptr + first, piece.len - first);
    }
    atomic_store_explicit(&ring->head, head + piece.len, memory_order_release);
    *used += piece.len;
    return true;
}

size_t vx_byte_ring_peek(const struct vx_byte_ring *ring, struct vx_slice runs[2]) {
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    size_t waiting = atomic_load_explicit(&ring->head, memory_order_acquire) - tail;
    size_t at = tail & (ring->bytes - 1);
    size_t first = ring->bytes - at;
    runs[0] = vx_slice(ring->data + at, waiting < first ? waiting : first);
    runs[1] = vx_slice(ring->data, waiting < first ? 0 : waiting - first);
    return waiting;
}

void vx_byte_ring_take(struct vx_byte_ring *ring, size_t bytes) {
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, tail + bytes, memory_order_release);
}
