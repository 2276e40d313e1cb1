/* SPDX-License-Identifier: Apache-2.0 */
/* The YAML configuration source: reads a file into the plain values of core/config/model.h, or says in one
 * sentence what is wrong, where, and what would be right. */
#ifndef VX_ADMIN_YAML_LOAD_H
#define VX_ADMIN_YAML_LOAD_H

#include <stddef.h>

#include "core/base/slice.h"
#include "core/config/model.h"

/* Reads the file at `path`, applies the defaults, holds it against vx_config_validate and looks whether the
 * files it names are there. Relative paths in it start at its own folder. Control thread: blocks on the file
 * and allocates. The result is the caller's, freed by vx_config_free. NULL: *error says why; its place is 1:1
 * where the file itself could not be read. */
struct vx_config *vx_yaml_load(const char *path, struct vx_config_error *error);

/* The same for text that is already in memory: `path` only gives the folder for relative paths, and no file
 * is looked at. `text` is not kept. */
struct vx_config *vx_yaml_parse(const char *path, struct vx_slice text, struct vx_config_error *error);

/* Frees the configuration and everything in it; NULL is fine. Nobody may hold a slice of it any longer. */
void vx_config_free(struct vx_config *config);

/* Writes `FILE:LINE:COL: what is wrong and what would be right`, NUL-terminated and cut to `size` (> 0);
 * returns the length written without the NUL. */
size_t vx_config_error_format(const char *path, const struct vx_config_error *error, char *out, size_t size);

#endif
