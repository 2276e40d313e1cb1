/* SPDX-License-Identifier: Apache-2.0 */
/* Two keyed hashes: SipHash-1-3 where whoever chooses the input gains from collisions and may see results,
 * and a multiply-and-fold hash for tables, several times faster on short keys. Neither is for stored data:
 * keys are drawn at start and results differ between runs. */
#ifndef VX_CORE_BASE_HASH_H
#define VX_CORE_BASE_HASH_H

#include <stdint.h>

#include "core/base/slice.h"

/* Random, drawn once at start by the owner. */
struct vx_hash_key {
    uint64_t k0, k1;
};

/* SipHash-1-3 (Aumasson and Bernstein 2012). Any thread. */
uint64_t vx_hash_sip(const struct vx_hash_key *key, struct vx_slice s);

/* For hash tables: 128-bit multiply and fold, seeded by the key (after wyhash, public domain). Any thread. */
uint64_t vx_hash_fast(const struct vx_hash_key *key, struct vx_slice s);

/* The 128-bit product of two words, its halves folded into one. */
static inline uint64_t vx_hash_fold(uint64_t a, uint64_t b) {
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* The same for one word: ids, addresses, pointers. */
static inline uint64_t vx_hash_word(const struct vx_hash_key *key, uint64_t word) {
    uint64_t mixed = vx_hash_fold(word ^ key->k0 ^ 0x2d358dccaa6c78a5u, key->k1 ^ 0x8bb84b93962eacc9u);
    return vx_hash_fold(mixed ^ 0x4b33a62ed433d4a3u, 0x4d5a2da51de1aa47u);
}

#endif
