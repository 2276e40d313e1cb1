/* SPDX-License-Identifier: Apache-2.0 */
/* See own_site.h. */
#include "proxy/control/own_site.h"

#include <stdio.h>

/* Starts to accept at the new address beside the old one; the site's own listener is left alone. NULL: refused. */
static struct vx_listener *start(struct vx_own_site *s, struct vx_engine *engine, struct vx_handler *handler,
                                 struct vx_listen_set *set) {
    if (!s->site.server.rt)
        vx_http_server_init(&s->site.server, &engine->rt, handler);
    struct vx_listener *before = s->site.listener;
    vx_site_start(&s->site, engine, vx_listen_take(set), &set->address, false);
    struct vx_listener *started = s->site.listener;
    s->site.listener = before;
    return started;
}

bool vx_own_site_open(struct vx_own_site *s, struct vx_engine *engine, struct vx_handler *handler,
                      const struct vx_address *address, uint32_t mode, struct vx_own_site_move *move,
                      char *why) {
    *move = (struct vx_own_site_move){0};
    if (address->kind == VX_ADDRESS_NONE) {
        move->moves = true;
        return true;
    }
    if (s->set && vx_address_eq(&s->set->address, address))
        return true;
    struct vx_listen_options options = {.dual_stack = true, .unix_mode = mode};
    move->set = vx_listen_open(address, 1, &options, why);
    if (!move->set)
        return false;
    move->listener = start(s, engine, handler, move->set);
    if (!move->listener) {
        snprintf(why, VX_LISTEN_WHY_MAX, "the kernel refused to serve this address");
        vx_own_site_leave(move);
        return false;
    }
    move->moves = true;
    return true;
}

static void stop_accepting(struct vx_own_site *s) {
    vx_listener_free(s->site.listener);
    s->site.listener = NULL;
    if (s->set)
        vx_listen_close(s->set, true);
    s->set = NULL;
}

void vx_own_site_move(struct vx_own_site *s, const struct vx_own_site_move *move,
                      const struct vx_config_timeouts *timeouts) {
    if (move->moves) {
        stop_accepting(s);
        if (s->site.server.rt)
            vx_http_server_drain(&s->site.server); /* who asked for the move is still to be answered */
        s->set = move->set;
        s->site.listener = move->listener;
        s->site.server.draining = false;
    }
    s->site.server.limits = (struct vx_h1_limits){.header_bytes = 65536, .headers = 128, .uri_bytes = 8192};
    s->site.server.timeouts = *timeouts;
}

void vx_own_site_leave(const struct vx_own_site_move *move) {
    if (!move->set)
        return;
    vx_listener_free(move->listener);
    vx_listen_close(move->set, true);
}

void vx_own_site_close(struct vx_own_site *s) {
    stop_accepting(s);
    if (s->site.server.rt)
        vx_http_server_close_all(&s->site.server);
}
