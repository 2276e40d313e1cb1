/* SPDX-License-Identifier: Apache-2.0 */
/* See series.h. */
#include "filters/proxy_wasm/series.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "filters/print.h"

/* Envoy's buckets for histograms without a unit of their own. */
static const uint64_t bounds[] = {1,    5,    10,    25,    50,    100,    250,    500,     1000,
                                  2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000};

enum { BOUNDS = sizeof bounds / sizeof bounds[0] };

struct one {
    enum vx_pwasm_metric type;
    struct vx_slice name;   /* as the plugin gave it; lies behind the struct */
    _Atomic uint64_t value; /* of a histogram: the sum */
    _Atomic uint64_t counts[BOUNDS + 1];
};

struct vx_pwasm_series {
    pthread_mutex_t lock; /* of defining */
    _Atomic uint32_t count;
    struct one *all[VX_PWASM_SERIES_MAX]; /* those below `count` do not change */
};

struct vx_pwasm_series *vx_pwasm_series_new(void) {
    struct vx_pwasm_series *s = calloc(1, sizeof *s);
    if (s)
        pthread_mutex_init(&s->lock, NULL);
    return s;
}

void vx_pwasm_series_free(struct vx_pwasm_series *s) {
    if (!s)
        return;
    uint32_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++)
        free(s->all[i]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Defining */

/* The name on the page: what Prometheus does not allow in one becomes `_`. Names that begin like our own, or with a
 * digit, get a prefix. */
static size_t page_name(struct vx_slice name, char *out) {
    size_t n = 0;
    bool ours = vx_slice_starts_with(name, VX_SLICE("vortex_"));
    if (ours || (unsigned)(name.ptr[0] - '0') < 10) {
        memcpy(out, "plugin_", 7);
        n = 7;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i], letter = vx_lower(c);
        bool fine = (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9');
        out[n++] = fine ? c : '_';
    }
    return n;
}

enum { PAGE_NAME_MAX = VX_PWASM_SERIES_NAME_MAX + 7 };

/* Two names that look alike on the page are one series. */
static bool same_on_page(struct vx_slice a, struct vx_slice b) {
    char left[PAGE_NAME_MAX], right[PAGE_NAME_MAX];
    size_t n = page_name(a, left);
    return n == page_name(b, right) && memcmp(left, right, n) == 0;
}

static uint32_t find(const struct vx_pwasm_series *s, uint32_t count, struct vx_slice name) {
    for (uint32_t i = 0; i < count; i++)
        if (same_on_page(s->all[i]->name, name))
            return i + 1;
    return 0;
}

static enum vx_pwasm_status make(struct vx_pwasm_series *s, uint32_t count, enum vx_pwasm_metric type,
                                 struct vx_slice name, uint32_t *id) {
    struct one *o = count < VX_PWASM_SERIES_MAX ? calloc(1, sizeof *o + name.len) : NULL;
    if (!o)
        return VX_PWASM_INTERNAL_FAILURE;
    o->type = type;
    memcpy(o + 1, name.ptr, name.len);
    o->name = vx_slice((const char *)(o + 1), name.len);
    s->all[count] = o;
    atomic_store_explicit(&s->count, count + 1, memory_order_release);
    *id = count + 1;
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_series_define(struct vx_pwasm_series *s, uint32_t type, struct vx_slice name,
                                            uint32_t *id) {
    if (type >= VX_PWASM_METRIC_COUNT || !name.len || name.len > VX_PWASM_SERIES_NAME_MAX)
        return VX_PWASM_BAD_ARGUMENT;
    enum vx_pwasm_status status = VX_PWASM_OK;
    pthread_mutex_lock(&s->lock);
    uint32_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
    uint32_t found = find(s, count, name);
    if (!found)
        status = make(s, count, (enum vx_pwasm_metric)type, name, id);
    else if (s->all[found - 1]->type != type)
        status = VX_PWASM_BAD_ARGUMENT;
    else
        *id = found;
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* Counting */

static struct one *one_of(struct vx_pwasm_series *s, uint32_t id) {
    return id && id <= atomic_load_explicit(&s->count, memory_order_acquire) ? s->all[id - 1] : NULL;
}

static void add(_Atomic uint64_t *n, uint64_t delta) {
    atomic_fetch_add_explicit(n, delta, memory_order_relaxed);
}

enum vx_pwasm_status vx_pwasm_series_increment(struct vx_pwasm_series *s, uint32_t id, int64_t delta) {
    struct one *o = one_of(s, id);
    if (!o)
        return VX_PWASM_NOT_FOUND;
    if (o->type == VX_PWASM_HISTOGRAM || (o->type == VX_PWASM_COUNTER && delta <= 0))
        return VX_PWASM_BAD_ARGUMENT;
    add(&o->value, (uint64_t)delta);
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_series_record(struct vx_pwasm_series *s, uint32_t id, uint64_t value) {
    struct one *o = one_of(s, id);
    if (!o)
        return VX_PWASM_NOT_FOUND;
    if (o->type == VX_PWASM_GAUGE) {
        atomic_store_explicit(&o->value, value, memory_order_relaxed);
        return VX_PWASM_OK;
    }
    add(&o->value, value);
    if (o->type == VX_PWASM_HISTOGRAM) {
        unsigned i = 0;
        while (i < BOUNDS && value > bounds[i])
            i++;
        add(&o->counts[i], 1);
    }
    return VX_PWASM_OK;
}

enum vx_pwasm_status vx_pwasm_series_get(struct vx_pwasm_series *s, uint32_t id, uint64_t *value) {
    struct one *o = one_of(s, id);
    if (!o)
        return VX_PWASM_NOT_FOUND;
    if (o->type == VX_PWASM_HISTOGRAM)
        return VX_PWASM_BAD_ARGUMENT;
    *value = atomic_load_explicit(&o->value, memory_order_relaxed);
    return VX_PWASM_OK;
}

/* The page */

_Static_assert(2 * PAGE_NAME_MAX + 128 <= VX_PRINT_MAX_BYTES, "no line of the page is cut");

static void render_histogram(struct one *o, const char *name, struct vx_text_sink *sink) {
    uint64_t total = 0;
    for (unsigned i = 0; i < BOUNDS; i++) {
        total += atomic_load_explicit(&o->counts[i], memory_order_relaxed);
        vx_print(sink, "%s_bucket{le=\"%" PRIu64 "\"} %" PRIu64 "\n", name, bounds[i], total);
    }
    total += atomic_load_explicit(&o->counts[BOUNDS], memory_order_relaxed);
    vx_print(sink, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, total);
    vx_print(sink, "%s_sum %" PRIu64 "\n", name, atomic_load_explicit(&o->value, memory_order_relaxed));
    vx_print(sink, "%s_count %" PRIu64 "\n", name, total);
}

static void render_one(struct one *o, struct vx_text_sink *sink) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    char name[PAGE_NAME_MAX + 1];
    name[page_name(o->name, name)] = '\0';
    vx_print(sink, "# HELP %s Defined by a plugin.\n# TYPE %s %s\n", name, name, types[o->type]);
    if (o->type == VX_PWASM_HISTOGRAM)
        render_histogram(o, name, sink);
    else
        vx_print(sink, "%s %" PRIu64 "\n", name, atomic_load_explicit(&o->value, memory_order_relaxed));
}

void vx_pwasm_series_render(struct vx_pwasm_series *s, struct vx_text_sink *sink) {
    uint32_t count = atomic_load_explicit(&s->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++)
        render_one(s->all[i], sink);
}
