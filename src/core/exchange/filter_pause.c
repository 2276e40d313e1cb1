/* SPDX-License-Identifier: Apache-2.0 */
/* Pauses that only the filter itself can end, because it has been shown all that it will be shown before.
 *
 * Invariants
 *   1. Something of the filter's own (a timer, a call, a queue) may yet end it; where nothing is, the pause is a rejection.
 *   2. It lasts for the filter's `pause_ns` at most: a filter that holds for longer has failed.
 *   3. The timer is set while there is such a pause, and perhaps for a little longer.
 */
#include "core/exchange/filtering.h"

void vx_filtering_check_hope(struct vx_filter_stream *s) {
    if (!s->filter->ops->may_resume(s->context))
        vx_filtering_decide(s->chain, VX_ERR_FILTER_DENIED, NULL);
}

bool vx_filtering_is_stuck(const struct vx_filter_stream *s, enum vx_filter_direction d) {
    const struct vx_filter_lane *lane = &s->lanes[d];
    return !s->gone &&
           (lane->state == VX_LANE_END_HELD ||
            (lane->state == VX_LANE_HEAD_HELD && (lane->end || !vx_filtering_body_continues(s, d))));
}

/* When the filter has held it for too long; 0: never. */
static uint64_t end_ns(const struct vx_filter_stream *s, enum vx_filter_direction d) {
    return vx_filtering_is_stuck(s, d) && s->filter->pause_ns ? s->lanes[d].held_ns + s->filter->pause_ns : 0;
}

static void set_timer(struct vx_filtering *f) {
    uint64_t soonest_ns = 0;
    for (uint32_t i = 0; i < f->count; i++)
        for (unsigned d = 0; d < 2; d++)
            soonest_ns = vx_sooner_ns(soonest_ns, end_ns(&f->streams[i], d));
    vx_timer_arm(f->exchange->proxy->wheel, &f->pause_timer, soonest_ns);
}

void vx_filtering_begin_pause(struct vx_filter_stream *s, enum vx_filter_direction d) {
    struct vx_filtering *f = s->chain;
    vx_filtering_check_hope(s);
    s->lanes[d].held_ns = f->now_ns;
    if (f->outcome.code == VX_ERR_NONE)
        set_timer(f);
}

void vx_filtering_pause_over(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_filtering *f = VX_CONTAINER_OF(timer, struct vx_filtering, pause_timer);
    for (uint32_t i = 0; i < f->count; i++)
        for (unsigned d = 0; d < 2; d++) {
            uint64_t over_ns = end_ns(&f->streams[i], d);
            if (over_ns && over_ns <= now_ns)
                vx_filtering_lose(&f->streams[i], VX_ERR_FILTER_TIMEOUT);
        }
    set_timer(f);
    vx_filtering_signal(f);
}
