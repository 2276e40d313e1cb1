/* SPDX-License-Identifier: Apache-2.0 */
/* See trailers.h. */
#include "core/http/trailers.h"

#define BIT(name) (UINT64_C(1) << VX_HEADER_##name)

/* What would frame, route or authorise the message after the fact (RFC 9110 §6.5.1). */
static const uint64_t not_in_trailers =
    BIT(HOST) | BIT(CONNECTION) | BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING) | BIT(TE) | BIT(TRAILER) |
    BIT(UPGRADE) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) | BIT(PROXY_AUTHENTICATE) |
    BIT(PROXY_AUTHORIZATION) | BIT(HTTP2_SETTINGS) | BIT(EXPECT) | BIT(CONTENT_TYPE) | BIT(COOKIE) |
    BIT(LOCATION) | BIT(X_FORWARDED_FOR) | BIT(X_FORWARDED_PROTO) | BIT(X_FORWARDED_HOST) | BIT(FORWARDED) |
    BIT(X_REAL_IP) | BIT(X_AI_MODEL);

static const struct vx_slice other_not_in_trailers[] = {
    VX_SLICE("authorization"), VX_SLICE("www-authenticate"),
    VX_SLICE("set-cookie"),    VX_SLICE("content-encoding"),
    VX_SLICE("content-range"), VX_SLICE("cache-control"),
    VX_SLICE("range"),         VX_SLICE("age"),
    VX_SLICE("vary"),          VX_SLICE("max-forwards"),
};

static bool belongs_in_trailers(const struct vx_header *h) {
    if (not_in_trailers >> h->id & 1)
        return false;
    if (h->id != VX_HEADER_OTHER)
        return true;
    for (size_t i = 0; i < sizeof other_not_in_trailers / sizeof *other_not_in_trailers; i++)
        if (vx_slice_ieq(vx_header_name(h), other_not_in_trailers[i]))
            return false;
    return true;
}

void vx_trailers_strip(struct vx_headers *h) {
    uint16_t kept = 0;
    h->present = 0;
    for (uint16_t i = 0; i < h->count; i++) {
        if (!belongs_in_trailers(&h->items[i]))
            continue;
        h->items[kept++] = h->items[i];
        h->present |= UINT64_C(1) << h->items[i].id;
    }
    h->count = kept;
}
