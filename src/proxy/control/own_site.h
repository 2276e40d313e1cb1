/* SPDX-License-Identifier: Apache-2.0 */
/* A listening address that the control thread serves by itself: the metrics page, the admin socket. It may move with a
 * reload: opened at the new address beside the old one, then moved to, or left. Control thread. */
#ifndef VX_PROXY_CONTROL_OWN_SITE_H
#define VX_PROXY_CONTROL_OWN_SITE_H

#include "proxy/engine.h"

/* All zero before it is first opened. */
struct vx_own_site {
    struct vx_site site;
    struct vx_listen_set *set; /* NULL: closed */
};

/* A move that is prepared and not made yet. */
struct vx_own_site_move {
    bool moves;
    struct vx_listen_set *set; /* NULL: it stays where it is, or goes away */
    struct vx_listener *listener;
};

/* Opens the site at `address` (kind NONE: nowhere), if that is a new one; the old one is served meanwhile. `mode`: of a UNIX
 * socket's file, 0 for the usual. False: nothing has changed, `why` (VX_LISTEN_WHY_MAX bytes) says why not. */
bool vx_own_site_open(struct vx_own_site *s, struct vx_engine *engine, struct vx_handler *handler,
                      const struct vx_address *address, uint32_t mode, struct vx_own_site_move *move,
                      char *why);

/* Makes the move, and takes up the timeouts. Requests that came over the old address are answered. */
void vx_own_site_move(struct vx_own_site *s, const struct vx_own_site_move *move,
                      const struct vx_config_timeouts *timeouts);

/* Forgets a move that was opened. */
void vx_own_site_leave(const struct vx_own_site_move *move);

/* Accepts nothing any more, and cuts what is open. */
void vx_own_site_close(struct vx_own_site *s);

#endif
