/* SPDX-License-Identifier: Apache-2.0 */
/* Who is banned, for how long, and who is on the way to it: `after` refusals within `within`, then `duration`, doubled with
 * each repetition up to `max_duration`. One thread, memory of a fixed size, no clock of its own: `now_ns` must not run
 * backwards.
 *
 * Refusals are counted in VX_BAN_SLOTS slots of a window. So a ban means that there were `after` refusals within `within`;
 * and as many within (VX_BAN_SLOTS - 1) / VX_BAN_SLOTS of it always lead to one.
 *
 * A record of a client says one of three things, told apart by its times:
 *
 *   State    | holds while                                    | refused()        | add()  | remove() | sweep()
 *   COUNTING | until_ns == 0                                  | counts, may BAN  | BANNED | -        | -
 *   BANNED   | until_ns > 0, `banned`                         | -                | BANNED | PAST     | PAST once until_ns is over
 *   PAST     | until_ns > 0, not `banned`: a ban that is over | counts, may BAN  | BANNED | -        | -
 *
 *   1. The repetitions of a PAST client are forgotten `max_duration` after the end of its last ban.
 *   2. A record is replaced by another client's only if it is not BANNED; the one that was idle longest goes first.
 *   3. `bans` is the number of BANNED records. */
#ifndef VX_CORE_LIMIT_BAN_POLICY_H
#define VX_CORE_LIMIT_BAN_POLICY_H

#include "core/base/hash.h"
#include "core/config/model.h"
#include "core/limit/client.h"
#include "core/ports/ban_list.h"

enum { VX_BAN_SLOTS = 8, VX_BAN_WAYS = 8 };

struct vx_ban_record {
    uint64_t client;               /* 0: free */
    uint64_t until_ns;             /* end of the present or the last ban */
    uint64_t slot;                 /* number of the newest slot, counted from time 0 */
    uint16_t counts[VX_BAN_SLOTS]; /* by slot number modulo VX_BAN_SLOTS */
    uint8_t strikes;               /* bans in a row, this one included */
    bool banned, manual;
};

struct vx_ban_settings {
    uint32_t after;
    uint64_t within_ns, duration_ns, max_duration_ns;
    const struct vx_config *exempt; /* its bans.never, bans.xdp.spare and trusted_proxies; borrowed */
};

struct vx_ban_policy {
    struct vx_ban_settings settings;
    struct vx_ban_record *records;
    uint32_t groups; /* of VX_BAN_WAYS records; a power of two */
    uint32_t bans;
    uint64_t overlooked; /* refusals that found all records of their group banned */
    struct vx_hash_key key;
};

/* Memory for `clients` clients (a power of two, at least VX_BAN_WAYS), which must be zero. */
size_t vx_ban_policy_bytes(uint32_t clients);

/* `memory` is borrowed; `key` is random, so that nobody can choose who shares a group. */
void vx_ban_policy_init(struct vx_ban_policy *p, void *memory, uint32_t clients, struct vx_hash_key key);

/* New settings; what has been counted and who is banned stays. */
void vx_ban_policy_configure(struct vx_ban_policy *p, const struct vx_ban_settings *settings);

/* Loopback, trusted proxies, and what `never` or `spare` names; also 0. */
bool vx_ban_policy_is_exempt(const struct vx_ban_policy *p, uint64_t client);

/* A request of the client was refused. True: it is banned from now on, *ban says until when. */
bool vx_ban_policy_refused(struct vx_ban_policy *p, uint64_t client, uint64_t now_ns, struct vx_ban *ban);

/* Bans it, or changes its ban, as `ban` says: somebody's wish, or a ban from before the program was started. False: it is
 * exempt, or all records of its group are banned. */
bool vx_ban_policy_add(struct vx_ban_policy *p, const struct vx_ban *ban, uint64_t now_ns);

/* Ends the ban of `client`. False: it is not banned. */
bool vx_ban_policy_remove(struct vx_ban_policy *p, uint64_t client, uint64_t now_ns);

/* The ban of `client`; false: none. */
bool vx_ban_policy_find(const struct vx_ban_policy *p, uint64_t client, struct vx_ban *ban);

/* Ends the next ban that is over, or of somebody who is exempt by now, from *at on, which starts at 0. False: none is left.
 * One walk over all takes time in proportion to the memory. */
bool vx_ban_policy_sweep(struct vx_ban_policy *p, uint32_t *at, uint64_t now_ns, struct vx_ban *ban);

/* The next ban from *at on, which starts at 0. False: none is left. */
bool vx_ban_policy_next(const struct vx_ban_policy *p, uint32_t *at, struct vx_ban *ban);

#endif
