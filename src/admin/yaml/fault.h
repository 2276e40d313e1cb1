/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the one error a configuration gets: a sentence for a person, and its place. */
#ifndef VX_ADMIN_YAML_FAULT_H
#define VX_ADMIN_YAML_FAULT_H

#include "core/base/slice.h"
#include "core/config/model.h"

/* Text from the file, fit to be quoted in a message. */
struct vx_yaml_quote {
    char text[64];
};

/* Sets *error; what does not fit is cut. Returns false, so that a reader can end with `return
 * vx_yaml_fault(...)`. */
bool vx_yaml_fault(struct vx_config_error *error, struct vx_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The fault for a malloc that failed. */
bool vx_yaml_no_memory(struct vx_config_error *error);

/* `text` with what would garble a terminal or a log replaced by `?`, and its end by `...` when it is long. */
struct vx_yaml_quote vx_yaml_quote(struct vx_slice text);

/* Of the `count` names, the one that `text` most likely meant; NULL when none comes near. Names that are NULL
 * are left out. */
const char *vx_yaml_nearest(struct vx_slice text, const char *const *names, size_t count);

#endif
