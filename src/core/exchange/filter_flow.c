/* SPDX-License-Identifier: Apache-2.0 */
/* How one message passes the filters of an exchange in one direction, and what each of them holds of it.
 *
 * Invariants
 *   1. Nothing overtakes: a step sees the head before the body, and the body before the end. What comes for a step that
 *      holds the head stays there, so steps behind it see nothing.
 *   2. Bytes are in one place: in the `held` of one lane, or in the side's `out`. Nothing is pulled while `out` has any.
 *   3. A filter holds at most its `body_bytes`; above that the message is refused.
 *   4. Once an outcome is decided no filter is called for the message.
 *   5. What filters did outside of callbacks is carried out before the next callback: a continue is about what was held
 *      then, not about what is shown later.
 *
 * state      event                               next       function
 * AWAITS     head: continue                      FLOWS      vx_filtering_pass_head
 * AWAITS     head: pause                         HEAD_HELD  vx_filtering_pass_head
 * HEAD_HELD  body, body_continues: continue      FLOWS      show_body, release
 * HEAD_HELD  body, body_continues: pause         HEAD_HELD  show_body
 * HEAD_HELD  body, else                          HEAD_HELD  deliver (kept, not shown)
 * HEAD_HELD  continued                           FLOWS      resume (then what was kept is shown)
 * FLOWS      body: continue                      FLOWS      show_body, release
 * FLOWS      body: pause                         BODY_HELD  show_body
 * BODY_HELD  body: continue; continued           FLOWS      show_body, release; resume
 * any held   end: continue                       OVER       finish
 * any held   end: pause                          END_HELD   finish (HEAD_HELD stays what it is)
 * END_HELD   continued                           OVER       resume
 */
#include "core/exchange/filtering.h"

enum { FIRST_BYTES = 4096 };

enum step {
    GOES_ON, /* what was shown may go on */
    STAYS,   /* the filter holds it */
    STOPS,   /* an outcome is decided */
};

static struct vx_filter_stream *stream_at(const struct vx_filtering *f, enum vx_filter_direction d,
                                          uint32_t step) {
    return &f->streams[d == VX_FILTER_REQUEST ? step : f->count - 1 - step];
}

static bool decided(const struct vx_filtering *f) {
    return f->outcome.code != VX_ERR_NONE;
}

static bool wants(const struct vx_filter_stream *s, enum vx_filter_direction d, enum vx_filter_wants request,
                  enum vx_filter_wants response) {
    bool there = !s->gone && (d == VX_FILTER_REQUEST || s->saw_request);
    return there && s->filter->wants & (d == VX_FILTER_REQUEST ? request : response);
}

static bool wants_head(const struct vx_filter_stream *s, enum vx_filter_direction d) {
    return wants(s, d, VX_FILTER_REQUEST_HEADERS, VX_FILTER_RESPONSE_HEADERS);
}

static bool wants_body(const struct vx_filter_stream *s, enum vx_filter_direction d) {
    return wants(s, d, VX_FILTER_REQUEST_BODY, VX_FILTER_RESPONSE_BODY);
}

static bool wants_trailers(const struct vx_filter_stream *s, enum vx_filter_direction d) {
    return wants(s, d, VX_FILTER_REQUEST_TRAILERS, VX_FILTER_RESPONSE_TRAILERS);
}

bool vx_filtering_body_continues(const struct vx_filter_stream *s, enum vx_filter_direction d) {
    return s->filter->body_continues && wants_body(s, d) && !s->chain->sides[d].end_at_head;
}

bool vx_filter_bytes_add(struct vx_filtering *f, struct vx_filter_bytes *b, struct vx_slice more) {
    if (more.len > b->room - b->len) {
        size_t room = b->room ? b->room * 2 : FIRST_BYTES;
        if (room < b->len + more.len)
            room = b->len + more.len;
        char *ptr = vx_arena_alloc(f->exchange->down->arena, room);
        if (!ptr) {
            vx_filtering_decide(f, VX_ERR_OUT_OF_MEMORY, NULL);
            return false;
        }
        if (b->len)
            memcpy(ptr, b->ptr, b->len);
        b->ptr = ptr;
        b->room = room;
    }
    if (more.len)
        memcpy(b->ptr + b->len, more.ptr, more.len);
    b->len += more.len;
    return true;
}

