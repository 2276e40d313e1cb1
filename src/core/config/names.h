/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of a configuration by name: sorted once, so that thousands of names are compared and found without
 * hashing what somebody else chose. */
#ifndef VX_CORE_CONFIG_NAMES_H
#define VX_CORE_CONFIG_NAMES_H

#include "core/config/model.h"

struct vx_config_names {
    const struct vx_config *config; /* borrowed */
    uint32_t *order;                /* route indexes by name; routes of one name in the order of the file */
};

/* Sorts; memory comes from `scratch` (8 bytes a route) and lives until its reset. False: no memory. Any thread. */
bool vx_config_names_build(struct vx_config_names *names, const struct vx_config *config,
                           struct vx_arena *scratch);

/* The route of that name, or NULL. Any thread. */
const struct vx_config_route *vx_config_names_find(const struct vx_config_names *names, struct vx_slice name);

#endif
