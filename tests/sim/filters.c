/* SPDX-License-Identifier: Apache-2.0 */
/* See filters.h. What the port promises of the order of callbacks is checked at each of them. */
#include "sim/filters.h"

#include <stdlib.h>
#include <string.h>

#include "core/exchange/snapshot.h"
#include "core/ports/filter.h"

enum { HOLD_MAX_US = 2000, BODY_BYTES = 1 << 30 };

struct sim_lane {
    bool head, ended;
    size_t held; /* at least so much is to be shown again */
};

/* One exchange of one filter. Lives until the world ends, as events may still come for it. */
struct sim_filter_stream {
    struct sim_filter *filter;
    struct vx_filter_stream *stream;
    struct sim_filter_stream *next;
    struct sim_lane lanes[2];
    uint32_t pending; /* continues that are under way */
    bool waits;       /* the last verdict was a pause that only a further callback ends */
    bool failed, closed;
};

struct sim_filter {
    struct vx_filter base;
    struct sim *sim;
    struct sim_filter_stream *streams;
    uint32_t open;
    /* The newest snapshot with it, and the one before, which it keeps as one with a call under way does. */
    struct vx_snapshot *home, *before;
};

struct sim_filters {
    struct sim_filter all[SIM_FILTERS];
    struct vx_filter *list[SIM_FILTERS];
    struct vx_config_filter configs[SIM_FILTERS];
};

static void on_continue(struct sim *sim, void *actor, uint64_t arg) {
    struct sim_filter_stream *s = actor;
    (void)sim;
    s->pending--;
    if (!s->closed)
        vx_filter_continue(s->stream, (enum vx_filter_direction)arg);
}

static void continue_later(struct sim_filter_stream *s, enum vx_filter_direction d) {
    struct sim *sim = s->filter->sim;
    s->pending++;
    sim_after(sim, SIM_US(sim_below(sim, HOLD_MAX_US)), on_continue, s, d);
}

/* Writes over a part of the body with what stands there. */
static void edit(struct sim_filter_stream *s, enum vx_filter_direction d) {
    struct sim *sim = s->filter->sim;
    struct vx_slice body;
    if (!sim_chance(sim, 300) || !vx_filter_body(s->stream, d, &body) || !body.len)
        return;
    size_t start = sim_below(sim, (uint32_t)body.len), len = 1 + sim_below(sim, (uint32_t)(body.len - start));
    char *copy = malloc(len);
    if (!copy)
        abort();
    memcpy(copy, body.ptr + start, len);
    bool in_two = sim_chance(sim, 500);
    if (in_two && vx_filter_splice(s->stream, d, start, len, VX_SLICE_NONE))
        vx_filter_splice(s->stream, d, start, 0, vx_slice(copy, len));
    else if (!in_two)
        vx_filter_splice(s->stream, d, start, len, vx_slice(copy, len));
    free(copy);
}

/* A verdict; `more`: further callbacks will come by themselves, so a pause needs nobody to end it. */
static enum vx_filter_verdict decide(struct sim_filter_stream *s, enum vx_filter_direction d, bool more) {
    struct sim *sim = s->filter->sim;
    uint32_t rate = sim->scenario->filters;
    s->waits = false;
    if (s->filter->base.fails_open && sim_chance(sim, rate / 20)) {
        s->failed = true;
        return VX_FILTER_FAILED;
    }
    if (!sim_chance(sim, rate))
        return VX_FILTER_CONTINUE;
    if (more && sim_chance(sim, 500)) {
        s->waits = true;
        return VX_FILTER_PAUSE;
    }
    if (sim_chance(sim, 200))
        vx_filter_continue(s->stream, d); /* in the callback itself */
    else
        continue_later(s, d);
    return VX_FILTER_PAUSE;
}

static struct sim_lane *enter_callback(struct sim_filter_stream *s, enum vx_filter_direction d) {
    if (s->closed || s->failed || s->lanes[d].ended)
        sim_fail(s->filter->sim, "a filter was called after its end");
    return &s->lanes[d];
}

static void *open_stream(struct vx_filter *f, uint32_t worker, struct vx_filter_stream *stream,
                         uint64_t now_ns) {
    struct sim_filter *filter = (struct sim_filter *)f;
    struct sim_filter_stream *s = calloc(1, sizeof *s);
    (void)worker, (void)now_ns;
    if (!s)
        abort();
    *s = (struct sim_filter_stream){.filter = filter, .stream = stream, .next = filter->streams};
    filter->streams = s;
    filter->open++;
    return s;
}

static void edit_head(struct sim_filter_stream *s, enum vx_filter_direction d) {
    bool writable;
    struct vx_field_map *map = vx_filter_map(
        s->stream, d == VX_FILTER_REQUEST ? VX_FILTER_MAP_REQUEST_HEADERS : VX_FILTER_MAP_RESPONSE_HEADERS,
        &writable);
    if (!map || !writable)
        sim_fail(s->filter->sim, "a filter that is shown a head cannot edit it");
    vx_field_map_remove(map, VX_SLICE("content-length")); /* as plugins do that edit bodies */
}

