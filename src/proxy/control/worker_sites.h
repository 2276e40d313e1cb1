/* SPDX-License-Identifier: Apache-2.0 */
/* The listeners of a worker: opened, changed and closed as generations say, and who is let in. The worker's thread, unless
 * said otherwise. */
#ifndef VX_PROXY_CONTROL_WORKER_SITES_H
#define VX_PROXY_CONTROL_WORKER_SITES_H

#include "proxy/control/worker.h"

/* Opens, changes and closes listeners, so that they are those of the generation. The sockets are taken over. */
void vx_worker_sites_take_up(struct vx_worker *w, const struct vx_adoption *adoption);

/* Accepts again where the budget of connections was used up and is not any more. */
void vx_worker_sites_resume(struct vx_worker *w);

/* Open connections, and those that are not past their PROXY header yet. */
uint32_t vx_worker_sites_connections(const struct vx_worker *w);

/* Frees the closed ones whose last connection has gone. */
void vx_worker_sites_reap(struct vx_worker *w);

/* Accepts nothing any more; connections end with their last response. */
void vx_worker_sites_drain(struct vx_worker *w);

/* Accepts nothing any more, and cuts what is open. */
void vx_worker_sites_cut(struct vx_worker *w);

/* Every connection is gone. Any thread, once the worker's has ended. */
void vx_worker_sites_free(struct vx_worker *w);

#endif
