/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine of filters says of itself. Which filters are loaded is the control thread's to know, which instances are
 * alive their worker's; a thread may be compiling meanwhile, so only what lies still is looked at. */
#include <inttypes.h>

#include "filters/internal.h"
#include "filters/print.h"

void vx_filters_describe_plugin(const struct vx_filter *f, struct vx_text_sink *sink) {
    static const char *const versions[] = {"0.1.0", "0.2.0", "0.2.1"};
    const struct vx_pwasm_plugin *p = VX_CONTAINER_OF(f, const struct vx_pwasm_plugin, filter);
    uint32_t asked = 0, delivered = 0;
    for (uint32_t i = 0; i < p->seat_count; i++) {
        asked += atomic_load_explicit(&p->seats[i].shared.wanted, memory_order_relaxed);
        delivered += atomic_load_explicit(&p->seats[i].shared.delivered, memory_order_relaxed) != NULL;
    }
    vx_print(
        sink,
        "Proxy-WASM %s, %s, for %u workers, of which %u wait for a new instance and %u have one to take, "
        "memory up to %" PRIu64 " bytes",
        versions[p->plan.code.version], p->plan.code.module.cached ? "from the cache" : "compiled here",
        p->seat_count, asked, delivered, p->plan.memory_bytes);
}

void vx_filters_describe_execute(const struct vx_filter *f, struct vx_text_sink *sink) {
    const struct vx_execute *x = VX_CONTAINER_OF(f, const struct vx_execute, filter);
    uint32_t running = 0, over = 0;
    for (uint32_t i = 0; i < x->seat_count; i++) {
        running += atomic_load_explicit(&x->seats[i].shared.running, memory_order_relaxed);
        over += atomic_load_explicit(&x->seats[i].shared.over, memory_order_relaxed);
    }
    vx_print(
        sink,
        "execute, %s, a sandbox for each request, of which %u run and %u that are over share their store "
        "with the next, memory up to %" PRIu64 " bytes",
        x->plan.code.module.cached ? "from the cache" : "compiled here", running, over, x->plan.memory_bytes);
}

static void dump_filter(const struct vx_loaded *l, struct vx_text_sink *sink) {
    struct vx_filter_counts counts = {0};
    l->kind->count(&counts, l->filter);
    vx_print(sink, "  filter %.*s: ", VX_SLICE_ARG(l->filter->name));
    l->kind->describe(l->filter, sink);
    vx_print(sink, "; held %u times, %" PRIu64 " calls, %" PRIu64 " traps, isolated on %" PRIu64 " workers\n",
             l->holds, counts.duration.count, counts.traps, counts.isolated);
}

void vx_filters_dump(struct vx_filter_engine *self, struct vx_text_sink *sink) {
    struct vx_filters *f = VX_CONTAINER_OF(self, struct vx_filters, port);
    vx_filters_dump_ending(f, sink);
    if (vx_list_empty(&f->loaded))
        return;
    /* A filter that is loaded has its engine, which never changes. */
    const struct vx_loaded *any = VX_CONTAINER_OF(f->loaded.next, const struct vx_loaded, link);
    vx_wasm_engine_dump(any->wasm, sink);
    for (struct vx_list *at = f->loaded.next; at != &f->loaded; at = at->next)
        dump_filter(VX_CONTAINER_OF(at, const struct vx_loaded, link), sink);
}

/* Those of the dead that streams still know; the others go with the seat's next timer. */
static uint32_t count_held(const struct vx_list *dead) {
    uint32_t count = 0;
    for (const struct vx_list *at = dead->next; at != dead; at = at->next)
        count += !vx_list_empty(&VX_CONTAINER_OF(at, const struct vx_pwasm_vm, link)->streams);
    return count;
}

static void dump_seat(const struct vx_pwasm_seat *seat, struct vx_text_sink *sink) {
    struct vx_slice name = seat->plan->name;
    if (seat->state == VX_PWASM_SEAT_WAITING)
        vx_print(sink,
                 "  no instance of filter %.*s: it has failed %u times in a row, and waits for %" PRIu64
                 " ms\n",
                 VX_SLICE_ARG(name), seat->failures, vx_pwasm_seat_back_off_ns(seat) / 1000000);
    else if (seat->state == VX_PWASM_SEAT_ASKED)
        vx_print(
            sink,
            "  no instance of filter %.*s: it has failed %u times in a row, and the next is being started\n",
            VX_SLICE_ARG(name), seat->failures);
    uint32_t dead = count_held(&seat->dead);
    if (dead)
        vx_print(sink, "  %u dead instances of filter %.*s, whose streams have not all closed\n", dead,
                 VX_SLICE_ARG(name));
}

void vx_filters_dump_worker(struct vx_filter_engine *self, uint32_t worker, struct vx_text_sink *sink) {
    struct vx_filters *f = VX_CONTAINER_OF(self, struct vx_filters, port);
    const struct vx_pwasm_crew *crew = &f->hub.crews[worker];
    const struct vx_list *vms = &crew->vms, *seats = &crew->seats;
    for (const struct vx_list *at = vms->next; at != vms; at = at->next) {
        const struct vx_pwasm_vm *vm = VX_CONTAINER_OF(at, const struct vx_pwasm_vm, link);
        const struct vx_wasm_instance *i = &vm->sandbox;
        vx_print(sink,
                 "  instance %" PRIu64
                 " of filter %.*s: %zu bytes of memory, %u streams, %u calls under way%s\n",
                 vm->serial, VX_SLICE_ARG(vm->plan->name),
                 i->has_memory ? wasmtime_memory_data_size(i->context, &i->memory) : 0,
                 vx_list_length(&vm->streams), vx_list_length(&vm->calls), vm->tick_ms ? ", ticks" : "");
    }
    for (const struct vx_list *at = seats->next; at != seats; at = at->next)
        dump_seat(VX_CONTAINER_OF(at, const struct vx_pwasm_seat, link), sink);
    uint32_t turns = vx_list_length(&crew->turns.waiting);
    if (turns)
        vx_print(sink, "  %u turns of filters wait for the next rounds\n", turns);
}
