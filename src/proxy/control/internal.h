/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the control thread: control.c (start, signals, end), reload.c (from a file to a generation in
 * every worker's hands), listeners.c (sockets). */
#ifndef VX_PROXY_CONTROL_INTERNAL_H
#define VX_PROXY_CONTROL_INTERNAL_H

#include "proxy/control/admin.h"
#include "proxy/control/ahead.h"
#include "proxy/control/bans.h"
#include "proxy/control/generation.h"
#include "proxy/control/health_check.h"
#include "proxy/control/names.h"
#include "proxy/control/own_site.h"
#include "proxy/control/worker.h"
#include "proxy/handlers/operations.h"
#include "proxy/net/signals.h"
#include "proxy/telemetry/access_log.h"

/* The sockets of one listening address. */
struct vx_listen_entry {
    struct vx_listen_set *set;
    struct vx_address address; /* text is the set's */
};

struct vx_rate_memory; /* compose_limits.h */

enum { VX_CONTROL_PATH_BYTES = 4096 };

struct vx_control {
    char path[VX_CONTROL_PATH_BYTES]; /* of the configuration in use */
    struct vx_engine engine;
    struct vx_worker *workers;
    uint32_t worker_count;
    struct vx_connection_budget budget;
    struct vx_metrics *metrics;
    struct vx_bans *bans;
    struct vx_access_log *access_log;
    struct vx_tls_tickets *tickets;
    struct vx_filter_engine *filters;
    struct vx_slab registry_memory;
    struct vx_backend_registry registry;
    struct vx_pool_table pools;
    struct vx_rate_memory *rate_memory;
    struct vx_names names;
    struct vx_setup *setup;           /* the one in use */
    struct vx_generation *generation; /* the newest one */
    struct vx_list generations;       /* that are not freed yet, the newest last */
    struct vx_health_checks *checks;
    struct vx_listen_entry *listens;
    uint32_t listen_count;
    uint64_t version;
    uint32_t generations_left; /* not freed yet */
    struct vx_operations operations;
    struct vx_own_site page; /* the metrics page */
    struct vx_control_admin admin;
    struct vx_own_site admin_site;
    struct vx_ahead ahead;
    uint64_t started_ns;
    enum vx_readiness readiness;
    struct vx_signals signals;
    struct vx_timer drain_timer, tick, filters_tick;
    uint32_t workers_draining;
    int exit_code;
};

/* The control thread's own addresses, about to move. */
struct vx_sites_move {
    struct vx_own_site_move page, admin;
};

/* reload.c */

/* Loads the file at `path` and puts it to use. False with *error: nothing has changed. */
bool vx_control_load(struct vx_control *c, const char *path, struct vx_config_error *error);
/* The same while running, counted and logged; `path` is from then on the file in use. `said` (`size` bytes) tells what was
 * done, or `FILE:LINE:COL: what is wrong`. */
bool vx_control_reload(struct vx_control *c, const char *path, char *said, size_t size);
/* Replaces the module of the filter `name` (empty: the only one) by `binary`, until a reload reads the files again. */
bool vx_control_update_filter(struct vx_control *c, struct vx_slice name, struct vx_slice binary, char *said,
                              size_t size);
/* A new generation of the setup in use, because names have other addresses now. */
void vx_control_rebuild(struct vx_control *c);

/* listeners.c */

/* Opens the sockets of the addresses in `config` that are not open yet; fds[i][l] gets worker i's socket for listener l,
 * or -1. False with *error: nothing has changed. */
bool vx_control_open_listeners(struct vx_control *c, const struct vx_config *config, int **fds,
                               struct vx_config_error *error);
/* Closes what is open in the table and leaves -1. */
void vx_control_close_fds(const struct vx_control *c, const struct vx_config *config, int **fds);
/* Forgets the addresses that `config` (NULL: none) does not have; the workers close their sockets themselves. */
void vx_control_forget_listeners(struct vx_control *c, const struct vx_config *config);
void vx_control_free_listeners(struct vx_control *c);
/* Opens the metrics page and the admin socket where `config` has them at a new address; the old ones are served meanwhile.
 * Then either move or leave. False with *error: nothing has changed, but `move` is to be left. */
bool vx_control_open_sites(struct vx_control *c, const struct vx_config *config, struct vx_sites_move *move,
                           struct vx_config_error *error);
void vx_control_move_sites(struct vx_control *c, const struct vx_config *config,
                           const struct vx_sites_move *move);
void vx_control_leave_sites(const struct vx_sites_move *move);
void vx_control_close_sites(struct vx_control *c);

#endif
