/* SPDX-License-Identifier: Apache-2.0 */
/* See ahead.h. While a job's thread runs, no other one loads or configures filters: that is what the engine asks for
 * (core/ports/filter.h), and why jobs wait for each other. */
#include "proxy/control/ahead.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proxy/compose.h"
#include "proxy/control/internal.h"

enum { POST_AGAIN_MS = 10 };

struct job {
    struct vx_list link;
    struct vx_control *control;
    struct vx_admin_call *call; /* NULL: nobody waits */
    pthread_t thread;
    struct vx_task task; /* instead of a thread */
    bool started, threaded;
    bool pushes;         /* a module; else it reloads */
    bool only_compiles;  /* the load that follows is the caller's */
    atomic_bool through; /* nothing is being compiled any more */
    struct vx_slice name, binary;
    char path[VX_CONTROL_PATH_BYTES];
    char memory[]; /* of name and binary */
};

static void start(struct vx_control *c);

static struct job *first_of(const struct vx_ahead *a) {
    return vx_list_empty(&a->jobs) ? NULL : VX_CONTAINER_OF(a->jobs.next, struct job, link);
}

static void answer(struct job *j, bool done, const char *said) {
    struct vx_admin_answer a = {
        .outcome = done ? VX_ADMIN_DONE : VX_ADMIN_REFUSED,
        .text = vx_slice_of(said),
    };
    if (j->call)
        j->call->answered(j->call, &a);
    j->call = NULL;
}

/* It is off the list, or the list is the caller's business. */
static void finish(struct job *j, bool done, const char *said) {
    j->control->ahead.bytes -= j->binary.len;
    answer(j, done, said);
    free(j);
}

/* Everything is compiled, as far as it can be. */
static void carry_out(struct job *j) {
    struct vx_control *c = j->control;
    char said[VX_ADMIN_ROOM] = "";
    if (j->only_compiles) {
        vx_list_remove(&j->link);
        finish(j, true, said);
        return;
    }
    bool done = j->pushes ? vx_control_update_filter(c, j->name, j->binary, said, sizeof said)
                          : vx_control_reload(c, j->path, said, sizeof said);
    if (c->filters)
        c->filters->forget_compiled(c->filters);
    vx_list_remove(&j->link);
    finish(j, done, said);
    start(c);
}

/* The first job's thread is through. */
static void compiled(void *arg, uint64_t now_ns) {
    (void)now_ns;
    struct vx_ahead *a = &((struct vx_control *)arg)->ahead;
    struct job *j = first_of(a);
    if (!j || atomic_load(&a->ending)) /* then that sees to it */
        return;
    pthread_join(j->thread, NULL);
    carry_out(j);
}

static void without_thread(struct vx_task *task, uint64_t now_ns) {
    (void)now_ns;
    carry_out(VX_CONTAINER_OF(task, struct job, task));
}

/* --- On the job's thread ------------------------------------------------------------------------------------------ */

static void compile_all(const struct vx_config *config, struct vx_control *c) {
    struct vx_filter_engine *engine = c->filters;
    engine->configure(engine, &config->wasm);
    for (uint32_t i = 0; i < config->filter_count && !atomic_load(&c->ahead.ending); i++)
        engine->compile(engine, &config->filters[i], VX_SLICE_NONE);
}

static void *run(void *arg) {
    struct job *j = arg;
    struct vx_control *c = j->control;
    if (j->pushes) {
        c->filters->compile(c->filters, NULL, j->binary);
    } else {
        struct vx_config_error error;
        struct vx_config *config = vx_compose_config_source()->load(j->path, &error);
        if (config && config->filter_count)
            compile_all(config, c);
        vx_compose_config_source()->free(config);
    }
    atomic_store(&j->through, true);
    while (!vx_loop_post(c->engine.loop, compiled, c) && !atomic_load(&c->ahead.ending))
        nanosleep(&(struct timespec){.tv_nsec = POST_AGAIN_MS * 1000000}, NULL);
    return NULL;
}

/* --- On the control thread ---------------------------------------------------------------------------------------- */

