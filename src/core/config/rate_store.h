/* SPDX-License-Identifier: Apache-2.0 */
/* What `rate_limit.store` says: `memory`, or the URL of a Redis. All are pure. */
#ifndef VX_CORE_CONFIG_RATE_STORE_H
#define VX_CORE_CONFIG_RATE_STORE_H

#include "core/config/model.h"

/* `memory`, or one of
 *     redis://[user]:password@host:port/database
 *     redis+sentinel://[user]:password@sentinel,sentinel,.../master/database
 *     redis+cluster://[user]:password@node,node,...
 * with `rediss` instead of `redis` for TLS. Credentials, ports and the database may be left out. False: *must says what it
 * must be, see check.h. */
bool vx_config_check_store(struct vx_slice text, const char **must);

/* Fills everything of *store that follows from its URL, which is good; hosts and decoded credentials lie in `arena`.
 * False: no memory. */
bool vx_config_complete_store(struct vx_config_rate_store *store, struct vx_arena *arena);

#endif
