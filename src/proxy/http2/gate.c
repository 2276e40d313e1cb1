/* SPDX-License-Identifier: Apache-2.0 */
/* See gate.h. */
#include "proxy/http2/gate.h"

#include "proxy/http2/session_internal.h"

enum { WINDOW_MAX = INT32_MAX, PRIORITY_BYTES = 5, WINDOW_UPDATE_BYTES = 4 };

struct frame {
    uint32_t bytes; /* of its payload */
    uint8_t type;
    int32_t id;
    uint32_t word; /* the first of the payload, where it is looked at */
};

void vx_h2_gate_init(struct vx_h2_gate *g, uint32_t preface_bytes) {
    *g = (struct vx_h2_gate){.passing_bytes = preface_bytes};
}

void vx_h2_gate_forgive(struct vx_h2_gate *g, int32_t id) {
    int32_t *place = &g->forgiven[g->forgiven_count++ % VX_H2_FORGIVEN];
    if (*place > g->forgiven_below)
        g->forgiven_below = *place;
    *place = id;
}

static bool is_forgiven(const struct vx_h2_gate *g, int32_t id) {
    if (id <= g->forgiven_below)
        return true;
    for (unsigned i = 0; i < VX_H2_FORGIVEN; i++)
        if (g->forgiven[i] == id)
            return true;
    return false;
}

static uint32_t word_at(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Of the frames whose payload is looked at, the first word of it is wanted too. */
static uint32_t wanted_bytes(uint8_t type, uint32_t payload_bytes) {
    if ((type == NGHTTP2_PRIORITY && payload_bytes == PRIORITY_BYTES) ||
        (type == NGHTTP2_WINDOW_UPDATE && payload_bytes == WINDOW_UPDATE_BYTES))
        return VX_H2_FRAME_HEAD_BYTES + (uint32_t)sizeof(uint32_t);
    return VX_H2_FRAME_HEAD_BYTES;
}

/* Reads what lies at `p`. False: `len` bytes are not enough. */
static bool read_frame(const uint8_t *p, size_t len, struct frame *out) {
    if (len < VX_H2_FRAME_HEAD_BYTES)
        return false;
    *out = (struct frame){
        .bytes = word_at(p) >> 8, .type = p[3], .id = (int32_t)(word_at(p + 5) & (uint32_t)INT32_MAX)};
    uint32_t wanted = wanted_bytes(out->type, out->bytes);
    if (len < wanted)
        return false;
    if (wanted > VX_H2_FRAME_HEAD_BYTES)
        out->word = word_at(p + VX_H2_FRAME_HEAD_BYTES) & (uint32_t)INT32_MAX;
    return true;
}

/* Whether nghttp2 must have read all before this frame so that it can be judged. */
static bool needs_state(const struct vx_h2_gate *g, const struct frame *f) {
    return f->type == NGHTTP2_DATA || (f->type == NGHTTP2_HEADERS && f->id <= g->last_id) ||
           (f->type == NGHTTP2_WINDOW_UPDATE && f->id);
}

/* A frame that opens or needs a stream which the client itself has ended. */
static void judge_stream(struct vx_h2_session *s, const struct frame *f) {
    struct vx_h2_gate *g = &s->gate;
    if (f->type == NGHTTP2_HEADERS && f->id > g->last_id) {
        g->last_id = f->id;
        return;
    }
    bool ours = f->id % 2 == 0;
    if (ours || f->id > g->last_id || s->shutting || nghttp2_session_find_stream(s->ng, f->id) ||
        is_forgiven(g, f->id))
        return;
    vx_h2_session_end_for(s, NGHTTP2_STREAM_CLOSED, "a frame of a stream that is over");
}

/* False: the frame is not passed on. */
static bool judge_window(struct vx_h2_session *s, const struct frame *f) {
    if (!f->id || !nghttp2_session_find_stream(s->ng, f->id))
        return true;
    int64_t window = nghttp2_session_get_stream_remote_window_size(s->ng, f->id);
    if (window + f->word <= WINDOW_MAX)
        return true;
    if (nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, f->id, NGHTTP2_FLOW_CONTROL_ERROR) != 0)
        vx_h2_session_break(s, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
    return false;
}

static bool judge(struct vx_h2_session *s, const struct frame *f) {
    switch (f->type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        judge_stream(s, f);
        return true;
    case NGHTTP2_WINDOW_UPDATE:
        return f->bytes != WINDOW_UPDATE_BYTES || judge_window(s, f);
    case NGHTTP2_PRIORITY:
        if (!f->id || (f->bytes == PRIORITY_BYTES && (int32_t)f->word == f->id))
            vx_h2_session_end_for(s, NGHTTP2_PROTOCOL_ERROR,
                                  "a PRIORITY without a stream, or of it on itself");
        vx_h2_session_control_frame(s);
        return true;
    default:
        if (f->type > NGHTTP2_CONTINUATION)
            vx_h2_session_control_frame(s);
        return true;
    }
}

static int pass(struct vx_h2_session *s, const uint8_t *from, const uint8_t *to) {
    if (from == to || s->ending || s->broken)
        return 0;
    nghttp2_ssize n = nghttp2_session_mem_recv2(s->ng, from, (size_t)(to - from));
    return n < 0 ? (int)n : 0;
}

/* Takes bytes until the frame that is held can be judged, then hands over what is held. Returns as pass(). */
static int complete_held(struct vx_h2_session *s, const uint8_t **at, const uint8_t *end) {
    struct vx_h2_gate *g = &s->gate;
    struct frame f;
    while (!read_frame(g->held, g->held_bytes, &f)) {
        if (*at == end)
            return 0;
        g->held[g->held_bytes++] = *(*at)++;
    }
    uint32_t held = g->held_bytes;
    g->held_bytes = 0;
    g->dropping = !judge(s, &f);
    g->passing_bytes = VX_H2_FRAME_HEAD_BYTES + f.bytes - held;
    return g->dropping ? 0 : pass(s, g->held, g->held + held);
}

/* Bytes of a frame that was judged. Returns where they end; what was gathered before goes on unless they are dropped. */
static const uint8_t *skip_passing(struct vx_h2_gate *g, const uint8_t *at, const uint8_t *end) {
    size_t n = (size_t)(end - at) < g->passing_bytes ? (size_t)(end - at) : g->passing_bytes;
    g->passing_bytes -= (uint32_t)n;
    return at + n;
}

int vx_h2_gate_feed(struct vx_h2_session *s, struct vx_slice bytes) {
    struct vx_h2_gate *g = &s->gate;
    const uint8_t *at = (const uint8_t *)bytes.ptr, *end = at + bytes.len;
    const uint8_t *run = at; /* from here to `at` all is to be passed on */
    int result = 0;
    if (g->held_bytes) {
        result = complete_held(s, &at, end);
        run = at;
    }
    while (at < end && !result && !s->ending && !s->broken) {
        struct frame f;
        if (g->passing_bytes) {
            at = skip_passing(g, at, end);
            run = g->dropping ? at : run;
            g->dropping = g->dropping && g->passing_bytes;
            continue;
        }
        if (!read_frame(at, (size_t)(end - at), &f)) {
            g->held_bytes = (uint32_t)(end - at);
            memcpy(g->held, at, g->held_bytes);
            break;
        }
        if (needs_state(g, &f)) {
            result = pass(s, run, at);
            run = at;
        }
        g->dropping = !judge(s, &f);
        g->passing_bytes = VX_H2_FRAME_HEAD_BYTES + f.bytes;
    }
    return result ? result : pass(s, run, at);
}
