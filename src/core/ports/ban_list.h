/* SPDX-License-Identifier: Apache-2.0 */
/* Where bans take effect: in the kernel before the network stack, or in the program where it accepts. The control thread
 * decides (core/limit/ban_policy.h) and tells every list; each of them may be asked what it has. Control thread, but for
 * the gate. */
#ifndef VX_CORE_PORTS_BAN_LIST_H
#define VX_CORE_PORTS_BAN_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vx_config;
struct vx_address;

struct vx_ban {
    uint64_t client;   /* core/limit/client.h */
    uint64_t until_ns; /* monotonic */
    uint8_t strikes;   /* bans in a row, this one included */
    bool manual;       /* asked for by an operator */
};

/* What a list has dropped for one reason since it was begun. */
struct vx_ban_drops {
    const char *reason; /* static; a label in metrics */
    uint64_t packets;
};

enum { VX_BAN_DROPS_MAX = 16 };

struct vx_ban_list {
    /* Takes up a configuration (NULL: none, nothing is banned any more). False: it cannot, `why` says so in words; what was
     * in effect before stays, where there was something. May be called again with the same one, to try again. */
    bool (*apply)(struct vx_ban_list *self, const struct vx_config *config, char *why, size_t why_size);
    /* Bans until `until_ns`, or changes that. False: there is no room for it, or it is not in effect. */
    bool (*block)(struct vx_ban_list *self, const struct vx_ban *ban);
    void (*unblock)(struct vx_ban_list *self, uint64_t client);
    /* Tells the bans that outlived an earlier program; NULL: nothing does. */
    void (*each)(struct vx_ban_list *self, void (*tell)(void *user, const struct vx_ban *ban), void *user);
    /* Fills at most VX_BAN_DROPS_MAX rows and returns how many; the first counts what was let through. NULL: nothing is
     * counted. */
    size_t (*drops)(struct vx_ban_list *self, struct vx_ban_drops *rows);
    /* How it is in effect, static: "native", "generic", "off". */
    const char *(*state)(struct vx_ban_list *self);
    void (*free)(struct vx_ban_list *self);
};

/* The bans as one worker meets them. Its thread; never waits. */
struct vx_ban_gate {
    bool (*is_banned)(struct vx_ban_gate *self, const struct vx_address *client, uint64_t now_ns);
    /* A request of this client was refused because of its rate, or a connection of it was ended for what it did. */
    void (*refused)(struct vx_ban_gate *self, const struct vx_address *client, uint64_t now_ns);
};

#endif