/* Calling a filter */

static void enter(struct vx_filter_stream *s, enum vx_filter_direction d, enum vx_filter_phase phase) {
    s->phase = phase;
    s->phase_direction = (uint8_t)d;
}

static enum step leave(struct vx_filter_stream *s, enum vx_filter_verdict verdict) {
    struct vx_filter_lane *lane = &s->lanes[s->phase_direction];
    bool continued = lane->continued;
    s->phase = VX_PHASE_NONE;
    lane->continued = false;
    if (verdict == VX_FILTER_FAILED && !vx_filtering_lose(s, VX_ERR_FILTER_FAILED))
        return STOPS;
    if (decided(s->chain))
        return STOPS;
    return verdict == VX_FILTER_PAUSE && !continued ? STAYS : GOES_ON;
}

bool vx_filtering_lose(struct vx_filter_stream *s, enum vx_error_code code) {
    struct vx_filtering *f = s->chain;
    if (s->gone)
        return true;
    s->gone = true;
    if (!s->filter->fails_open) {
        vx_filtering_decide(f, code, NULL);
        return false;
    }
    /* What it holds goes on without it. */
    for (unsigned d = 0; d < 2; d++)
        if (s->lanes[d].state != VX_LANE_AWAITS && s->lanes[d].state != VX_LANE_OVER)
            s->lanes[d].continued = true;
    vx_filtering_signal(f);
    return true;
}

/* Heads */

static enum step show_head(struct vx_filter_stream *s, enum vx_filter_direction d) {
    struct vx_filtering *f = s->chain;
    s->saw_request = s->saw_request || d == VX_FILTER_REQUEST;
    if (!wants_head(s, d))
        return GOES_ON;
    s->lanes[d].state = VX_LANE_HEAD_HELD; /* also of an outcome: it has seen this head */
    enter(s, d, VX_PHASE_HEAD);
    return leave(s, s->filter->ops->on_headers(s->context, d, f->sides[d].end_at_head, f->now_ns));
}

void vx_filtering_pass_head(struct vx_filtering *f, enum vx_filter_direction d) {
    struct vx_filter_side *side = &f->sides[d];
    while (side->at < f->count && !decided(f)) {
        struct vx_filter_stream *s = stream_at(f, d, side->at);
        switch (show_head(s, d)) {
        case GOES_ON:
            s->lanes[d].state = VX_LANE_FLOWS;
            side->at++;
            break;
        case STAYS:
            if (!vx_filtering_body_continues(s, d))
                vx_filtering_begin_pause(s, d);
            return;
        case STOPS:
            return;
        }
    }
}

/* Bodies. A piece goes from step to step by recursion, at most as deep as there are filters. */

static void deliver(struct vx_filtering *f, enum vx_filter_direction d, uint32_t step, struct vx_slice bytes);

/* What the step holds goes on, the head before it. */
static void release(struct vx_filtering *f, enum vx_filter_direction d, uint32_t step) {
    struct vx_filter_lane *lane = &stream_at(f, d, step)->lanes[d];
    bool head = lane->state == VX_LANE_HEAD_HELD;
    struct vx_slice held = vx_slice(lane->held.ptr, lane->held.len);
    lane->state = VX_LANE_FLOWS;
    lane->held.len = 0;
    if (head) {
        f->sides[d].at = step + 1;
        vx_filtering_pass_head(f, d);
    }
    if (held.len && !decided(f))
        deliver(f, d, step + 1, held);
}

