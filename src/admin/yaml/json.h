/* SPDX-License-Identifier: Apache-2.0 */
/* A value of the file as JSON (RFC 8259): how a plugin gets a configuration that was written as YAML. */
#ifndef VX_ADMIN_YAML_JSON_H
#define VX_ADMIN_YAML_JSON_H

#include "admin/yaml/node.h"

/* Without white space, keys in the order of the file. Plain scalars that JSON knows (numbers, true, false, null) are those,
 * all others are strings: YAML's core schema, but for its further ways to write numbers. In `arena`; ptr NULL: no
 * memory. */
struct vx_slice vx_yaml_to_json(const struct vx_yaml_node *node, struct vx_arena *arena);

#endif
