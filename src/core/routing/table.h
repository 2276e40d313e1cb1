/* SPDX-License-Identifier: Apache-2.0 */
/* Which route takes a request. The table is built once for a snapshot, is immutable after that and is read by every
 * worker without locks or allocation.
 *
 * Of all routes whose match holds, the best one wins, compared in this order:
 *   1. exact host before the longest wildcard before `*`;
 *   2. exact path before the longest path prefix;
 *   3. more conditions (a method counts one, each header one) before fewer;
 *   4. earlier in the file.
 * This is an order over matching routes, not a search by stages: a host whose routes do not fit the path does not
 * end the search, the routes of the next wider host are then looked at.
 *
 * What holds when: `*.example.org` takes every name below example.org, at any depth, and not example.org itself.
 * A prefix is compared by whole segments: `/api` takes `/api` and `/api/x`, not `/apix`; a prefix that ends in `/`
 * takes what begins with it; `/` and an absent prefix take every path, `*` (RFC 9112 §3.2.4) included. A header
 * condition holds when one of the fields of that name has exactly that value. */
#ifndef VX_CORE_ROUTING_TABLE_H
#define VX_CORE_ROUTING_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/arena.h"
#include "core/config/model.h"
#include "core/http/message.h"

#define VX_ROUTE_NONE UINT32_MAX

struct vx_route_entry {
    const struct vx_config_match *match; /* borrowed by the table: must live as long as it does */
    uint32_t index;                      /* what a lookup answers; also the place in the file */
};

/* Two entries that match exactly the same requests, so that the later one could never be chosen. */
struct vx_route_duplicate {
    uint32_t first, second; /* their indexes; both VX_ROUTE_NONE when there is no such pair */
};

struct vx_route_table;

/* Builds the table in `arena`; it lives until the arena is reset. `duplicate` may be NULL, else it tells the first
 * pair found (the table is built all the same). NULL: no memory. Control thread. */
const struct vx_route_table *vx_route_table_build(struct vx_arena *arena,
                                                  const struct vx_route_entry *entries, uint32_t count,
                                                  struct vx_route_duplicate *duplicate);

/* The index of the best matching entry, or VX_ROUTE_NONE. Reads method, host, path and headers of the request, host
 * and path being normalised. Any thread, never fails, allocates nothing. */
uint32_t vx_route_table_find(const struct vx_route_table *table, const struct vx_request *request);

#endif
