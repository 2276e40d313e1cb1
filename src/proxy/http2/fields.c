/* SPDX-License-Identifier: Apache-2.0 */
/* See fields.h. */
#include "proxy/http2/fields.h"

#include "core/base/decimal.h"
#include "core/http/bytes.h"

#define BIT(name) (UINT64_C(1) << VX_HEADER_##name)

static const uint64_t not_in_http2 = BIT(CONNECTION) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) |
                                     BIT(TRANSFER_ENCODING) | BIT(UPGRADE) | BIT(HTTP2_SETTINGS) | BIT(HOST) |
                                     BIT(CONTENT_LENGTH);

void vx_h2_fields_init(struct vx_h2_fields *f, struct vx_arena *arena, size_t room) {
    *f = (struct vx_h2_fields){.arena = arena, .capacity = room};
    f->items = vx_arena_alloc(arena, room * sizeof *f->items);
    if (!f->items) {
        f->capacity = 0;
        f->no_memory = true;
    }
}

void vx_h2_fields_add(struct vx_h2_fields *f, struct vx_slice name, struct vx_slice value) {
    if (f->count == f->capacity) {
        f->no_memory = true;
        return;
    }
    f->items[f->count++] = (nghttp2_nv){
        .name = (uint8_t *)name.ptr,
        .value = (uint8_t *)(value.len ? value.ptr : ""),
        .namelen = name.len,
        .valuelen = value.len,
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    };
}

/* ptr NULL: no memory. */
static struct vx_slice lower_name(struct vx_slice name, struct vx_arena *arena) {
    if (vx_bytes_are_lower_token(name.ptr, name.ptr + name.len))
        return name;
    char *copy = vx_arena_alloc(arena, name.len);
    if (!copy)
        return VX_SLICE_NONE;
    for (size_t i = 0; i < name.len; i++)
        copy[i] = vx_lower(name.ptr[i]);
    return vx_slice(copy, name.len);
}

void vx_h2_fields_add_headers(struct vx_h2_fields *f, const struct vx_headers *headers) {
    for (uint16_t i = 0; i < headers->count; i++) {
        const struct vx_header *h = &headers->items[i];
        if (h->flags & VX_HEADER_REMOVED || not_in_http2 >> h->id & 1)
            continue;
        struct vx_slice name =
            h->id != VX_HEADER_OTHER ? vx_header_id_name(h->id) : lower_name(vx_header_name(h), f->arena);
        if (!name.ptr) {
            f->no_memory = true;
            return;
        }
        vx_h2_fields_add(f, name, vx_header_value(h));
    }
}

void vx_h2_fields_add_length(struct vx_h2_fields *f, uint64_t bytes) {
    char *digits = vx_arena_alloc(f->arena, VX_DECIMAL_MAX_BYTES);
    if (!digits) {
        f->no_memory = true;
        return;
    }
    vx_h2_fields_add(f, vx_header_id_name(VX_HEADER_CONTENT_LENGTH), vx_decimal(bytes, digits));
}
