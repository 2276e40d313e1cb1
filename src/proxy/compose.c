/* SPDX-License-Identifier: Apache-2.0 */
/* See compose.h. The only file that names the adapters of admin; what one thread needs is put together in engine.c. */
#include "proxy/compose.h"

#include "admin/yaml/load.h"

const struct vx_config_source *vx_compose_config_source(void) {
    static const struct vx_config_source yaml = {
        .load = vx_yaml_load,
        .free = vx_config_free,
        .explain = vx_config_error_format,
    };
    return &yaml;
}
