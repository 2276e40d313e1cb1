/* SPDX-License-Identifier: Apache-2.0 */
/* See sim.h: the event heap, the run of a world, and how a failure is told. */
#include "sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/client.h"
#include "sim/world.h"

enum {
    STILL_ROUNDS_MAX = 20000, /* rounds without time going on: something turns in a circle */
    VIRTUAL_SECONDS_MAX = 7200,
    SPARE_EXCHANGES = 64,
};

/* The world that runs, for what comes without a pointer to it: broken assertions and the sanitizers. */
static const struct sim *running;

static void tell_replay(const struct sim *sim) {
    const struct sim_fault_plan *f = &sim->faults;
    fprintf(stderr, "seed %llu, scenario %s, step %llu, virtual time %.6f s\n", (unsigned long long)sim->seed,
            sim->scenario->name, (unsigned long long)sim->rounds, (double)sim->now_ns / 1e9 - 1000);
    fprintf(stderr, "replay: vortex_sim --scenario %s --seed %llu --exchanges %u", sim->scenario->name,
            (unsigned long long)sim->seed, sim->wanted);
    if (f->armed)
        fprintf(stderr, " --fault %s:%llu", sim_fault_name(f->kind), (unsigned long long)f->at);
    fprintf(stderr, " --verbose\n");
}

_Noreturn void sim_fail(const struct sim *sim, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "vortex_sim: ");
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    tell_replay(sim);
    fflush(stderr);
    _exit(1);
}

/* The proxy's own assertions end here instead of in its abort(). */
_Noreturn void vx_panic(const char *file, int line, const char *condition) {
    fprintf(stderr, "vortex_sim: broken assertion at %s:%d: %s\n", file, line, condition);
    if (running)
        tell_replay(running);
    fflush(stderr);
    abort();
}

/* Called by the sanitizers' runtimes when they are there. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void tell_at_death(void) {
    if (running)
        tell_replay(running);
}

/* The heap */

static bool before(const struct sim_event *a, const struct sim_event *b) {
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void sim_after(struct sim *sim, uint64_t after_ns, sim_event_fn *run, void *actor, uint64_t arg) {
    if (sim->heap_count == sim->heap_room) {
        sim->heap_room = sim->heap_room ? sim->heap_room * 2 : 256;
        sim->heap = realloc(sim->heap, sim->heap_room * sizeof *sim->heap);
        if (!sim->heap)
            abort();
    }
    struct sim_event event = {sim->now_ns + after_ns, sim->order++, run, actor, arg};
    size_t at = sim->heap_count++;
    for (; at && before(&event, &sim->heap[(at - 1) / 2]); at = (at - 1) / 2)
        sim->heap[at] = sim->heap[(at - 1) / 2];
    sim->heap[at] = event;
}

static struct sim_event pop(struct sim *sim) {
    struct sim_event first = sim->heap[0], last = sim->heap[--sim->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= sim->heap_count)
            break;
        if (child + 1 < sim->heap_count && before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!before(&sim->heap[child], &last))
            break;
        sim->heap[at] = sim->heap[child];
        at = child;
    }
    sim->heap[at] = last;
    return first;
}

/* The run */

static void reload(struct sim *sim, void *actor, uint64_t arg) {
    (void)actor, (void)arg;
    if (!sim->clients_open || sim->version_count >= SIM_VERSIONS_MAX)
        return;
    sim->reload_wanted = true;
    sim_after(sim, SIM_MS(sim->scenario->reload_every_ms) / 2 + SIM_US(sim_below(sim, 5000)), reload, NULL,
              0);
}

static void cut(struct sim *sim, void *actor, uint64_t arg) {
    (void)actor, (void)arg;
    sim->cut_wanted = true;
}

static void drain(struct sim *sim, void *actor, uint64_t arg) {
    (void)actor, (void)arg;
    sim->drain_wanted = true;
    if (sim->scenario->cut_after_ms)
        sim_after(sim, SIM_US(sim_below(sim, sim->scenario->cut_after_ms * 1000)), cut, NULL, 0);
    sim->excuse_502 = sim->excuse_503 = true;
}

