/* SPDX-License-Identifier: Apache-2.0 */
/* Active health checks: a GET to each endpoint of the routes that ask for it, over the control thread's HTTP client, its
 * result told to the backend's shared state. 2xx and 3xx pass. */
#ifndef VX_PROXY_CONTROL_HEALTH_CHECK_H
#define VX_PROXY_CONTROL_HEALTH_CHECK_H

#include "proxy/control/generation.h"
#include "proxy/engine.h"

struct vx_health_checks;

/* Begins to check the endpoints of `generation`, which outlives the checks. The first round starts at once, spread over
 * the interval. NULL: nothing to check, or no memory (*failed is true then). Control thread. */
struct vx_health_checks *vx_health_checks_start(struct vx_engine *engine, struct vx_generation *generation,
                                                bool *failed);

/* Ends all checks, also those under way. NULL is allowed. */
void vx_health_checks_stop(struct vx_health_checks *checks);

#endif
