/* SPDX-License-Identifier: Apache-2.0 */
/* What the texts of a rate limit mean, whatever the configuration's source. All are pure. */
#ifndef VX_CORE_CONFIG_RATE_LIMIT_H
#define VX_CORE_CONFIG_RATE_LIMIT_H

#include "core/config/model.h"

/* `client_ip`, `header:NAME` or `route`; what a limit's cost is read from: `header:NAME`. False: *must says what it must
 * be, see check.h. */
bool vx_config_check_limit_key(struct vx_slice text, const char **must);
bool vx_config_check_limit_cost(struct vx_slice text, const char **must);

/* Fills what follows from the rest of a limit whose texts are good: burst (`requests` where none is given), parts, cost
 * header. `scope`: see model.h. False: no memory. */
bool vx_config_complete_limit(struct vx_config_rate_limit *limit, struct vx_slice scope,
                              struct vx_arena *arena);

#endif
