/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a running proxy say of themselves, for people: `vortex stats --verbose`. The control thread writes its
 * own part and asks each worker for theirs by a message, so nothing is locked and a worker answers between its rounds; one
 * that does not is left out after a while. Control thread. */
#ifndef VX_PROXY_CONTROL_DUMP_H
#define VX_PROXY_CONTROL_DUMP_H

#include "core/ports/admin.h"
#include "proxy/runtime/runtime.h"

enum { VX_DUMPS_MAX = 4 }; /* at a time */

struct vx_control;

struct vx_dumps {
    struct vx_list under_way;
    uint32_t count;
};

void vx_dumps_init(struct vx_dumps *d);

/* Begins one; `call` is answered when it is there. False: *why says why not (static). */
bool vx_dump_start(struct vx_control *c, struct vx_admin_call *call, const char **why);

/* No worker runs any more: answers what is still waited for and frees it. */
void vx_dumps_end(struct vx_dumps *d, struct vx_runtime *rt);

#endif