static void hold_body(struct vx_filter_stream *s, enum vx_filter_direction d) {
    struct vx_filter_lane *lane = &s->lanes[d];
    if (lane->state != VX_LANE_HEAD_HELD)
        lane->state = VX_LANE_BODY_HELD;
    if (lane->held.len <= s->filter->body_bytes)
        return;
    if (d == VX_FILTER_REQUEST)
        vx_filtering_decide(s->chain, VX_ERR_BODY_TOO_LARGE, "larger than the filter's limits.body");
    else
        vx_filtering_decide(s->chain, VX_ERR_FILTER_BODY_TOO_LARGE, NULL);
}

/* The filter is shown what the lane holds. */
static void show_body(struct vx_filtering *f, enum vx_filter_direction d, uint32_t step) {
    struct vx_filter_stream *s = stream_at(f, d, step);
    struct vx_filter_lane *lane = &s->lanes[d];
    enum step next = GOES_ON;
    if (wants_body(s, d)) {
        enter(s, d, VX_PHASE_BODY);
        next = leave(s, s->filter->ops->on_body(s->context, d, lane->held.len, false, f->now_ns));
    }
    if (next == STAYS)
        hold_body(s, d);
    else if (next == GOES_ON)
        release(f, d, step);
}

static void deliver(struct vx_filtering *f, enum vx_filter_direction d, uint32_t step,
                    struct vx_slice bytes) {
    while (step < f->count && stream_at(f, d, step)->lanes[d].state == VX_LANE_FLOWS &&
           !wants_body(stream_at(f, d, step), d))
        step++;
    if (step == f->count) {
        vx_filter_bytes_add(f, &f->sides[d].out, bytes);
        return;
    }
    struct vx_filter_stream *s = stream_at(f, d, step);
    struct vx_filter_lane *lane = &s->lanes[d];
    if (!vx_filter_bytes_add(f, &lane->held, bytes))
        return;
    if (lane->state != VX_LANE_HEAD_HELD || vx_filtering_body_continues(s, d))
        show_body(f, d, step);
}

/* The end */

static enum step show_end(struct vx_filter_stream *s, enum vx_filter_direction d) {
    struct vx_filtering *f = s->chain;
    struct vx_filter_side *side = &f->sides[d];
    struct vx_filter_lane *lane = &s->lanes[d];
    const struct vx_filter_ops *ops = s->filter->ops;
    if (side->trailers ? !wants_trailers(s, d) : !wants_body(s, d))
        return GOES_ON;
    enter(s, d, VX_PHASE_END);
    if (side->trailers)
        return leave(s, ops->on_trailers(s->context, d, f->now_ns));
    enum step next = leave(s, ops->on_body(s->context, d, lane->held.len, true, f->now_ns));
    if (side->made.count)
        side->trailers = &side->made;
    return next;
}

/* The end has come to the step. */
static void finish(struct vx_filtering *f, enum vx_filter_direction d, uint32_t step) {
    for (; step < f->count; step++) {
        struct vx_filter_stream *s = stream_at(f, d, step);
        struct vx_filter_lane *lane = &s->lanes[d];
        lane->end = true;
        if (lane->state == VX_LANE_HEAD_HELD && !vx_filtering_body_continues(s, d))
            return;
        enum step next = show_end(s, d);
        if (next == STAYS && lane->state != VX_LANE_HEAD_HELD)
            lane->state = VX_LANE_END_HELD;
        if (next == STAYS)
            vx_filtering_begin_pause(s, d);
        if (next != GOES_ON)
            return;
        release(f, d, step);
        if (decided(f))
            return;
        lane->state = VX_LANE_OVER;
    }
    f->sides[d].done = true;
}

/* The step was told to let go of what it holds. */
static void resume(struct vx_filtering *f, enum vx_filter_direction d, uint32_t step) {
    struct vx_filter_stream *s = stream_at(f, d, step);
    struct vx_filter_lane *lane = &s->lanes[d];
    bool unseen = lane->state == VX_LANE_HEAD_HELD && !vx_filtering_body_continues(s, d);
    if (lane->state == VX_LANE_AWAITS || lane->state == VX_LANE_FLOWS || lane->state == VX_LANE_OVER)
        return;
    if (unseen) {
        lane->state = VX_LANE_FLOWS;
        f->sides[d].at = step + 1;
        vx_filtering_pass_head(f, d);
        if (lane->held.len && !decided(f))
            show_body(f, d, step);
        if (lane->end && !decided(f))
            finish(f, d, step);
        return;
    }
    release(f, d, step);
    if (!lane->end || decided(f))
        return;
    lane->state = VX_LANE_OVER;
    finish(f, d, step + 1);
}