static void run_actors(struct sim *sim) {
    while (sim->heap_count && sim->heap[0].at_ns <= sim->now_ns) {
        struct sim_event e = pop(sim);
        e.run(sim, e.actor, e.arg);
    }
}

/* When the next thing happens; UINT64_MAX: never. */
static uint64_t next_ns(const struct sim *sim) {
    if (!vx_list_empty(&sim->ready) || sim->tasks_left || !vx_list_empty(&sim->rt.tasks) ||
        sim->reload_wanted || sim->drain_wanted || sim->cut_wanted)
        return sim->now_ns;
    uint64_t wheel = vx_timer_wheel_next_ns(&sim->rt.wheel, sim->now_ns);
    uint64_t next = wheel == UINT64_MAX ? UINT64_MAX : sim->now_ns + wheel;
    if (sim->heap_count && sim->heap[0].at_ns < next)
        next = sim->heap[0].at_ns;
    return next;
}

static void go(struct sim *sim) {
    uint64_t end_ns = sim->now_ns + SIM_S(VIRTUAL_SECONDS_MAX);
    for (uint64_t next; (next = next_ns(sim)) != UINT64_MAX;) {
        sim->still_rounds = next > sim->now_ns ? 0 : sim->still_rounds + 1;
        if (sim->still_rounds > STILL_ROUNDS_MAX)
            sim_fail(sim, "the proxy turns in a circle");
        if (next > end_ns)
            clients_check_done(sim);
        if (next > end_ns)
            sim_fail(sim, "the world does not come to rest: %u clients, %u exchanges, %u and %u connections",
                     sim->clients_open, sim->proxy.active, sim->accepted_open, sim->dialed_open);
        if (next > sim->now_ns)
            sim->now_ns = next;
        /* A busy proxy comes to its events a little late, and finds more of them at once. */
        if (sim_chance(sim, 100))
            sim->now_ns += sim_below(sim, 200000);
        run_actors(sim);
        world_round(sim);
    }
}

static struct sim *create(const struct sim_options *options) {
    struct sim *sim = calloc(1, sizeof *sim);
    if (!sim)
        abort();
    sim->scenario = options->scenario;
    sim->seed = options->seed;
    sim->wanted = options->exchanges;
    sim->verbose = options->verbose;
    sim->faults = options->faults;
    sim->mischief = options->mischief;
    sim->random.state = options->seed;
    vx_random_next(&sim->random);
    sim->exchange_room = options->exchanges + SPARE_EXCHANGES;
    sim->exchanges = calloc(sim->exchange_room, sizeof *sim->exchanges);
    if (!sim->exchanges)
        abort();
    return sim;
}

struct sim_result sim_run(const struct sim_options *options) {
    struct sim *sim = create(options);
    running = sim;
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(tell_at_death);
    world_init(sim);
    clients_start(sim);
    if (sim->scenario->reload_every_ms)
        sim_after(sim, SIM_MS(1), reload, NULL, 0);
    if (sim->scenario->drain_after_ms)
        sim_after(sim, SIM_US(sim_below(sim, sim->scenario->drain_after_ms * 1000)), drain, NULL, 0);
    go(sim);
    world_end(sim);
    struct sim_result result = {
        .digest = sim->digest,
        .rounds = sim->rounds,
        .exchanges = sim->exchange_count,
        .answered = sim->answered,
        .cut = sim->cut,
        .own_answers = sim->own_answers,
        .tunnels = sim->tunnels_begun,
        .retries = sim->retries,
        .breaker_openings = sim->breaker_openings,
        .virtual_ns = sim->now_ns - SIM_S(1000),
    };
    memcpy(result.fault_calls, sim->faults.calls, sizeof result.fault_calls);
    running = NULL;
    free(sim->heap);
    free(sim->exchanges);
    free(sim);
    return result;
}
