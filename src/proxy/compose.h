/* SPDX-License-Identifier: Apache-2.0 */
/* Which adapter stands behind which port in this program. */
#ifndef VX_PROXY_COMPOSE_H
#define VX_PROXY_COMPOSE_H

#include "core/ports/ban_list.h"
#include "core/ports/config_source.h"

/* Static, never NULL. */
const struct vx_config_source *vx_compose_config_source(void);

/* The ban list in the kernel, for at most `clients` bans; NULL: no memory. */
struct vx_ban_list *vx_compose_kernel_bans(uint32_t clients);

#endif
