/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy of a world: its parts put together as a worker's are (proxy/engine.c, proxy/control/worker.c), its
 * configurations, and what is checked of it after each round and at the end. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "sim/sim.h"

/* world.c */
void world_init(struct sim *sim);
void world_round(struct sim *sim); /* one round of the event loop */
void world_drain(struct sim *sim);
void world_end(struct sim *sim); /* closes, frees and checks what is left */

/* world_versions.c: snapshots that come and go */
void versions_init(struct sim *sim);
void versions_adopt_next(struct sim *sim);
void versions_collect(struct sim *sim); /* frees those that nobody uses */
void versions_end(struct sim *sim);
/* The route of the current snapshot; NULL: it has none of this number. */
const struct vx_route *versions_route(struct sim *sim, unsigned route);
/* Connections that count for the backend, over all versions; the most that it may have, 0: no limit. */
uint32_t versions_max_connections(unsigned route);

static inline uint32_t world_upstream_connections(const struct sim *sim) {
    return sim->upstreams.h1.connection_count + sim->upstreams.h2.connection_count;
}

/* world_ports.c: what stands between the parts, to count, to fail and to check */
void ports_init(struct sim *sim);

/* world_checks.c */
void checks_after_round(struct sim *sim);
void checks_at_end(struct sim *sim); /* when all is idle, before anything is closed */

#endif
