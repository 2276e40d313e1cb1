/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of filters behind core/ports/filter.h: reads modules, tells what kind each is, keeps those that are loaded,
 * and shows them on the metrics page. Wasmtime is started with the first filter. */
#ifndef VX_FILTERS_FILTERS_H
#define VX_FILTERS_FILTERS_H

#include "core/ports/filter.h"
#include "core/ports/log.h"
#include "core/ports/metrics_source.h"

/* `log` outlives the engine. NULL: no memory. Control thread, like all here. */
struct vx_filter_engine *vx_filters_new(const struct vx_log_port *log);

/* Every filter is dropped, every worker detached. NULL is allowed. */
void vx_filters_free(struct vx_filter_engine *engine);

/* vortex_filter_* and the metrics that plugins define. Lives as long as the engine. */
struct vx_metrics_source *vx_filters_metrics(struct vx_filter_engine *engine);

#endif
