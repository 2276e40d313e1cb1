/* SPDX-License-Identifier: Apache-2.0 */
/* See names.h. */
#include "core/config/names.h"

static int compare(struct vx_slice a, struct vx_slice b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (order)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

/* Merges the sorted runs from[low..middle) and from[middle..high) into `to`. */
static void merge(const struct vx_config_route *routes, const uint32_t *from, uint32_t *to, uint32_t low,
                  uint32_t middle, uint32_t high) {
    uint32_t left = low, right = middle;
    for (uint32_t at = low; at < high; at++) {
        bool take_left = left < middle &&
                         (right == high || compare(routes[from[left]].name, routes[from[right]].name) <= 0);
        to[at] = take_left ? from[left++] : from[right++];
    }
}

/* Merge sort: stable, and n log n whatever the names. */
bool vx_config_names_build(struct vx_config_names *names, const struct vx_config *config,
                           struct vx_arena *scratch) {
    uint32_t count = config->route_count;
    uint32_t *memory = vx_arena_alloc(scratch, sizeof(*memory) * 2 * ((size_t)count + 1));
    if (!memory)
        return false;
    uint32_t *from = memory, *to = memory + count;
    for (uint32_t i = 0; i < count; i++)
        from[i] = i;
    for (uint64_t width = 1; width < count; width *= 2) {
        for (uint64_t low = 0; low < count; low += 2 * width) {
            uint64_t middle = low + width < count ? low + width : count;
            uint64_t high = low + 2 * width < count ? low + 2 * width : count;
            merge(config->routes, from, to, (uint32_t)low, (uint32_t)middle, (uint32_t)high);
        }
        uint32_t *sorted = to;
        to = from;
        from = sorted;
    }
    *names = (struct vx_config_names){config, from};
    return true;
}

const struct vx_config_route *vx_config_names_find(const struct vx_config_names *names,
                                                   struct vx_slice name) {
    uint32_t low = 0, high = names->config->route_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct vx_config_route *route = &names->config->routes[names->order[middle]];
        if (compare(route->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == names->config->route_count)
        return NULL;
    const struct vx_config_route *route = &names->config->routes[names->order[low]];
    return vx_slice_eq(route->name, name) ? route : NULL;
}
