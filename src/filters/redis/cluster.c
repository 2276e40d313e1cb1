/* SPDX-License-Identifier: Apache-2.0 */
/* Which server of a cluster has a key: by a map of its slots, asked of any of its nodes (CLUSTER SLOTS) at the start, when a
 * node is lost, and after a redirection has shown that the map is old. Nodes that a new map has left are freed once they
 * have answered what they were asked. */
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "filters/redis/internal.h"

enum { LOOK_SOON_MS = 100, LOOK_AGAIN_MS = 500, SWEEP_AGAIN_MS = 100 };

/* At the latest: an earlier look that is due already stays. */
static void look_later(struct vx_redis_map *map, uint64_t ms, uint64_t now_ns) {
    uint64_t at_ns = now_ns + ms * 1000000;
    if (map->timer.at_ms > at_ns / 1000000)
        vx_timer_set(map->store->options.wheel, &map->timer, at_ns);
}

/* --- Reading the map ---------------------------------------------------------------------------------------------- */

static const struct redisReply *element(const struct redisReply *array, size_t at, int type) {
    return array->type == REDIS_REPLY_ARRAY && at < array->elements && array->element[at]->type == type
               ? array->element[at]
               : NULL;
}

/* A node as the map names it: host (nothing: the one that was asked), port, and more. */
static struct vx_redis_node *read_node(struct vx_redis_store *s, const struct redisReply *named,
                                       const struct vx_redis_node *asked) {
    const struct redisReply *host = element(named, 0, REDIS_REPLY_STRING);
    const struct redisReply *port = element(named, 1, REDIS_REPLY_INTEGER);
    struct vx_address address;
    if (!port || port->integer < 0 ||
        !vx_redis_read_address(host ? vx_slice(host->str, host->len) : VX_SLICE_NONE, (uint64_t)port->integer,
                               &asked->connection.address, &address))
        return NULL;
    return vx_redis_node_at(s, &address);
}

/* One line of the map: first slot, last slot, master, replicas. */
static bool read_range(struct vx_redis_store *s, const struct redisReply *range,
                       const struct vx_redis_node *asked) {
    const struct redisReply *first = element(range, 0, REDIS_REPLY_INTEGER);
    const struct redisReply *last = element(range, 1, REDIS_REPLY_INTEGER);
    const struct redisReply *master = element(range, 2, REDIS_REPLY_ARRAY);
    if (!first || !last || !master || first->integer < 0 || last->integer >= VX_REDIS_SLOTS)
        return false;
    struct vx_redis_node *node = read_node(s, master, asked);
    if (!node)
        return false;
    node->wanted = true;
    for (long long slot = first->integer; slot <= last->integer; slot++)
        s->map->nodes[slot] = node->index;
    return true;
}

static void open_if_idle(struct vx_redis_connection *c, uint64_t now_ns) {
    if (c->state == VX_REDIS_CLOSED && c->timer.at_ms == VX_TIMER_NEVER)
        vx_redis_connection_open(c, now_ns);
}

/* Connects to who has slots, and has those swept that have none: later, as one of them may be who told the map. */
static bool settle_nodes(struct vx_redis_store *s, uint64_t now_ns) {
    bool all_ready = true;
    for (uint16_t i = 0; i < s->node_count; i++) {
        struct vx_redis_connection *c = &s->nodes[i]->connection;
        if (!s->nodes[i]->wanted) {
            vx_timer_set(s->options.wheel, &s->map->sweep, now_ns);
            continue;
        }
        open_if_idle(c, now_ns);
        all_ready = all_ready && c->state == VX_REDIS_READY;
    }
    return all_ready;
}

static void forget_node(struct vx_redis_map *map, uint16_t index, uint64_t now_ns) {
    uint16_t last = (uint16_t)(map->store->node_count - 1);
    vx_redis_node_free(map->store, index, now_ns);
    for (unsigned slot = 0; slot < VX_REDIS_SLOTS; slot++)
        if (map->nodes[slot] == last)
            map->nodes[slot] = index;
    if (map->asked == last)
        map->asked = index;
}

