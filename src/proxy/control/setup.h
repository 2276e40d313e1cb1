/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration with the certificates it names, loaded and checked: what `vortex check` tests and a reload swaps in.
 * Reference-counted by the control thread alone. */
#ifndef VX_PROXY_CONTROL_SETUP_H
#define VX_PROXY_CONTROL_SETUP_H

#include "core/config/model.h"
#include "proxy/tls/client.h"
#include "proxy/tls/server.h"

struct vx_setup {
    struct vx_config *config;
    struct vx_tls_server **servers; /* by listener; NULL: plain */
    struct vx_tls_client **clients; /* by route; NULL: plain */
    uint64_t *client_identities;    /* by route: differs when settings or files do; 0: plain */
    uint32_t holders;
};

/* Reads the configuration at `path` and everything it names. NULL: *error says what is wrong and where. Control thread,
 * blocks on files. */
struct vx_setup *vx_setup_load(const char *path, struct vx_tls_tickets *tickets,
                               struct vx_config_error *error);

struct vx_setup *vx_setup_hold(struct vx_setup *s);
void vx_setup_drop(struct vx_setup *s); /* NULL is allowed */

#endif
