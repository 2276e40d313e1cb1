/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange and bans: whose requests are turned away, and which refusals count towards a ban. */
#include "core/exchange/internal.h"
#include "core/limit/limit.h"

bool vx_exchange_is_banned(const struct vx_exchange *x, uint64_t now_ns) {
    struct vx_ban_gate *bans = x->proxy->bans;
    return bans && bans->is_banned(bans, &x->client_address, now_ns);
}

/* A banned peer's connection, opened before the ban, is cut without a word, as it would be at accept. Where a trusted proxy
 * speaks for the client, the connection is others' too: this one gets an answer. */
void vx_exchange_turn_away(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_ban_gate *bans = x->proxy->bans;
    struct vx_error error = vx_error(VX_ERR_BANNED, false, NULL);
    if (!bans->is_banned(bans, &x->down->client->remote, now_ns)) {
        vx_exchange_fail(x, error, now_ns);
        return;
    }
    vx_exchange_note(x, error);
    vx_exchange_end(x, now_ns);
}

/* Only of a limit that counts by client: another one says nothing about who is to blame. */
void vx_exchange_report_refusal(const struct vx_exchange *x, uint64_t now_ns) {
    const struct vx_config_rate_limit *limit = x->route->limit->config;
    struct vx_ban_gate *bans = x->proxy->bans;
    bool by_client = false;
    for (uint32_t i = 0; i < limit->key_count; i++)
        by_client |= limit->parts[i].kind == VX_LIMIT_BY_CLIENT;
    if (bans && by_client)
        bans->refused(bans, &x->client_address, now_ns);
}
