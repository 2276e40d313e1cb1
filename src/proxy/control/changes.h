/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload changes, in words for the log. Control thread. */
#ifndef VX_PROXY_CONTROL_CHANGES_H
#define VX_PROXY_CONTROL_CHANGES_H

#include "core/config/diff.h"

enum { VX_CHANGES_TEXT_MAX = 512 };

/* Such as `listeners +1 ~2, routes -1, limits`, or `nothing`; at most VX_CHANGES_TEXT_MAX bytes with the NUL. */
void vx_changes_describe(const struct vx_config_diff *diff, char *out);

/* The keys that differ and that a running proxy cannot change, such as `workers`; empty: none. */
void vx_changes_describe_ignored(const struct vx_config_diff *diff, char *out);

/* Logs both. `chunks` lends memory for the comparison. */
void vx_changes_log(const struct vx_config *before, const struct vx_config *after,
                    struct vx_chunk_source *chunks);

#endif
