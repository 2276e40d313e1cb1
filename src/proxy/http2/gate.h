/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at the frames of a client before nghttp2 does, for what that leaves open: it forgets closed streams and so cannot
 * tell a mistake from a frame that crossed our RST_STREAM, it does not read PRIORITY, and it ends the connection where
 * one stream's window overflows (RFC 9113 §5.1, §5.1.1, §6.3, §6.9.1). Everything else passes as it came. */
#ifndef VX_PROXY_HTTP2_GATE_H
#define VX_PROXY_HTTP2_GATE_H

#include <stdint.h>

#include "core/base/slice.h"

struct vx_h2_session;

enum {
    VX_H2_FRAME_HEAD_BYTES = 9,
    VX_H2_GATE_BYTES = VX_H2_FRAME_HEAD_BYTES + 5, /* as much of a frame as is looked at */
    VX_H2_FORGIVEN = 32,
};

struct vx_h2_gate {
    uint8_t held[VX_H2_GATE_BYTES]; /* the beginning of a frame that has not come whole enough */
    uint32_t held_bytes;
    uint32_t passing_bytes; /* of the preface or the current frame, still to come */
    bool dropping;          /* these are not passed on */
    int32_t last_id;        /* the highest stream that was begun */
    /* Streams that we reset: their frames may have been on the way. The oldest make room; then every stream up to
     * `forgiven_below` is taken for one. */
    int32_t forgiven[VX_H2_FORGIVEN];
    uint32_t forgiven_count; /* ever */
    int32_t forgiven_below;
};

void vx_h2_gate_init(struct vx_h2_gate *g, uint32_t preface_bytes);

/* Hands nghttp2 what came. Returns as nghttp2_session_mem_recv2, or fails the session itself. */
int vx_h2_gate_feed(struct vx_h2_session *s, struct vx_slice bytes);

/* We have reset this stream. */
void vx_h2_gate_forgive(struct vx_h2_gate *g, int32_t id);

#endif
