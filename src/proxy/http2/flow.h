/* SPDX-License-Identifier: Apache-2.0 */
/* Receive windows. A stream begins with a window that is right for most; one whose bytes come faster than that lets
 * them gets a larger one, by measurement: what arrives between a PING and its answer is what the path holds (as gRPC
 * estimates the bandwidth-delay product). Only streams that are read grow, and all of a connection together by no
 * more than `growth_bytes`, so memory stays bounded by
 *   concurrent streams * stream_bytes + growth_bytes. */
#ifndef VX_PROXY_HTTP2_FLOW_H
#define VX_PROXY_HTTP2_FLOW_H

#include <stdbool.h>
#include <stdint.h>

struct vx_h2_windows {
    uint32_t stream_bytes;     /* a stream's first window */
    uint32_t stream_max_bytes; /* to which it may grow */
    uint32_t growth_bytes;     /* of all streams of a connection together */
};

struct vx_h2_flow {
    struct vx_h2_windows windows;
    uint64_t pinged_ns;    /* when the running sample began */
    uint64_t next_ns;      /* no sample before */
    uint64_t sample_bytes; /* arrived since */
    double best_rate;      /* bytes a ns of the best sample */
    uint32_t target_bytes; /* the window that the path deserves */
    uint32_t grown_bytes;  /* given beyond the first windows to the streams that are open */
    uint8_t quiet;         /* samples in a row that taught nothing */
    bool sampling;
};

void vx_h2_flow_init(struct vx_h2_flow *f, const struct vx_h2_windows *windows);

/* Body bytes have arrived on a stream that has had `stream_bytes` of them in all. True: begin a sample now, with a
 * PING. */
bool vx_h2_flow_arrived(struct vx_h2_flow *f, uint32_t bytes, uint64_t stream_bytes, uint64_t now_ns);

/* The PING's answer is here. */
void vx_h2_flow_answered(struct vx_h2_flow *f, uint64_t now_ns);

/* By how much the window of a stream that is being read, `window` wide, is to grow now; 0: not at all. */
uint32_t vx_h2_flow_grow(struct vx_h2_flow *f, uint32_t window);

/* A stream with this window is over: what it had beyond the first one can be given to others. */
void vx_h2_flow_stream_over(struct vx_h2_flow *f, uint32_t window);

#endif
