/* SPDX-License-Identifier: Apache-2.0 */
/* Which adapter stands behind which port in this program. */
#ifndef VX_PROXY_COMPOSE_H
#define VX_PROXY_COMPOSE_H

#include "core/ports/admin.h"
#include "core/ports/ban_list.h"
#include "core/ports/config_source.h"
#include "core/ports/handler.h"
#include "core/ports/http_client.h"

/* Static, never NULL. */
const struct vx_config_source *vx_compose_config_source(void);

/* The ban list in the kernel, for at most `clients` bans; NULL: no memory. */
struct vx_ban_list *vx_compose_kernel_bans(uint32_t clients);

/* The admin service in front of `port`, for an HTTP server. NULL: no memory. */
struct vx_handler *vx_compose_admin(struct vx_admin_port *port);
/* No request is left. NULL is allowed. */
void vx_compose_admin_free(struct vx_handler *handler);

/* What asks the admin service at `target`; all arguments outlive it, `now_ns` is the clock of the client's thread. NULL: no
 * memory. */
struct vx_admin_port *vx_compose_admin_client(struct vx_http_client *client, const struct vx_target *target,
                                              struct vx_chunk_source *memory, const uint64_t *now_ns);
/* NULL is allowed. */
void vx_compose_admin_client_free(struct vx_admin_port *port);

#endif
