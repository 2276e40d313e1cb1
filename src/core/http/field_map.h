/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a message as filters see and edit it: one list of pairs in which the request line and the status line
 * stand as pseudo fields, `:authority :path :method :scheme` and `:status`, the way HTTP/2 writes them.
 *
 *   `host` is another name of `:authority` and is not listed. What belongs to the connection (Connection,
 *   Transfer-Encoding, Upgrade, ...) is not listed either, and writing it has no effect; nor has it for TE and Expect.
 *   Content-Length can be read and written, but the proxy frames what it sends itself.
 *   Names are compared without case. They are listed as they came; whoever wants them in lower case lowers them.
 *   What is written is checked, as nothing behind this looks at it again: names are tokens, values hold no
 *   control characters but tabs, `:path` and `:authority` are normalised like a client's. What fails the check changes
 *   nothing.
 *   A pseudo field can be replaced but is never absent: removing one, or assigning a list without it, leaves it.
 *
 * The bytes of what is written are copied into the arena. One thread. */
#ifndef VX_CORE_HTTP_FIELD_MAP_H
#define VX_CORE_HTTP_FIELD_MAP_H

#include "core/http/message.h"

struct vx_field {
    struct vx_slice name, value;
};

enum vx_field_result {
    VX_FIELD_DONE,
    VX_FIELD_BAD,      /* not a name, not a value, or nothing that this map can have */
    VX_FIELD_NO_MEMORY /* of the process, or the map is full: VX_FIELD_MAP_BYTES_MAX were written into it */
};

enum { VX_FIELD_MAP_BYTES_MAX = 1024 * 1024, VX_FIELD_MAP_PAIRS_MAX = 1024 };

struct vx_field_map {
    struct vx_headers *headers;
    struct vx_request *request;   /* whose pseudo fields these are; NULL: not a request's head */
    struct vx_response *response; /* the same; both NULL: trailers */
    struct vx_arena *arena;
    size_t written;      /* bytes, so far */
    bool merge_slashes;  /* how paths are normalised */
    char status_text[4]; /* of `:status`, as it was last asked for */
    bool changed;        /* something was written, with effect or not: `headers` are this map's own */
    bool routing;        /* what was written may matter to the match table */
};

/* Lists the pairs: *at is 0 for the first call, and the callee's from then on. False: there are no more. */
bool vx_field_map_next(struct vx_field_map *m, uint32_t *at, struct vx_field *field);

/* The first value of `name`. False: there is none. Slices live as long as the exchange, unless replaced. */
bool vx_field_map_find(struct vx_field_map *m, struct vx_slice name, struct vx_slice *value);

/* One more field of this name. A pseudo field is replaced. */
enum vx_field_result vx_field_map_add(struct vx_field_map *m, struct vx_slice name, struct vx_slice value);

/* This value instead of all that `name` has. */
enum vx_field_result vx_field_map_replace(struct vx_field_map *m, struct vx_slice name,
                                          struct vx_slice value);

/* Absent is fine. */
enum vx_field_result vx_field_map_remove(struct vx_field_map *m, struct vx_slice name);

/* These pairs instead of all there are. Either all of them are taken, or nothing changes. */
enum vx_field_result vx_field_map_assign(struct vx_field_map *m, const struct vx_field *fields,
                                         uint32_t count);

#endif
