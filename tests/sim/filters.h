/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of a world: they let everything pass in the end, but hold it wherever they can for a while, edit it into what it
 * was, and fail openly. So each promise about requests holds with them as without. */
#ifndef SIM_FILTERS_H
#define SIM_FILTERS_H

#include "sim/sim.h"

enum { SIM_FILTERS = 3 };

/* Makes them, where the scenario has any. */
void filters_init(struct sim *sim);
/* For a configuration and the setup that it becomes. */
void filters_configure(struct sim *sim, struct vx_config *config, struct vx_setup *setup);
/* They keep no snapshot any more. */
void filters_leave(struct sim *sim);
/* Nothing of them may be left in use. */
void filters_end(struct sim *sim);

#endif
