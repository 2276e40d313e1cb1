/* SPDX-License-Identifier: Apache-2.0 */
/* What the metrics page says of filters. Filters of one name are one: those of an old configuration that still has
 * exchanges, those that are gone, and their VMs on all workers. */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "filters/internal.h"
#include "filters/print.h"

static const struct {
    uint64_t ns;
    const char *le;
} bounds[] = {
    {1000, "0.000001"}, {5000, "0.000005"}, {10000, "0.00001"}, {50000, "0.00005"},
    {100000, "0.0001"}, {500000, "0.0005"}, {1000000, "0.001"}, {5000000, "0.005"},
    {10000000, "0.01"}, {50000000, "0.05"}, {100000000, "0.1"}, {1000000000, "1"},
};

/* Counting */

static struct vx_filter_counts *counts_of(struct vx_list *list, struct vx_slice name) {
    for (struct vx_list *at = list->next; at != list; at = at->next) {
        struct vx_filter_counts *c = VX_CONTAINER_OF(at, struct vx_filter_counts, link);
        if (vx_slice_eq(c->name, name))
            return c;
    }
    struct vx_filter_counts *c = calloc(1, sizeof *c + name.len + 1);
    if (!c)
        return NULL;
    memcpy(c + 1, name.ptr, name.len);
    c->name = vx_slice((const char *)(c + 1), name.len);
    vx_list_push_back(list, &c->link);
    return c;
}

void vx_filters_count_plugin(struct vx_filter_counts *c, const struct vx_filter *f) {
    const struct vx_pwasm_plugin *p = VX_CONTAINER_OF(f, const struct vx_pwasm_plugin, filter);
    for (uint32_t i = 0; i < p->seat_count; i++) {
        const struct vx_pwasm_seat_shared *s = &p->seats[i].shared;
        c->traps += atomic_load_explicit(&s->traps, memory_order_relaxed);
        c->isolated += atomic_load_explicit(&s->isolated, memory_order_relaxed);
        vx_histogram_add(&c->duration, &s->duration);
    }
    c->ending += vx_pwasm_plugin_ending(f);
}

void vx_filters_count_execute(struct vx_filter_counts *c, const struct vx_filter *f) {
    const struct vx_execute *x = VX_CONTAINER_OF(f, const struct vx_execute, filter);
    for (uint32_t i = 0; i < x->seat_count; i++) {
        const struct vx_execute_shared *s = &x->seats[i].shared;
        c->traps += atomic_load_explicit(&s->traps, memory_order_relaxed);
        c->isolated += atomic_load_explicit(&s->isolated, memory_order_relaxed);
        vx_histogram_add(&c->duration, &s->duration);
    }
}

static void add_counts(struct vx_filter_counts *c, const struct vx_filter_counts *more) {
    c->traps += more->traps;
    c->duration.sum_ns += more->duration.sum_ns;
    c->duration.count += more->duration.count;
    for (unsigned i = 0; i < VX_HISTOGRAM_BUCKETS; i++)
        c->duration.counts[i] += more->duration.counts[i];
}

static void forget(struct vx_list *list) {
    for (struct vx_list *at = list->next, *next; at != list; at = next) {
        next = at->next;
        free(VX_CONTAINER_OF(at, struct vx_filter_counts, link));
    }
    vx_list_init(list);
}

void vx_filters_keep_counts(struct vx_filters *f, const struct vx_loaded *l) {
    struct vx_filter_counts *c = counts_of(&f->gone, l->filter->name);
    if (c)
        l->kind->count(c, l->filter);
}

void vx_filters_forget_counts(struct vx_filters *f) {
    forget(&f->gone);
}

static void gather_all(const struct vx_list *list, struct vx_list *rows) {
    for (const struct vx_list *at = list->next; at != list; at = at->next) {
        const struct vx_loaded *l = VX_CONTAINER_OF(at, const struct vx_loaded, link);
        struct vx_filter_counts *c = counts_of(rows, l->filter->name);
        if (c)
            l->kind->count(c, l->filter);
    }
}

/* One row for each name that has a filter now. */
static void gather(struct vx_filters *f, struct vx_list *rows) {
    gather_all(&f->loaded, rows);
    gather_all(&f->ending, rows);
    for (struct vx_list *at = rows->next; at != rows; at = at->next) {
        struct vx_filter_counts *c = VX_CONTAINER_OF(at, struct vx_filter_counts, link);
        for (struct vx_list *old = f->gone.next; old != &f->gone; old = old->next) {
            const struct vx_filter_counts *gone = VX_CONTAINER_OF(old, struct vx_filter_counts, link);
            if (vx_slice_eq(gone->name, c->name))
                add_counts(c, gone);
        }
    }
}

/* The page */

static void put_duration(const struct vx_filter_counts *c, struct vx_text_sink *sink) {
    static const char name[] = "vortex_filter_duration_seconds";
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        vx_print(sink, "%s_bucket{filter=\"%.*s\",le=\"%s\"} %" PRIu64 "\n", name, VX_SLICE_ARG(c->name),
                 bounds[i].le, vx_histogram_at_most(&c->duration, bounds[i].ns));
    vx_print(sink, "%s_bucket{filter=\"%.*s\",le=\"+Inf\"} %" PRIu64 "\n", name, VX_SLICE_ARG(c->name),
             c->duration.count);
    vx_print(sink, "%s_sum{filter=\"%.*s\"} %" PRIu64 ".%09" PRIu64 "\n", name, VX_SLICE_ARG(c->name),
             c->duration.sum_ns / 1000000000, c->duration.sum_ns % 1000000000);
    vx_print(sink, "%s_count{filter=\"%.*s\"} %" PRIu64 "\n", name, VX_SLICE_ARG(c->name), c->duration.count);
}

/* A family of one sample for each filter; `field` is the offset of its uint64_t in the row. */
static void put_family(const char *name, const char *type, const char *help, size_t field,
                       const struct vx_list *rows, struct vx_text_sink *sink) {
    vx_print(sink, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    for (const struct vx_list *at = rows->next; at != rows; at = at->next) {
        const struct vx_filter_counts *c = VX_CONTAINER_OF(at, const struct vx_filter_counts, link);
        uint64_t value = *(const uint64_t *)((const char *)c + field);
        vx_print(sink, "%s{filter=\"%.*s\"} %" PRIu64 "\n", name, VX_SLICE_ARG(c->name), value);
    }
}

void vx_filters_render(struct vx_metrics_source *self, struct vx_text_sink *sink) {
    struct vx_filters *f = VX_CONTAINER_OF(self, struct vx_filters, source);
    struct vx_list rows;
    vx_list_init(&rows);
    gather(f, &rows);
    vx_print(sink, "# HELP vortex_filter_duration_seconds Time a filter's callback held an exchange up.\n"
                   "# TYPE vortex_filter_duration_seconds histogram\n");
    for (struct vx_list *at = rows.next; at != &rows; at = at->next)
        put_duration(VX_CONTAINER_OF(at, struct vx_filter_counts, link), sink);
    put_family("vortex_filter_traps_total", "counter",
               "Instances of a filter that ended by a trap, a deadline or a limit.",
               offsetof(struct vx_filter_counts, traps), &rows, sink);
    put_family("vortex_filter_isolated", "gauge", "Workers on which a filter has failed again and again.",
               offsetof(struct vx_filter_counts, isolated), &rows, sink);
    put_family("vortex_filter_ending", "gauge",
               "Instances of a filter that are not needed any more and have not come to their end.",
               offsetof(struct vx_filter_counts, ending), &rows, sink);
    forget(&rows);
    vx_pwasm_series_render(f->hub.series, sink);
}
