/* SPDX-License-Identifier: Apache-2.0 */
/* See connection.h.
 *
 * Invariants
 *   1. `link` and `reader` are there exactly while the state is not CLOSED.
 *   2. Every call in `calls` gets one done(): with its reply, in the order of sending, or with NULL when the link goes.
 *   3. An answer that is late by more than the timeout ends the link: what follows it would be as late.
 *   4. The timer runs for the oldest call, or for the next attempt, or not at all.
 *   5. After a callback the link may be another one: `round` tells.
 *   6. Bytes are read only while a call waits for them, into no more memory than its reply may take.
 *
 * state     event                                  next      function
 * CLOSED    open, or the timer                     GREETING  connect_now
 * GREETING  all replies of the greeting are good   READY     greeting_done, be_ready
 * GREETING  there is nothing to greet with         READY     connect_now, be_ready
 * GREETING  a bad one, broken, too late            CLOSED    lose
 * READY     broken, too late, garbage              CLOSED    lose
 * any       closed by its owner                    CLOSED    vx_redis_connection_close
 */
#include "filters/redis/connection.h"

#include <hiredis/hiredis.h>
#include <string.h>

#include "core/base/decimal.h"

enum {
    CALLS_MAX = 16384,
    REPLY_MAX_BYTES = 64 * 1024, /* a number, a word, an error; ROLE names some replicas */
    LONG_REPLY_MAX_BYTES =
        4 * 1024 * 1024, /* the map of a thousand masters with a replica each takes about one */
    PAUSE_MIN_MS = 10,
    PAUSE_MAX_MS = 2000,
};

static void set_deadline(struct vx_redis_connection *c) {
    if (vx_list_empty(&c->calls)) {
        vx_timer_unset(&c->timer);
        return;
    }
    const struct vx_redis_call *oldest = VX_CONTAINER_OF(c->calls.next, struct vx_redis_call, link);
    vx_timer_set(c->shared->wheel, &c->timer, oldest->sent_ns + c->shared->config->timeout_ns);
}

/* --- The end of a link -------------------------------------------------------------------------------------------- */

static void drop_link(struct vx_redis_connection *c) {
    if (c->link)
        c->shared->net->close(c->link);
    vx_redis_reader_free(c->reader);
    c->link = NULL;
    c->reader = NULL;
    c->state = VX_REDIS_CLOSED;
    c->round++;
    vx_timer_unset(&c->timer);
}

/* Calls whose replies will not come. Their owners may use the connection again, so they are taken off first. */
static void take_calls(struct vx_redis_connection *c, struct vx_list *lost) {
    vx_list_init(lost);
    c->call_count = 0;
    if (vx_list_empty(&c->calls))
        return;
    vx_list_insert_before(&c->calls, lost);
    vx_list_remove(&c->calls);
}

static void tell_lost(struct vx_list *lost, uint64_t now_ns) {
    struct vx_list *node;
    while ((node = vx_list_pop_front(lost)) != NULL) {
        struct vx_redis_call *call = VX_CONTAINER_OF(node, struct vx_redis_call, link);
        call->done(call, NULL, now_ns);
    }
}

/* A link that had worked and broke gets a new one at once; who was too slow, or never worked, has to wait. */
static void lose(struct vx_redis_connection *c, const char *why, bool doubtful, uint64_t now_ns) {
    struct vx_list lost;
    c->failures = c->proven ? doubtful : c->failures + 1;
    drop_link(c);
    take_calls(c, &lost);
    c->on_down(c, why, now_ns);
    tell_lost(&lost, now_ns);
}

void vx_redis_connection_fail(struct vx_redis_connection *c, const char *why, uint64_t now_ns) {
    lose(c, why, true, now_ns);
}

void vx_redis_connection_close(struct vx_redis_connection *c, uint64_t now_ns) {
    struct vx_list lost;
    drop_link(c);
    vx_timer_remove(c->shared->wheel, &c->timer);
    take_calls(c, &lost);
    tell_lost(&lost, now_ns);
}

