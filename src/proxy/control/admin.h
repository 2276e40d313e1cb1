/* SPDX-License-Identifier: Apache-2.0 */
/* What the control thread answers to an operator (core/ports/admin.h). Control thread. */
#ifndef VX_PROXY_CONTROL_ADMIN_H
#define VX_PROXY_CONTROL_ADMIN_H

#include "core/ports/admin.h"
#include "core/ports/handler.h"
#include "proxy/control/dump.h"

struct vx_control_admin {
    struct vx_admin_port port;
    struct vx_handler *handler; /* the service in front of it */
    struct vx_dumps dumps;
    struct vx_admin_ban *bans; /* of the last list, and their texts */
    char *ban_texts;
};

struct vx_control;

/* False: no memory. */
bool vx_control_admin_init(struct vx_control *c);

/* No request and no dump is left. */
void vx_control_admin_free(struct vx_control *c);

#endif
