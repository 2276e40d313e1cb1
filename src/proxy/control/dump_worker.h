/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker, and any thread's engine, says of itself: a few lines of text. On that thread. */
#ifndef VX_PROXY_CONTROL_DUMP_WORKER_H
#define VX_PROXY_CONTROL_DUMP_WORKER_H

#include "proxy/control/worker.h"
#include "proxy/telemetry/text.h"

void vx_dump_worker(const struct vx_worker *w, struct vx_text *out);

/* The loop and the memory of one thread. */
void vx_dump_engine(const struct vx_engine *e, struct vx_text *out);

#endif
