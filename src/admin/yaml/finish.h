/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of single mappings that a row of the schema cannot say: either-or, and defaults taken from other keys.
 * Each is a `finish` of struct vx_yaml_shape. */
#ifndef VX_ADMIN_YAML_FINISH_H
#define VX_ADMIN_YAML_FINISH_H

#include "admin/yaml/schema.h"

/* What `tls` of a listener is read into. */
struct vx_yaml_listener_tls {
    struct vx_config_certificate single; /* from cert and key; their paths are empty when not given */
    struct vx_config_certificate *certificates;
    uint32_t certificate_count;
    struct vx_slice client_ca_path;
};

bool vx_yaml_finish_listener_tls(struct vx_yaml_reader *r, void *self, void *parent,
                                 const struct vx_yaml_node *node);
bool vx_yaml_finish_match(struct vx_yaml_reader *r, void *self, void *parent,
                          const struct vx_yaml_node *node);
bool vx_yaml_finish_backend(struct vx_yaml_reader *r, void *self, void *parent,
                            const struct vx_yaml_node *node);
bool vx_yaml_finish_health_check(struct vx_yaml_reader *r, void *self, void *parent,
                                 const struct vx_yaml_node *node);
bool vx_yaml_finish_route(struct vx_yaml_reader *r, void *self, void *parent,
                          const struct vx_yaml_node *node);
bool vx_yaml_finish_limits(struct vx_yaml_reader *r, void *self, void *parent,
                           const struct vx_yaml_node *node);
bool vx_yaml_finish_bans(struct vx_yaml_reader *r, void *self, void *parent, const struct vx_yaml_node *node);
bool vx_yaml_finish_xdp(struct vx_yaml_reader *r, void *self, void *parent, const struct vx_yaml_node *node);

#endif
