/* SPDX-License-Identifier: Apache-2.0 */
/* One pipelined connection to a Redis or a Sentinel: commands go out, replies come back in order. It greets the server
 * (AUTH, SELECT, ROLE, SCRIPT LOAD), keeps the time of every answer, and waits longer before each new attempt. */
#ifndef VX_FILTERS_REDIS_CONNECTION_H
#define VX_FILTERS_REDIS_CONNECTION_H

#include "core/base/list.h"
#include "core/base/random.h"
#include "core/base/timer.h"
#include "core/config/model.h"
#include "core/ports/network.h"
#include "filters/redis/command.h"
#include "filters/redis/reader.h"

/* A command whose reply has not come. The sender owns it until `done`. */
struct vx_redis_call {
    struct vx_list link;
    /* `reply` is valid during the call; NULL: it will never come. */
    void (*done)(struct vx_redis_call *call, const struct redisReply *reply, uint64_t now_ns);
    uint64_t sent_ns;
    bool long_reply; /* it may take megabytes: a cluster's map */
};

#define VX_REDIS_CONNECTION_STATES(X)                                                                        \
    X(CLOSED)   /* there is no link; perhaps the timer will open one */                                      \
    X(GREETING) /* the link is being made, or the greeting's replies have not all come */                    \
    X(READY)

enum vx_redis_connection_state {
#define X(name) VX_REDIS_##name,
    VX_REDIS_CONNECTION_STATES(X)
#undef X
};

/* What all connections of a store share; outlives them. */
struct vx_redis_shared {
    struct vx_network *net;
    struct vx_timer_wheel *wheel;
    struct vx_random *random;
    const struct vx_config_rate_store *config;
};

enum { VX_REDIS_GREETINGS_MAX = 4, VX_REDIS_HOST_MAX_BYTES = 256 };

struct vx_redis_connection;

struct vx_redis_greeting {
    struct vx_redis_call call;
    struct vx_redis_connection *connection;
};

struct vx_redis_connection {
    const struct vx_redis_shared *shared;
    /* It is READY; it was lost (or never made), is CLOSED and does not open by itself. The latter is called before the lost
     * calls' `done`. */
    void (*on_up)(struct vx_redis_connection *c, uint64_t now_ns);
    void (*on_down)(struct vx_redis_connection *c, const char *why, uint64_t now_ns);
    struct vx_slice user, password; /* as of a configuration's store; the texts outlive the connection */
    bool is_sentinel;               /* which has neither databases nor scripts */
    bool must_master;               /* the greeting asks for ROLE */
    struct vx_address address;      /* its text is in `host` */
    char host[VX_REDIS_HOST_MAX_BYTES];
    uint8_t state; /* enum vx_redis_connection_state */
    struct vx_link *link;
    struct vx_redis_reader *reader;
    struct vx_list calls; /* oldest first */
    uint32_t call_count;
    uint32_t round;    /* counts links, so that a loop over replies sees that its link is gone */
    uint32_t failures; /* attempts in a row that came to nothing */
    bool proven;       /* a command beyond the greeting was answered on this link */
    struct vx_timer timer;
    struct vx_redis_greeting greetings[VX_REDIS_GREETINGS_MAX];
    unsigned greeting_count, greetings_left;
};

/* CLOSED; the rest of the fields above `address` is the caller's to fill in. */
void vx_redis_connection_init(struct vx_redis_connection *c, const struct vx_redis_shared *shared);

/* Says where it goes (copied; a name has at most VX_REDIS_HOST_MAX_BYTES). CLOSED only. */
void vx_redis_connection_aim(struct vx_redis_connection *c, const struct vx_address *to);

/* Opens a link, at once where there was none yet or a working one was lost, else after a pause that grows. CLOSED only. */
void vx_redis_connection_open(struct vx_redis_connection *c, uint64_t now_ns);

/* Whether a command may be sent: ready, or being made by an attempt that there is no reason to doubt. */
bool vx_redis_connection_usable(const struct vx_redis_connection *c);

/* Sends a command, whose bytes are freed. Only where it is usable. */
void vx_redis_connection_send(struct vx_redis_connection *c, struct vx_redis_command *command,
                              struct vx_redis_call *call, uint64_t now_ns);

/* What a reply says makes the connection worthless: as if it had broken. */
void vx_redis_connection_fail(struct vx_redis_connection *c, const char *why, uint64_t now_ns);

/* Ends it without on_down; its calls are done with NULL. CLOSED afterwards, and no timer runs. */
void vx_redis_connection_close(struct vx_redis_connection *c, uint64_t now_ns);

#endif
