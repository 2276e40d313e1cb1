/* SPDX-License-Identifier: Apache-2.0 */
/* See recorder.h. */
#include "proxy/telemetry/recorder.h"

#include <stddef.h>

#include "core/base/assert.h"

static void record(struct vx_recorder *self, const struct vx_exchange_record *r) {
    struct vx_worker_recorder *me = VX_CONTAINER_OF(self, struct vx_worker_recorder, recorder);
    vx_metrics_record(me->metrics, me->worker, r);
    if (me->access_log && r->part != VX_RECORD_TUNNEL_BEGUN)
        vx_access_log_write(me->access_log, me->worker, r);
}

static void retried(struct vx_recorder *self, const struct vx_route *route, const struct vx_target *target) {
    struct vx_worker_recorder *me = VX_CONTAINER_OF(self, struct vx_worker_recorder, recorder);
    vx_metrics_retried(me->metrics, me->worker, route, target);
}

void vx_worker_recorder_init(struct vx_worker_recorder *r, struct vx_metrics *metrics,
                             struct vx_access_log *access_log, uint32_t worker) {
    *r = (struct vx_worker_recorder){
        .recorder = {.record = record, .retried = retried},
        .metrics = metrics,
        .access_log = access_log,
        .worker = worker,
    };
}
