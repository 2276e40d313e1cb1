/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_admin.h. */
#include "support/fake_admin.h"

#include <stdio.h>

static enum vx_admin_when note(struct vx_admin_port *port, struct vx_admin_call *call,
                               struct vx_admin_answer *answer) {
    struct fake_admin *a = (struct fake_admin *)port;
    a->questions++;
    if (a->later) {
        a->waits = call;
        return VX_ADMIN_LATER;
    }
    *answer = a->answer;
    return VX_ADMIN_NOW;
}

/* Cut to what fits. */
#define ASKED(port, ...)                                                                                     \
    snprintf(((struct fake_admin *)(port))->asked, sizeof((struct fake_admin *)(port))->asked, __VA_ARGS__)

static enum vx_admin_when reload(struct vx_admin_port *port, struct vx_slice path, struct vx_admin_call *call,
                                 struct vx_admin_answer *answer) {
    ASKED(port, "reload %.*s", VX_SLICE_ARG(path));
    return note(port, call, answer);
}

static enum vx_admin_when stats(struct vx_admin_port *port, struct vx_admin_call *call,
                                struct vx_admin_answer *answer) {
    ASKED(port, "stats");
    return note(port, call, answer);
}

static enum vx_admin_when update_plugin(struct vx_admin_port *port, struct vx_slice name,
                                        struct vx_slice binary, struct vx_admin_call *call,
                                        struct vx_admin_answer *answer) {
    ASKED(port, "update_plugin %.*s %zu", VX_SLICE_ARG(name), binary.len);
    return note(port, call, answer);
}

static enum vx_admin_when list_bans(struct vx_admin_port *port, struct vx_admin_call *call,
                                    struct vx_admin_answer *answer) {
    ASKED(port, "list_bans");
    return note(port, call, answer);
}

static enum vx_admin_when add_ban(struct vx_admin_port *port, struct vx_slice address, uint64_t duration_ms,
                                  struct vx_admin_call *call, struct vx_admin_answer *answer) {
    ASKED(port, "add_ban %.*s %llu", VX_SLICE_ARG(address), (unsigned long long)duration_ms);
    return note(port, call, answer);
}

static enum vx_admin_when remove_ban(struct vx_admin_port *port, struct vx_slice address,
                                     struct vx_admin_call *call, struct vx_admin_answer *answer) {
    ASKED(port, "remove_ban %.*s", VX_SLICE_ARG(address));
    return note(port, call, answer);
}

static enum vx_admin_when dump(struct vx_admin_port *port, struct vx_admin_call *call,
                               struct vx_admin_answer *answer) {
    ASKED(port, "dump");
    return note(port, call, answer);
}

void fake_admin_init(struct fake_admin *a) {
    *a = (struct fake_admin){
        .port = {reload, stats, update_plugin, list_bans, add_ban, remove_ban, dump},
    };
}

void fake_admin_answer(struct fake_admin *a) {
    struct vx_admin_call *call = a->waits;
    a->waits = NULL;
    call->answered(call, &a->answer);
}
