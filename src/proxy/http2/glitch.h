/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer does that is allowed, or is a mistake that costs only one stream, but is cheap for it and dear for us when
 * done without end: glitches. They are counted for each connection, and a connection that makes more of them than
 * its limit within a minute is ended with ENHANCE_YOUR_CALM (RFC 9113 §10.5). */
#ifndef VX_PROXY_HTTP2_GLITCH_H
#define VX_PROXY_HTTP2_GLITCH_H

#include <stdbool.h>
#include <stdint.h>

/* In the order of the metrics that count them (proxy/telemetry/metrics.h). */
enum vx_h2_glitch {
    VX_H2_GLITCH_RESET,        /* a stream given up before its answer was complete */
    VX_H2_GLITCH_BAD_FRAME,    /* an error of the peer's that cost a stream */
    VX_H2_GLITCH_BAD_HEAD,     /* a request that could not be one */
    VX_H2_GLITCH_REFUSED,      /* a stream that there is no memory for */
    VX_H2_GLITCH_LARGE_HEAD,   /* fields beyond the limit, once for each time it is filled */
    VX_H2_GLITCH_CONTINUATION, /* a head in too many pieces */
    VX_H2_GLITCH_EMPTY_DATA,   /* DATA that holds nothing and ends nothing */
    VX_H2_GLITCH_SMALL_WINDOW, /* WINDOW_UPDATE by next to nothing */
    VX_H2_GLITCH_CONTROL,      /* PING, SETTINGS, WINDOW_UPDATE, PRIORITY, unknown ones, without work */
    VX_H2_GLITCH_COUNT
};

struct vx_h2_glitches {
    uint64_t filled_ns;   /* up to when `left` was filled */
    uint32_t limit;       /* a minute; 0: none */
    uint32_t left;        /* until the connection has to end */
    uint32_t idle_frames; /* control frames since the last one that carried something */
};

void vx_h2_glitches_init(struct vx_h2_glitches *g, uint32_t limit_a_minute, uint64_t now_ns);

/* One more. False: it was one too many. */
bool vx_h2_glitches_take(struct vx_h2_glitches *g, uint64_t now_ns);

/* A control frame came. True: it is a glitch, because too many of them came without any work between. (A peer that
 * measures its path pings with each answer it gets: that is no flood.) */
bool vx_h2_glitches_control(struct vx_h2_glitches *g);

/* A frame of a request or an answer came or went. */
static inline void vx_h2_glitches_work(struct vx_h2_glitches *g) {
    g->idle_frames = 0;
}

#endif
