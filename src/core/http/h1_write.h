/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 heads in one pass into a caller's buffer.
 *
 * The fields that frame a message or govern the connection (Content-Length, Transfer-Encoding, Connection,
 * Keep-Alive, Proxy-Connection, Upgrade) are never copied from the message: they are written here, from `how`
 * alone, so what we send is always framed the way we send it. All other fields go out in their order unless
 * VX_HEADER_REMOVED; runs of received fields that lie side by side are copied whole. `TE` that was left in
 * place is named in Connection (RFC 9110 §10.1.4).
 *
 * All functions: any thread, no allocation; each write returns the bytes written, 0 when they do not fit
 * `room` (then `out` holds garbage). The caller's values must hold no CR, LF or NUL. */
#ifndef VX_CORE_HTTP_H1_WRITE_H
#define VX_CORE_HTTP_H1_WRITE_H

#include "core/http/message.h"

enum vx_h1_connection {
    VX_H1_CONNECTION_DEFAULT,    /* nothing is said: HTTP/1.1 keeps the connection */
    VX_H1_CONNECTION_CLOSE,      /* Connection: close */
    VX_H1_CONNECTION_KEEP_ALIVE, /* Connection: keep-alive, for an HTTP/1.0 client that asked for it */
};

struct vx_h1_request_write {
    struct vx_slice target;  /* the request target to send; ptr NULL: path and `?query` */
    enum vx_framing framing; /* NONE: neither field; LENGTH: Content-Length; CHUNKED: Transfer-Encoding */
    uint64_t body_bytes;     /* for VX_BODY_LENGTH */
    enum vx_h1_connection connection;
    struct vx_slice upgrade; /* `Connection: upgrade` and `Upgrade: <this>`; ptr NULL: none */
};

struct vx_h1_response_write {
    enum vx_framing framing; /* UNTIL_CLOSE writes neither field; `connection` must then be CLOSE */
    uint64_t body_bytes;     /* for VX_BODY_LENGTH, and for declare_length */
    bool declare_length;     /* with VX_BODY_NONE: Content-Length although no body follows (HEAD, 304) */
    enum vx_h1_connection connection;
    struct vx_slice upgrade; /* for 101, as above */
    struct vx_slice date;    /* `Date: <this>`, for a message that has none; ptr NULL: nothing is added */
};

/* An upper bound of what the matching write needs. */
size_t vx_h1_request_head_max(const struct vx_request *req, const struct vx_h1_request_write *how);
size_t vx_h1_response_head_max(const struct vx_response *resp, const struct vx_h1_response_write *how);

/* `METHOD target HTTP/1.1`, the fields, the empty line. */
size_t vx_h1_write_request_head(char *out, size_t room, const struct vx_request *req,
                                const struct vx_h1_request_write *how);

/* `HTTP/1.1 status reason`, the fields, the empty line. A reason whose ptr is NULL is replaced by the standard one; a
 * backend's empty one stays empty. */
size_t vx_h1_write_response_head(char *out, size_t room, const struct vx_response *resp,
                                 const struct vx_h1_response_write *how);

/* The end of a chunked body: `0 CRLF`, the trailer fields (NULL: none), the empty line. */
size_t vx_h1_last_chunk_max(const struct vx_headers *trailers);
size_t vx_h1_write_last_chunk(char *out, size_t room, const struct vx_headers *trailers);

#endif
