/* SPDX-License-Identifier: Apache-2.0 */
/* See frame.h. */
#include "admin/grpc/frame.h"

#include <stdlib.h>

enum { FIRST_ROOM_BYTES = 16 * 1024 };

static bool refuse(struct vx_grpc_status *status, enum vx_grpc_code code, const char *text) {
    *status = (struct vx_grpc_status){code, text};
    return false;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static bool read_prefix(struct vx_grpc_reader *r, struct vx_slice *bytes, struct vx_grpc_status *status) {
    size_t n = smaller(bytes->len, (size_t)(VX_GRPC_PREFIX_BYTES - r->prefix_len));
    if (n)
        memcpy(r->prefix + r->prefix_len, bytes->ptr, n);
    r->prefix_len = (uint8_t)(r->prefix_len + n);
    *bytes = vx_slice_skip(*bytes, n);
    if (r->prefix_len < VX_GRPC_PREFIX_BYTES)
        return true;
    const uint8_t *p = r->prefix;
    r->announced = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
    if (p[0] != 0)
        return refuse(status, VX_GRPC_INTERNAL, "the message is compressed, which was not agreed on");
    if (r->announced > r->limit_bytes)
        return refuse(status, VX_GRPC_RESOURCE_EXHAUSTED, "the message is larger than is taken");
    return true;
}

static bool make_room(struct vx_grpc_reader *r, size_t needed, struct vx_grpc_status *status) {
    if (needed <= r->room)
        return true;
    size_t room = r->room ? r->room * 2 : FIRST_ROOM_BYTES;
    room = smaller(room > needed ? room : needed, r->announced);
    if (r->budget && r->budget->held_bytes + (room - r->room) > r->budget->limit_bytes)
        return refuse(status, VX_GRPC_RESOURCE_EXHAUSTED, "too many large messages are under way; try again");
    char *grown = realloc(r->message, room);
    if (!grown)
        return refuse(status, VX_GRPC_RESOURCE_EXHAUSTED, "out of memory");
    if (r->budget)
        r->budget->held_bytes += room - r->room;
    r->message = grown;
    r->room = room;
    return true;
}

bool vx_grpc_reader_feed(struct vx_grpc_reader *r, struct vx_slice bytes, struct vx_grpc_status *status) {
    if (r->prefix_len < VX_GRPC_PREFIX_BYTES && !read_prefix(r, &bytes, status))
        return false;
    if (bytes.len == 0)
        return true;
    if (bytes.len > r->announced - r->len)
        return refuse(status, VX_GRPC_UNIMPLEMENTED, "more than one message in a call that takes one");
    if (!make_room(r, r->len + bytes.len, status))
        return false;
    memcpy(r->message + r->len, bytes.ptr, bytes.len);
    r->len += bytes.len;
    return true;
}

enum vx_grpc_read vx_grpc_reader_pull(struct vx_grpc_reader *r, struct vx_stream *s,
                                      struct vx_grpc_status *status) {
    struct vx_slice bytes;
    for (;;) {
        switch (s->ops->pull(s, &bytes)) {
        case VX_PULL_WAIT:
            return VX_GRPC_READ_WAIT;
        case VX_PULL_FAILED:
            return VX_GRPC_READ_BROKEN;
        case VX_PULL_END:
            return VX_GRPC_READ_END;
        case VX_PULL_BYTES:
            break;
        }
        if (!vx_grpc_reader_feed(r, bytes, status))
            return VX_GRPC_READ_REFUSED;
        s->ops->consume(s, bytes.len);
    }
}

bool vx_grpc_reader_end(const struct vx_grpc_reader *r, struct vx_grpc_status *status) {
    if (r->prefix_len == 0)
        return refuse(status, VX_GRPC_UNIMPLEMENTED, "no message in a call that takes one");
    if (r->prefix_len < VX_GRPC_PREFIX_BYTES || r->len < r->announced)
        return refuse(status, VX_GRPC_INTERNAL, "the message was cut");
    return true;
}

void vx_grpc_reader_free(struct vx_grpc_reader *r) {
    if (r->budget)
        r->budget->held_bytes -= r->room;
    free(r->message);
    r->message = NULL;
    r->len = r->room = 0;
}

void vx_grpc_write_prefix(char out[VX_GRPC_PREFIX_BYTES], uint32_t bytes) {
    out[0] = 0;
    out[1] = (char)(bytes >> 24);
    out[2] = (char)(bytes >> 16);
    out[3] = (char)(bytes >> 8);
    out[4] = (char)bytes;
}

char *vx_grpc_new_frame(size_t bytes, struct vx_slice *frame) {
    char *out = bytes <= UINT32_MAX ? malloc(VX_GRPC_PREFIX_BYTES + bytes) : NULL;
    if (!out)
        return NULL;
    vx_grpc_write_prefix(out, (uint32_t)bytes);
    *frame = vx_slice(out, VX_GRPC_PREFIX_BYTES + bytes);
    return out;
}

bool vx_grpc_push(struct vx_stream *s, struct vx_slice *rest) {
    if (rest->len)
        *rest = vx_slice_skip(*rest, s->ops->push(s, *rest));
    if (rest->len)
        s->ops->flush(s);
    return rest->len == 0;
}
