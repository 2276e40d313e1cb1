/* SPDX-License-Identifier: Apache-2.0 */
/* From a configuration file to a generation in every worker's hands. Whatever can fail is done before anything is
 * changed: a bad file leaves the running configuration as it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/compose.h"
#include "proxy/control/changes.h"
#include "proxy/control/internal.h"
#include "proxy/telemetry/log.h"

static struct vx_generation *generation_of(struct vx_snapshot *snapshot) {
    return VX_CONTAINER_OF(snapshot, struct vx_generation, snapshot);
}

static void retire_generation(struct vx_message *m, uint64_t now_ns) {
    (void)now_ns;
    vx_generation_retire(VX_CONTAINER_OF(m, struct vx_generation, unused));
}

static void free_generation(struct vx_message *m, uint64_t now_ns) {
    (void)now_ns;
    struct vx_generation *g = VX_CONTAINER_OF(m, struct vx_generation, released);
    struct vx_control *c = g->snapshot.owner;
    vx_generation_free(g);
    c->generations_left--;
}

/* The last exchange has gone, on whichever worker's thread that was. */
static void unused(struct vx_snapshot *snapshot) {
    struct vx_control *c = snapshot->owner;
    vx_loop_send(c->engine.loop, &generation_of(snapshot)->unused);
}

/* And the last that kept it. */
static void released(struct vx_snapshot *snapshot) {
    struct vx_control *c = snapshot->owner;
    vx_loop_send(c->engine.loop, &generation_of(snapshot)->released);
}

static struct vx_generation *build(struct vx_control *c, struct vx_setup *setup) {
    struct vx_generation_sources sources = {
        .registry = &c->registry,
        .pools = &c->pools,
        .metrics = c->metrics,
        .names = &c->names,
        .workers =
            c->worker_count + 1, /* the control thread itself uses it: health checks, the metrics page */
    };
    struct vx_generation *g = vx_generation_new(&sources, setup, c->version + 1, c->engine.rt.now_ns);
    if (!g)
        return NULL;
    g->snapshot.owner = c;
    g->snapshot.unused = unused;
    g->snapshot.released = released;
    g->unused.run = retire_generation;
    g->released.run = free_generation;
    return g;
}

/* A listening socket that nobody accepts from would still get its share of the clients. */
static void close_row(const struct vx_config *config, const int *fds) {
    for (uint32_t l = 0; fds && l < config->listener_count; l++)
        if (fds[l] >= 0)
            close(fds[l]);
}

static void hand_to_workers(struct vx_control *c, struct vx_generation *g, int **fds) {
    for (uint32_t w = 0; w < c->worker_count; w++) {
        struct vx_adoption *a = malloc(sizeof *a);
        if (!a) {
            /* It goes on with what it has; its hold on this one must not keep it alive. */
            vx_log(VX_LOG_ERROR, "no memory to tell worker %u of the new configuration", w);
            vx_snapshot_drop(&g->snapshot, w);
            close_row(g->snapshot.config, fds[w]);
            free(fds[w]);
            continue;
        }
        *a = (struct vx_adoption){.worker = &c->workers[w], .generation = g, .fds = fds[w]};
        vx_worker_adopt(a);
    }
}

/* The control thread's own use of a generation moves on to `g`. */
static void use(struct vx_control *c, struct vx_generation *g) {
    struct vx_generation *before = c->generation;
    bool failed;
    vx_health_checks_stop(c->checks);
    c->checks = vx_health_checks_start(&c->engine, g, &failed);
    if (failed)
        vx_log(VX_LOG_ERROR, "no memory for health checks: none are made");
    c->generation = g;
    vx_list_push_back(&c->generations, &g->link);
    c->generations_left++;
    c->version++;
    if (before)
        vx_snapshot_drop(&before->snapshot, c->worker_count);
}

static void free_fds(const struct vx_control *c, int **fds) {
    for (uint32_t w = 0; fds && w < c->worker_count; w++)
        free(fds[w]);
    free(fds);
}

/* A table of -1 for each worker and listener; NULL: no memory. */
static int **new_fds(const struct vx_control *c, const struct vx_config *config) {
    int **fds = calloc(c->worker_count, sizeof *fds);
    for (uint32_t w = 0; fds && w < c->worker_count; w++) {
        fds[w] = malloc((config->listener_count + 1) * sizeof **fds);
        if (!fds[w]) {
            free_fds(c, fds);
            return NULL;
        }
        memset(fds[w], -1, (config->listener_count + 1) * sizeof **fds); /* every byte of -1 is one */
    }
    return fds;
}

static bool out_of_memory(struct vx_config_error *error) {
    *error = (struct vx_config_error){{0, 0}, "out of memory"};
    return false;
}

/* What a load has made ready and not put to use yet. */
struct change {
    struct vx_setup *setup;
    int **fds;
    struct vx_sites_move sites;
    struct vx_generation *generation;
};

/* Everything that may be refused. The access log is the last: nothing would bring its old file back. */
static bool prepare(struct vx_control *c, struct change *change, struct vx_config_error *error) {
    const struct vx_config *config = change->setup->config;
    const char *why = NULL;
    char text[256];
    change->fds = new_fds(c, config);
    if (!change->fds)
        return out_of_memory(error);
    if (!vx_control_open_listeners(c, config, change->fds, error) ||
        !vx_control_open_sites(c, config, &change->sites, error))
        return false;
    if (!vx_names_watch(&c->names, config, &why)) {
        *error = (struct vx_config_error){{0, 0}, ""};
        snprintf(error->text, sizeof error->text, "backend names cannot be resolved: %s", why);
        return false;
    }
    change->generation = build(c, change->setup);
    if (!change->generation)
        return out_of_memory(error);
    if (!vx_access_log_apply(c->access_log, &config->access_log, text, sizeof text)) {
        *error = (struct vx_config_error){{0, 0}, ""};
        snprintf(error->text, sizeof error->text, "access_log: %s", text);
        return false;
    }
    return true;
}

