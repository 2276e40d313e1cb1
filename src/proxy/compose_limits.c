/* SPDX-License-Identifier: Apache-2.0 */
/* See compose_limits.h. The only file that names the stores of rate limits. */
#include "proxy/compose_limits.h"

#include <sys/random.h>

#include "filters/limit/memory.h"

enum { MEMORY_BYTES = 32 * 1024 * 1024 }; /* where the file has switched limits off */

struct vx_rate_memory *vx_compose_rate_memory(uint64_t bytes) {
    struct vx_hash_key seed;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return NULL;
    return vx_rate_memory_new(bytes ? bytes : MEMORY_BYTES, seed);
}

void vx_compose_rate_memory_free(struct vx_rate_memory *m) {
    vx_rate_memory_free(m);
}

struct vx_rate_store *vx_compose_rate_memory_store(struct vx_rate_memory *m) {
    return vx_rate_memory_store(m);
}
