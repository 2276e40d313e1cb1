/* SPDX-License-Identifier: Apache-2.0 */
/* What a field section of HTTP/2 or HTTP/3 means in the message model, or why it is refused (RFC 9113 §8.2, §8.3;
 * RFC 9114 §4.2, §4.3; RFC 8441). The framing layer hands over the pseudo fields apart from the others; what it may have
 * checked before is checked again here, because what passes is written into HTTP/1 heads as it is.
 *
 * All functions: any thread, no I/O; details are static text. Slices in the result borrow from the input and `arena`. */
#ifndef VX_CORE_HTTP_H2_MEANING_H
#define VX_CORE_HTTP_H2_MEANING_H

#include "core/http/h1_parse.h"
#include "core/http/message.h"

/* The pseudo fields of a request; ptr NULL: not there. */
struct vx_h2_pseudo {
    struct vx_slice method, scheme, authority, path, protocol;
};

/* Reads a request. out->headers holds the other fields, tagged, in order; the rest of *out is filled in here but for
 * `https`. `repeated` has a bit for each id that occurred more than once; `ended`: no body follows. `limits` gives
 * uri_bytes and merge_slashes. False: *error says why, with the code to answer; the stream is answered, not the
 * connection closed.
 *
 * The body is framed by its Content-Length, which the caller holds against what comes (RFC 9113 §8.1.1), or by the end
 * of the stream (VX_BODY_CHUNKED). The crumbs of a Cookie become one field (§8.2.3). :authority and Host, where both
 * are sent, mean the same; Host is added where only :authority was sent. Extended CONNECT for WebSocket becomes what
 * the same wish is in HTTP/1.1: GET with `upgrade` and an Upgrade field; the caller adds a Sec-WebSocket-Key. */
bool vx_h2_read_request(const struct vx_h2_pseudo *pseudo, uint64_t repeated, bool ended,
                        const struct vx_h1_limits *limits, struct vx_arena *arena, struct vx_request *out,
                        struct vx_error *error);

/* Reads a response in the same way: out->status and headers are filled in before. body_bytes holds the Content-Length
 * also where no body follows (HEAD, 304), as in vx_h1_parse_response. Errors are BAD_RESPONSE. */
bool vx_h2_read_response(enum vx_method request_method, uint64_t repeated, bool ended,
                         struct vx_response *out, struct vx_error *error);

/* Reads trailers: fields that do not belong there are dropped, like HTTP/1's (vx_trailers_strip). False: the section
 * is malformed; `detail` says how. */
bool vx_h2_read_trailers(struct vx_headers *trailers, const char **detail);

#endif
