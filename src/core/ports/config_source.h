/* SPDX-License-Identifier: Apache-2.0 */
/* Where configurations come from. Control thread. */
#ifndef VX_CORE_PORTS_CONFIG_SOURCE_H
#define VX_CORE_PORTS_CONFIG_SOURCE_H

#include "core/config/model.h"

struct vx_config_source {
    /* Reads what `path` names, with defaults applied and every rule checked. The result is the caller's, for `free`.
     * NULL: *error says why and where. May block and allocate. */
    struct vx_config *(*load)(const char *path, struct vx_config_error *error);
    void (*free)(struct vx_config *config); /* NULL is fine */
    /* Writes `FILE:LINE:COL: what is wrong and what would be right`, NUL-terminated and cut to `size` (> 0); returns
     * the length without the NUL. */
    size_t (*explain)(const char *path, const struct vx_config_error *error, char *out, size_t size);
    /* Reads a duration as the source has them. False: it is none. */
    bool (*duration)(struct vx_slice text, uint64_t *out_ns);
};

#endif
