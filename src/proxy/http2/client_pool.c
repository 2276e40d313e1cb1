/* SPDX-License-Identifier: Apache-2.0 */
/* Which request goes on which connection: one that has room, the first before the others, so that they stay few; else one
 * that is being set up; else a new one; else the queue, when max_connections leaves none. The limit counts open
 * connections over all workers (proxy/runtime/place_queue.h). A worker therefore ends one without streams when somebody else
 * waits, and one that it uses when its turn is over: that one takes no more streams, and its place goes to the others.
 *
 * Who waits for a connection that is being set up is not in the queue: as many wait as the backend will let it have, by
 * what it let the last one have. Where it turns out to have less room, the others go to the front of the queue, for they came
 * first, and the queue keeps its length: its last ones are turned away. */
#include <stdlib.h>

#include "proxy/http2/client_internal.h"

enum {
    WAITING_MAX = 100, /* for one connection that is being set up: what most backends let one have */
    HEARD_LATELY_MS = 1000,
};

static void end_turn(struct vx_timer *timer, uint64_t now_ns);
static void serve_room(struct vx_task *task, uint64_t now_ns);
static uint32_t serve_places(struct vx_place_queue *places, uint64_t now_ns);

static struct vx_h2_pool *new_pool(struct vx_h2_client *client) {
    struct vx_h2_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->client = client;
    vx_list_init(&pool->connections);
    vx_list_init(&pool->queue);
    vx_place_queue_init(&pool->places, client->places, client->rt, serve_places);
    vx_task_init(&pool->room, serve_room);
    vx_timer_init(&pool->turn, end_turn);
    return pool;
}

static struct h2_client_connection *connection_at(struct vx_list *node) {
    return VX_CONTAINER_OF(node, struct h2_client_connection, link);
}

/* Those that are open end with their last stream; those that are being set up are used and then end. */
static void end_all(struct vx_h2_pool *pool) {
    for (struct vx_list *at = pool->connections.next; at != &pool->connections; at = at->next) {
        connection_at(at)->keeps = false;
        vx_h2_client_end(connection_at(at));
    }
}

static bool make_place(struct vx_h2_client *client, uint32_t index) {
    enum { STEP = 64 };
    if (VX_LIKELY(index < client->pool_count))
        return true;
    uint32_t count = index + STEP;
    struct vx_h2_pool **pools = realloc(client->pools, count * sizeof(struct vx_h2_pool *));
    if (!pools)
        return false;
    memset(pools + client->pool_count, 0, (count - client->pool_count) * sizeof(struct vx_h2_pool *));
    client->pools = pools;
    client->pool_count = count;
    return true;
}

struct vx_h2_pool *vx_h2_pool_of(struct vx_h2_client *client, const struct vx_target *target) {
    if (!make_place(client, target->pool))
        return NULL;
    struct vx_h2_pool *pool = client->pools[target->pool];
    if (VX_UNLIKELY(!pool)) {
        pool = client->pools[target->pool] = new_pool(client);
        if (!pool)
            return NULL;
    }
    if (VX_UNLIKELY(pool->shared != target->shared)) {
        end_all(pool);
        pool->shared = target->shared;
    }
    return pool;
}

/* --- Waiting -------------------------------------------------------------------------------------------------- */

static void wait_for_connection(struct h2_client_connection *c, struct h2_client_request *r) {
    vx_h2_pool_unqueue(r);
    vx_list_push_back(&c->waiting, &r->link);
    c->waiting_count++;
    r->waits_for = c;
}

static void enqueue(struct vx_h2_pool *pool, struct h2_client_request *r, bool in_front) {
    if (in_front)
        vx_list_push_front(&pool->queue, &r->link);
    else
        vx_list_push_back(&pool->queue, &r->link);
    r->queued = true;
    vx_place_queue_enter(&pool->places, r->target);
    vx_h2_client_expect(r, r->target->queue_timeout_ns);
}

