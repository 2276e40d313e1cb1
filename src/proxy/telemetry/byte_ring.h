/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded ring of bytes between two threads, without locks: one puts whole pieces in, the other takes out whatever
 * is there. A piece that does not fit is refused, never waited for.
 *
 *   1. head is written by the producer only, tail by the consumer only; both only grow.
 *   2. head - tail is what waits, 0 .. bytes. data[tail..head) (modulo bytes) belongs to the consumer, the rest to the
 *      producer.
 *   3. head moves over whole pieces only, so the consumer never sees part of one. */
#ifndef VX_PROXY_TELEMETRY_BYTE_RING_H
#define VX_PROXY_TELEMETRY_BYTE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/slice.h"

struct vx_byte_ring {
    _Alignas(64) _Atomic uint64_t head;
    /* The producer's last look at tail: the other's cache line is read only when it must be. */
    uint64_t tail_seen;
    _Alignas(64) _Atomic uint64_t tail;
    char *data;     /* set once; owned by whoever made the ring */
    uint64_t bytes; /* of data; a power of two */
};

/* `data` has `bytes` bytes, a power of two, and is borrowed. Before either thread runs. */
void vx_byte_ring_init(struct vx_byte_ring *ring, char *data, size_t bytes);

/* Puts `piece` in. False: it does not fit, nothing happened. *used is how much may wait afterwards: more than what
 * does, perhaps, but not while it says more than half of the ring. The producer's thread. */
bool vx_byte_ring_put(struct vx_byte_ring *ring, struct vx_slice piece, uint64_t *used);

/* What waits, in order, as up to two runs of bytes; the sum of their lengths. They stay until taken. The consumer's
 * thread. */
size_t vx_byte_ring_peek(const struct vx_byte_ring *ring, struct vx_slice runs[2]);

/* Gives the first `bytes` of what waits back to the producer. The consumer's thread. */
void vx_byte_ring_take(struct vx_byte_ring *ring, size_t bytes);

#endif
