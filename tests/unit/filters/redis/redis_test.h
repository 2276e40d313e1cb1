/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis store without a network: what it sends is read here, and what it hears is said here. */
#ifndef VX_TESTS_REDIS_TEST_H
#define VX_TESTS_REDIS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/assert.h"
#include "core/config/rate_store.h"
#include "filters/redis/store.h"

enum { LINKS_MAX = 64, SENT_MAX = 32768, SECOND_MS = 1000 };

struct vx_link {
    struct vx_address to;
    char host[256];
    const struct vx_link_events *events;
    void *user;
    bool open;
    char sent[SENT_MAX]; /* not looked at yet, NUL-terminated */
    size_t sent_len;
};

struct world {
    struct vx_network net;
    struct vx_link links[LINKS_MAX];
    unsigned link_count;
    bool no_links; /* open() finds no memory */
    struct vx_timer_wheel wheel;
    struct vx_random random;
    struct vx_rate_store local;
    enum vx_rate_verdict local_verdict;
    unsigned local_asked;
    struct vx_histogram latency;
    const char *trouble; /* as reported last */
    unsigned reports;
    struct vx_config_rate_store config;
    char memory[8192];
    struct vx_arena arena;
    struct vx_redis_store *store;
    uint64_t now_ns;
    unsigned told; /* requests decided later */
};

static inline struct vx_link *world_open(struct vx_network *net, const struct vx_address *to,
                                         const struct vx_link_events *events, void *user) {
    struct world *w = VX_CONTAINER_OF(net, struct world, net);
    if (w->no_links)
        return NULL;
    assert_true(w->link_count < LINKS_MAX);
    struct vx_link *link = &w->links[w->link_count++];
    *link = (struct vx_link){.to = *to, .events = events, .user = user, .open = true};
    if (to->text.len)
        memcpy(link->host, to->text.ptr, to->text.len);
    return link;
}

static inline void world_send(struct vx_link *link, struct vx_slice bytes) {
    assert_true(link->open && link->sent_len + bytes.len < SENT_MAX);
    memcpy(link->sent + link->sent_len, bytes.ptr, bytes.len);
    link->sent_len += bytes.len;
    link->sent[link->sent_len] = '\0';
}

static inline void world_close(struct vx_link *link) {
    assert_true(link->open);
    link->open = false;
}

static inline void world_prepare(struct vx_rate_store *self, struct vx_rate_request *r) {
    (void)self, (void)r;
}

static inline enum vx_rate_verdict world_local(struct vx_rate_store *self, struct vx_rate_request *r,
                                               uint64_t now_ns) {
    struct world *w = VX_CONTAINER_OF(self, struct world, local);
    (void)r, (void)now_ns;
    w->local_asked++;
    return w->local_verdict;
}

static inline void world_report(void *user, const char *trouble) {
    struct world *w = user;
    w->trouble = trouble;
    w->reports++;
}

/* A store with these settings and a timeout of 100 ms; what follows from the URL is filled in. */
static inline struct world *world_with(const struct vx_config_rate_store *settings) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->net = (struct vx_network){world_open, world_send, world_close};
    w->now_ns = UINT64_C(1000000000000);
    w->random.state = 7;
    w->local = (struct vx_rate_store){.prepare = world_prepare, .take = world_local};
    w->local_verdict = VX_RATE_PASS;
    vx_timer_wheel_init(&w->wheel, w->now_ns);
    vx_arena_init(&w->arena, w->memory, sizeof w->memory, NULL);
    w->config = *settings;
    w->config.timeout_ns = 100000000;
    assert_true(vx_config_complete_store(&w->config, &w->arena));
    struct vx_redis_store_options options = {
        .net = &w->net,
        .wheel = &w->wheel,
        .random = &w->random,
        .local = &w->local,
        .latency = &w->latency,
        .report = world_report,
        .user = w,
    };
    w->store = vx_redis_store_new(&w->config, &options, w->now_ns);
    assert_non_null(w->store);
    return w;
}

static inline struct world *world_new(const char *url, enum vx_store_failure on_failure) {
    return world_with(&(struct vx_config_rate_store){.url = vx_slice_of(url), .on_failure = on_failure});
}

static inline void world_end(struct world *w) {
    vx_redis_store_free(w->store, w->now_ns);
    for (unsigned i = 0; i < w->link_count; i++)
        assert_false(w->links[i].open);
    assert_int_equal(vx_timer_wheel_next_ns(&w->wheel, w->now_ns), UINT64_MAX);
    free(w);
}

static inline void world_wait(struct world *w, uint64_t ms) {
    for (uint64_t i = 0; i < ms; i++) {
        w->now_ns += 1000000;
        vx_timer_wheel_run(&w->wheel, w->now_ns);
    }
}

/* The newest link. */
static inline struct vx_link *world_link(struct world *w) {
    assert_true(w->link_count > 0);
    return &w->links[w->link_count - 1];
}

static inline unsigned world_open_links(const struct world *w) {
    unsigned open = 0;
    for (unsigned i = 0; i < w->link_count; i++)
        open += w->links[i].open;
    return open;
}

/* Whether `text` is among what was sent; what was sent is then done with. */
static inline bool world_sent(struct vx_link *link, const char *text) {
    bool found = strstr(link->sent, text) != NULL;
    link->sent_len = 0;
    link->sent[0] = '\0';
    return found;
}

static inline void world_say(struct world *w, struct vx_link *link, const char *text) {
    link->events->on_bytes(link->user, vx_slice_of(text), w->now_ns);
}

static inline void world_break(struct world *w, struct vx_link *link) {
    link->events->on_broken(link->user, "it broke", w->now_ns);
}

/* The reply to SCRIPT LOAD, the last of every greeting. */
#define LOADED "$40\r\n0123456789012345678901234567890123456789\r\n"

static inline void world_greet(struct world *w) {
    world_say(w, world_link(w), LOADED);
    assert_true(vx_redis_store_is_up(w->store));
}

/* One question. */
struct asked {
    struct vx_rate_request request;
    struct world *world;
    char key[16];
    bool told;
};

static inline void world_decided(struct vx_rate_request *r, uint64_t now_ns) {
    struct asked *a = VX_CONTAINER_OF(r, struct asked, request);
    (void)now_ns;
    assert_false(a->told);
    assert_int_not_equal(r->verdict, VX_RATE_PENDING);
    a->told = true;
    a->world->told++;
}

/* Asks about a limit of ten a second, five at once. */
static inline enum vx_rate_verdict world_ask(struct world *w, struct asked *a, const char *key) {
    struct vx_rate_store *port = vx_redis_store_port(w->store);
    *a = (struct asked){.world = w};
    snprintf(a->key, sizeof a->key, "%s", key);
    a->request = (struct vx_rate_request){
        .limit = {100000000, 5}, .key = vx_slice_of(a->key), .cost = 1, .decided = world_decided};
    port->prepare(port, &a->request);
    a->request.verdict = port->take(port, &a->request, w->now_ns);
    return a->request.verdict;
}

static inline uint64_t world_count(const struct world *w, enum vx_redis_count what) {
    return vx_redis_store_count(w->store, what);
}

#endif
