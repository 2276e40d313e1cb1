/* SPDX-License-Identifier: Apache-2.0 */
/* See faults.h. */
#include "sim/faults.h"

#include <stdlib.h>

#include "core/ports/stream.h"
#include "sim/sim.h"

const char *sim_fault_name(enum sim_fault kind) {
    static const char *const names[] = {
#define X(name, text) text,
        SIM_FAULT_LIST(X)
#undef X
    };
    return names[kind];
}

bool sim_fault_hits(struct sim *sim, enum sim_fault kind) {
    struct sim_fault_plan *f = &sim->faults;
    uint64_t call = ++f->calls[kind];
    if (!f->armed || f->kind != kind || f->at != call)
        return false;
    f->injected++;
    sim->excuse_502 = sim->excuse_503 = true;
    return true;
}

/* A kind of stream's own operations, kept where the wrappers find them. A world is one thread, and so is the program. */
struct wrapped_ops {
    struct vx_stream_ops ops; /* ours, which the stream sees */
    const struct vx_stream_ops *real;
};

enum { KINDS = 2 }; /* one for each version of HTTP */

static struct wrapped_ops down[KINDS], up[KINDS];
static struct sim *wrapping;

static const struct vx_stream_ops *real_of(const struct vx_stream *s) {
    return VX_CONTAINER_OF(s->ops, const struct wrapped_ops, ops)->real;
}

static void push_again(struct sim *sim, void *actor, uint64_t arg) {
    (void)arg;
    struct vx_stream *s = actor;
    if (sim->stalled_push.stream != s)
        return;
    sim->stalled_push.stream = NULL;
    sim->rt.now_ns = sim->now_ns;
    s->events->on_writable(s->user, sim->now_ns);
}

static enum vx_pull faulty_pull(struct vx_stream *s, struct vx_slice *bytes, enum sim_fault kind) {
    if (!sim_fault_hits(wrapping, kind))
        return real_of(s)->pull(s, bytes);
    s->error =
        vx_error(kind == SIM_FAULT_PULL_UP ? VX_ERR_BACKEND_RESET : VX_ERR_CLIENT_GONE, false, "injected");
    return VX_PULL_FAILED;
}

static size_t faulty_push(struct vx_stream *s, struct vx_slice bytes, enum sim_fault kind) {
    if (!sim_fault_hits(wrapping, kind))
        return real_of(s)->push(s, bytes);
    wrapping->stalled_push.stream = s;
    sim_after(wrapping, SIM_US(70), push_again, s, 0);
    return 0;
}

static enum vx_pull pull_down(struct vx_stream *s, struct vx_slice *bytes) {
    return faulty_pull(s, bytes, SIM_FAULT_PULL_DOWN);
}

static enum vx_pull pull_up(struct vx_stream *s, struct vx_slice *bytes) {
    return faulty_pull(s, bytes, SIM_FAULT_PULL_UP);
}

static size_t push_down(struct vx_stream *s, struct vx_slice bytes) {
    return faulty_push(s, bytes, SIM_FAULT_PUSH_DOWN);
}

static size_t push_up(struct vx_stream *s, struct vx_slice bytes) {
    return faulty_push(s, bytes, SIM_FAULT_PUSH_UP);
}

static void release(struct vx_stream *s) {
    if (wrapping->stalled_push.stream == s)
        wrapping->stalled_push.stream = NULL;
    real_of(s)->release(s);
}

static bool wanted(const struct sim *sim) {
    return sim->faults.armed && sim->faults.kind >= SIM_FAULT_PULL_DOWN;
}

/* The place for streams with these operations: the one they have already, or a free one. */
static struct wrapped_ops *place_for(struct wrapped_ops *kinds, const struct vx_stream_ops *real) {
    struct wrapped_ops *w = kinds;
    while (w < kinds + KINDS && w->real && w->real != real)
        w++;
    if (w == kinds + KINDS)
        abort();
    w->real = real;
    w->ops = *real;
    w->ops.release = release;
    return w;
}

void sim_wrap_downstream(struct sim *sim, struct vx_stream *stream) {
    if (!wanted(sim))
        return;
    wrapping = sim;
    struct wrapped_ops *w = place_for(down, stream->ops);
    w->ops.pull = pull_down;
    w->ops.push = push_down;
    stream->ops = &w->ops;
}

void sim_wrap_upstream(struct sim *sim, struct vx_stream *stream) {
    if (!wanted(sim))
        return;
    wrapping = sim;
    struct wrapped_ops *w = place_for(up, stream->ops);
    w->ops.pull = pull_up;
    w->ops.push = push_up;
    stream->ops = &w->ops;
}
