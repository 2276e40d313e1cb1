/* SPDX-License-Identifier: Apache-2.0 */
/* vortex.admin.AdminService (api/admin.proto) in front of a vx_admin_port. Its thread is the port's. */
#ifndef VX_ADMIN_SERVICE_SERVICE_H
#define VX_ADMIN_SERVICE_SERVICE_H

#include "admin/grpc/server.h"
#include "core/ports/admin.h"

enum {
    VX_ADMIN_REQUEST_BYTES =
        64 * 1024 * 1024 + 4096, /* a plugin of 64 MiB and its name are the most that is asked with */
    VX_ADMIN_ANSWER_BYTES = 4 * 1024 * 1024 - 1024, /* what gRPC clients take unless told otherwise */
    VX_ADMIN_CALLS = 64
};

/* Plain memory of the owner; outlives its downstreams and the port's answers. */
struct vx_admin_service {
    struct vx_grpc_server server; /* whose handler the HTTP server gets */
    struct vx_admin_port *port;
};

/* `port` outlives it. Never fails, nothing to free. */
void vx_admin_service_init(struct vx_admin_service *s, struct vx_admin_port *port);

#endif
