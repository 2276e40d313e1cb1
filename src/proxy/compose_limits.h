/* SPDX-License-Identifier: Apache-2.0 */
/* Where this program keeps the counts of rate limits. */
#ifndef VX_PROXY_COMPOSE_LIMITS_H
#define VX_PROXY_COMPOSE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "core/ports/rate_store.h"

struct vx_rate_memory; /* the table in memory that all workers share */

/* A table of `bytes`; 0: of the default size. NULL with errno: no memory or no randomness. Control thread. */
struct vx_rate_memory *vx_compose_rate_memory(uint64_t bytes);

/* No worker asks any more. NULL is allowed. */
void vx_compose_rate_memory_free(struct vx_rate_memory *m);

/* The store over it, for any number of threads; lives as long as the table. */
struct vx_rate_store *vx_compose_rate_memory_store(struct vx_rate_memory *m);

#endif
