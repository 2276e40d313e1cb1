/* SPDX-License-Identifier: Apache-2.0 */
/* Names of backends to addresses, through c-ares, on the control thread's loop. A name is watched: it is
 * resolved at once, again when its TTL is over (bounded), and whoever watches hears of each change. When a
 * later look-up fails, the last good answer stays and the look-up is repeated with a growing pause.
 * /etc/hosts is honoured. Everything here is for the loop's thread. */
#ifndef VX_PROXY_DNS_RESOLVER_H
#define VX_PROXY_DNS_RESOLVER_H

#include "core/base/address.h"
#include "proxy/net/loop.h"

struct vx_resolver;
struct vx_resolver_watch;

struct vx_resolver_options {
    const char *servers; /* "127.0.0.1:5353,..." instead of those of /etc/resolv.conf; NULL: these */
    uint64_t timeout_ns; /* of one try at one server; 0: 2 s */
    uint32_t tries;      /* 0: 3 */
    uint64_t ttl_min_ns, ttl_max_ns;     /* 0: 1 s and 5 min */
    uint64_t retry_min_ns, retry_max_ns; /* pause after a failure, doubled each time; 0: 1 s and 60 s */
};

struct vx_resolver_answer {
    /* IP4 and IP6 with port 0, sorted, without doubles; valid during the call. */
    const struct vx_address *addresses;
    uint32_t count; /* 0: the name has none */
    uint64_t ttl_ns;
    /* NULL: fresh. Else static text: the look-up failed; `addresses` is the last good answer. */
    const char *error;
};

/* NULL: `why` (static text) says what c-ares did not like. `loop` outlives it. */
struct vx_resolver *vx_resolver_new(struct vx_loop *loop, const struct vx_resolver_options *options,
                                    const char **why);

/* Ends all watches; nobody is called. NULL is allowed. */
void vx_resolver_free(struct vx_resolver *r);

/* Watches `host` (copied). `on_answer` is called from the loop, never from inside this call: with the first
 * answer or failure, then whenever the addresses differ from those told last, or the look-up begins or ceases
 * to fail. Watches of one name share its look-ups. NULL: no memory, or not a host name (empty, or longer than
 * 253). */
struct vx_resolver_watch *
vx_resolver_watch(struct vx_resolver *r, struct vx_slice host,
                  void (*on_answer)(void *user, const struct vx_resolver_answer *answer, uint64_t now_ns),
                  void *user);

/* Not called any more, also from inside on_answer. NULL is allowed. */
void vx_resolver_unwatch(struct vx_resolver_watch *w);

#endif
