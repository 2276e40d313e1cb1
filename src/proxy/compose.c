/* SPDX-License-Identifier: Apache-2.0 */
/* See compose.h. The only file that names the adapters of admin and ebpf; what one thread needs is put together in engine.c. */
#include "proxy/compose.h"

#include <stdlib.h>

#include "admin/service/client.h"
#include "admin/service/service.h"
#include "admin/yaml/load.h"
#include "admin/yaml/scalar.h"
#include "core/base/assert.h"
#include "ebpf/xdp.h"

const struct vx_config_source *vx_compose_config_source(void) {
    static const struct vx_config_source yaml = {
        .load = vx_yaml_load,
        .free = vx_config_free,
        .explain = vx_config_error_format,
        .duration = vx_yaml_read_duration,
    };
    return &yaml;
}

struct vx_ban_list *vx_compose_kernel_bans(uint32_t clients) {
    return vx_xdp_new(clients);
}

struct vx_handler *vx_compose_admin(struct vx_admin_port *port) {
    struct vx_admin_service *service = malloc(sizeof *service);
    if (!service)
        return NULL;
    vx_admin_service_init(service, port);
    return &service->server.handler;
}

void vx_compose_admin_free(struct vx_handler *handler) {
    if (handler)
        free(VX_CONTAINER_OF(handler, struct vx_admin_service, server.handler));
}

struct vx_admin_port *vx_compose_admin_client(struct vx_http_client *client, const struct vx_target *target,
                                              struct vx_chunk_source *memory, const uint64_t *now_ns) {
    struct vx_admin_client *c = vx_admin_client_new(client, target, memory, now_ns);
    return c ? vx_admin_client_port(c) : NULL;
}

void vx_compose_admin_client_free(struct vx_admin_port *port) {
    vx_admin_client_free(port ? vx_admin_client_of(port) : NULL);
}
