/* SPDX-License-Identifier: Apache-2.0 */
/* See compose.h. The only file that names the adapters of admin and ebpf; what one thread needs is put together in engine.c. */
#include "proxy/compose.h"

#include "admin/yaml/load.h"
#include "ebpf/xdp.h"

const struct vx_config_source *vx_compose_config_source(void) {
    static const struct vx_config_source yaml = {
        .load = vx_yaml_load,
        .free = vx_config_free,
        .explain = vx_config_error_format,
    };
    return &yaml;
}

struct vx_ban_list *vx_compose_kernel_bans(uint32_t clients) {
    return vx_xdp_new(clients);
}
