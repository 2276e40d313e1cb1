/* SPDX-License-Identifier: Apache-2.0 */
/* A complete small answer: head and body known at once. Errors, health pages and everything else that is not
 * streamed go out through here, so that HEAD, body-less statuses and a connection whose buffers are full at
 * the moment are handled in one place. */
#ifndef VX_CORE_HTTP_REPLY_H
#define VX_CORE_HTTP_REPLY_H

#include "core/http/message.h"
#include "core/ports/stream.h"

struct vx_reply_field {
    enum vx_header_id id; /* VX_HEADER_OTHER for names that have none */
    struct vx_slice name, value;
};

/* What to answer. The slices are borrowed until the downstream is released. */
struct vx_reply_content {
    uint16_t status;              /* final, 200..599 */
    struct vx_slice content_type; /* empty: no Content-Type field */
    struct vx_slice body;
    const struct vx_reply_field *fields; /* further ones, in this order */
    uint16_t field_count;
};

enum vx_reply_progress {
    VX_REPLY_DONE,     /* finished: release the downstream */
    VX_REPLY_WAIT,     /* the connection is full: call vx_reply_resume on on_writable */
    VX_REPLY_NO_MEMORY /* nothing was sent: release the downstream, which cuts it */
};

/* An answer that is under way. Zero until vx_reply_start; lives as long as the downstream is not released. */
struct vx_reply {
    struct vx_slice rest;
};

/* Sends the answer, as far as the connection takes it. The head and its fields are built in d->arena. To HEAD,
 * and with 204, 205 and 304, no body goes out; HEAD is told the length that GET would have got (RFC 9110 §8.6).
 * Does not release `d`. The worker's thread. */
enum vx_reply_progress vx_reply_start(struct vx_reply *reply, struct vx_downstream *d,
                                      const struct vx_reply_content *content);

/* Only the head of the answer, in `arena`, with its fields and the framing of `body`. NULL: no memory. */
struct vx_response *vx_reply_head(struct vx_arena *arena, const struct vx_reply_content *content);

/* The body of an answer to an error, `{"error":"TEXT"}`, with a `message` where that is not empty, in `arena`; ptr is NULL
 * when there is no memory. */
struct vx_slice vx_reply_error_body(struct vx_arena *arena, enum vx_error_code code, struct vx_slice message);

/* Sends on. VX_REPLY_DONE or VX_REPLY_WAIT. */
enum vx_reply_progress vx_reply_resume(struct vx_reply *reply, struct vx_downstream *d);

/* The same with Content-Type: application/json and no further fields. */
enum vx_reply_progress vx_reply_json(struct vx_reply *reply, struct vx_downstream *d, uint16_t status,
                                     struct vx_slice body);

#endif
