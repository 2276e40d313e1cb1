/* SPDX-License-Identifier: Apache-2.0 */
/* What adapters show on the metrics page: whole families in Prometheus' text format 0.0.4, HELP and TYPE lines included. */
#ifndef VX_CORE_PORTS_METRICS_SOURCE_H
#define VX_CORE_PORTS_METRICS_SOURCE_H

#include "core/ports/text_sink.h"

struct vx_metrics_source {
    /* Control thread. */
    void (*render)(struct vx_metrics_source *self, struct vx_text_sink *sink);
};

#endif
