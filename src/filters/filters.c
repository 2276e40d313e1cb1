/* SPDX-License-Identifier: Apache-2.0 */
/* See filters.h. */
#include "filters/filters.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "filters/clock.h"
#include "filters/file.h"
#include "filters/internal.h"
#include "filters/proxy_wasm/host.h"
#include "filters/wasm/cache.h"

enum { MODULE_BYTES_MAX = 256 * 1024 * 1024, TEND_NS = 20 * 1000000 };

static struct vx_filters *filters_of(struct vx_filter_engine *engine) {
    return VX_CONTAINER_OF(engine, struct vx_filters, port);
}

/* Always false. */
__attribute__((format(printf, 3, 4))) static bool refuse(struct vx_config_error *error, struct vx_place place,
                                                         const char *format, ...) {
    va_list args;
    va_start(args, format);
    error->place = place;
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return false;
}

/* Modules */

static void add_text(SHA256_CTX *hash, struct vx_slice text) {
    SHA256_Update(hash, &text.len, sizeof text.len);
    SHA256_Update(hash, text.ptr, text.len);
}

/* What makes two filters the same one: the module's bytes and all settings. */
static struct vx_filter_identity identify(const struct vx_config_filter *config, struct vx_slice binary) {
    struct vx_filter_identity identity;
    uint64_t numbers[] = {
        config->fails_open,        config->body_continues,       config->limits.memory_bytes,
        config->limits.time_ns,    config->limits.start_time_ns, config->limits.end_time_ns,
        config->limits.body_bytes, config->limits.pause_time_ns, config->limits.of_plugins};
    SHA256_CTX hash;
    SHA256_Init(&hash);
    add_text(&hash, config->name);
    add_text(&hash, config->config);
    add_text(&hash, config->vm_config);
    add_text(&hash, config->root_id);
    add_text(&hash, config->vm_id);
    SHA256_Update(&hash, numbers, sizeof numbers);
    add_text(&hash, binary);
    SHA256_Final(identity.bytes, &hash);
    return identity;
}

static struct vx_loaded *find(struct vx_filters *f, const struct vx_filter_identity *identity) {
    for (struct vx_list *at = f->loaded.next; at != &f->loaded; at = at->next) {
        struct vx_loaded *l = VX_CONTAINER_OF(at, struct vx_loaded, link);
        if (memcmp(&l->identity, identity, sizeof *identity) == 0)
            return l;
    }
    return NULL;
}

static bool start_engine(struct vx_filters *f) {
    if (f->wasm)
        return true;
    struct vx_wasm_settings settings = {.instances = f->instances, .cache_dir = vx_slice_of(f->cache_dir)};
    f->wasm = vx_wasm_engine_new(&settings);
    return f->wasm != NULL;
}

static const struct vx_filter_kind plugin_kind = {
    .make = vx_pwasm_plugin_new,
    .free = vx_pwasm_plugin_free,
    .count = vx_filters_count_plugin,
    .tend = vx_pwasm_plugin_tend,
    .start_one = vx_pwasm_plugin_start_one,
    .order = vx_pwasm_plugin_order,
    .order_on = vx_pwasm_plugin_order_on,
    .has_ended = vx_pwasm_plugin_has_ended,
    .ending = vx_pwasm_plugin_ending,
    .detach = vx_pwasm_plugin_detach,
    .describe = vx_filters_describe_plugin,
};

static const struct vx_filter_kind execute_kind = {
    .make = vx_execute_new,
    .free = vx_execute_free,
    .count = vx_filters_count_execute,
    .describe = vx_filters_describe_execute,
};

/* Once: nothing fails, but each start takes longer than it need. */
static void warn_of_cache(struct vx_filters *f) {
    if (!f->wasm->cache_error || f->warned_of_cache)
        return;
    f->warned_of_cache = true;
    vx_pwasm_hub_log(&f->hub, VX_LOG_WARN, "compiled modules cannot be kept in %s (wasm.cache): %s",
                     f->wasm->cache_dir, vx_wasm_cache_explain(f->wasm->cache_error));
}

