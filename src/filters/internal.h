/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by filters.c (what is loaded), ending.c (what goes), report.c (what the metrics page says of it) and dump.c (what a
 * dump does). */
#ifndef VX_FILTERS_INTERNAL_H
#define VX_FILTERS_INTERNAL_H

#include <openssl/sha.h>

#include "filters/execute.h"
#include "filters/filters.h"
#include "filters/proxy_wasm/plugin.h"

struct vx_filter_identity {
    uint8_t bytes[SHA256_DIGEST_LENGTH];
};

struct vx_filter_counts;

/* What differs between plugins and `execute` filters here. */
struct vx_filter_kind {
    struct vx_filter *(*make)(struct vx_pwasm_hub *hub, const struct vx_config_filter *config,
                              struct vx_wasm_module *module, struct vx_wasm_text *why);
    void (*free)(struct vx_filter *f);
    void (*count)(struct vx_filter_counts *c, const struct vx_filter *f);
    void (*describe)(const struct vx_filter *f, struct vx_text_sink *sink); /* for a dump */
    /* NULL, all of these: it keeps nothing on the workers, so there is nothing to tend and nothing to end. */
    void (*tend)(struct vx_filter *f);
    bool (*start_one)(struct vx_filter *f); /* an instance that is wanted; false: none is */
    void (*order)(struct vx_filter *f, enum vx_pwasm_order order);
    void (*order_on)(struct vx_filter *f, uint32_t worker, enum vx_pwasm_order order);
    bool (*has_ended)(struct vx_filter *f);
    uint32_t (*ending)(const struct vx_filter *f); /* instances that have been told to end, and have not */
    void (*detach)(struct vx_filter *f, uint32_t worker);
};

struct vx_loaded {
    struct vx_list link;
    const struct vx_filter_kind *kind;
    struct vx_filter *filter;
    const struct vx_wasm_engine *wasm;
    struct vx_filter_identity identity;
    uint32_t holds;
    uint64_t ending_ns; /* when its end began */
};

/* What the filters of one name have counted, those that are gone included: counters outlive a hot swap. */
struct vx_filter_counts {
    struct vx_list link;
    uint64_t traps;
    uint64_t isolated;
    uint64_t ending; /* instances */
    struct vx_histogram_sum duration;
    struct vx_slice name; /* lies behind the struct */
};

struct vx_filters {
    struct vx_filter_engine port;
    struct vx_metrics_source source;
    struct vx_wasm_engine *wasm; /* NULL: no filter was loaded yet */
    struct vx_pwasm_hub hub;
    struct vx_list loaded; /* struct vx_loaded; those that have started an instance anew behind the others */
    struct vx_list ending; /* struct vx_loaded, that nothing holds any more, the oldest first */
    struct vx_list gone;   /* struct vx_filter_counts of what was dropped, one for each name */
    uint32_t instances;
    char *cache_dir; /* NULL: none */
    bool warned_of_cache;
};

/* ending.c */

/* Nothing holds it any more. */
void vx_filters_begin_end(struct vx_filters *f, struct vx_loaded *l);
/* Frees those that have ended. */
void vx_filters_collect(struct vx_filters *f);
/* A line for each filter that is coming to its end. */
void vx_filters_dump_ending(const struct vx_filters *f, struct vx_text_sink *sink);

/* report.c */

/* It is about to go: its counts stay. */
void vx_filters_keep_counts(struct vx_filters *f, const struct vx_loaded *l);
void vx_filters_forget_counts(struct vx_filters *f);

void vx_filters_count_plugin(struct vx_filter_counts *c, const struct vx_filter *f);
void vx_filters_count_execute(struct vx_filter_counts *c, const struct vx_filter *f);

void vx_filters_render(struct vx_metrics_source *self, struct vx_text_sink *sink);

/* dump.c */

void vx_filters_describe_plugin(const struct vx_filter *f, struct vx_text_sink *sink);
void vx_filters_describe_execute(const struct vx_filter *f, struct vx_text_sink *sink);

void vx_filters_dump(struct vx_filter_engine *self, struct vx_text_sink *sink);
void vx_filters_dump_worker(struct vx_filter_engine *self, uint32_t worker, struct vx_text_sink *sink);

#endif
