/* SPDX-License-Identifier: Apache-2.0 */
/* What the TLS transports of one worker share: room in which records are put together before one send. */
#ifndef VX_PROXY_TLS_WORKER_H
#define VX_PROXY_TLS_WORKER_H

#include "proxy/runtime/runtime.h"

struct vx_tls_worker;

/* One a worker; used by its thread only. `rt` outlives it. NULL: no memory. */
struct vx_tls_worker *vx_tls_worker_new(struct vx_runtime *rt);

/* All its transports are closed before, and vx_runtime_run_tasks ran once more. */
void vx_tls_worker_free(struct vx_tls_worker *w);

#endif
