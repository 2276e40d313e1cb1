/* SPDX-License-Identifier: Apache-2.0 */
/* What a run of the simulator consists of. Each function returns only when every invariant held. */
#ifndef SIM_SUITE_H
#define SIM_SUITE_H

#include "sim/sim.h"

/* About `exchanges` exchanges, spread over the scenarios by their shares, in many worlds whose seeds follow from
 * `seed`. */
void suite_random(uint64_t seed, uint32_t exchanges);

/* The same seed gives the same run. */
void suite_same_twice(void);

/* Small worlds, again and again, each port call failing in turn. */
void suite_sweep(uint64_t seed);

/* Seeds that failed once (regressions.h). */
void suite_regressions(void);

/* Plants faults in the simulator's own world and checks that they are noticed. */
void suite_self_test(void);

void suite_print(const char *name, uint64_t seed, uint32_t worlds, const struct sim_result *r);

#endif
