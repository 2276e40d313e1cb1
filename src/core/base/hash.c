/* SPDX-License-Identifier: Apache-2.0 */
/* See hash.h. */
#include "core/base/hash.h"

static inline uint64_t rotate(uint64_t x, unsigned by) {
    return x << by | x >> (64 - by);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s) {
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static inline void sip_take(struct sip *s, uint64_t word) {
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

uint64_t vx_hash_sip(const struct vx_hash_key *key, struct vx_slice in) {
    struct sip s = {
        key->k0 ^ 0x736f6d6570736575u,
        key->k1 ^ 0x646f72616e646f6du,
        key->k0 ^ 0x6c7967656e657261u,
        key->k1 ^ 0x7465646279746573u,
    };
    size_t i = 0;
    for (; in.len - i >= 8; i += 8)
        sip_take(&s, vx_load8(in.ptr + i));
    uint64_t last = (uint64_t)in.len << 56;
    for (unsigned shift = 0; i < in.len; i++, shift += 8)
        last |= (uint64_t)(unsigned char)in.ptr[i] << shift;
    sip_take(&s, last);
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* Constants of wyhash 4: odd, with 32 bits set, each byte balanced. */
static const uint64_t secret[] = {0x2d358dccaa6c78a5u, 0x8bb84b93962eacc9u, 0x4b33a62ed433d4a3u};

uint64_t vx_hash_fast(const struct vx_hash_key *key, struct vx_slice in) {
    const char *p = in.ptr;
    size_t n = in.len;
    uint64_t state = key->k0 ^ vx_hash_fold(key->k1 ^ secret[0], in.len ^ secret[1]);
    uint64_t a = 0, b = 0;
    for (; n > 16; n -= 16, p += 16)
        state = vx_hash_fold(vx_load8(p) ^ secret[1], vx_load8(p + 8) ^ state);
    if (n >= 8) {
        a = vx_load8(p);
        b = vx_load8(p + n - 8);
    } else if (n >= 4) {
        a = vx_load4(p);
        b = vx_load4(p + n - 4);
    } else if (n > 0) {
        a = (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[n / 2] << 8 |
            (unsigned char)p[n - 1];
    }
    return vx_hash_fold(secret[2] ^ key->k1, vx_hash_fold(a ^ secret[1], b ^ state));
}
