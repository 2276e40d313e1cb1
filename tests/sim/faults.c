/* SPDX-License-Identifier: Apache-2.0 */
/* See faults.h. */
#include "sim/faults.h"

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

/* The streams' own operations, kept where the wrappers find them. A world is one thread, and so is the program. */
static const struct vx_stream_ops *real_down, *real_up;
static struct sim *wrapping;

static void push_again(struct sim *sim, void *actor, uint64_t arg) {
    (void)arg;
    struct vx_stream *s = actor;
    if (sim->stalled_push.stream != s)
        return;
    sim->stalled_push.stream = NULL;
    sim->rt.now_ns = sim->now_ns;
    s->events->on_writable(s->user, sim->now_ns);
}

static enum vx_pull faulty_pull(const struct vx_stream_ops *real, struct vx_stream *s, struct vx_slice *bytes,
                                enum sim_fault kind) {
    if (!sim_fault_hits(wrapping, kind))
        return real->pull(s, bytes);
    s->error =
        vx_error(kind == SIM_FAULT_PULL_UP ? VX_ERR_BACKEND_RESET : VX_ERR_CLIENT_GONE, false, "injected");
    return VX_PULL_FAILED;
}

static size_t faulty_push(const struct vx_stream_ops *real, struct vx_stream *s, struct vx_slice bytes,
                          enum sim_fault kind) {
    if (!sim_fault_hits(wrapping, kind))
        return real->push(s, bytes);
    wrapping->stalled_push.stream = s;
    sim_after(wrapping, SIM_US(70), push_again, s, 0);
    return 0;
}

static void faulty_release(const struct vx_stream_ops *real, struct vx_stream *s) {
    if (wrapping->stalled_push.stream == s)
        wrapping->stalled_push.stream = NULL;
    real->release(s);
}

static enum vx_pull pull_down(struct vx_stream *s, struct vx_slice *bytes) {
    return faulty_pull(real_down, s, bytes, SIM_FAULT_PULL_DOWN);
}

static enum vx_pull pull_up(struct vx_stream *s, struct vx_slice *bytes) {
    return faulty_pull(real_up, s, bytes, SIM_FAULT_PULL_UP);
}

static size_t push_down(struct vx_stream *s, struct vx_slice bytes) {
    return faulty_push(real_down, s, bytes, SIM_FAULT_PUSH_DOWN);
}

static size_t push_up(struct vx_stream *s, struct vx_slice bytes) {
    return faulty_push(real_up, s, bytes, SIM_FAULT_PUSH_UP);
}

static void release_down(struct vx_stream *s) {
    faulty_release(real_down, s);
}

static void release_up(struct vx_stream *s) {
    faulty_release(real_up, s);
}

static struct vx_stream_ops down_ops, up_ops;

static bool wanted(const struct sim *sim) {
    return sim->faults.armed && sim->faults.kind >= SIM_FAULT_PULL_DOWN;
}

void sim_wrap_downstream(struct sim *sim, struct vx_stream *stream) {
    if (!wanted(sim))
        return;
    wrapping = sim;
    real_down = stream->ops;
    down_ops = *real_down;
    down_ops.pull = pull_down;
    down_ops.push = push_down;
    down_ops.release = release_down;
    stream->ops = &down_ops;
}

void sim_wrap_upstream(struct sim *sim, struct vx_stream *stream) {
    if (!wanted(sim))
        return;
    wrapping = sim;
    real_up = stream->ops;
    up_ops = *real_up;
    up_ops.pull = pull_up;
    up_ops.push = push_up;
    up_ops.release = release_up;
    stream->ops = &up_ops;
}
