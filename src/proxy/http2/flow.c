/* SPDX-License-Identifier: Apache-2.0 */
/* See flow.h. */
#include "proxy/http2/flow.h"

enum {
    SAMPLE_EVERY_MS = 10,
    QUIET_EVERY_MS = 1000, /* once the samples teach nothing new */
    QUIET_AFTER = 5,
};

void vx_h2_flow_init(struct vx_h2_flow *f, const struct vx_h2_windows *windows) {
    *f = (struct vx_h2_flow){.windows = *windows, .target_bytes = windows->stream_bytes};
}

bool vx_h2_flow_arrived(struct vx_h2_flow *f, uint32_t bytes, uint64_t stream_bytes, uint64_t now_ns) {
    if (f->sampling) {
        f->sample_bytes += bytes;
        return false;
    }
    /* A body that has not yet filled half a window says nothing about the path. */
    if (stream_bytes < f->windows.stream_bytes / 2 || f->target_bytes >= f->windows.stream_max_bytes ||
        now_ns < f->next_ns)
        return false;
    f->sampling = true;
    f->pinged_ns = now_ns;
    f->sample_bytes = 0;
    return true;
}

void vx_h2_flow_answered(struct vx_h2_flow *f, uint64_t now_ns) {
    if (!f->sampling)
        return;
    f->sampling = false;
    uint64_t took_ns = now_ns > f->pinged_ns ? now_ns - f->pinged_ns : 1;
    double rate = (double)f->sample_bytes / (double)took_ns;
    bool full = f->sample_bytes >= (uint64_t)f->target_bytes * 2 / 3;
    if (full && rate > f->best_rate) {
        f->best_rate = rate;
        uint64_t want = f->sample_bytes * 2;
        f->target_bytes = want < f->windows.stream_max_bytes ? (uint32_t)want : f->windows.stream_max_bytes;
        f->quiet = 0;
    } else if (f->quiet < QUIET_AFTER) {
        f->quiet++;
    }
    f->next_ns = now_ns + UINT64_C(1000000) * (f->quiet < QUIET_AFTER ? SAMPLE_EVERY_MS : QUIET_EVERY_MS);
}

uint32_t vx_h2_flow_grow(struct vx_h2_flow *f, uint32_t window) {
    if (window >= f->target_bytes)
        return 0;
    uint32_t more = f->target_bytes - window;
    uint32_t left = f->windows.growth_bytes - f->grown_bytes;
    if (more > left)
        more = left;
    f->grown_bytes += more;
    return more;
}

void vx_h2_flow_stream_over(struct vx_h2_flow *f, uint32_t window) {
    if (window > f->windows.stream_bytes)
        f->grown_bytes -= window - f->windows.stream_bytes;
}