/* Fills l->kind and l->filter. False: *error says why not. */
static bool make(struct vx_filters *f, const struct vx_config_filter *config, struct vx_slice binary,
                 struct vx_loaded *l, struct vx_config_error *error) {
    struct vx_wasm_module module;
    struct vx_wasm_text why;
    if (!start_engine(f))
        return refuse(
            error, config->place,
            "filters cannot run: there is no address space for %u sandboxes; lower wasm.instances, or raise "
            "the limit (ulimit -v)",
            f->instances);
    vx_wasm_engine_expect(f->wasm, config->limits.time_ns);
    if (vx_wasm_module_load(&module, f->wasm, binary, vx_pwasm_imports(), &why)) {
        l->kind = vx_execute_is(&module) ? &execute_kind : &plugin_kind;
        l->filter = l->kind->make(&f->hub, config, &module, &why);
    }
    warn_of_cache(f);
    return l->filter ||
           refuse(error, config->wasm_place, "filter %.*s: %s", VX_SLICE_ARG(config->name), why.text);
}

static struct vx_filter *load_binary(struct vx_filters *f, const struct vx_config_filter *config,
                                     struct vx_slice binary, struct vx_config_error *error) {
    struct vx_filter_identity identity = identify(config, binary);
    struct vx_loaded *l = find(f, &identity);
    if (l) {
        l->holds++;
        return l->filter;
    }
    l = calloc(1, sizeof *l);
    if (!l) {
        refuse(error, config->place, "there is no memory to load the filter");
        return NULL;
    }
    if (!make(f, config, binary, l, error)) {
        free(l);
        return NULL;
    }
    l->identity = identity;
    l->wasm = f->wasm;
    l->holds = 1;
    vx_list_push_back(&f->loaded, &l->link);
    return l->filter;
}

/* The bytes of the filter's file; NULL with errno, and its name in `path` in any case. */
static char *read_module(const struct vx_config_filter *config, char path[PATH_MAX], size_t *bytes) {
    snprintf(path, PATH_MAX, "%.*s", VX_SLICE_ARG(config->wasm_path));
    return vx_file_read(path, MODULE_BYTES_MAX, bytes);
}

static void compile(struct vx_filter_engine *self, const struct vx_config_filter *config,
                    struct vx_slice binary) {
    struct vx_filters *f = filters_of(self);
    char path[PATH_MAX];
    char *data = binary.len ? NULL : read_module(config, path, &binary.len);
    if (data)
        binary.ptr = data;
    if (binary.len && start_engine(f))
        vx_wasm_module_compile(f->wasm, binary);
    free(data);
}

static void forget_compiled(struct vx_filter_engine *self) {
    if (filters_of(self)->wasm)
        vx_wasm_module_forget(filters_of(self)->wasm);
}

