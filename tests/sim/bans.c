/* SPDX-License-Identifier: Apache-2.0 */
/* See bans.h. */
#include "sim/bans.h"

#include "sim/sim.h"

static bool is_banned(struct vx_ban_gate *self, const struct vx_address *client, uint64_t now_ns) {
    struct sim_bans *b = VX_CONTAINER_OF(self, struct sim_bans, gate);
    (void)client;
    (void)now_ns;
    if (b->asked_about_peer) {
        b->asked_about_peer = false;
        return sim_chance(b->sim, 500);
    }
    b->asked_about_peer = sim_chance(b->sim, b->sim->scenario->bans);
    b->turned_away += b->asked_about_peer;
    return b->asked_about_peer;
}

static void refused(struct vx_ban_gate *self, const struct vx_address *client, uint64_t now_ns) {
    (void)self;
    (void)client;
    (void)now_ns;
}

void bans_init(struct sim *sim) {
    sim->bans = (struct sim_bans){.gate = {is_banned, refused}, .sim = sim};
    if (sim->scenario->bans)
        sim->proxy.bans = &sim->bans.gate;
}

void bans_recorded(struct sim *sim, const struct vx_exchange_record *record, unsigned deliveries) {
    if (record->error != VX_ERR_BANNED)
        return;
    sim->bans.records++;
    if (record->attempts || deliveries)
        sim_fail(sim, "a banned client's request reached a backend");
    if (record->status && record->status != 403)
        sim_fail(sim, "a banned client got %u", record->status);
}

void bans_end(struct sim *sim) {
    const struct sim_bans *b = &sim->bans;
    if (b->records != b->turned_away)
        sim_fail(sim, "%llu requests were turned away, %llu recorded so", (unsigned long long)b->turned_away,
                 (unsigned long long)b->records);
    if (sim->scenario->bans && sim->begins > 200 && !b->turned_away)
        sim_fail(sim, "nobody was turned away");
}
