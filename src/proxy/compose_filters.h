/* SPDX-License-Identifier: Apache-2.0 */
/* What filters are made of in this program. */
#ifndef VX_PROXY_COMPOSE_FILTERS_H
#define VX_PROXY_COMPOSE_FILTERS_H

#include "core/ports/filter.h"
#include "proxy/telemetry/text.h"

/* NULL: no memory. Control thread, like the rest. */
struct vx_filter_engine *vx_compose_filters(void);

/* Every filter is dropped. NULL is allowed. */
void vx_compose_filters_free(struct vx_filter_engine *engine);

/* Appends what the metrics page says of filters. */
void vx_compose_filters_render(struct vx_filter_engine *engine, struct vx_text *page);

/* Appends what a dump says of all filters. */
void vx_compose_filters_dump(struct vx_filter_engine *engine, struct vx_text *out);

/* Appends what a dump says of the instances on a worker. That worker's thread. */
void vx_compose_filters_dump_worker(struct vx_filter_engine *engine, uint32_t worker, struct vx_text *out);

#endif