/* --- Replies ------------------------------------------------------------------------------------------------------ */

static void give(struct vx_redis_connection *c, const struct redisReply *reply, uint64_t now_ns) {
    struct vx_redis_call *call = VX_CONTAINER_OF(vx_list_pop_front(&c->calls), struct vx_redis_call, link);
    c->call_count--;
    set_deadline(c);
    if (c->state == VX_REDIS_READY) {
        c->proven = true;
        c->failures = 0;
    }
    call->done(call, reply, now_ns);
}

/* The reply to the oldest call. False: it is not whole yet, or the link is lost. */
static bool read_reply(struct vx_redis_connection *c, uint64_t now_ns) {
    struct redisReply *reply;
    if (vx_list_empty(&c->calls)) {
        lose(c, "it sent a reply to nothing", true, now_ns);
        return false;
    }
    const struct vx_redis_call *oldest = VX_CONTAINER_OF(c->calls.next, struct vx_redis_call, link);
    switch (vx_redis_reader_next(c->reader, oldest->long_reply ? LONG_REPLY_MAX_BYTES : REPLY_MAX_BYTES,
                                 &reply)) {
    case VX_REDIS_READ_REPLY:
        give(c, reply, now_ns);
        freeReplyObject(reply);
        return true;
    case VX_REDIS_READ_MORE:
        return false;
    case VX_REDIS_READ_NONSENSE:
        lose(c, "it does not speak Redis's protocol", true, now_ns);
        return false;
    case VX_REDIS_READ_TOO_LARGE:
        break;
    }
    lose(c, "its reply is larger than any that was asked for", true, now_ns);
    return false;
}

static void on_bytes(void *user, struct vx_slice bytes, uint64_t now_ns) {
    struct vx_redis_connection *c = user;
    uint32_t round = c->round;
    if (!vx_redis_reader_feed(c->reader, bytes)) {
        lose(c, "there is no memory for its reply", true, now_ns);
        return;
    }
    while (c->round == round && !vx_redis_reader_is_empty(c->reader) && read_reply(c, now_ns))
        continue;
}

static void on_broken(void *user, const char *why, uint64_t now_ns) {
    lose(user, why, false, now_ns);
}

static const struct vx_link_events link_events = {.on_bytes = on_bytes, .on_broken = on_broken};

/* --- The greeting ------------------------------------------------------------------------------------------------- */

/* Of the replies only that to ROLE says more than that all is well. */
static bool is_role_but_master(const struct redisReply *reply) {
    return reply->type == REDIS_REPLY_ARRAY &&
           (reply->elements == 0 || reply->element[0]->type != REDIS_REPLY_STRING ||
            strcmp(reply->element[0]->str, "master") != 0);
}

static void be_ready(struct vx_redis_connection *c, uint64_t now_ns) {
    c->state = VX_REDIS_READY;
    c->on_up(c, now_ns);
}

static void greeting_done(struct vx_redis_call *call, const struct redisReply *reply, uint64_t now_ns) {
    struct vx_redis_connection *c = VX_CONTAINER_OF(call, struct vx_redis_greeting, call)->connection;
    if (!reply)
        return; /* whoever ended the link knows */
    if (reply->type == REDIS_REPLY_ERROR) {
        lose(c,
             c->is_sentinel
                 ? "a Sentinel refuses rate_limit.sentinel_username and sentinel_password"
                 : "it refuses the greeting: wrong user or password, no such database, or not ready",
             true, now_ns);
    } else if (is_role_but_master(reply)) {
        lose(c, "it is not the master", true, now_ns);
    } else if (--c->greetings_left == 0) {
        be_ready(c, now_ns);
    }
}

void vx_redis_connection_send(struct vx_redis_connection *c, struct vx_redis_command *command,
                              struct vx_redis_call *call, uint64_t now_ns) {
    call->sent_ns = now_ns;
    vx_list_init(&call->link);
    vx_list_push_back(&c->calls, &call->link);
    c->call_count++;
    if (c->call_count == 1)
        set_deadline(c);
    if (command->bytes)
        c->shared->net->send(c->link, vx_slice(command->bytes, command->len));
    vx_redis_command_free(command); /* without memory for it the call runs into its timeout */
}

