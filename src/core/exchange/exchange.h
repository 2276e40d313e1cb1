/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy as a handler: each request becomes an exchange, which finds its route, picks a backend, forwards both
 * ways and tells the recorder. One struct vx_proxy a worker; everything on that worker's thread, without I/O of its
 * own. */
#ifndef VX_CORE_EXCHANGE_EXCHANGE_H
#define VX_CORE_EXCHANGE_EXCHANGE_H

#include "core/base/assert.h"
#include "core/base/random.h"
#include "core/base/timer.h"
#include "core/exchange/snapshot.h"
#include "core/ports/ban_list.h"
#include "core/ports/handler.h"
#include "core/ports/rate_store.h"
#include "core/ports/recorder.h"

struct vx_proxy {
    struct vx_handler handler;
    struct vx_snapshot *snapshot; /* the current one, held by its owner */
    struct vx_http_client *client;
    struct vx_recorder *recorder;
    struct vx_random *random;
    struct vx_timer_wheel *wheel;     /* for deadlines */
    struct vx_rate_store *rate_store; /* set by the owner; asked about routes with a limit */
    struct vx_ban_gate *bans;         /* NULL: nobody is banned */
    uint32_t worker;
    uint32_t active; /* exchanges that have not ended */
};

/* All pointers outlive the proxy's last exchange; `snapshot` may be NULL until the first one is published. */
void vx_proxy_init(struct vx_proxy *proxy, struct vx_http_client *client, struct vx_recorder *recorder,
                   struct vx_random *random, struct vx_timer_wheel *wheel, uint32_t worker);

/* New exchanges use `snapshot` from now on. Takes a hold on it, and lets go of the one before. */
void vx_proxy_adopt(struct vx_proxy *proxy, struct vx_snapshot *snapshot);

#endif
