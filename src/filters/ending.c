/* SPDX-License-Identifier: Apache-2.0 */
/* Filters that nothing holds any more, on their way to their end (core/ports/filter.h). */
#include <inttypes.h>
#include <stdlib.h>

#include "filters/clock.h"
#include "filters/internal.h"
#include "filters/print.h"

enum {
    ENDING_MAX = 16,
    INSTANCES_SHARE = 4, /* the part of wasm.instances that may be ending */
};

/* New filters need instances too, while old ones have theirs. */
static uint32_t most(const struct vx_filters *f) {
    uint32_t workers = f->hub.crew_count ? f->hub.crew_count : 1;
    uint32_t room = f->instances / INSTANCES_SHARE / workers;
    return room > ENDING_MAX ? ENDING_MAX : room ? room : 1;
}

static void cut_oldest(struct vx_filters *f) {
    uint32_t count = vx_list_length(&f->ending);
    for (struct vx_list *at = f->ending.next; count > most(f); at = at->next, count--) {
        const struct vx_loaded *l = VX_CONTAINER_OF(at, struct vx_loaded, link);
        if (l->kind->order)
            l->kind->order(l->filter, VX_PWASM_ORDER_CUT);
    }
}

void vx_filters_collect(struct vx_filters *f) {
    for (struct vx_list *at = f->ending.next, *next; at != &f->ending; at = next) {
        next = at->next;
        struct vx_loaded *l = VX_CONTAINER_OF(at, struct vx_loaded, link);
        if (l->kind->has_ended && !l->kind->has_ended(l->filter))
            continue;
        vx_list_remove(at);
        vx_filters_keep_counts(f, l);
        l->kind->free(l->filter);
        free(l);
    }
}

void vx_filters_begin_end(struct vx_filters *f, struct vx_loaded *l) {
    vx_list_remove(&l->link);
    vx_list_push_back(&f->ending, &l->link);
    l->ending_ns = vx_clock_ns(CLOCK_MONOTONIC);
    if (l->kind->order)
        l->kind->order(l->filter, VX_PWASM_ORDER_END);
    vx_filters_collect(f);
    cut_oldest(f);
}

void vx_filters_dump_ending(const struct vx_filters *f, struct vx_text_sink *sink) {
    for (const struct vx_list *at = f->ending.next; at != &f->ending; at = at->next) {
        const struct vx_loaded *l = VX_CONTAINER_OF(at, const struct vx_loaded, link);
        uint32_t instances = l->kind->ending ? l->kind->ending(l->filter) : 0;
        vx_print(sink, "filter %.*s: replaced %" PRIu64 " ms ago, %u instances are ending\n",
                 VX_SLICE_ARG(l->filter->name), (vx_clock_ns(CLOCK_MONOTONIC) - l->ending_ns) / 1000000,
                 instances);
    }
}
