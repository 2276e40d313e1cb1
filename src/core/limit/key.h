/* SPDX-License-Identifier: Apache-2.0 */
/* What a limit counts by: its scope, and of each request the parts that the configuration names. */
#ifndef VX_CORE_LIMIT_KEY_H
#define VX_CORE_LIMIT_KEY_H

#include "core/base/address.h"
#include "core/config/model.h"
#include "core/http/message.h"

/* What of a request a key is made from. */
struct vx_limit_subject {
    const struct vx_address *client; /* after trusted proxies; its port is not looked at */
    const struct vx_headers *headers;
    struct vx_slice route;
};

/* The key of a request under `limit`: equal bytes exactly where scope and all parts are equal. Addresses count by
 * themselves in IPv4 and by their /64 in IPv6, since whoever has one address there has the other 2^64 too. Of a header
 * the first field counts; without one the value is empty. Lives as long as `arena`; ptr NULL: no memory. */
struct vx_slice vx_limit_key(const struct vx_config_rate_limit *limit, const struct vx_limit_subject *subject,
                             struct vx_arena *arena);

/* The cost of a request: what the limit's cost header says, as far as it is a whole number from 1 up; else 1. */
uint32_t vx_limit_cost(const struct vx_config_rate_limit *limit, const struct vx_headers *headers);

#endif
