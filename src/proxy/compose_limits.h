/* SPDX-License-Identifier: Apache-2.0 */
/* Where this program keeps the counts of rate limits: a table in memory that all workers share, and for each worker the
 * store that its configuration asks for. */
#ifndef VX_PROXY_COMPOSE_LIMITS_H
#define VX_PROXY_COMPOSE_LIMITS_H

#include "core/config/model.h"
#include "core/ports/rate_store.h"

struct vx_engine;
struct vx_metrics;
struct vx_rate_memory;
struct vx_rates;
struct vx_text;
struct vx_tls_client;

/* A table of `bytes`; 0: of the default size. NULL with errno: no memory or no randomness. Control thread. */
struct vx_rate_memory *vx_compose_rate_memory(uint64_t bytes);

/* No worker asks any more. NULL is allowed. */
void vx_compose_rate_memory_free(struct vx_rate_memory *m);

/* What one worker has; `worker` is its number. All pointers outlive it. NULL: no memory. Any thread, before the worker
 * runs. */
struct vx_rates *vx_rates_new(struct vx_engine *engine, struct vx_rate_memory *memory,
                              struct vx_metrics *metrics, uint32_t worker);

/* Which store to use from now on. The one in use stays if `identity`, which stands for everything that makes a store what it
 * is (0: the table in memory), is the same. `config` and `tls` (NULL: plain) need not live on. The worker's thread. */
struct vx_rate_store *vx_rates_adopt(struct vx_rates *r, const struct vx_config_rate_store *config,
                                     uint64_t identity, struct vx_tls_client *tls);

/* Shows in the metrics what was counted. Now and then; the worker's thread. */
void vx_rates_publish(struct vx_rates *r);

/* A few lines about the store in use. The worker's thread. */
void vx_rates_dump(const struct vx_rates *r, struct vx_text *out);

/* A line about the table. Any thread. */
void vx_compose_rate_memory_dump(const struct vx_rate_memory *m, uint64_t now_ns, struct vx_text *out);

/* Decides what is pending and ends. The tasks of its loop have to run once more before that is freed. NULL is allowed. */
void vx_rates_free(struct vx_rates *r);

#endif
