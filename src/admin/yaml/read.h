/* SPDX-License-Identifier: Apache-2.0 */
/* Fills a struct vx_config from a tree of values as the schema says. */
#ifndef VX_ADMIN_YAML_READ_H
#define VX_ADMIN_YAML_READ_H

#include "admin/yaml/schema.h"

/* A file that the configuration names, to be looked for once everything else is right. */
struct vx_yaml_path {
    struct vx_slice path; /* absolute, followed by a NUL that is not counted */
    struct vx_place place;
    enum vx_yaml_path_use use;
    struct vx_yaml_path *next;
};

struct vx_yaml_reader {
    struct vx_arena *arena;   /* the configuration's own */
    struct vx_arena *scratch; /* for the time of reading */
    struct vx_config_error *error;
    struct vx_slice folder;                  /* absolute: where relative paths start */
    struct vx_yaml_path *paths, **last_path; /* in the order of the file */
};

/* Reads the whole file's tree into *config, which is zero but for its arena. False: r->error says why. */
bool vx_yaml_read_root(struct vx_yaml_reader *r, const struct vx_yaml_node *root, struct vx_config *config);

/* A copy in lower case in the configuration's arena; ptr NULL: no memory. */
struct vx_slice vx_yaml_lower(struct vx_yaml_reader *r, struct vx_slice text);

#endif
