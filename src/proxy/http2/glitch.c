/* SPDX-License-Identifier: Apache-2.0 */
/* See glitch.h. A bucket that holds a minute's worth and fills evenly. */
#include "proxy/http2/glitch.h"

enum { CONTROL_FREE = 16 };

static const uint64_t minute_ns = UINT64_C(60) * 1000000000;

void vx_h2_glitches_init(struct vx_h2_glitches *g, uint32_t limit_a_minute, uint64_t now_ns) {
    *g = (struct vx_h2_glitches){.filled_ns = now_ns, .limit = limit_a_minute, .left = limit_a_minute};
}

static void fill(struct vx_h2_glitches *g, uint64_t now_ns) {
    uint64_t each_ns = minute_ns / g->limit;
    uint64_t more = (now_ns - g->filled_ns) / each_ns;
    if (more >= g->limit - g->left) {
        g->left = g->limit;
        g->filled_ns = now_ns;
    } else {
        g->left += (uint32_t)more;
        g->filled_ns += more * each_ns;
    }
}

bool vx_h2_glitches_take(struct vx_h2_glitches *g, uint64_t now_ns) {
    if (!g->limit)
        return true;
    fill(g, now_ns);
    if (!g->left)
        return false;
    g->left--;
    return true;
}

bool vx_h2_glitches_control(struct vx_h2_glitches *g) {
    return ++g->idle_frames > CONTROL_FREE;
}
