/* SPDX-License-Identifier: Apache-2.0 */
/* See hub.h. */
#include "filters/proxy_wasm/hub.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINE_BYTES = 2048 };

static void init_crew(struct vx_pwasm_crew *crew) {
    vx_list_init(&crew->vms);
    vx_list_init(&crew->seats);
    vx_pwasm_turns_init(&crew->turns);
}

bool vx_pwasm_hub_init(struct vx_pwasm_hub *hub, const struct vx_log_port *log) {
    memset(hub, 0, sizeof *hub);
    hub->log = log;
    hub->shared = vx_pwasm_shared_new();
    hub->series = vx_pwasm_series_new();
    for (uint32_t i = 0; i < VX_PWASM_WORKERS_MAX; i++)
        init_crew(&hub->crews[i]);
    if (hub->shared && hub->series)
        return true;
    vx_pwasm_hub_free(hub);
    return false;
}

void vx_pwasm_hub_free(struct vx_pwasm_hub *hub) {
    vx_pwasm_shared_free(hub->shared);
    vx_pwasm_series_free(hub->series);
}

void vx_pwasm_hub_join(struct vx_pwasm_hub *hub, struct vx_pwasm_vm *vm) {
    vx_list_push_back(&hub->crews[vm->worker_index].vms, &vm->link);
}

void vx_pwasm_hub_leave(struct vx_pwasm_vm *vm) {
    vx_list_remove(&vm->link);
}

void vx_pwasm_hub_log(const struct vx_pwasm_hub *hub, enum vx_log_level level, const char *format, ...) {
    char line[LINE_BYTES];
    if (!hub->log || level < hub->log->least)
        return;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    hub->log->write(hub->log, level, vx_slice(line, len));
}

void vx_pwasm_hub_ask(const struct vx_pwasm_vm *vm, struct vx_pwasm_turn *turn, uint64_t now_ns) {
    vx_pwasm_turn_ask(&vm->plan->hub->crews[vm->worker_index].turns, turn, now_ns);
}

/* Word of a queue, on its way to a worker; there it waits for its turns, one for each item. */
struct word {
    struct vx_pwasm_turn turn;
    struct vx_pwasm_hub *hub;
    struct vx_pwasm_listener to;
    uint32_t queue;
};

static struct vx_pwasm_vm *find(struct vx_pwasm_crew *crew, uint64_t serial) {
    for (struct vx_list *at = crew->vms.next; at != &crew->vms; at = at->next) {
        struct vx_pwasm_vm *vm = VX_CONTAINER_OF(at, struct vx_pwasm_vm, link);
        if (vm->serial == serial)
            return vm;
    }
    return NULL;
}

/* The VM may have gone meanwhile; the items then wait for the next one that listens. */
static void forget(struct word *word) {
    vx_pwasm_queue_untold(word->hub->shared, word->queue);
    free(word);
}

/* Tells of one item. */
static void tell(struct vx_pwasm_turn *turn, uint64_t now_ns) {
    struct word *word = VX_CONTAINER_OF(turn, struct word, turn);
    struct vx_pwasm_crew *crew = &word->hub->crews[word->to.worker];
    struct vx_pwasm_vm *vm = find(crew, word->to.vm);
    wasmtime_val_raw_t v[2] = {{.i32 = VX_PWASM_ROOT_ID}, {.i32 = (int32_t)word->queue}};
    if (!vm || !vx_pwasm_vm_has(vm, VX_PWASM_ON_QUEUE_READY)) {
        forget(word);
    } else if (vx_pwasm_queue_tell(word->hub->shared, word->queue, word->to)) {
        vx_pwasm_vm_call(vm, VX_PWASM_ON_QUEUE_READY, &vm->root, v, 2, now_ns);
        vx_pwasm_turn_ask(&crew->turns, turn, now_ns);
    } else {
        free(word);
    }
}

/* On the worker's thread. */
static void hear(void *arg, uint64_t now_ns) {
    struct word *word = arg;
    vx_pwasm_turn_ask(&word->hub->crews[word->to.worker].turns, &word->turn, now_ns);
}

enum vx_pwasm_status vx_pwasm_hub_enqueue(struct vx_pwasm_hub *hub, uint32_t id, struct vx_slice item) {
    struct vx_pwasm_listener to;
    enum vx_pwasm_status status = vx_pwasm_queue_push(hub->shared, id, item, &to);
    if (status != VX_PWASM_OK || !to.vm)
        return status;
    const struct vx_filter_worker *worker = hub->crews[to.worker].worker;
    struct word *word = malloc(sizeof *word);
    if (word) {
        *word = (struct word){.hub = hub, .to = to, .queue = id};
        vx_pwasm_turn_init(&word->turn, tell);
    }
    if (!word || !worker || !worker->post(worker, hear, word)) {
        free(word);
        vx_pwasm_queue_untold(hub->shared, id);
    }
    return status;
}

void vx_pwasm_hub_attach(struct vx_pwasm_hub *hub, uint32_t index, const struct vx_filter_worker *worker) {
    VX_CHECK(index < VX_PWASM_WORKERS_MAX);
    hub->crews[index].worker = worker;
    hub->crews[index].turns.wheel = worker->wheel;
    if (hub->crew_count <= index)
        hub->crew_count = index + 1;
}

void vx_pwasm_hub_detach(struct vx_pwasm_hub *hub, uint32_t index) {
    struct vx_pwasm_crew *crew = &hub->crews[index];
    if (!crew->worker)
        return;
    vx_timer_remove(crew->turns.wheel, &crew->turns.timer);
    /* What has to do with a VM went with it: these are words, and nobody is left to hear them. */
    for (struct vx_list *at = crew->turns.waiting.next, *next; at != &crew->turns.waiting; at = next) {
        next = at->next;
        vx_list_remove(at);
        forget(VX_CONTAINER_OF(at, struct word, turn.link));
    }
    crew->turns.wheel = NULL;
    crew->worker = NULL;
}