/* No slot has an unwanted node, so what is under way there is all that it still has to answer. */
static void sweep(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_redis_map *map = VX_CONTAINER_OF(timer, struct vx_redis_map, sweep);
    struct vx_redis_store *s = map->store;
    for (uint16_t i = s->node_count; i-- > 0;) {
        if (s->nodes[i]->wanted)
            continue;
        if (s->nodes[i]->connection.call_count == 0)
            forget_node(map, i, now_ns);
        else
            vx_timer_set(s->options.wheel, timer, now_ns + (uint64_t)SWEEP_AGAIN_MS * 1000000);
    }
}

/* False: not one line of it makes sense, and nothing has changed. */
static bool read_map(struct vx_redis_map *map, const struct redisReply *reply) {
    struct vx_redis_store *s = map->store;
    uint16_t before[VX_REDIS_SLOTS];
    memcpy(before, map->nodes, sizeof before);
    for (uint16_t i = 0; i < s->node_count; i++)
        s->nodes[i]->wanted = false;
    for (unsigned slot = 0; slot < VX_REDIS_SLOTS; slot++)
        map->nodes[slot] = VX_REDIS_NO_NODE;
    bool any = false;
    for (size_t i = 0; i < reply->elements; i++)
        any = read_range(s, reply->element[i], s->nodes[map->asked]) || any;
    if (any)
        return true;
    memcpy(map->nodes, before, sizeof before);
    for (unsigned slot = 0; slot < VX_REDIS_SLOTS; slot++)
        if (before[slot] != VX_REDIS_NO_NODE)
            s->nodes[before[slot]]->wanted = true;
    return false;
}

static void map_came(struct vx_redis_call *call, const struct redisReply *reply, uint64_t now_ns) {
    struct vx_redis_map *map = VX_CONTAINER_OF(call, struct vx_redis_map, call);
    bool good = reply && reply->type == REDIS_REPLY_ARRAY && read_map(map, reply);
    map->asked_one = false;
    vx_timer_unset(&map->timer);
    if (!good || !settle_nodes(map->store, now_ns))
        look_later(map, LOOK_AGAIN_MS, now_ns);
}

/* --- Asking for it ------------------------------------------------------------------------------------------------ */

/* Asks the next ready node after the one asked last: a node that was cut off must not tell its old map for ever. */
static bool look(struct vx_redis_map *map, uint64_t now_ns) {
    struct vx_redis_store *s = map->store;
    for (uint16_t i = 1; i <= s->node_count; i++) {
        uint16_t at = (uint16_t)((map->asked + i) % s->node_count);
        if (s->nodes[at]->connection.state != VX_REDIS_READY)
            continue;
        struct vx_redis_command command = vx_redis_command((const char *const[]){"CLUSTER", "SLOTS", NULL});
        map->asked = at;
        map->asked_one = true;
        vx_redis_connection_send(&s->nodes[at]->connection, &command, &map->call, now_ns);
        return true;
    }
    return false;
}

static void try_configured_ones(struct vx_redis_store *s, uint64_t now_ns) {
    for (uint32_t i = 0; i < s->config.host_count; i++) {
        struct vx_redis_node *node = vx_redis_node_at(s, &s->config.hosts[i]);
        if (node)
            open_if_idle(&node->connection, now_ns);
    }
}

static void on_timer(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_redis_map *map = VX_CONTAINER_OF(timer, struct vx_redis_map, timer);
    if (map->asked_one || look(map, now_ns))
        return;
    try_configured_ones(map->store, now_ns);
    look_later(map, LOOK_AGAIN_MS, now_ns);
}

/* --- Redirections ------------------------------------------------------------------------------------------------- */

