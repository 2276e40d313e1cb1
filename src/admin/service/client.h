/* SPDX-License-Identifier: Apache-2.0 */
/* The far end of the admin socket as a vx_admin_port: what the commands ask (api/admin.proto). One question at a time; the
 * thread of its HTTP client. */
#ifndef VX_ADMIN_SERVICE_CLIENT_H
#define VX_ADMIN_SERVICE_CLIENT_H

#include "admin/grpc/client.h"
#include "core/ports/admin.h"

struct vx_admin_client;

/* Everything outlives it. `now_ns`: the clock of the client's thread. NULL: no memory. */
struct vx_admin_client *vx_admin_client_new(struct vx_http_client *client, const struct vx_target *target,
                                            struct vx_chunk_source *memory, const uint64_t *now_ns);

struct vx_admin_port *vx_admin_client_port(struct vx_admin_client *c);
struct vx_admin_client *vx_admin_client_of(struct vx_admin_port *port);

/* A question that is under way is forgotten. NULL is allowed. */
void vx_admin_client_free(struct vx_admin_client *c);

#endif
