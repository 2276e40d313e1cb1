/* SPDX-License-Identifier: Apache-2.0 */
/* The log of the program, for parts that do not know where it goes: what an operator should know, never single
 * requests. */
#ifndef VX_CORE_PORTS_LOG_H
#define VX_CORE_PORTS_LOG_H

#include "core/base/slice.h"

#define VX_LOG_LEVEL_LIST(X)                                                                                 \
    X(DEBUG, "debug")                                                                                        \
    X(INFO, "info")                                                                                          \
    X(WARN, "warn")                                                                                          \
    X(ERROR, "error")

enum vx_log_level {
#define X(name, text) VX_LOG_##name,
    VX_LOG_LEVEL_LIST(X)
#undef X
        VX_LOG_LEVEL_COUNT
};

struct vx_log_port {
    enum vx_log_level least; /* what is below is not written */
    /* Writes one line; may block for the time of one write. Any thread. */
    void (*write)(const struct vx_log_port *self, enum vx_log_level level, struct vx_slice text);
};

#endif
