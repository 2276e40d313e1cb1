/* SPDX-License-Identifier: Apache-2.0 */
/* Which server is the master, by the Sentinels' word: they are asked one after the other until one knows, at the start and
 * each time the master is lost. The answer is not believed blindly: the greeting asks the server itself (ROLE). */
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "filters/redis/internal.h"

static void ask_next(struct vx_redis_sentinels *q, uint64_t now_ns) {
    struct vx_redis_store *s = q->store;
    vx_redis_connection_aim(&q->asker, &s->config.hosts[q->next]);
    q->next = (q->next + 1) % s->config.host_count;
    q->asker.failures = q->failures;
    vx_redis_connection_open(&q->asker, now_ns);
}

/* The answer was of no use: the next one, after a pause. */
static void pass_on(struct vx_redis_sentinels *q, uint64_t now_ns) {
    q->failures++;
    ask_next(q, now_ns);
}

static bool read_port(const struct redisReply *reply, uint64_t *port) {
    *port = 0;
    for (size_t i = 0; i < reply->len; i++) {
        if (reply->str[i] < '0' || reply->str[i] > '9' || *port > UINT16_MAX)
            return false;
        *port = *port * 10 + (uint64_t)(reply->str[i] - '0');
    }
    return true;
}

static bool read_master(const struct redisReply *reply, struct vx_address *out) {
    uint64_t port;
    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING || reply->element[1]->type != REDIS_REPLY_STRING)
        return false;
    return read_port(reply->element[1], &port) &&
           vx_redis_read_address(vx_slice(reply->element[0]->str, reply->element[0]->len), port, NULL, out);
}

/* What is wrong with an answer that names no master. */
static const char *fault_of(const struct redisReply *reply) {
    struct vx_slice error = vx_slice(reply->str, reply->type == REDIS_REPLY_ERROR ? reply->len : 0);
    if (vx_slice_starts_with(error, VX_SLICE("NOAUTH")))
        return "a Sentinel wants a password: rate_limit.sentinel_password";
    if (vx_slice_starts_with(error, VX_SLICE("NOPERM")))
        return "a Sentinel does not let rate_limit.sentinel_username ask for the master";
    return reply->type == REDIS_REPLY_NIL ? "a Sentinel does not know the master's name"
                                          : "a Sentinel does not name the master";
}

static void answered(struct vx_redis_call *call, const struct redisReply *reply, uint64_t now_ns) {
    struct vx_redis_sentinels *q = VX_CONTAINER_OF(call, struct vx_redis_sentinels, call);
    struct vx_redis_node *node = q->store->nodes[0];
    struct vx_address master;
    if (!reply)
        return; /* its connection is gone; asker_down goes on */
    if (!read_master(reply, &master)) {
        vx_redis_store_report(q->store, fault_of(reply));
        vx_redis_connection_close(&q->asker, now_ns);
        pass_on(q, now_ns);
        return;
    }
    vx_redis_connection_aim(&node->connection, &master);
    vx_redis_connection_close(&q->asker, now_ns);
    vx_redis_connection_open(&node->connection, now_ns);
}

static void asker_up(struct vx_redis_connection *c, uint64_t now_ns) {
    struct vx_redis_sentinels *q = VX_CONTAINER_OF(c, struct vx_redis_sentinels, asker);
    const struct vx_slice words[] = {VX_SLICE("SENTINEL"), VX_SLICE("get-master-addr-by-name"),
                                     q->store->config.master};
    struct vx_redis_command command = vx_redis_command_of(words, 3);
    vx_redis_connection_send(c, &command, &q->call, now_ns);
}

static void asker_down(struct vx_redis_connection *c, const char *why, uint64_t now_ns) {
    struct vx_redis_sentinels *q = VX_CONTAINER_OF(c, struct vx_redis_sentinels, asker);
    vx_redis_store_report(q->store, why);
    pass_on(q, now_ns);
}

static bool start(struct vx_redis_store *s, uint64_t now_ns) {
    s->sentinels = calloc(1, sizeof *s->sentinels);
    if (!s->sentinels ||
        !vx_redis_node_at(s, &s->config.hosts[0])) /* its address comes with the first answer */
        return false;
    struct vx_redis_sentinels *q = s->sentinels;
    q->store = s;
    q->call.done = answered;
    vx_redis_connection_init(&q->asker, &s->shared);
    q->asker.on_up = asker_up;
    q->asker.on_down = asker_down;
    q->asker.user = s->config.sentinel_user;
    q->asker.password = s->config.sentinel_password;
    q->asker.is_sentinel = true;
    ask_next(q, now_ns);
    return true;
}

static struct vx_redis_node *node_for(struct vx_redis_store *s, const struct vx_redis_key *key) {
    (void)key;
    return s->nodes[0];
}

static void up(struct vx_redis_store *s, struct vx_redis_node *node, uint64_t now_ns) {
    (void)node, (void)now_ns;
    s->sentinels->failures = 0;
}

/* The pause before the master is tried again is the one before the next Sentinel is asked. */
static void down(struct vx_redis_store *s, struct vx_redis_node *node, uint64_t now_ns) {
    struct vx_redis_sentinels *q = s->sentinels;
    q->failures = node->connection.failures;
    if (q->asker.state == VX_REDIS_CLOSED)
        ask_next(q, now_ns);
}

static void stop(struct vx_redis_store *s, uint64_t now_ns) {
    if (s->sentinels && s->sentinels->store)
        vx_redis_connection_close(&s->sentinels->asker, now_ns);
    free(s->sentinels);
    s->sentinels = NULL;
}

const struct vx_redis_topology vx_redis_sentinel = {start, node_for, up, down, stop};
