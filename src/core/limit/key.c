/* SPDX-License-Identifier: Apache-2.0 */
/* See key.h. */
#include "core/limit/key.h"

enum { LENGTH_BYTES = 4, IP6_PREFIX_BYTES = 8, IP4_BYTES = 4 };

static struct vx_slice header_value(const struct vx_headers *headers, struct vx_slice name) {
    const struct vx_header *h = vx_headers_find_name(headers, name);
    return h ? vx_header_value(h) : VX_SLICE_NONE;
}

static struct vx_slice address_bytes(const struct vx_address *client) {
    if (client->kind == VX_ADDRESS_IP4)
        return vx_slice((const char *)client->ip, IP4_BYTES);
    if (client->kind == VX_ADDRESS_IP6)
        return vx_slice((const char *)client->ip, IP6_PREFIX_BYTES);
    return VX_SLICE_NONE; /* all that comes over a UNIX socket is one client */
}

static struct vx_slice part_bytes(const struct vx_config_limit_part *part,
                                  const struct vx_limit_subject *subject) {
    switch (part->kind) {
    case VX_LIMIT_BY_CLIENT:
        return address_bytes(subject->client);
    case VX_LIMIT_BY_HEADER:
        return header_value(subject->headers, part->header);
    case VX_LIMIT_BY_ROUTE:
        break;
    }
    return subject->route;
}

/* Each piece with its length in front, so that no two lists of pieces look the same. */
static char *put(char *at, struct vx_slice piece) {
    uint32_t len = (uint32_t)piece.len;
    memcpy(at, &len, LENGTH_BYTES);
    if (piece.len)
        memcpy(at + LENGTH_BYTES, piece.ptr, piece.len);
    return at + LENGTH_BYTES + piece.len;
}

struct vx_slice vx_limit_key(const struct vx_config_rate_limit *limit, const struct vx_limit_subject *subject,
                             struct vx_arena *arena) {
    struct vx_slice pieces[VX_LIMIT_PARTS_MAX];
    size_t bytes = LENGTH_BYTES + limit->scope.len;
    for (uint32_t i = 0; i < limit->key_count; i++) {
        pieces[i] = part_bytes(&limit->parts[i], subject);
        bytes += LENGTH_BYTES + pieces[i].len;
    }
    char *key = vx_arena_alloc(arena, bytes);
    if (!key)
        return VX_SLICE_NONE;
    char *at = put(key, limit->scope);
    for (uint32_t i = 0; i < limit->key_count; i++)
        at = put(at, pieces[i]);
    return vx_slice(key, bytes);
}

uint32_t vx_limit_cost(const struct vx_config_rate_limit *limit, const struct vx_headers *headers) {
    if (!limit->cost_header.len)
        return 1;
    struct vx_slice text = header_value(headers, limit->cost_header);
    uint64_t cost = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned char)text.ptr[i] - (unsigned)'0';
        if (digit > 9)
            return 1;
        cost = cost * 10 + digit;
        if (cost > UINT32_MAX)
            cost = UINT32_MAX;
    }
    return cost ? (uint32_t)cost : 1;
}