/* Begins with the first job, unless it is under way. */
static void start(struct vx_control *c) {
    struct job *j = first_of(&c->ahead);
    if (!j || j->started)
        return;
    j->started = true;
    if (!j->pushes && !j->path[0])
        snprintf(j->path, sizeof j->path, "%s", c->path);
    j->threaded = c->filters && pthread_create(&j->thread, NULL, run, j) == 0;
    if (!j->threaded) /* then it takes longer, that is all */
        vx_runtime_defer(&c->engine.rt, &j->task);
}

static bool add(struct vx_control *c, struct job *j, struct vx_admin_call *call) {
    struct vx_ahead *a = &c->ahead;
    bool idle = vx_list_empty(&a->jobs);
    vx_list_init(&j->link);
    vx_task_init(&j->task, without_thread);
    atomic_init(&j->through, false);
    j->control = c;
    j->call = call;
    a->bytes += j->binary.len;
    vx_list_push_back(&a->jobs, &j->link);
    if (idle)
        start(c);
    return true;
}

/* Whether a reload that nobody waits for has yet to begin: another one would find the same file. */
static bool reloads_soon(const struct vx_ahead *a) {
    const struct job *last = VX_CONTAINER_OF(a->jobs.prev, struct job, link);
    return !vx_list_empty(&a->jobs) && last != first_of(a) && !last->pushes && !last->path[0] && !last->call;
}

void vx_ahead_first(struct vx_control *c) {
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return; /* then the load compiles itself */
    j->only_compiles = true;
    add(c, j, NULL);
    while (!vx_list_empty(&c->ahead.jobs) && c->readiness != VX_DRAINING)
        vx_loop_run_once(c->engine.loop, UINT64_MAX);
}

bool vx_ahead_reload(struct vx_control *c, struct vx_slice path, struct vx_admin_call *call) {
    if (!call && reloads_soon(&c->ahead))
        return true;
    struct job *j = path.len < VX_CONTROL_PATH_BYTES ? calloc(1, sizeof *j) : NULL;
    if (!j)
        return false;
    snprintf(j->path, sizeof j->path, "%.*s", VX_SLICE_ARG(path));
    return add(c, j, call);
}

bool vx_ahead_push(struct vx_control *c, struct vx_slice name, struct vx_slice binary,
                   struct vx_admin_call *call, const char **why) {
    *why = "there is no module in the request";
    if (!binary.len)
        return false;
    *why = "too many modules wait to be compiled";
    if (c->ahead.bytes + binary.len > VX_AHEAD_BYTES_MAX)
        return false;
    *why = "out of memory";
    struct job *j = calloc(1, sizeof *j + name.len + binary.len);
    if (!j)
        return false;
    if (name.len)
        memcpy(j->memory, name.ptr, name.len);
    memcpy(j->memory + name.len, binary.ptr, binary.len);
    j->pushes = true;
    j->name = vx_slice(j->memory, name.len);
    j->binary = vx_slice(j->memory + name.len, binary.len);
    return add(c, j, call);
}

void vx_ahead_dump(const struct vx_ahead *a, struct vx_text *out) {
    uint32_t waiting = vx_list_length(&a->jobs);
    if (waiting)
        vx_text_format(out, "compiling for a %s, %u jobs wait behind it, %zu bytes of pushed modules\n",
                       first_of(a)->pushes ? "push" : "reload", waiting - 1, a->bytes);
}

void vx_ahead_init(struct vx_ahead *a) {
    vx_list_init(&a->jobs);
    a->bytes = 0;
    atomic_init(&a->ending, false);
}

bool vx_ahead_end(struct vx_control *c) {
    static const char said[] = "the proxy has ended";
    struct job *j = first_of(&c->ahead);
    atomic_store(&c->ahead.ending, true);
    bool compiling = j && j->threaded && !atomic_load(&j->through);
    if (compiling)
        answer(j, false, said); /* the rest is its thread's */
    else if (j && j->threaded)
        pthread_join(j->thread, NULL);
    struct vx_list *next, *at = compiling ? j->link.next : c->ahead.jobs.next;
    for (; at != &c->ahead.jobs; at = next) {
        next = at->next;
        j = VX_CONTAINER_OF(at, struct job, link);
        vx_list_remove(at);
        vx_task_cancel(&j->task);
        finish(j, false, said);
    }
    return !compiling;
}

void vx_ahead_leave(struct vx_control *c) {
    pthread_detach(first_of(&c->ahead)->thread);
}
