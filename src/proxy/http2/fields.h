/* SPDX-License-Identifier: Apache-2.0 */
/* Header fields between HTTP/2's form and the message model's. */
#ifndef VX_PROXY_HTTP2_FIELDS_H
#define VX_PROXY_HTTP2_FIELDS_H

#include <nghttp2/nghttp2.h>

#include "core/http/h2_meaning.h"

/* A field section as it came: a request's head, a response's, or trailers. */
struct vx_h2_head {
    struct vx_h2_pseudo pseudo;
    struct vx_headers fields;   /* the others, tagged; names are lower case */
    uint64_t repeated;          /* a bit for each id that occurred more than once */
    uint64_t bytes;             /* of all of them as RFC 9113 §6.5.2 counts, also what was not kept */
    uint32_t count;             /* of the fields, likewise */
    enum vx_error_code refused; /* more than the limits allow, or no memory: not all of it is here */
    const char *malformed;      /* what RFC 9113 §8 forbids in it; NULL: nothing was seen */
    uint16_t status;            /* of a response */
    bool ended;                 /* nothing follows: END_STREAM came with it */
};

/* Fields on their way out. Names and values are borrowed, but for names that had to be made lower case. */
struct vx_h2_fields {
    nghttp2_nv *items;
    size_t count, capacity;
    struct vx_arena *arena;
    bool no_memory;
};

/* Room for `room` fields in `arena`; what is missing is noted in no_memory, here and below. */
void vx_h2_fields_init(struct vx_h2_fields *f, struct vx_arena *arena, size_t room);

/* Adds one as it is; `name` is lower case. Beyond the room: no_memory. */
void vx_h2_fields_add(struct vx_h2_fields *f, struct vx_slice name, struct vx_slice value);

/* Adds those of `headers` that are not removed, but for what frames a message or governs a connection in HTTP/1
 * (RFC 9113 §8.2.2), Host and Content-Length: those say their part otherwise, and the caller adds the last. */
void vx_h2_fields_add_headers(struct vx_h2_fields *f, const struct vx_headers *headers);

/* `content-length: bytes`. */
void vx_h2_fields_add_length(struct vx_h2_fields *f, uint64_t bytes);

#endif