/* Nobody waits for it any more. */
static void give_up(struct h2_client_connection *c) {
    if (c->state == H2_CLIENT_CONNECTING)
        vx_h2_client_close(c);
    else if (c->state == H2_CLIENT_GREETING)
        vx_h2_client_end(c);
}

void vx_h2_pool_unqueue(struct h2_client_request *r) {
    vx_list_remove(&r->link);
    struct h2_client_connection *c = r->waits_for;
    r->waits_for = NULL;
    if (c)
        c->waiting_count--;
    if (c && !c->waiting_count && !c->keeps)
        give_up(c);
    if (!r->queued)
        return;
    r->queued = false;
    vx_place_queue_leave(&r->pool->places, r->target);
}

/* --- Choosing ------------------------------------------------------------------------------------------------- */

static bool too_old(const struct h2_client_connection *c, uint64_t now_ns) {
    return c->max_age_ns && now_ns - c->opened_ns >= c->max_age_ns;
}

static bool heard_lately(const struct h2_client_connection *c, uint64_t now_ns) {
    return now_ns - c->heard_ns < (uint64_t)HEARD_LATELY_MS * 1000000;
}

/* A connection that has room for the request now. */
static struct h2_client_connection *find_open(struct vx_h2_pool *pool, const struct h2_client_request *r,
                                              bool fresh) {
    uint64_t now_ns = pool->client->rt->now_ns;
    struct vx_list *next;
    for (struct vx_list *at = pool->connections.next; at != &pool->connections; at = next) {
        struct h2_client_connection *c = connection_at(at);
        next = at->next;
        if (c->state != H2_CLIENT_OPEN || c->shared != r->target->shared)
            continue;
        if (too_old(c, now_ns))
            vx_h2_client_end(c);
        else if ((!fresh || heard_lately(c, now_ns)) && vx_h2_session_can_open(&c->session))
            return c;
    }
    return NULL;
}

static bool is_set_up(const struct h2_client_connection *c) {
    return c->state == H2_CLIENT_CONNECTING || c->state == H2_CLIENT_GREETING;
}

/* One that is being set up, for some more to wait for. */
static struct h2_client_connection *find_unready(struct vx_h2_pool *pool, const struct h2_client_request *r) {
    uint32_t most = pool->stream_limit && pool->stream_limit < WAITING_MAX ? pool->stream_limit : WAITING_MAX;
    for (struct vx_list *at = pool->connections.next; at != &pool->connections; at = at->next) {
        struct h2_client_connection *c = connection_at(at);
        if (is_set_up(c) && c->shared == r->target->shared && c->waiting_count < most)
            return c;
    }
    return NULL;
}

/* Whether one more connection would be of use: not while one of them stands whose backend takes no streams at all. */
static bool wants_connection(const struct vx_h2_pool *pool, const struct h2_client_request *r) {
    for (struct vx_list *at = pool->connections.next; at != &pool->connections; at = at->next) {
        const struct h2_client_connection *c = connection_at(at);
        if (c->state == H2_CLIENT_OPEN && c->shared == r->target->shared &&
            !vx_h2_session_stream_limit(&c->session))
            return false;
    }
    return true;
}

static bool can_be_asked(const struct h2_client_connection *c, const struct h2_client_request *r,
                         struct vx_error *error) {
    if (!r->extended ||
        nghttp2_session_get_remote_settings(c->session.ng, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL))
        return true;
    *error = vx_error(VX_ERR_NOT_IMPLEMENTED, false, "the backend takes no WebSockets over HTTP/2");
    return false;
}

/* Who comes does not overtake those who wait, on whatever worker; nor does the own queue, unless a place was meant for it. */
static bool may_take_place(const struct vx_h2_pool *pool, const struct h2_client_request *r, bool told) {
    if (!r->target->max_connections)
        return true;
    if (!r->queued)
        return !vx_places_wanted(r->target->shared);
    return told || !vx_places_wanted_elsewhere(pool->places.places, r->target->shared);
}

