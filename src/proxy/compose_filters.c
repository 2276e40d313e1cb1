/* SPDX-License-Identifier: Apache-2.0 */
/* See compose_filters.h. The only file that names the engine of filters. */
#include "proxy/compose_filters.h"

#include "filters/filters.h"
#include "proxy/telemetry/log.h"

static void write_log(const struct vx_log_port *self, enum vx_log_level level, struct vx_slice text) {
    (void)self;
    vx_log(level, "%.*s", VX_SLICE_ARG(text));
}

struct vx_filter_engine *vx_compose_filters(void) {
    static const struct vx_log_port log = {.least = VX_LOG_INFO, .write = write_log};
    return vx_filters_new(&log);
}

void vx_compose_filters_free(struct vx_filter_engine *engine) {
    vx_filters_free(engine);
}

void vx_compose_filters_render(struct vx_filter_engine *engine, struct vx_text *page) {
    struct vx_text_writer to = vx_text_writer(page);
    struct vx_metrics_source *source = vx_filters_metrics(engine);
    source->render(source, &to.sink);
}

void vx_compose_filters_dump(struct vx_filter_engine *engine, struct vx_text *out) {
    struct vx_text_writer to = vx_text_writer(out);
    engine->dump(engine, &to.sink);
}

void vx_compose_filters_dump_worker(struct vx_filter_engine *engine, uint32_t worker, struct vx_text *out) {
    struct vx_text_writer to = vx_text_writer(out);
    engine->dump_worker(engine, worker, &to.sink);
}
