/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits on a Redis: alone, behind Sentinels, or a cluster. One store a worker, with a connection to each server that
 * it needs. */
#ifndef VX_FILTERS_REDIS_STORE_H
#define VX_FILTERS_REDIS_STORE_H

#include "core/base/histogram.h"
#include "core/ports/rate_store.h"
#include "core/ports/text_sink.h"
#include "filters/redis/connection.h"

struct vx_redis_store;

#define VX_REDIS_COUNTS(X)                                                                                   \
    X(ASKED)         /* questions sent */                                                                    \
    X(LOCAL_REFUSAL) /* refused without asking, because Redis had refused the key until later */             \
    X(LOST)          /* sent, and the connection broke or was too slow */                                    \
    X(ERROR)         /* answered with an error, such as out of memory */                                     \
    X(AWAY)          /* not sent, because there is no connection */

enum vx_redis_count {
#define X(name) VX_REDIS_COUNT_##name,
    VX_REDIS_COUNTS(X)
#undef X
        VX_REDIS_COUNT_COUNT
};

struct vx_redis_store_options {
    struct vx_network *net;
    struct vx_timer_wheel *wheel;
    struct vx_random *random;
    struct vx_rate_store *local;  /* decides at once; for on_failure LOCAL */
    struct vx_histogram *latency; /* of answers */
    /* Something an operator should know; static text, or NULL: all is well again. */
    void (*report)(void *user, const char *trouble);
    void *user;
};

/* `config` is copied. Begins to connect. NULL: no memory. The worker's thread, as all below. */
struct vx_redis_store *vx_redis_store_new(const struct vx_config_rate_store *config,
                                          const struct vx_redis_store_options *options, uint64_t now_ns);

/* Decides what is pending as if the server were away, and closes all links; only the counts are left to be asked. From the
 * loop, not from inside a call of the store. */
void vx_redis_store_stop(struct vx_redis_store *s, uint64_t now_ns);

/* Stops it if need be. NULL is allowed. */
void vx_redis_store_free(struct vx_redis_store *s, uint64_t now_ns);

struct vx_rate_store *vx_redis_store_port(struct vx_redis_store *s);

uint64_t vx_redis_store_count(const struct vx_redis_store *s, enum vx_redis_count count);

/* Whether questions are being sent. */
bool vx_redis_store_is_up(const struct vx_redis_store *s);

/* Lines of text about its servers and what became of questions. */
void vx_redis_store_dump(const struct vx_redis_store *s, struct vx_text_sink *sink);

#endif