/* A new connection, for the place that was taken. */
static struct h2_client_connection *connect_for(struct vx_h2_pool *pool, const struct vx_target *target,
                                                struct vx_error *error) {
    vx_place_queue_begin_turn(&pool->places);
    struct h2_client_connection *c = vx_h2_client_connect(pool, target, error);
    if (!c)
        vx_place_queue_give(&pool->places, target->shared, false);
    return c;
}

enum placed { PLACED, WAITS, NO_ROOM, FAILED };

/* A stream for the request, or a connection to wait for. `told`: there may be a place that is meant for the queue. */
static enum placed place(struct vx_h2_pool *pool, struct h2_client_request *r, bool fresh, bool told,
                         struct vx_error *error) {
    struct h2_client_connection *c = find_open(pool, r, fresh);
    if (c) {
        if (!can_be_asked(c, r, error))
            return FAILED;
        if (vx_h2_client_bind(c, r))
            return PLACED;
        *error = vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL);
        return FAILED;
    }
    c = find_unready(pool, r);
    if (!c && wants_connection(pool, r) && may_take_place(pool, r, told) && vx_target_take_place(r->target)) {
        c = connect_for(pool, r->target, error);
        if (!c)
            return FAILED;
    }
    if (!c)
        return NO_ROOM;
    wait_for_connection(c, r);
    return WAITS;
}

bool vx_h2_pool_assign(struct vx_h2_pool *pool, struct h2_client_request *r, bool fresh,
                       struct vx_error *error) {
    /* Who comes later must not overtake those who wait. */
    enum placed placed = pool->places.count && !fresh ? NO_ROOM : place(pool, r, fresh, false, error);
    if (placed != NO_ROOM)
        return placed != FAILED;
    if (pool->places.count >= r->target->queue_length) {
        *error = vx_error(VX_ERR_QUEUE_FULL, true, NULL);
        return false;
    }
    enqueue(pool, r, false);
    return true;
}

/* Tells who waited that it is under way, or not. */
static void told(struct h2_client_request *r, enum placed placed, struct vx_error error, uint64_t now_ns) {
    if (placed == FAILED) {
        vx_h2_client_fail(r, error, now_ns);
    } else if (placed == PLACED && r->waits_room) {
        r->waits_room = false;
        r->up.stream.events->on_writable(r->up.stream.user, now_ns);
    }
}

/* The first of those that waited for a connection that is open now, or has opened and ends already (it has had all its
 * requests, or is too old), else of the queue. */
static struct h2_client_request *first_waiting(struct vx_h2_pool *pool) {
    struct vx_list *waiting = &pool->queue;
    for (struct vx_list *at = pool->connections.next; at != &pool->connections; at = at->next) {
        struct h2_client_connection *c = connection_at(at);
        if (!is_set_up(c) && !vx_list_empty(&c->waiting)) {
            waiting = &c->waiting;
            break;
        }
    }
    return vx_list_empty(waiting) ? NULL : VX_CONTAINER_OF(waiting->next, struct h2_client_request, link);
}

/* What waited for a connection that is open now, and has no room for it, goes to the front of the queue. */
static void dissolve(struct vx_h2_pool *pool, struct h2_client_connection *c) {
    while (!vx_list_empty(&c->waiting)) {
        struct h2_client_request *r = VX_CONTAINER_OF(c->waiting.prev, struct h2_client_request, link);
        r->up.connect_ns = pool->client->rt->now_ns - c->opened_ns;
        vx_h2_pool_unqueue(r);
        enqueue(pool, r, true);
    }
}

