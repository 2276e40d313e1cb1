/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that Redis has refused, and until when: whoever goes on asking is refused here, and costs Redis nothing. Each key has
 * one place, which the last one refused there takes. */
#ifndef VX_FILTERS_REDIS_REFUSED_H
#define VX_FILTERS_REDIS_REFUSED_H

#include <string.h>

#include "filters/redis/command.h"

enum { VX_REDIS_REFUSED_PLACES = 4096 };

struct vx_redis_refused {
    struct {
        unsigned char digest[VX_REDIS_DIGEST_BYTES];
        uint64_t paid_off_ns; /* by our clock, and rather too early than too late */
    } places[VX_REDIS_REFUSED_PLACES];
};

static inline unsigned vx_redis_refused_place(const struct vx_redis_key *key) {
    return (unsigned)(vx_load8((const char *)key->digest) % VX_REDIS_REFUSED_PLACES);
}

static inline void vx_redis_refused_note(struct vx_redis_refused *r, const struct vx_redis_key *key,
                                         uint64_t paid_off_ns) {
    unsigned at = vx_redis_refused_place(key);
    memcpy(r->places[at].digest, key->digest, VX_REDIS_DIGEST_BYTES);
    r->places[at].paid_off_ns = paid_off_ns;
}

/* When the key will be paid off at the earliest; 0: it was not refused lately. */
static inline uint64_t vx_redis_refused_find(const struct vx_redis_refused *r,
                                             const struct vx_redis_key *key) {
    unsigned at = vx_redis_refused_place(key);
    bool same = memcmp(r->places[at].digest, key->digest, VX_REDIS_DIGEST_BYTES) == 0;
    return same ? r->places[at].paid_off_ns : 0;
}

#endif
