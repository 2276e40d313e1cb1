/* SPDX-License-Identifier: Apache-2.0 */
/* See reply.h. */
#include "core/http/reply.h"

enum vx_reply_progress vx_reply_resume(struct vx_reply *reply, struct vx_downstream *d) {
    struct vx_stream *s = &d->stream;
    while (reply->rest.len > 0) {
        size_t taken = s->ops->push(s, reply->rest);
        reply->rest = vx_slice_skip(reply->rest, taken);
        if (taken == 0 || reply->rest.len > 0) {
            s->ops->flush(s);
            return VX_REPLY_WAIT;
        }
    }
    s->ops->finish(s, NULL);
    return VX_REPLY_DONE;
}

/* Adds the fields of `content`; false: no memory. */
static bool add_fields(struct vx_response *response, struct vx_arena *arena,
                       const struct vx_reply_content *content) {
    struct vx_headers *h = &response->headers;
    if (content->content_type.len &&
        !vx_headers_add(h, arena, VX_HEADER_CONTENT_TYPE, vx_header_id_name(VX_HEADER_CONTENT_TYPE),
                        content->content_type))
        return false;
    for (unsigned i = 0; i < content->field_count; i++) {
        const struct vx_reply_field *f = &content->fields[i];
        if (!vx_headers_add(h, arena, f->id, f->name, f->value))
            return false;
    }
    return true;
}

struct vx_response *vx_reply_head(struct vx_arena *arena, const struct vx_reply_content *content) {
    struct vx_response *response = vx_arena_alloc(arena, sizeof *response);
    if (!response)
        return NULL;
    bool no_content = content->status == 204 || content->status == 304;
    *response = (struct vx_response){
        .status = content->status,
        .version = VX_HTTP_11,
        .framing = no_content ? VX_BODY_NONE : VX_BODY_LENGTH,
        .keep_alive = true,
        .body_bytes = no_content || content->status == 205 ? 0 : content->body.len,
    };
    return add_fields(response, arena, content) ? response : NULL;
}

enum vx_reply_progress vx_reply_start(struct vx_reply *reply, struct vx_downstream *d,
                                      const struct vx_reply_content *content) {
    struct vx_response *response = vx_reply_head(d->arena, content);
    if (!response)
        return VX_REPLY_NO_MEMORY;
    bool bodyless = d->request->method == VX_METHOD_HEAD || response->body_bytes == 0;
    reply->rest = bodyless ? VX_SLICE_NONE : content->body;
    d->ops->respond(d, response);
    return vx_reply_resume(reply, d);
}

enum vx_reply_progress vx_reply_json(struct vx_reply *reply, struct vx_downstream *d, uint16_t status,
                                     struct vx_slice body) {
    return vx_reply_start(reply, d,
                          &(struct vx_reply_content){
                              .status = status,
                              .content_type = VX_SLICE("application/json"),
                              .body = body,
                          });
}

struct vx_slice vx_reply_error_body(struct vx_arena *arena, enum vx_error_code code,
                                    struct vx_slice message) {
    const struct vx_slice parts[] = {
        VX_SLICE("{\"error\":\""),
        vx_slice_of(vx_error_info(code)->text),
        message.len ? VX_SLICE("\",\"message\":\"") : VX_SLICE_NONE,
        message,
        VX_SLICE("\"}"),
    };
    return vx_arena_join(arena, parts, sizeof parts / sizeof parts[0]);
}
