/* SPDX-License-Identifier: Apache-2.0 */
/* Bans in the running program. Workers report refusals over a ring each; the control thread counts them, decides, tells the
 * ban lists (the table that workers look into, and the kernel where an interface is configured), sweeps, and does what an
 * operator asks for. Control thread, but for the gates. */
#ifndef VX_PROXY_CONTROL_BANS_H
#define VX_PROXY_CONTROL_BANS_H

#include "core/config/model.h"
#include "core/ports/ban_list.h"
#include "proxy/net/loop.h"
#include "proxy/telemetry/metrics.h"

struct vx_bans;

enum {
    VX_BANS_CLIENTS = 64 * 1024, /* counted, and banned, at most */
    VX_BANS_WHY_BYTES = 512,
};

/* Off until a configuration turns it on. `kernel` is its own from here on, NULL: there is none. `loop` and `metrics` outlive
 * it. NULL: no memory. */
struct vx_bans *vx_bans_new(struct vx_loop *loop, struct vx_metrics *metrics, uint32_t workers,
                            struct vx_ban_list *kernel);

/* The bans as worker number `worker` meets them; lives as long as `b`. */
struct vx_ban_gate *vx_bans_gate(struct vx_bans *b, uint32_t worker);

/* Takes up a configuration, which outlives it or the next call. Bans stay, unless the configuration has none. What the kernel
 * does not do is said in the log, and tried again. */
void vx_bans_apply(struct vx_bans *b, const struct vx_config *config);

/* Brings the numbers of vortex_bans_* and vortex_xdp_* up to date. */
void vx_bans_measure(struct vx_bans *b);

/* No worker runs any more. What is pinned stays. NULL is allowed. */
void vx_bans_free(struct vx_bans *b);

/* --- For an operator ---------------------------------------------------------------------------------------------- */

/* Bans the client of `address` (an IP address; of an IPv6 one its /64) for so long, or changes its ban. 0: as long as a first
 * ban. False: `why` (VX_BANS_WHY_BYTES) says why not. */
bool vx_bans_add(struct vx_bans *b, struct vx_slice address, uint64_t duration_ns, char *why);

/* Ends the ban of the client of `address`. False: `why` says why not. */
bool vx_bans_remove(struct vx_bans *b, struct vx_slice address, char *why);

/* The next ban from *at on, which starts at 0; until_ns is on the loop's clock. False: none is left. */
bool vx_bans_next(const struct vx_bans *b, uint32_t *at, struct vx_ban *ban);

#endif
