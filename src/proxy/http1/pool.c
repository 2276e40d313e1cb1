/* SPDX-License-Identifier: Apache-2.0 */
/* Pools of idle connections, one a target and worker, and the queue of requests that max_connections keeps waiting.
 * The limit counts open connections over all workers (proxy/runtime/place_queue.h). A worker therefore gives an idle one up
 * when somebody else waits, and one that its own queue could use when its turn is over. */
#include <stdlib.h>

#include "proxy/http1/client_internal.h"

static uint32_t serve(struct vx_place_queue *places, uint64_t now_ns);
static void end_waits(struct vx_timer *timer, uint64_t now_ns);

static struct vx_h1_pool *new_pool(struct vx_h1_client *client) {
    struct vx_h1_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->client = client;
    vx_list_init(&pool->idle);
    vx_list_init(&pool->leaving);
    vx_list_init(&pool->queue);
    vx_place_queue_init(&pool->places, client->places, client->rt, serve);
    vx_timer_init(&pool->overdue, end_waits);
    return pool;
}

static void close_listed(struct vx_list *list) {
    while (!vx_list_empty(list))
        vx_h1_client_close(VX_CONTAINER_OF(list->next, struct h1_client_connection, link), false);
}

struct vx_h1_pool *vx_h1_pool_of(struct vx_h1_client *client, const struct vx_target *target) {
    uint32_t index = target->pool;
    if (VX_UNLIKELY(index >= client->pool_count)) {
        uint32_t count = index + 64;
        struct vx_h1_pool **pools = realloc(client->pools, count * sizeof *pools);
        if (!pools)
            return NULL;
        memset(pools + client->pool_count, 0, (count - client->pool_count) * sizeof *pools);
        client->pools = pools;
        client->pool_count = count;
    }
    struct vx_h1_pool *pool = client->pools[index];
    if (VX_UNLIKELY(!pool)) {
        pool = client->pools[index] = new_pool(client);
        if (!pool)
            return NULL;
    }
    if (VX_UNLIKELY(pool->shared != target->shared)) {
        close_listed(&pool->idle);
        pool->shared = target->shared;
    }
    return pool;
}

static bool too_old(const struct h1_client_connection *c, const struct vx_target *target, uint64_t now_ns) {
    return (target->max_requests && c->requests >= target->max_requests) ||
           (target->pool_max_age_ns && now_ns - c->opened_ns >= target->pool_max_age_ns);
}

/* The idle connection used last that is still good: an end or unexpected bytes may have arrived this very round. */
static struct h1_client_connection *pop_idle(struct vx_h1_pool *pool, const struct vx_target *target) {
    while (!vx_list_empty(&pool->idle)) {
        struct h1_client_connection *c = VX_CONTAINER_OF(pool->idle.next, struct h1_client_connection, link);
        struct vx_transport *t = c->reader.transport;
        if (t->readable || t->peer_shut || too_old(c, target, pool->client->rt->now_ns)) {
            vx_h1_client_close(c, false);
            continue;
        }
        vx_h1_pool_unlink(c);
        return c;
    }
    return NULL;
}

static struct h1_client_request *first_queued(struct vx_h1_pool *pool) {
    return vx_list_empty(&pool->queue) ? NULL
                                       : VX_CONTAINER_OF(pool->queue.next, struct h1_client_request, link);
}

/* When the first in the queue has waited too long. */
static void set_overdue(struct vx_h1_pool *pool) {
    vx_timer_set(&pool->client->rt->wheel, &pool->overdue, first_queued(pool)->queued_until_ns);
}

static void enqueue(struct vx_h1_pool *pool, struct h1_client_request *request) {
    request->queued_until_ns = pool->client->rt->now_ns + request->target->queue_timeout_ns;
    vx_list_push_back(&pool->queue, &request->link);
    vx_place_queue_enter(&pool->places, request->target);
    if (pool->places.count == 1)
        set_overdue(pool);
}

void vx_h1_pool_unqueue(struct h1_client_request *request) {
    vx_list_remove(&request->link);
    vx_place_queue_leave(&request->pool->places, request->target);
}

static bool connect_for(struct vx_h1_pool *pool, struct h1_client_request *request, struct vx_error *error) {
    vx_place_queue_begin_turn(&pool->places);
    if (vx_h1_client_connect(pool, request, error))
        return true;
    vx_place_queue_give(&pool->places, request->target->shared, false);
    return false;
}

/* Who comes does not overtake those who wait, on whatever worker. */
static bool may_take_place(const struct vx_h1_pool *pool, const struct vx_target *target) {
    return !target->max_connections || (!pool->places.count && !vx_places_wanted(target->shared));
}

bool vx_h1_pool_assign(struct vx_h1_pool *pool, struct h1_client_request *request, bool fresh,
                       struct vx_error *error) {
    struct h1_client_connection *c = fresh ? NULL : pop_idle(pool, request->target);
    if (c) {
        if (vx_h1_client_bind(c, request))
            return true;
        *error = vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL);
        vx_h1_client_close(c, false);
        return false;
    }
    if (may_take_place(pool, request->target) && vx_target_take_place(request->target))
        return connect_for(pool, request, error);
    if (pool->places.count >= request->target->queue_length) {
        *error = vx_error(VX_ERR_QUEUE_FULL, true, NULL);
        return false;
    }
    enqueue(pool, request);
    return true;
}

/* Tells a queued request that it goes no further; its user will release it. */
static void fail_queued(struct h1_client_request *request, struct vx_error error, uint64_t now_ns) {
    vx_h1_pool_unqueue(request);
    request->up.stream.error = error;
    request->up.stream.events->on_failed(request->up.stream.user, now_ns);
}

