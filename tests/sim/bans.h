/* SPDX-License-Identifier: Apache-2.0 */
/* The bans of a world: a gate that turns requests away by chance, whole connections with them or not. */
#ifndef SIM_BANS_H
#define SIM_BANS_H

#include "core/ports/ban_list.h"
#include "core/ports/recorder.h"

struct sim;

struct sim_bans {
    struct vx_ban_gate gate;
    struct sim *sim;
    bool asked_about_peer; /* the exchange that was told of a ban asks once more, about its peer */
    uint64_t turned_away, records;
};

void bans_init(struct sim *sim);
/* A record; `deliveries` of its request have reached backends. */
void bans_recorded(struct sim *sim, const struct vx_exchange_record *record, unsigned deliveries);
void bans_end(struct sim *sim); /* checks that each request that was turned away is recorded so */

#endif
