/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets that vortex listens on: made here, served by the workers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/compose_filters.h"
#include "proxy/control/internal.h"

enum { ADMIN_MODE = 0600 }; /* who may reload may do anything: nobody but the proxy's own user */

static struct vx_listen_entry *find(const struct vx_control *c, const struct vx_address *address) {
    for (uint32_t i = 0; i < c->listen_count; i++)
        if (vx_address_eq(&c->listens[i].address, address))
            return &c->listens[i];
    return NULL;
}

/* An IPv6 wildcard takes IPv4 as well, unless the configuration has an IPv4 listener on that port. */
static bool dual_stack(const struct vx_config *config, const struct vx_address *address) {
    for (uint32_t i = 0; i < config->listener_count; i++) {
        const struct vx_address *other = &config->listeners[i].address;
        if (other->kind == VX_ADDRESS_IP4 && other->port == address->port)
            return false;
    }
    return true;
}

static bool refuse(struct vx_config_error *error, struct vx_place place, const char *why) {
    error->place = place;
    snprintf(error->text, sizeof error->text, "%s", why);
    return false;
}

/* One descriptor a worker: UNIX sockets are one socket, which all accept from. */
static bool hand_out(struct vx_control *c, struct vx_listen_set *set, uint32_t listener, int **fds) {
    int shared = -1;
    for (uint32_t w = 0; w < c->worker_count; w++) {
        int fd = vx_listen_take(set);
        if (fd < 0 && shared >= 0)
            fd = dup(shared);
        if (fd < 0)
            return false;
        shared = fd;
        fds[w][listener] = fd;
    }
    return true;
}

void vx_control_close_fds(const struct vx_control *c, const struct vx_config *config, int **fds) {
    for (uint32_t w = 0; w < c->worker_count; w++) {
        for (uint32_t l = 0; l < config->listener_count; l++) {
            if (fds[w][l] >= 0)
                close(fds[w][l]);
            fds[w][l] = -1;
        }
    }
}

bool vx_control_open_listeners(struct vx_control *c, const struct vx_config *config, int **fds,
                               struct vx_config_error *error) {
    uint32_t before = c->listen_count;
    struct vx_listen_entry *entries =
        realloc(c->listens, (before + config->listener_count + 1) * sizeof *entries);
    if (!entries)
        return refuse(error, (struct vx_place){0, 0}, "out of memory");
    c->listens = entries;
    for (uint32_t l = 0; l < config->listener_count; l++) {
        const struct vx_config_listener *listener = &config->listeners[l];
        char why[VX_LISTEN_WHY_MAX];
        struct vx_listen_options options = {.dual_stack = dual_stack(config, &listener->address)};
        if (find(c, &listener->address))
            continue;
        struct vx_listen_set *set = vx_listen_open(&listener->address, c->worker_count, &options, why);
        if (set)
            c->listens[c->listen_count++] = (struct vx_listen_entry){set, set->address};
        if (!set || !hand_out(c, set, l, fds)) {
            vx_control_close_fds(c, config, fds);
            while (c->listen_count > before)
                vx_listen_close(c->listens[--c->listen_count].set, true);
            return refuse(error, listener->place, set ? "no file descriptors left" : why);
        }
    }
    return true;
}

void vx_control_forget_listeners(struct vx_control *c, const struct vx_config *config) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->listen_count; i++) {
        bool wanted = false;
        for (uint32_t l = 0; config && l < config->listener_count; l++)
            wanted = wanted || vx_address_eq(&config->listeners[l].address, &c->listens[i].address);
        if (wanted)
            c->listens[kept++] = c->listens[i];
        else
            vx_listen_close(c->listens[i].set, true);
    }
    c->listen_count = kept;
}

void vx_control_free_listeners(struct vx_control *c) {
    for (uint32_t i = 0; i < c->listen_count; i++)
        vx_listen_close(c->listens[i].set, true);
    free(c->listens);
    c->listens = NULL;
    c->listen_count = 0;
}

static bool render(void *user, struct vx_text *page) {
    struct vx_control *c = user;
    vx_bans_measure(c->bans);
    if (!vx_metrics_render(c->metrics, c->generation ? &c->generation->snapshot : NULL, page))
        return false;
    vx_compose_filters_render(c->filters, page);
    return !page->failed;
}

static enum vx_readiness readiness(void *user) {
    return ((struct vx_control *)user)->readiness;
}

bool vx_control_open_sites(struct vx_control *c, const struct vx_config *config, struct vx_sites_move *move,
                           struct vx_config_error *error) {
    char why[VX_LISTEN_WHY_MAX];
    struct vx_operations_source source = {.user = c, .metrics = render, .readiness = readiness};
    struct vx_address admin = {.kind = config->admin_socket.len ? VX_ADDRESS_UNIX : VX_ADDRESS_NONE,
                               .text = config->admin_socket};
    if (!c->operations.handler.begin)
        vx_operations_init(&c->operations, &source);
    if (!vx_own_site_open(&c->page, &c->engine, &c->operations.handler, &config->metrics_address, 0,
                          &move->page, why))
        return refuse(error, config->metrics_place, why);
    if (!vx_own_site_open(&c->admin_site, &c->engine, c->admin.handler, &admin, ADMIN_MODE, &move->admin,
                          why))
        return refuse(error, config->admin_place, why);
    return true;
}

void vx_control_move_sites(struct vx_control *c, const struct vx_config *config,
                           const struct vx_sites_move *move) {
    vx_own_site_move(&c->page, &move->page, &config->timeouts);
    vx_own_site_move(&c->admin_site, &move->admin, &config->timeouts);
}

void vx_control_leave_sites(const struct vx_sites_move *move) {
    vx_own_site_leave(&move->page);
    vx_own_site_leave(&move->admin);
}

void vx_control_close_sites(struct vx_control *c) {
    vx_own_site_close(&c->page);
    vx_own_site_close(&c->admin_site);
}