/* The queue is no longer than it may be, whoever came to its front. */
static void turn_away(struct vx_h2_pool *pool, uint64_t now_ns) {
    while (!vx_list_empty(&pool->queue)) {
        struct h2_client_request *r = VX_CONTAINER_OF(pool->queue.prev, struct h2_client_request, link);
        if (pool->places.count <= r->target->queue_length)
            break;
        vx_h2_pool_unqueue(r);
        vx_h2_client_fail(r, vx_error(VX_ERR_QUEUE_FULL, true, NULL), now_ns);
    }
}

/* Whatever waits goes on as far as there is room; returns how many places were taken for it. */
static uint32_t serve(struct vx_h2_pool *pool, bool told_of_place, uint64_t now_ns) {
    uint32_t taken = 0;
    struct h2_client_request *r;
    while ((r = first_waiting(pool)) != NULL) {
        struct h2_client_connection *waited_for = r->waits_for;
        struct vx_error error;
        enum placed placed = place(pool, r, false, told_of_place, &error);
        if (placed == NO_ROOM && !waited_for)
            break;
        if (placed == NO_ROOM) {
            dissolve(pool, waited_for);
            continue;
        }
        if (waited_for)
            r->up.connect_ns = now_ns - waited_for->opened_ns;
        if (placed == WAITS)
            taken += r->waits_for->waiting_count == 1; /* it is the first on a new one */
        else
            vx_h2_pool_unqueue(r);
        told(r, placed, error, now_ns);
    }
    turn_away(pool, now_ns);
    return taken;
}

void vx_h2_pool_serve(struct vx_h2_pool *pool, uint64_t now_ns) {
    serve(pool, false, now_ns);
}

static void serve_room(struct vx_task *task, uint64_t now_ns) {
    serve(VX_CONTAINER_OF(task, struct vx_h2_pool, room), false, now_ns);
}

static uint32_t serve_places(struct vx_place_queue *places, uint64_t now_ns) {
    return serve(VX_CONTAINER_OF(places, struct vx_h2_pool, places), true, now_ns);
}

/* --- Other workers ---------------------------------------------------------------------------------------------- */

/* The connection is OPEN. */
static bool wanted_elsewhere(const struct h2_client_connection *c) {
    return vx_places_wanted_elsewhere(c->pool->client->places, c->shared);
}

/* Nothing here has a use for it. */
static bool is_spare(const struct h2_client_connection *c) {
    return !c->session.stream_count && !c->pool->places.count;
}

/* Of those in use one at a time: its place comes free with its last stream only, and meanwhile another one would be lost to
 * the requests of this worker without a place for anybody. */
static bool may_yield(const struct h2_client_connection *c) {
    return is_spare(c) || (!c->pool->yielding && vx_place_queue_turn_is_over(&c->pool->places));
}

static void yield(struct h2_client_connection *c) {
    vx_place_queue_begin_turn(&c->pool->places);
    c->yielded = true;
    c->pool->yielding++;
    vx_h2_client_end(c);
}

bool vx_h2_pool_yield(struct h2_client_connection *c) {
    if (!wanted_elsewhere(c) || !may_yield(c))
        return false;
    yield(c);
    return true;
}

/* The last that is spare, else the last that is used: the first ones are filled first. */
static struct h2_client_connection *least_useful(struct vx_h2_pool *pool) {
    struct h2_client_connection *last = NULL;
    for (struct vx_list *at = pool->connections.prev; at != &pool->connections; at = at->prev) {
        struct h2_client_connection *c = connection_at(at);
        if (c->state != H2_CLIENT_OPEN)
            continue;
        if (is_spare(c))
            return c;
        if (!last)
            last = c;
    }
    return last;
}

/* A worker that gets on with what it has must not keep the places that another one's requests wait for. */
static void spare(struct vx_h2_pool *pool) {
    struct h2_client_connection *c = least_useful(pool);
    if (!c || !wanted_elsewhere(c))
        return;
    if (may_yield(c))
        yield(c);
    else if (!pool->yielding)
        vx_timer_set(&pool->client->rt->wheel, &pool->turn, pool->places.turn_until_ns);
}

