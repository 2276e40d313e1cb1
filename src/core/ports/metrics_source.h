/* SPDX-License-Identifier: Apache-2.0 */
/* What adapters show on the metrics page: whole families in Prometheus' text format 0.0.4, HELP and TYPE lines included. */
#ifndef VX_CORE_PORTS_METRICS_SOURCE_H
#define VX_CORE_PORTS_METRICS_SOURCE_H

#include "core/base/slice.h"

/* Where the text goes. */
struct vx_metrics_sink {
    void (*put)(struct vx_metrics_sink *self, struct vx_slice text);
};

struct vx_metrics_source {
    /* Control thread. */
    void (*render)(struct vx_metrics_source *self, struct vx_metrics_sink *sink);
};

#endif