/* The source */

bool vx_filtering_may_read(const struct vx_filtering *f, enum vx_filter_direction d) {
    const struct vx_filter_side *side = &f->sides[d];
    return !side->read && (side->at == f->count || vx_filtering_body_continues(stream_at(f, d, side->at), d));
}

enum vx_pull vx_filtering_fill(struct vx_filtering *f, enum vx_filter_direction d) {
    struct vx_filter_side *side = &f->sides[d];
    struct vx_stream *from = side->from;
    struct vx_slice bytes;
    enum vx_pull result = from->ops->pull(from, &bytes);
    if (result == VX_PULL_BYTES) {
        deliver(f, d, side->first, bytes);
        from->ops->consume(from, bytes.len);
    } else if (result == VX_PULL_END) {
        side->read = true;
        side->trailers = from->ops->trailers(from);
        finish(f, d, side->first);
    } else if (result == VX_PULL_FAILED) {
        side->source.error = from->error;
    }
    return result;
}

static struct vx_filter_side *side_of(struct vx_stream *source) {
    return VX_CONTAINER_OF(source, struct vx_filter_side, source);
}

static enum vx_pull pull(struct vx_stream *source, struct vx_slice *bytes) {
    struct vx_filter_side *side = side_of(source);
    struct vx_filtering *f = source->user;
    enum vx_filter_direction d =
        side == &f->sides[VX_FILTER_REQUEST] ? VX_FILTER_REQUEST : VX_FILTER_RESPONSE;
    for (;;) {
        vx_filtering_settle(f);
        if (decided(f)) {
            source->error = f->outcome;
            return VX_PULL_FAILED;
        }
        if (side->sent < side->out.len) {
            *bytes = vx_slice(side->out.ptr + side->sent, side->out.len - side->sent);
            return VX_PULL_BYTES;
        }
        side->sent = side->out.len = 0;
        if (side->done)
            return VX_PULL_END;
        enum vx_pull result = vx_filtering_may_read(f, d) ? vx_filtering_fill(f, d) : VX_PULL_WAIT;
        if (result == VX_PULL_WAIT || result == VX_PULL_FAILED)
            return result;
    }
}

static void consume(struct vx_stream *source, size_t bytes) {
    side_of(source)->sent += bytes;
}

static struct vx_headers *trailers(struct vx_stream *source) {
    return side_of(source)->trailers;
}

static void again(struct vx_stream *source) {
    struct vx_stream *from = side_of(source)->from;
    from->ops->again(from);
}

const struct vx_stream_ops vx_filter_source_ops = {
    .pull = pull,
    .consume = consume,
    .trailers = trailers,
    .again = again,
};

/* Outside of callbacks */

static void settle_stream(struct vx_filtering *f, enum vx_filter_direction d, uint32_t step) {
    struct vx_filter_stream *s = stream_at(f, d, step);
    struct vx_filter_lane *lane = &s->lanes[d];
    if (lane->continued) {
        lane->continued = false;
        resume(f, d, step);
    } else if (s->review && vx_filtering_is_stuck(s, d)) {
        vx_filtering_check_hope(s);
    }
}

void vx_filtering_settle(struct vx_filtering *f) {
    while (f->signalled && !decided(f)) {
        f->signalled = false;
        /* The last steps first: what an earlier one lets go finds them settled. */
        for (uint32_t step = f->count; step-- > 0;)
            for (unsigned d = 0; d < 2 && !decided(f); d++)
                settle_stream(f, d, step);
        for (uint32_t i = 0; i < f->count; i++)
            f->streams[i].review = false;
    }
}
