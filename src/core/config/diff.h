/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload changes: for the log, and to tell what a running proxy cannot change. Values are compared, not the
 * contents of the files that they name. */
#ifndef VX_CORE_CONFIG_DIFF_H
#define VX_CORE_CONFIG_DIFF_H

#include "core/config/model.h"

/* What is outside listeners and routes: name, key in the file, whether a reload can apply it. */
#define VX_CONFIG_SETTING_LIST(X)                                                                            \
    X(WORKERS, "workers", false)                                                                             \
    X(TRUSTED_PROXIES, "trusted_proxies", true)                                                              \
    X(BANS, "bans", true)                                                                                    \
    X(METRICS, "metrics", true)                                                                              \
    X(ADMIN, "admin", true)                                                                                  \
    X(ACCESS_LOG, "access_log", true)                                                                        \
    X(SHUTDOWN, "shutdown", true)                                                                            \
    X(TIMEOUTS, "timeouts", true)                                                                            \
    X(LIMITS, "limits", true)                                                                                \
    X(FILTERS, "filters", true)                                                                              \
    X(WASM, "wasm", false)                                                                                   \
    X(NORMALIZE, "normalize", true)                                                                          \
    X(RATE_LIMIT, "rate_limit", true)                                                                        \
    X(RATE_LIMIT_MEMORY, "rate_limit.memory", false)

enum vx_config_setting {
#define X(name, key, live) VX_SETTING_##name,
    VX_CONFIG_SETTING_LIST(X)
#undef X
        VX_SETTING_COUNT
};

struct vx_config_diff {
    uint32_t listeners_added, listeners_removed, listeners_changed; /* by address */
    uint32_t routes_added, routes_removed, routes_changed;          /* by name */
    uint32_t settings; /* bit 1 << enum vx_config_setting of each that differs */
};

/* The key of a setting in the file; static. */
const char *vx_config_setting_key(enum vx_config_setting setting);

/* Whether a running proxy can change it; false: it keeps the old value until it is started again. */
bool vx_config_setting_live(enum vx_config_setting setting);

/* The listener of that address, or NULL. */
const struct vx_config_listener *vx_config_find_listener(const struct vx_config *config,
                                                         const struct vx_address *address);

/* Compares two valid configurations. `scratch` gives 8 bytes a route and may be reset afterwards. False: no memory.
 * All of these are pure; any thread. */
bool vx_config_diff(const struct vx_config *before, const struct vx_config *after, struct vx_arena *scratch,
                    struct vx_config_diff *out);

#endif
