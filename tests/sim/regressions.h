/* SPDX-License-Identifier: Apache-2.0 */
/* Runs that showed a fault once. A seed means what it meant only as long as the simulator draws the same numbers, so
 * these are no proof that the very fault stays away; they keep looking in its neighbourhood, at no cost. */
#ifndef SIM_REGRESSIONS_H
#define SIM_REGRESSIONS_H

#include "sim/sim.h"

static const struct regression {
    const char *scenario;
    uint64_t seed;
    uint32_t exchanges;
    struct sim_fault_plan faults;
    const char *was;
} regressions[] = {
    {"tunnels", 1, 200, {0}, "a tunnel's last bytes to the backend were dropped with its end"},
    {"unsteady", 5, 300, {0}, "the same, behind a body that dribbles"},
    {"bodies", 1, 100, {0}, "a client that took no more of a moved body counted as the backend's silence"},
    {"limited", 4, 400, {0}, "a request without a body lost its finish() while it was queued"},
    {"everything", 6, 400, {0}, "the same, and its exchange never ended"},
    {"broken", 14, 400, {0}, "a moved upload did not count as sent, so its backend's time had no beginning"},
    {"bodies", 2, 100, {0}, "a client that stopped in a moved upload was never timed out"},
    {"bodies",
     90007,
     100,
     {0},
     "a client that took a moved body slowly was timed out, as if it took nothing"},
    {"small",
     7919,
     8,
     {.armed = true, .kind = SIM_FAULT_PULL_DOWN, .at = 4},
     "an ended tunnel was touched once more"},
    {"memory", 1, 300, {0}, "a push that got no buffer waited for an event that could not come"},
    {"small",
     7919,
     8,
     {.armed = true, .kind = SIM_FAULT_WRITE, .at = 4},
     "a tunnel broke behind its half-close, unseen"},
    {"small",
     7919,
     8,
     {.armed = true, .kind = SIM_FAULT_WRITE, .at = 19},
     "a 100 that could not be written, unseen"},
};

#endif