static enum vx_filter_verdict on_headers(void *context, enum vx_filter_direction d, bool end,
                                         uint64_t now_ns) {
    struct sim_filter_stream *s = context;
    struct sim_lane *lane = enter_callback(s, d);
    (void)now_ns;
    if (lane->head)
        sim_fail(s->filter->sim, "a filter was shown a head twice");
    lane->head = true;
    lane->ended = end;
    if (!end && sim_chance(s->filter->sim, 200))
        edit_head(s, d);
    return decide(s, d, !end && s->filter->base.body_continues);
}

static enum vx_filter_verdict on_body(void *context, enum vx_filter_direction d, size_t bytes, bool end,
                                      uint64_t now_ns) {
    struct sim_filter_stream *s = context;
    struct sim_lane *lane = enter_callback(s, d);
    (void)now_ns;
    if (!lane->head || bytes < lane->held)
        sim_fail(s->filter->sim, "a filter was shown %zu bytes, and held %zu", bytes, lane->held);
    lane->ended = end;
    edit(s, d);
    bool continued = s->pending > 0; /* and then perhaps before the next callback */
    enum vx_filter_verdict verdict = decide(s, d, !end);
    lane->held = s->waits && !continued ? bytes : 0;
    return verdict;
}

static enum vx_filter_verdict on_trailers(void *context, enum vx_filter_direction d, uint64_t now_ns) {
    struct sim_filter_stream *s = context;
    (void)now_ns;
    enter_callback(s, d)->ended = true;
    return decide(s, d, false);
}

static bool may_resume(void *context) {
    return ((struct sim_filter_stream *)context)->pending > 0;
}

static void log_stream(void *context, uint64_t now_ns) {
    struct sim_filter_stream *s = context;
    (void)now_ns;
    if (s->failed || s->closed)
        sim_fail(s->filter->sim, "a filter that is out was asked for its log");
}

static void close_stream(void *context, uint64_t now_ns) {
    struct sim_filter_stream *s = context;
    (void)now_ns;
    if (s->closed)
        sim_fail(s->filter->sim, "a filter's stream was closed twice");
    s->closed = true;
    s->filter->open--;
}

static void enter(struct vx_filter *base, uint32_t worker, struct vx_snapshot *snapshot, uint64_t now_ns) {
    struct sim_filter *f = (struct sim_filter *)base;
    (void)now_ns;
    if (f->before)
        vx_snapshot_release(f->before, worker);
    f->before = f->home;
    f->home = vx_snapshot_keep(snapshot, worker);
}

static const struct vx_filter_ops ops = {
    .open = open_stream,
    .on_headers = on_headers,
    .on_body = on_body,
    .on_trailers = on_trailers,
    .may_resume = may_resume,
    .log = log_stream,
    .close = close_stream,
    .enter = enter,
};

void filters_init(struct sim *sim) {
    static const struct vx_slice names[SIM_FILTERS] = {{"first", 5}, {"second", 6}, {"third", 5}};
    if (!sim->scenario->filters)
        return;
    struct sim_filters *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    sim->filters = f;
    for (unsigned i = 0; i < SIM_FILTERS; i++) {
        struct sim_filter *one = &f->all[i];
        one->sim = sim;
        one->base = (struct vx_filter){.ops = &ops,
                                       .name = names[i],
                                       .wants = VX_FILTER_WANTS_ALL,
                                       .body_bytes = BODY_BYTES,
                                       .fails_open = i == 1,
                                       .body_continues = i != 1};
        if (i == 2)
            one->base.wants &= ~(uint32_t)(VX_FILTER_EDITS_BODY | VX_FILTER_RESPONSE_TRAILERS);
        f->list[i] = &one->base;
        f->configs[i] = (struct vx_config_filter){.name = names[i]};
    }
}

void filters_configure(struct sim *sim, struct vx_config *config, struct vx_setup *setup) {
    if (!sim->filters)
        return;
    config->filters = sim->filters->configs;
    config->filter_count = SIM_FILTERS;
    setup->filters = sim->filters->list;
}

void filters_leave(struct sim *sim) {
    for (unsigned i = 0; sim->filters && i < SIM_FILTERS; i++) {
        struct sim_filter *f = &sim->filters->all[i];
        if (f->before)
            vx_snapshot_release(f->before, 0);
        vx_snapshot_release(f->home, 0);
    }
}

void filters_end(struct sim *sim) {
    for (unsigned i = 0; sim->filters && i < SIM_FILTERS; i++) {
        struct sim_filter *f = &sim->filters->all[i];
        if (f->open)
            sim_fail(sim, "filter %u has %u open streams", i, f->open);
        for (struct sim_filter_stream *s = f->streams, *next; s; s = next) {
            next = s->next;
            free(s);
        }
    }
    free(sim->filters);
}
