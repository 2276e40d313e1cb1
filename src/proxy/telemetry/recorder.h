/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder port's adapter: the end of an exchange goes to the metrics and, when it is on, to the access
 * log. */
#ifndef VX_PROXY_TELEMETRY_RECORDER_H
#define VX_PROXY_TELEMETRY_RECORDER_H

#include "core/ports/recorder.h"
#include "proxy/telemetry/access_log.h"
#include "proxy/telemetry/metrics.h"

/* One a worker, plain memory of the owner. Everything it points to outlives it. */
struct vx_worker_recorder {
    struct vx_recorder recorder; /* what the exchanges get */
    struct vx_metrics *metrics;
    struct vx_access_log *access_log; /* NULL: none */
    uint32_t worker;
};

/* Any thread, before the worker runs. */
void vx_worker_recorder_init(struct vx_worker_recorder *r, struct vx_metrics *metrics,
                             struct vx_access_log *access_log, uint32_t worker);

#endif
