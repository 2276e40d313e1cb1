/* SPDX-License-Identifier: Apache-2.0 */
/* A YAML document as a tree of values with their places. Between libyaml's events and the schema, so that the
 * schema's reader can look at a mapping as a whole, and so that what may not grow without bound is bounded in
 * one place. */
#ifndef VX_ADMIN_YAML_NODE_H
#define VX_ADMIN_YAML_NODE_H

#include "core/base/arena.h"
#include "core/config/model.h"

enum vx_yaml_kind { VX_YAML_SCALAR, VX_YAML_LIST, VX_YAML_MAPPING };

enum {
    VX_YAML_DEPTH_MAX = 32,
    VX_YAML_VALUES_MAX = 1000000, /* with every alias counted as all that it stands for */
    VX_YAML_ANCHORS_MAX = 1000,
};

struct vx_yaml_item {
    const struct vx_yaml_node *key; /* a scalar; NULL in a list */
    const struct vx_yaml_node *value;
    struct vx_yaml_item *next;
};

/* Shared between its places when aliases refer to it; the place is then the anchor's. */
struct vx_yaml_node {
    enum vx_yaml_kind kind;
    bool plain; /* a scalar without quotes */
    struct vx_place place;
    struct vx_slice text;       /* of a scalar, followed by a NUL that is not counted */
    struct vx_yaml_item *items; /* in the order of the file */
    uint32_t count;             /* of items */
    uint32_t values;            /* in this subtree, itself included */
};

/* Parses a text of one YAML document into `arena`. Refused, with the place in *error: what is not UTF-8, bad
 * YAML, a second document, tags, merge keys, keys that are not plain text, aliases before their anchor or
 * inside it, and what passes the bounds above. NULL then. An empty text gives NULL too, with an error that
 * says so. */
const struct vx_yaml_node *vx_yaml_read_tree(struct vx_slice text, struct vx_arena *arena,
                                             struct vx_config_error *error);

/* The value under `key`, or NULL. */
const struct vx_yaml_node *vx_yaml_find(const struct vx_yaml_node *mapping, const char *key);

/* A plain scalar with no text: `key:` with nothing behind it, or `~`, or `null`. */
bool vx_yaml_is_null(const struct vx_yaml_node *node);

#endif
