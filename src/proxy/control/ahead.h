/* SPDX-License-Identifier: Apache-2.0 */
/* What needs modules compiled: the start, reloads, pushes of plugins. That may take seconds and is done first, on a thread of
 * its own, so that the control thread goes on meanwhile; then it does the rest, which is quick. One after the other. Control
 * thread. */
#ifndef VX_PROXY_CONTROL_AHEAD_H
#define VX_PROXY_CONTROL_AHEAD_H

#include <stdatomic.h>

#include "core/base/list.h"
#include "core/ports/admin.h"
#include "proxy/telemetry/text.h"

struct vx_control;

enum { VX_AHEAD_BYTES_MAX = 128 * 1024 * 1024 }; /* of modules that wait */

struct vx_ahead {
    struct vx_list jobs; /* the first one is under way */
    size_t bytes;
    atomic_bool ending;
};

void vx_ahead_init(struct vx_ahead *a);

/* For the first load to come: compiles the modules of the file in use while the loop runs, so that a signal is heard. */
void vx_ahead_first(struct vx_control *c);

/* Reloads from `path` (empty: the file in use). `call` (NULL: nobody waits) is answered when it is done. False: no memory. */
bool vx_ahead_reload(struct vx_control *c, struct vx_slice path, struct vx_admin_call *call);

/* Replaces the module of a filter. False: *why says why not (static). */
bool vx_ahead_push(struct vx_control *c, struct vx_slice name, struct vx_slice binary,
                   struct vx_admin_call *call, const char **why);

/* What is being compiled, and what waits. */
void vx_ahead_dump(const struct vx_ahead *a, struct vx_text *out);

/* Answers that nothing came of what is under way. False: a module is still being compiled, which nothing can interrupt: the
 * engine of filters, the control thread's loop and *c stay in use. It may be asked again. */
bool vx_ahead_end(struct vx_control *c);

/* The process ends while a module is being compiled, as vx_ahead_end has said: nobody waits for that thread. */
void vx_ahead_leave(struct vx_control *c);

#endif
