/* SPDX-License-Identifier: Apache-2.0 */
/* The rules within the mappings about rate limits; see struct vx_yaml_shape. */
#ifndef VX_ADMIN_YAML_FINISH_LIMIT_H
#define VX_ADMIN_YAML_FINISH_LIMIT_H

#include "admin/yaml/schema.h"

/* `rate_limit` of the file. */
bool vx_yaml_finish_default_limit(struct vx_yaml_reader *r, void *self, void *parent,
                                  const struct vx_yaml_node *node);

/* The whole file: routes without a limit of their own take the default one. */
bool vx_yaml_finish_limits_of_routes(struct vx_yaml_reader *r, void *self, void *parent,
                                     const struct vx_yaml_node *node);

#endif
