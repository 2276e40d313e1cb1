/* SPDX-License-Identifier: Apache-2.0 */
/* See admin.h. */
#include "proxy/control/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/limit/client.h"
#include "proxy/compose.h"
#include "proxy/control/internal.h"

enum { SECOND_NS = 1000000000, MS_NS = 1000000 };

static struct vx_control *control_of(struct vx_admin_port *port) {
    struct vx_control_admin *admin = VX_CONTAINER_OF(port, struct vx_control_admin, port);
    return VX_CONTAINER_OF(admin, struct vx_control, admin);
}

/* The answer's text is what stands in its room. */
static enum vx_admin_when answer_now(struct vx_admin_answer *answer, bool done) {
    answer->outcome = done ? VX_ADMIN_DONE : VX_ADMIN_REFUSED;
    answer->text = vx_slice_of(answer->room);
    return VX_ADMIN_NOW;
}

static enum vx_admin_when refuse(struct vx_admin_answer *answer, const char *why) {
    snprintf(answer->room, sizeof answer->room, "%s", why);
    return answer_now(answer, false);
}

static enum vx_admin_when reload(struct vx_admin_port *port, struct vx_slice path, struct vx_admin_call *call,
                                 struct vx_admin_answer *answer) {
    if (path.len >= VX_CONTROL_PATH_BYTES)
        return refuse(answer, "the path is too long");
    return vx_ahead_reload(control_of(port), path, call) ? VX_ADMIN_LATER : refuse(answer, "out of memory");
}

static enum vx_admin_when stats(struct vx_admin_port *port, struct vx_admin_call *call,
                                struct vx_admin_answer *answer) {
    (void)call;
    struct vx_control *c = control_of(port);
    answer->stats = (struct vx_admin_stats){
        .active_connections = (uint32_t)vx_metrics_total(c->metrics, VX_WORKER_CONNECTIONS_ACTIVE),
        .workers = c->worker_count,
        .pid = (uint32_t)getpid(),
        .connections_total = vx_metrics_total(c->metrics, VX_WORKER_CONNECTIONS),
        .uptime_seconds = (c->engine.rt.now_ns - c->started_ns) / SECOND_NS,
        .config_version = c->version,
        .config_path = vx_slice_of(c->path),
        .state = vx_readiness_name(c->readiness),
        .version = VX_SLICE(VX_VERSION),
    };
    return VX_ADMIN_NOW;
}

static enum vx_admin_when update_plugin(struct vx_admin_port *port, struct vx_slice name,
                                        struct vx_slice binary, struct vx_admin_call *call,
                                        struct vx_admin_answer *answer) {
    const char *why;
    return vx_ahead_push(control_of(port), name, binary, call, &why) ? VX_ADMIN_LATER : refuse(answer, why);
}

/* Bans */

static bool bans_are_on(const struct vx_control *c) {
    return c->setup && c->setup->config->bans.enabled;
}

static const char bans_are_off[] = "bans are off: the configuration has no `bans`";

static uint32_t count_bans(const struct vx_control *c) {
    struct vx_ban ban;
    uint32_t count = 0;
    for (uint32_t at = 0; vx_bans_next(c->bans, &at, &ban);)
        count++;
    return count;
}

/* The list lives until the answer has been made into a message, which is before the next one is asked for. */
static bool list_bans_of(struct vx_control *c, struct vx_admin_answer *answer) {
    struct vx_control_admin *admin = &c->admin;
    uint32_t room = count_bans(c), count = 0;
    struct vx_ban ban;
    free(admin->bans);
    free(admin->ban_texts);
    admin->bans = calloc(room + (size_t)1, sizeof *admin->bans);
    admin->ban_texts = calloc(room + (size_t)1, VX_ADDRESS_TEXT_MAX);
    if (!admin->bans || !admin->ban_texts)
        return false;
    for (uint32_t at = 0; count < room && vx_bans_next(c->bans, &at, &ban); count++) {
        char *text = admin->ban_texts + (size_t)count * VX_ADDRESS_TEXT_MAX;
        uint64_t now_ns = c->engine.rt.now_ns;
        admin->bans[count] = (struct vx_admin_ban){
            .address = vx_slice(text, vx_client_format(ban.client, text)),
            .remaining_ms = ban.until_ns > now_ns ? (ban.until_ns - now_ns) / MS_NS : 0,
            .strikes = ban.strikes,
            .manual = ban.manual,
        };
    }
    answer->bans = admin->bans;
    answer->ban_count = count;
    return true;
}

static enum vx_admin_when list_bans(struct vx_admin_port *port, struct vx_admin_call *call,
                                    struct vx_admin_answer *answer) {
    (void)call;
    struct vx_control *c = control_of(port);
    if (!bans_are_on(c))
        return refuse(answer, bans_are_off);
    return list_bans_of(c, answer) ? VX_ADMIN_NOW : refuse(answer, "out of memory");
}

static enum vx_admin_when add_ban(struct vx_admin_port *port, struct vx_slice address, uint64_t duration_ms,
                                  struct vx_admin_call *call, struct vx_admin_answer *answer) {
    (void)call;
    struct vx_control *c = control_of(port);
    char why[VX_BANS_WHY_BYTES];
    if (!bans_are_on(c))
        return refuse(answer, bans_are_off);
    if (duration_ms > UINT64_MAX / 2 / MS_NS)
        return refuse(answer, "the duration is too long");
    if (!vx_bans_add(c->bans, address, duration_ms * MS_NS, why))
        return refuse(answer, why);
    snprintf(answer->room, sizeof answer->room, "%.*s is banned", VX_SLICE_ARG(address));
    return answer_now(answer, true);
}

static enum vx_admin_when remove_ban(struct vx_admin_port *port, struct vx_slice address,
                                     struct vx_admin_call *call, struct vx_admin_answer *answer) {
    (void)call;
    struct vx_control *c = control_of(port);
    char why[VX_BANS_WHY_BYTES];
    if (!bans_are_on(c))
        return refuse(answer, bans_are_off);
    if (!vx_bans_remove(c->bans, address, why))
        return refuse(answer, why);
    snprintf(answer->room, sizeof answer->room, "%.*s is banned no more", VX_SLICE_ARG(address));
    return answer_now(answer, true);
}

static enum vx_admin_when dump(struct vx_admin_port *port, struct vx_admin_call *call,
                               struct vx_admin_answer *answer) {
    const char *why;
    if (vx_dump_start(control_of(port), call, &why))
        return VX_ADMIN_LATER;
    return refuse(answer, why);
}

bool vx_control_admin_init(struct vx_control *c) {
    struct vx_control_admin *admin = &c->admin;
    admin->port = (struct vx_admin_port){
        .reload = reload,
        .stats = stats,
        .update_plugin = update_plugin,
        .list_bans = list_bans,
        .add_ban = add_ban,
        .remove_ban = remove_ban,
        .dump = dump,
    };
    vx_dumps_init(&admin->dumps);
    admin->handler = vx_compose_admin(&admin->port);
    return admin->handler != NULL;
}

void vx_control_admin_free(struct vx_control *c) {
    free(c->admin.bans);
    free(c->admin.ban_texts);
    vx_compose_admin_free(c->admin.handler);
}
