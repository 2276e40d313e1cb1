/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread's state as control.c sets it up, with configurations written to a folder of the test's own and
 * workers whose loops the test turns by hand (or starts). */
#ifndef VX_TESTS_CONTROL_CONTROL_TEST_H
#define VX_TESTS_CONTROL_CONTROL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/control/internal.h"

enum { CONTROL_WORKERS = 2 };

struct control_world {
    struct vx_control c;
    char folder[64], path[96];
    atomic_uint drained;
};

static inline void control_drained(struct vx_worker *worker) {
    atomic_fetch_add(&((struct control_world *)worker->user)->drained, 1);
}

static inline void control_names_changed(void *user) {
    (void)user;
}

/* Writes FOLDER/NAME. */
static inline void control_write(struct control_world *w, const char *name, const char *text) {
    char path[160];
    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static inline bool control_exists(const struct control_world *w, const char *name) {
    char path[160];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    return stat(path, &st) == 0;
}

/* The configuration: a UNIX listener, the metrics page and one route, each as given. */
static inline void control_configure(struct control_world *w, const char *listener, const char *page,
                                     const char *backend, const char *rest) {
    char text[1024];
    snprintf(text, sizeof text,
             "workers: 2\nlisteners: [ { address: \"unix:%s/%s\" } ]\n"
             "metrics: { address: \"unix:%s/%s\" }\n"
             "routes:\n  - name: r\n    match: { path_prefix: / }\n    backends: [ { id: 1, address: \"%s\" "
             "} ]\n%s",
             w->folder, listener, w->folder, page, backend, rest);
    control_write(w, "vortex.yaml", text);
}

static inline struct control_world *control_start(void) {
    struct control_world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    struct vx_control *c = &w->c;
    snprintf(w->folder, sizeof w->folder, "/tmp/vortex-control-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/vortex.yaml", w->folder);
    snprintf(c->path, sizeof c->path, "%s", w->path);
    vx_list_init(&c->generations);
    vx_ahead_init(&c->ahead);
    assert_true(vx_control_admin_init(c));
    assert_true(vx_engine_init(&c->engine, CONTROL_WORKERS));
    vx_names_init(&c->names, c->engine.loop, control_names_changed, c);
    assert_true(vx_slab_init(&c->registry_memory, VX_SLAB_ARENA_BYTES, 1 << 20));
    c->rate_memory = vx_compose_rate_memory(1 << 16);
    c->tickets = vx_tls_tickets_new(c->engine.rt.now_ns);
    c->metrics = vx_metrics_new(CONTROL_WORKERS);
    c->access_log = vx_access_log_new(CONTROL_WORKERS, c->metrics);
    c->workers = calloc(CONTROL_WORKERS, sizeof *c->workers);
    assert_true(c->tickets && c->metrics && c->access_log && c->workers);
    c->bans = vx_bans_new(c->engine.loop, c->metrics, CONTROL_WORKERS, NULL);
    assert_non_null(c->bans);
    vx_backend_registry_init(&c->registry, &c->registry_memory.source, CONTROL_WORKERS);
    for (uint32_t i = 0; i < CONTROL_WORKERS; i++) {
        struct vx_worker_options options = {.index = i,
                                            .all = c->workers,
                                            .count = CONTROL_WORKERS,
                                            .cpu = -1,
                                            .metrics = c->metrics,
                                            .access_log = c->access_log,
                                            .budget = &c->budget,
                                            .rate_memory = c->rate_memory,
                                            .bans = vx_bans_gate(c->bans, i),
                                            .drained = control_drained,
                                            .user = w};
        assert_true(vx_worker_init(&c->workers[i], &options));
        c->worker_count++;
    }
    return w;
}

/* What is under way between the threads, without any being started. */
static inline void control_settle(struct control_world *w) {
    for (unsigned round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < w->c.worker_count; i++)
            if (!w->c.workers[i].started)
                vx_loop_run_once(w->c.workers[i].engine.loop, 0);
        vx_loop_run_once(w->c.engine.loop, 0);
    }
}

static inline void control_remove_folder(const struct control_world *w) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", w->folder);
    assert_int_equal(system(command), 0);
}

/* As end_service() in control.c. Every generation has to be freed. */
static inline void control_end(struct control_world *w) {
    struct vx_control *c = &w->c;
    assert_true(vx_ahead_end(c));
    for (uint32_t i = 0; i < c->worker_count; i++)
        vx_worker_halt(&c->workers[i]);
    for (uint32_t i = 0; i < c->worker_count; i++)
        vx_worker_stop(&c->workers[i]);
    vx_dumps_end(&c->admin.dumps, &c->engine.rt);
    vx_health_checks_stop(c->checks);
    vx_names_free(&c->names);
    if (c->generation)
        vx_snapshot_drop(&c->generation->snapshot, c->worker_count);
    vx_control_close_sites(c);
    vx_bans_free(c->bans);
    for (unsigned i = 0; i < 4; i++)
        vx_loop_run_once(c->engine.loop, 0);
    assert_int_equal(c->generations_left, 0);
    vx_control_free_listeners(c);
    vx_setup_drop(c->setup);
    vx_access_log_stop(c->access_log, 2000);
    vx_access_log_free(c->access_log);
    vx_backend_registry_destroy(&c->registry);
    vx_tls_tickets_drop(c->tickets);
    vx_engine_free(&c->engine);
    vx_control_admin_free(c);
    vx_pool_table_free(&c->pools);
    vx_metrics_free(c->metrics);
    vx_compose_rate_memory_free(c->rate_memory);
    vx_slab_free(&c->registry_memory);
    free(c->workers);
    control_remove_folder(w);
    free(w);
}

static inline void control_load_ok(struct control_world *w) {
    struct vx_config_error error;
    if (!vx_control_load(&w->c, w->path, &error))
        fail_msg("%s", error.text);
    control_settle(w);
}

/* Connects to FOLDER/NAME; -1: nobody listens. */
static inline int control_connect(const struct control_world *w, const char *name) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s/%s", w->folder, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
        return fd;
    close(fd);
    return -1;
}

static inline bool control_listens(const struct control_world *w, const char *name) {
    int fd = control_connect(w, name);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

#endif
