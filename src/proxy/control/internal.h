/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the control thread: control.c (start, signals, end), reload.c (from a file to a generation in
 * every worker's hands), listeners.c (sockets). */
#ifndef VX_PROXY_CONTROL_INTERNAL_H
#define VX_PROXY_CONTROL_INTERNAL_H

#include "proxy/control/bans.h"
#include "proxy/control/generation.h"
#include "proxy/control/health_check.h"
#include "proxy/control/names.h"
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

struct vx_control {
    const char *path;
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
    struct vx_health_checks *checks;
    struct vx_listen_entry *listens;
    uint32_t listen_count;
    uint64_t version;
    uint32_t generations_left; /* not freed yet */
    struct vx_operations operations;
    struct vx_site page; /* the metrics page */
    struct vx_listen_set *page_listen;
    enum vx_readiness readiness;
    struct vx_signals signals;
    struct vx_timer drain_timer, tick, filters_tick;
    uint32_t workers_draining;
    int exit_code;
};

/* A metrics page that is about to move. */
struct vx_page_change {
    bool moves;
    struct vx_listen_set *set; /* NULL: it stays where it is, or goes away */
    struct vx_listener *listener;
};

/* reload.c */

/* Loads the file and puts it to use. False with *error: nothing has changed. */
bool vx_control_load(struct vx_control *c, struct vx_config_error *error);
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
/* Opens the metrics page at the address that `config` has, if it is a new one; the old one is served meanwhile. Then
 * either move or leave. False with *error: nothing has changed. */
bool vx_control_open_page(struct vx_control *c, const struct vx_config *config, struct vx_page_change *change,
                          struct vx_config_error *error);
void vx_control_move_page(struct vx_control *c, const struct vx_config *config,
                          const struct vx_page_change *change);
void vx_control_leave_page(const struct vx_page_change *change);
void vx_control_free_page(struct vx_control *c);

#endif