/* `3999 127.0.0.1:6381` behind MOVED or ASK; an IPv6 address has no brackets. */
static bool read_redirection(struct vx_slice text, const struct vx_address *self, unsigned *slot,
                             struct vx_address *address) {
    uint64_t numbers[2] = {0, 0};
    size_t space = 0, colon = text.len;
    while (space < text.len && text.ptr[space] != ' ')
        space++;
    while (colon > space && text.ptr[colon - 1] != ':')
        colon--;
    if (colon <= space + 1 || space > 5 || text.len - colon > 5)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (i >= space && i < colon)
            continue;
        unsigned digit = (unsigned char)text.ptr[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        numbers[i >= colon] = numbers[i >= colon] * 10 + digit;
    }
    *slot = (unsigned)numbers[0];
    struct vx_slice host = vx_slice(text.ptr + space + 1, colon - space - 2);
    return *slot < VX_REDIS_SLOTS && vx_redis_read_address(host, numbers[1], self, address);
}

struct vx_redis_node *vx_redis_cluster_redirected(struct vx_redis_store *s, struct vx_redis_node *from,
                                                  struct vx_slice error, bool *for_once, uint64_t now_ns) {
    struct vx_slice moved = VX_SLICE("MOVED "), ask = VX_SLICE("ASK ");
    struct vx_address address;
    unsigned slot;
    *for_once = vx_slice_starts_with(error, ask);
    if (!*for_once && !vx_slice_starts_with(error, moved))
        return NULL;
    if (!read_redirection(vx_slice_skip(error, *for_once ? ask.len : moved.len), &from->connection.address,
                          &slot, &address))
        return NULL;
    struct vx_redis_node *to = vx_redis_node_at(s, &address);
    if (!*for_once || !to)
        look_later(s->map, LOOK_SOON_MS, now_ns); /* it also shows which nodes may go */
    if (!to)
        return NULL;
    if (!*for_once)
        s->map->nodes[slot] = to->index;
    to->wanted = true;
    open_if_idle(&to->connection, now_ns);
    return to;
}

/* --- As a topology ------------------------------------------------------------------------------------------------ */

static bool start(struct vx_redis_store *s, uint64_t now_ns) {
    s->map = malloc(sizeof *s->map);
    if (!s->map)
        return false;
    *s->map = (struct vx_redis_map){.store = s, .call = {.done = map_came, .long_reply = true}};
    vx_timer_init(&s->map->timer, on_timer);
    vx_timer_init(&s->map->sweep, sweep);
    for (unsigned slot = 0; slot < VX_REDIS_SLOTS; slot++)
        s->map->nodes[slot] = VX_REDIS_NO_NODE;
    try_configured_ones(s, now_ns);
    look_later(s->map, LOOK_AGAIN_MS, now_ns);
    return s->node_count > 0;
}

static struct vx_redis_node *node_for(struct vx_redis_store *s, const struct vx_redis_key *key) {
    uint16_t node = s->map->nodes[vx_redis_slot(key)];
    return node == VX_REDIS_NO_NODE ? NULL : s->nodes[node];
}

/* The first one that is ready tells the map. */
static void up(struct vx_redis_store *s, struct vx_redis_node *node, uint64_t now_ns) {
    bool map_known = false;
    for (uint16_t i = 0; i < s->node_count; i++)
        map_known = map_known || (s->nodes[i] != node && s->nodes[i]->connection.state == VX_REDIS_READY);
    if (!map_known && !s->map->asked_one)
        look(s->map, now_ns);
}

static void down(struct vx_redis_store *s, struct vx_redis_node *node, uint64_t now_ns) {
    vx_redis_connection_open(&node->connection, now_ns);
    look_later(s->map, LOOK_SOON_MS, now_ns);
}

static void stop(struct vx_redis_store *s, uint64_t now_ns) {
    (void)now_ns;
    if (s->map) {
        vx_timer_remove(s->options.wheel, &s->map->timer);
        vx_timer_remove(s->options.wheel, &s->map->sweep);
    }
    free(s->map);
    s->map = NULL;
}

const struct vx_redis_topology vx_redis_cluster = {start, node_for, up, down, stop};