/* After a refusal: as if it had not been asked for. */
static void undo(struct vx_control *c, struct change *change) {
    const struct vx_config *in_use = c->setup ? c->setup->config : NULL;
    if (change->generation)
        vx_generation_free(change->generation);
    vx_names_forget(&c->names, in_use);
    vx_control_leave_sites(&change->sites);
    if (change->fds)
        vx_control_close_fds(c, change->setup->config, change->fds);
    vx_control_forget_listeners(c, in_use);
    free_fds(c, change->fds);
    vx_setup_drop(change->setup);
}

bool vx_control_load(struct vx_control *c, const char *path, struct vx_config_error *error) {
    struct change change = {.setup = vx_setup_load(path, c->tickets, c->filters, error)};
    if (!change.setup)
        return false;
    if (!prepare(c, &change, error)) {
        undo(c, &change);
        return false;
    }
    const struct vx_config *config = change.setup->config;
    if (c->setup)
        vx_changes_log(c->setup->config, config, c->engine.rt.arenas);
    vx_setup_drop(c->setup);
    c->setup = change.setup;
    atomic_store_explicit(&c->budget.limit, config->limits.connections, memory_order_relaxed);
    vx_bans_apply(c->bans, config);
    vx_control_move_sites(c, config, &change.sites);
    vx_names_forget(&c->names, config);
    hand_to_workers(c, change.generation, change.fds);
    free(change.fds);
    vx_control_forget_listeners(c, config);
    use(c, change.generation);
    return true;
}

/* A generation of `setup`, whose listeners are open, in the workers' hands. False: no memory. */
static bool renew(struct vx_control *c, struct vx_setup *setup) {
    int **fds = new_fds(c, setup->config);
    struct vx_generation *g = fds ? build(c, setup) : NULL;
    if (!g) {
        free_fds(c, fds);
        return false;
    }
    hand_to_workers(c, g, fds);
    free(fds);
    use(c, g);
    return true;
}

void vx_control_rebuild(struct vx_control *c) {
    if (c->setup && !renew(c, c->setup))
        vx_log(VX_LOG_ERROR, "no memory to take up the new addresses of backends");
}

static uint64_t wall_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static bool is_draining(const struct vx_control *c, char *said, size_t size) {
    if (c->readiness == VX_DRAINING)
        snprintf(said, size, "the proxy is draining");
    return c->readiness == VX_DRAINING;
}

bool vx_control_reload(struct vx_control *c, const char *path, char *said, size_t size) {
    struct vx_config_error error;
    if (is_draining(c, said, size))
        return false;
    bool ok = vx_control_load(c, path, &error);
    vx_metrics_reloaded(c->metrics, ok, wall_ns());
    if (ok) {
        if (path != c->path)
            snprintf(c->path, sizeof c->path, "%s", path);
        snprintf(said, size, "configuration reloaded: version %llu", (unsigned long long)c->version);
        vx_log(VX_LOG_INFO, "%s", said);
        return true;
    }
    vx_compose_config_source()->explain(path, &error, said, size);
    vx_log(VX_LOG_ERROR, "%s", said);
    vx_log(VX_LOG_ERROR, "the configuration was not reloaded; version %llu stays in use",
           (unsigned long long)c->version);
    return false;
}

/* The filter that `name` means; config->filter_count with the reason in `said`: none. */
static uint32_t find_filter(const struct vx_config *config, struct vx_slice name, char *said, size_t size) {
    uint32_t count = config->filter_count;
    if (!name.len && count == 1)
        return 0;
    for (uint32_t i = 0; name.len && i < count; i++)
        if (vx_slice_eq(config->filters[i].name, name))
            return i;
    if (!count)
        snprintf(said, size, "the configuration has no `filters`");
    else if (name.len)
        snprintf(said, size, "the configuration has no filter `%.*s`", VX_SLICE_ARG(name));
    else
        snprintf(said, size, "the configuration has %u filters: name the one that is meant", count);
    return count;
}

bool vx_control_update_filter(struct vx_control *c, struct vx_slice name, struct vx_slice binary, char *said,
                              size_t size) {
    struct vx_config_error error;
    const struct vx_config *config = c->setup->config;
    if (is_draining(c, said, size))
        return false;
    uint32_t index = find_filter(config, name, said, size);
    if (index == config->filter_count)
        return false;
    struct vx_slice called = config->filters[index].name;
    struct vx_setup *setup = vx_setup_with_filter(c->setup, index, binary, &error);
    bool ok = setup && renew(c, setup);
    if (ok) {
        snprintf(said, size, "filter %.*s replaced: version %llu", VX_SLICE_ARG(called),
                 (unsigned long long)c->version);
        vx_setup_drop(c->setup);
        c->setup = setup;
    } else {
        snprintf(said, size, "%s", setup ? "out of memory" : error.text);
        vx_setup_drop(setup);
    }
    vx_log(ok ? VX_LOG_INFO : VX_LOG_ERROR, "%s", said);
    return ok;
}
