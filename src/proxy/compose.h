/* SPDX-License-Identifier: Apache-2.0 */
/* Which adapter stands behind which port in this program. */
#ifndef VX_PROXY_COMPOSE_H
#define VX_PROXY_COMPOSE_H

#include "core/ports/config_source.h"

/* Static, never NULL. */
const struct vx_config_source *vx_compose_config_source(void);

#endif