/* Those who waited while it was being set up have asked in vain. */
void vx_h2_pool_opened(struct h2_client_connection *c) {
    if (!wanted_elsewhere(c))
        return;
    vx_place_queue_begin_turn(&c->pool->places);
    vx_timer_set(&c->pool->client->rt->wheel, &c->pool->turn, c->pool->places.turn_until_ns);
}

static void end_turn(struct vx_timer *timer, uint64_t now_ns) {
    (void)now_ns;
    spare(VX_CONTAINER_OF(timer, struct vx_h2_pool, turn));
}

/* The own queue is looked at in any case, as it may wait for something else than a place; not here, where a user's call may
 * be on the stack. */
void vx_h2_pool_closed(struct h2_client_connection *c) {
    c->pool->yielding -= c->yielded;
    vx_place_queue_give(&c->pool->places, c->shared, c->yielded);
    vx_runtime_defer(c->pool->client->rt, &c->pool->room);
}

void vx_h2_client_spare(struct vx_h2_client *client) {
    for (uint32_t i = 0; i < client->pool_count; i++)
        if (client->pools[i])
            spare(client->pools[i]);
}

/* --- The client ------------------------------------------------------------------------------------------------- */

void vx_h2_client_retire(struct vx_h2_client *client, const uint64_t *keep, uint32_t count) {
    for (uint32_t i = 0; i < client->pool_count; i++) {
        bool kept = i < count && (keep[i / 64] >> (i % 64) & 1);
        if (client->pools[i] && !kept) {
            end_all(client->pools[i]);
            client->pools[i]->shared = NULL;
        }
    }
}

void vx_h2_client_dump(const struct vx_h2_client *client, const struct vx_target *target,
                       struct vx_text *out) {
    const struct vx_h2_pool *pool = target->pool < client->pool_count ? client->pools[target->pool] : NULL;
    uint32_t connections = 0, streams = 0;
    if (!pool)
        return;
    for (const struct vx_list *at = pool->connections.next; at != &pool->connections; at = at->next) {
        const struct h2_client_connection *c = VX_CONTAINER_OF(at, const struct h2_client_connection, link);
        connections++;
        streams += c->state == H2_CLIENT_CONNECTING ? 0 : c->session.stream_count;
    }
    if (connections || pool->places.count)
        vx_text_format(out, "  pool %u, %.*s: %u HTTP/2 connections with %u streams, %u requests wait\n",
                       target->pool, VX_SLICE_ARG(target->name), connections, streams, pool->places.count);
}

void vx_h2_client_drain(struct vx_h2_client *client) {
    client->draining = true;
    for (uint32_t i = 0; i < client->pool_count; i++)
        for (struct vx_list *at = client->pools[i] ? client->pools[i]->connections.next : NULL;
             at && at != &client->pools[i]->connections; at = at->next)
            if (connection_at(at)->state == H2_CLIENT_OPEN && !connection_at(at)->session.stream_count)
                vx_h2_client_end(connection_at(at));
}

void vx_h2_client_destroy(struct vx_h2_client *client) {
    for (uint32_t i = 0; i < client->pool_count; i++) {
        struct vx_h2_pool *pool = client->pools[i];
        if (!pool)
            continue;
        while (!vx_list_empty(&pool->connections))
            vx_h2_client_close(connection_at(pool->connections.next));
        vx_place_queue_free(&pool->places);
        vx_timer_remove(&client->rt->wheel, &pool->turn);
        vx_task_cancel(&pool->room);
    }
    /* Connections that have closed are freed by their tasks, which look at their pools. */
    vx_runtime_run_tasks(client->rt);
    for (uint32_t i = 0; i < client->pool_count; i++)
        free(client->pools[i]);
    free(client->pools);
    client->pools = NULL;
    client->pool_count = 0;
}