static struct vx_filter *load(struct vx_filter_engine *self, const struct vx_config_filter *config,
                              struct vx_slice binary, struct vx_config_error *error) {
    if (binary.len)
        return load_binary(filters_of(self), config, binary, error);
    char path[PATH_MAX];
    size_t bytes = 0;
    char *data = read_module(config, path, &bytes);
    if (!data) {
        refuse(error, config->wasm_place, "%s cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    struct vx_filter *filter = load_binary(filters_of(self), config, vx_slice(data, bytes), error);
    free(data);
    return filter;
}

static void drop(struct vx_filter_engine *self, struct vx_filter *filter) {
    struct vx_filters *f = filters_of(self);
    struct vx_list *at = f->loaded.next;
    while (VX_CONTAINER_OF(at, struct vx_loaded, link)->filter != filter)
        at = at->next;
    struct vx_loaded *l = VX_CONTAINER_OF(at, struct vx_loaded, link);
    if (--l->holds == 0)
        vx_filters_begin_end(f, l);
}

static void attach(struct vx_filter_engine *self, uint32_t index, const struct vx_filter_worker *worker) {
    vx_pwasm_hub_attach(&filters_of(self)->hub, index, worker);
}

static void detach(struct vx_filter_engine *self, uint32_t index) {
    struct vx_filters *f = filters_of(self);
    struct vx_list *lists[] = {&f->loaded, &f->ending};
    for (unsigned i = 0; i < 2; i++)
        for (struct vx_list *at = lists[i]->next; at != lists[i]; at = at->next) {
            const struct vx_loaded *l = VX_CONTAINER_OF(at, struct vx_loaded, link);
            if (l->kind->detach)
                l->kind->detach(l->filter, index);
        }
    vx_pwasm_hub_detach(&f->hub, index);
}

static void wind_up(struct vx_filter_engine *self, uint32_t worker) {
    struct vx_filters *f = filters_of(self);
    for (struct vx_list *at = f->loaded.next; at != &f->loaded; at = at->next) {
        const struct vx_loaded *l = VX_CONTAINER_OF(at, struct vx_loaded, link);
        if (l->kind->order_on)
            l->kind->order_on(l->filter, worker, VX_PWASM_ORDER_END);
    }
}

static bool is_ending(struct vx_filter_engine *self) {
    struct vx_filters *f = filters_of(self);
    vx_filters_collect(f);
    for (struct vx_list *at = f->loaded.next; at != &f->loaded; at = at->next) {
        const struct vx_loaded *l = VX_CONTAINER_OF(at, struct vx_loaded, link);
        if (l->kind->ending && l->kind->ending(l->filter))
            return true;
    }
    return !vx_list_empty(&f->ending);
}

/* False: none is wanted. Whose instances take long to start, and fail again, must not keep those of others from starting: so
 * the filters take turns. */
static bool start_one(struct vx_filters *f) {
    for (struct vx_list *at = f->loaded.next; at != &f->loaded; at = at->next) {
        const struct vx_loaded *l = VX_CONTAINER_OF(at, struct vx_loaded, link);
        if (l->kind->start_one && l->kind->start_one(l->filter)) {
            vx_list_remove(at);
            vx_list_push_back(&f->loaded, at);
            return true;
        }
    }
    return false;
}

/* Starting an instance may take as long as its settings allow, and the control thread has signals and calls to hear. */
static void tend(struct vx_filter_engine *self) {
    struct vx_filters *f = filters_of(self);
    uint64_t until_ns = vx_clock_ns(CLOCK_MONOTONIC) + TEND_NS;
    for (struct vx_list *at = f->loaded.next; at != &f->loaded; at = at->next) {
        const struct vx_loaded *l = VX_CONTAINER_OF(at, struct vx_loaded, link);
        if (l->kind->tend)
            l->kind->tend(l->filter);
    }
    while (start_one(f) && vx_clock_ns(CLOCK_MONOTONIC) <= until_ns)
        ;
    vx_filters_collect(f);
}

static void configure(struct vx_filter_engine *self, const struct vx_config_wasm *config) {
    struct vx_filters *f = filters_of(self);
    char room[PATH_MAX];
    if (f->wasm)
        return;
    free(f->cache_dir);
    f->cache_dir = NULL;
    f->instances = config->instances;
    if (vx_slice_eq(config->cache_path, VX_SLICE("off")))
        return;
    if (!vx_slice_eq(config->cache_path, VX_SLICE("auto")))
        f->cache_dir = strndup(config->cache_path.ptr, config->cache_path.len);
    else if (vx_wasm_cache_default(room, sizeof room))
        f->cache_dir = strdup(room);
}

struct vx_filter_engine *vx_filters_new(const struct vx_log_port *log) {
    struct vx_filters *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->port = (struct vx_filter_engine){.attach = attach,
                                        .configure = configure,
                                        .compile = compile,
                                        .forget_compiled = forget_compiled,
                                        .load = load,
                                        .drop = drop,
                                        .detach = detach,
                                        .wind_up = wind_up,
                                        .is_ending = is_ending,
                                        .tend = tend,
                                        .dump = vx_filters_dump,
                                        .dump_worker = vx_filters_dump_worker};
    f->source.render = vx_filters_render;
    vx_list_init(&f->loaded);
    vx_list_init(&f->ending);
    vx_list_init(&f->gone);
    if (vx_pwasm_hub_init(&f->hub, log))
        return &f->port;
    free(f);
    return NULL;
}

void vx_filters_free(struct vx_filter_engine *engine) {
    if (!engine)
        return;
    struct vx_filters *f = filters_of(engine);
    vx_filters_collect(f);
    VX_ASSERT(vx_list_empty(&f->loaded) && vx_list_empty(&f->ending));
    forget_compiled(engine);
    vx_wasm_engine_free(f->wasm);
    vx_pwasm_hub_free(&f->hub);
    vx_filters_forget_counts(f);
    free(f->cache_dir);
    free(f);
}

struct vx_metrics_source *vx_filters_metrics(struct vx_filter_engine *engine) {
    return &filters_of(engine)->source;
}
