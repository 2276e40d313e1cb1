/* SPDX-License-Identifier: Apache-2.0 */
/* See compose_limits.h. The only file that names the stores of rate limits. */
#include "proxy/compose_limits.h"

#include <stdlib.h>
#include <sys/random.h>

#include "filters/limit/memory.h"
#include "filters/redis/store.h"
#include "proxy/engine.h"
#include "proxy/net/network.h"
#include "proxy/telemetry/log.h"
#include "proxy/telemetry/metrics.h"
#include "proxy/telemetry/text.h"

enum {
    MEMORY_BYTES = 32 * 1024 * 1024, /* where the file has switched limits off */
    REPORT_INTERVAL_MS = 1000,
};

struct vx_rates {
    struct vx_engine *engine;
    struct vx_rate_memory *memory;
    struct vx_metrics *metrics;
    uint32_t worker;
    uint64_t identity; /* of the store in use; 0: the table in memory */
    struct vx_redis_store *redis;
    struct vx_network_dialer dialer; /* of `redis` */
    struct vx_tls_client *tls;
    char *server_name;
    struct vx_log_limit away, back;               /* what the log is told */
    uint64_t counts_before[VX_REDIS_COUNT_COUNT]; /* of the stores there were before */
};

struct vx_rate_memory *vx_compose_rate_memory(uint64_t bytes) {
    struct vx_hash_key seed;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return NULL;
    return vx_rate_memory_new(bytes ? bytes : MEMORY_BYTES, seed);
}

void vx_compose_rate_memory_free(struct vx_rate_memory *m) {
    vx_rate_memory_free(m);
}

struct vx_rates *vx_rates_new(struct vx_engine *engine, struct vx_rate_memory *memory,
                              struct vx_metrics *metrics, uint32_t worker) {
    struct vx_rates *r = calloc(1, sizeof *r);
    if (r)
        *r = (struct vx_rates){.engine = engine, .memory = memory, .metrics = metrics, .worker = worker};
    return r;
}

/* --- Redis -------------------------------------------------------------------------------------------------------- */

static void report(void *user, const char *trouble) {
    struct vx_rates *r = user;
    if (trouble)
        vx_log_limited(&r->away, REPORT_INTERVAL_MS, VX_LOG_WARN,
                       "worker %u: the store of rate limits is away: %s", r->worker, trouble);
    else
        vx_log_limited(&r->back, REPORT_INTERVAL_MS, VX_LOG_INFO,
                       "worker %u: the store of rate limits answers", r->worker);
}

static void drop_redis(struct vx_rates *r) {
    if (!r->redis)
        return;
    vx_redis_store_stop(r->redis, r->engine->rt.now_ns);
    for (unsigned i = 0; i < VX_REDIS_COUNT_COUNT; i++)
        r->counts_before[i] += vx_redis_store_count(r->redis, (enum vx_redis_count)i);
    vx_redis_store_free(r->redis, r->engine->rt.now_ns);
    r->redis = NULL;
    vx_network_dialer_destroy(&r->dialer);
    if (r->tls)
        vx_tls_client_drop(r->tls);
    r->tls = NULL;
    free(r->server_name);
    r->server_name = NULL;
}

/* False: no memory. */
static bool make_redis(struct vx_rates *r, const struct vx_config_rate_store *config,
                       struct vx_tls_client *tls) {
    struct vx_runtime *rt = &r->engine->rt;
    struct vx_slice name = config->tls_settings.server_name;
    r->server_name = malloc(name.len + 1);
    if (!r->server_name)
        return false;
    if (name.len)
        memcpy(r->server_name, name.ptr, name.len);
    r->tls = tls ? vx_tls_client_hold(tls) : NULL;
    vx_network_dialer_init(&r->dialer, rt, r->engine->loop, r->tls, vx_slice(r->server_name, name.len));
    struct vx_redis_store_options options = {
        .net = &r->dialer.net,
        .wheel = &rt->wheel,
        .random = &rt->random,
        .local = vx_rate_memory_store(r->memory),
        .latency = vx_metrics_rate_store(r->metrics, r->worker),
        .report = report,
        .user = r,
    };
    r->redis = vx_redis_store_new(config, &options, rt->now_ns);
    return r->redis != NULL;
}

struct vx_rate_store *vx_rates_adopt(struct vx_rates *r, const struct vx_config_rate_store *config,
                                     uint64_t identity, struct vx_tls_client *tls) {
    if (identity != r->identity) {
        drop_redis(r);
        r->identity = identity;
        if (identity && !make_redis(r, config, tls))
            vx_log(VX_LOG_ERROR, "worker %u: no memory for the store of rate limits: it counts by itself",
                   r->worker);
    }
    return r->redis ? vx_redis_store_port(r->redis) : vx_rate_memory_store(r->memory);
}

void vx_rates_publish(struct vx_rates *r) {
    static const enum vx_worker_value values[VX_REDIS_COUNT_COUNT] = {
        [VX_REDIS_COUNT_ASKED] = VX_WORKER_RATE_STORE_ASKED,
        [VX_REDIS_COUNT_LOCAL_REFUSAL] = VX_WORKER_RATE_LOCAL_REFUSALS,
        [VX_REDIS_COUNT_LOST] = VX_WORKER_RATE_STORE_LOST,
        [VX_REDIS_COUNT_ERROR] = VX_WORKER_RATE_STORE_ERROR,
        [VX_REDIS_COUNT_AWAY] = VX_WORKER_RATE_STORE_AWAY,
    };
    struct vx_metrics_worker *w = vx_metrics_worker(r->metrics, r->worker);
    for (unsigned i = 0; i < VX_REDIS_COUNT_COUNT; i++) {
        uint64_t now = r->redis ? vx_redis_store_count(r->redis, (enum vx_redis_count)i) : 0;
        vx_metrics_set(w, values[i], r->counts_before[i] + now);
    }
    vx_metrics_set(w, VX_WORKER_RATE_STORE_UP, r->redis && vx_redis_store_is_up(r->redis));
    if (r->worker == 0) /* the table is everybody's; one tells of it */
        vx_metrics_set(w, VX_WORKER_RATE_EVICTIONS, vx_rate_memory_evictions(r->memory));
}

void vx_rates_dump(const struct vx_rates *r, struct vx_text *out) {
    struct vx_text_writer to = vx_text_writer(out);
    if (r->redis)
        vx_redis_store_dump(r->redis, &to.sink);
}

void vx_compose_rate_memory_dump(const struct vx_rate_memory *m, uint64_t now_ns, struct vx_text *out) {
    struct vx_rate_memory_stats s = vx_rate_memory_stats(m, now_ns);
    vx_text_format(out,
                   "rate limits in memory: %llu places, of %llu looked at %llu hold a key in debt; %llu keys "
                   "placed, %llu forgotten too early\n",
                   (unsigned long long)s.places, (unsigned long long)s.looked_at,
                   (unsigned long long)s.in_debt, (unsigned long long)s.placed,
                   (unsigned long long)vx_rate_memory_evictions(m));
}

void vx_rates_free(struct vx_rates *r) {
    if (!r)
        return;
    drop_redis(r);
    free(r);
}