static void fail_overdue(struct vx_h1_pool *pool, uint64_t now_ns) {
    struct h1_client_request *request;
    while ((request = first_queued(pool)) != NULL && request->queued_until_ns <= now_ns)
        fail_queued(request, vx_error(VX_ERR_QUEUE_TIMEOUT, true, NULL), now_ns);
}

static void end_waits(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_h1_pool *pool = VX_CONTAINER_OF(timer, struct vx_h1_pool, overdue);
    fail_overdue(pool, now_ns);
    if (pool->places.count)
        set_overdue(pool);
}

static uint32_t serve(struct vx_place_queue *places, uint64_t now_ns) {
    struct vx_h1_pool *pool = VX_CONTAINER_OF(places, struct vx_h1_pool, places);
    struct h1_client_request *request;
    uint32_t taken = 0;
    fail_overdue(pool, now_ns);
    while ((request = first_queued(pool)) != NULL && vx_target_take_place(request->target)) {
        taken++;
        struct vx_error error;
        vx_h1_pool_unqueue(request);
        if (!connect_for(pool, request, &error)) {
            request->up.stream.error = error;
            request->up.stream.events->on_failed(request->up.stream.user, now_ns);
        }
    }
    return taken;
}

/* Hands a free connection to the first in the queue. */
static bool serve_queue(struct vx_h1_pool *pool, struct h1_client_connection *c) {
    struct h1_client_request *next = first_queued(pool);
    if (!next || !vx_h1_client_bind(c, next))
        return false;
    vx_h1_pool_unqueue(next);
    /* Its user is told at the end of the round; the head can leave now. */
    vx_h1_client_flush(c);
    vx_runtime_defer(pool->client->rt, &c->task);
    return true;
}

/* Whether the backend has said nothing behind its response. A read that filled its block to the last byte leaves that
 * open: the transport is asked. */
static bool is_silent(struct vx_transport *t) {
    char more;
    return !t->peer_shut && (!t->readable || t->ops->read(t, &more, 1) == VX_IO_AGAIN);
}

void vx_h1_pool_return(struct h1_client_connection *c, const struct vx_target *target) {
    struct vx_h1_pool *pool = c->pool;
    bool fit = c->shared == pool->shared && !pool->client->draining &&
               !too_old(c, target, pool->client->rt->now_ns) && is_silent(c->reader.transport);
    bool wanted = target->max_connections && vx_places_wanted_elsewhere(pool->client->places, c->shared);
    if (fit && !(wanted && vx_place_queue_turn_is_over(&pool->places)) && serve_queue(pool, c))
        return;
    if (!fit || wanted || pool->idle_count >= target->max_idle) {
        vx_h1_client_close(c, false);
        return;
    }
    c->state = H1_CLIENT_IDLE;
    vx_h1_reader_relax(&c->reader);
    vx_h1_sink_relax(&c->sink);
    vx_list_push_front(&pool->idle, &c->link);
    pool->idle_count++;
    vx_h1_client_set_deadline(c, target->pool_idle_ns);
}

void vx_h1_pool_unlink(struct h1_client_connection *c) {
    if (!vx_list_empty(&c->link) && c->state == H1_CLIENT_IDLE)
        c->pool->idle_count--;
    vx_list_remove(&c->link);
}

void vx_h1_pool_closed(struct h1_client_connection *c) {
    vx_place_queue_give(&c->pool->places, c->shared, false);
}

/* A worker with nothing to do must not keep the places that another one's requests wait for. */
void vx_h1_client_spare(struct vx_h1_client *client) {
    for (uint32_t i = 0; i < client->pool_count; i++) {
        struct vx_h1_pool *pool = client->pools[i];
        if (!pool || !pool->idle_count || !pool->shared)
            continue;
        uint32_t wanted = atomic_load_explicit(&pool->shared->waiting, memory_order_relaxed);
        for (; wanted && pool->idle_count; wanted--)
            vx_h1_client_close(VX_CONTAINER_OF(pool->idle.prev, struct h1_client_connection, link), false);
    }
}

void vx_h1_client_retire(struct vx_h1_client *client, const uint64_t *keep, uint32_t count) {
    for (uint32_t i = 0; i < client->pool_count; i++) {
        bool kept = i < count && (keep[i / 64] >> (i % 64) & 1);
        if (client->pools[i] && !kept) {
            close_listed(&client->pools[i]->idle);
            client->pools[i]->shared = NULL; /* what is still active closes when it is done */
        }
    }
}

void vx_h1_client_dump(const struct vx_h1_client *client, const struct vx_target *target,
                       struct vx_text *out) {
    const struct vx_h1_pool *pool = target->pool < client->pool_count ? client->pools[target->pool] : NULL;
    if (pool && (pool->idle_count || pool->places.count))
        vx_text_format(out, "  pool %u, %.*s: %u idle HTTP/1 connections, %u requests wait\n", target->pool,
                       VX_SLICE_ARG(target->name), pool->idle_count, pool->places.count);
}

void vx_h1_client_destroy(struct vx_h1_client *client) {
    for (uint32_t i = 0; i < client->pool_count; i++) {
        if (!client->pools[i])
            continue;
        close_listed(&client->pools[i]->idle);
        close_listed(&client->pools[i]->leaving);
        vx_place_queue_free(&client->pools[i]->places);
        vx_timer_remove(&client->rt->wheel, &client->pools[i]->overdue);
        free(client->pools[i]);
    }
    free(client->pools);
    client->pools = NULL;
    client->pool_count = 0;
}