static void greet(struct vx_redis_connection *c, struct vx_redis_command command, uint64_t now_ns) {
    struct vx_redis_greeting *g = &c->greetings[c->greeting_count++];
    *g = (struct vx_redis_greeting){.call = {.done = greeting_done}, .connection = c};
    vx_redis_connection_send(c, &command, &g->call, now_ns);
}

static void send_greeting(struct vx_redis_connection *c, uint64_t now_ns) {
    uint32_t database = c->shared->config->database;
    char digits[VX_DECIMAL_MAX_BYTES];
    c->greeting_count = 0;
    if (c->password.len) {
        struct vx_slice words[3] = {VX_SLICE("AUTH"), c->user, c->password};
        if (!c->user.len)
            words[1] = c->password;
        greet(c, vx_redis_command_of(words, c->user.len ? 3 : 2), now_ns);
    }
    c->greetings_left = c->greeting_count;
    if (c->is_sentinel)
        return;
    if (database) {
        struct vx_slice words[] = {VX_SLICE("SELECT"), vx_decimal(database, digits)};
        greet(c, vx_redis_command_of(words, 2), now_ns);
    }
    if (c->must_master)
        greet(c, vx_redis_command((const char *const[]){"ROLE", NULL}), now_ns);
    greet(c, vx_redis_command_load(), now_ns);
    c->greetings_left = c->greeting_count;
}

/* --- The beginning of a link -------------------------------------------------------------------------------------- */

static void connect_now(struct vx_redis_connection *c, uint64_t now_ns) {
    c->proven = false;
    c->reader = vx_redis_reader_new();
    c->link = c->reader ? c->shared->net->open(c->shared->net, &c->address, &link_events, c) : NULL;
    if (!c->link) {
        drop_link(c);
        c->failures++;
        vx_redis_connection_open(c, now_ns);
        return;
    }
    c->state = VX_REDIS_GREETING;
    send_greeting(c, now_ns);
    if (c->greetings_left == 0)
        be_ready(c, now_ns);
}

static void on_timer(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_redis_connection *c = VX_CONTAINER_OF(timer, struct vx_redis_connection, timer);
    if (c->state == VX_REDIS_CLOSED)
        connect_now(c, now_ns);
    else if (!vx_list_empty(&c->calls))
        lose(c, "it did not answer within rate_limit.store_timeout", true, now_ns);
}

void vx_redis_connection_init(struct vx_redis_connection *c, const struct vx_redis_shared *shared) {
    memset(c, 0, sizeof *c);
    c->shared = shared;
    vx_list_init(&c->calls);
    vx_timer_init(&c->timer, on_timer);
}

void vx_redis_connection_aim(struct vx_redis_connection *c, const struct vx_address *to) {
    size_t len = to->text.len < sizeof c->host ? to->text.len : sizeof c->host;
    if (len)
        memcpy(c->host, to->text.ptr, len);
    c->address = *to;
    c->address.text = vx_slice(c->host, len);
}

/* Half to all of the pause, so that the workers of many proxies do not come all at once. */
void vx_redis_connection_open(struct vx_redis_connection *c, uint64_t now_ns) {
    if (!c->failures) {
        connect_now(c, now_ns);
        return;
    }
    uint32_t pause_ms = c->failures < 8 ? (uint32_t)PAUSE_MIN_MS << c->failures : PAUSE_MAX_MS;
    pause_ms = pause_ms / 2 + vx_random_below(c->shared->random, pause_ms / 2);
    vx_timer_set(c->shared->wheel, &c->timer, now_ns + (uint64_t)pause_ms * 1000000);
}

bool vx_redis_connection_usable(const struct vx_redis_connection *c) {
    bool hopeful = c->state == VX_REDIS_GREETING && c->failures == 0;
    return (c->state == VX_REDIS_READY || hopeful) && c->call_count < CALLS_MAX;
}
