/* SPDX-License-Identifier: Apache-2.0 */
/* Strict HTTP/1.x heads (RFC 9112, RFC 9110): bytes in, vx_request or vx_response out, or the reason for
 * refusing.
 *
 * A head is read in two steps. The scan looks for the empty line that ends it, and refuses bytes that no head
 * may hold; it remembers how far it came, so a head that drips in byte by byte costs linear time. The parse
 * runs once, over the complete head. What is returned depends on the bytes alone, never on how they were cut.
 *
 * All functions: any thread, no I/O. Slices in the result borrow from `bytes` (and from `arena`: the header
 * array, a path or host that had to be rewritten) and live as long as both. */
#ifndef VX_CORE_HTTP_H1_PARSE_H
#define VX_CORE_HTTP_H1_PARSE_H

#include "core/http/message.h"

struct vx_h1_limits {
    uint32_t header_bytes; /* a whole head, from its first byte to the empty line, both included */
    uint16_t headers;      /* field lines in a head, and in a trailer section */
    uint32_t uri_bytes;    /* the request target */
    bool merge_slashes;    /* `//` in a path becomes `/` */
};

/* How far one head (or trailer section) has been read. Plain value; may be copied. */
struct vx_h1_parser {
    uint32_t scanned; /* bytes already looked at; they are not looked at again before the head is complete */
    bool line_checked;
};

enum vx_h1_result { VX_H1_MORE, VX_H1_DONE, VX_H1_ERROR };

/* Before each head and each trailer section. */
static inline void vx_h1_parser_init(struct vx_h1_parser *p) {
    *p = (struct vx_h1_parser){0, false};
}

/* Reads a request head. `bytes` begins with the head's first byte at each call for this head, though it may have
 * moved in memory, and only grows; only [ptr, ptr+len) is read. One empty line before the request is skipped and
 * counted in the head (RFC 9112 §2.2).
 *   VX_H1_MORE   the head is not complete; nothing written
 *   VX_H1_DONE   *out is filled in but for `https`; *head_bytes says where the body begins
 *   VX_H1_ERROR  *error says why, with the code to answer; its detail is static text. The connection's framing is in
 *                doubt: answer and close. OUT_OF_MEMORY when the arena has no room. *out is not to be used.
 * Content-Length: 0 gives VX_BODY_LENGTH with 0 bytes, so that it can be forwarded as it was. expects_continue is set
 * only for HTTP/1.1 requests that announce a body (RFC 9110 §10.1.1), `upgrade` only for HTTP/1.1 and an Upgrade that
 * names a protocol. host keeps the brackets of an IPv6 literal; host and authority are empty for HTTP/1.0 without
 * Host. All fields are VX_HEADER_RAW, also those with unusual white space around the value. */
enum vx_h1_result vx_h1_parse_request(struct vx_h1_parser *p, const struct vx_h1_limits *limits,
                                      struct vx_slice bytes, struct vx_arena *arena, struct vx_request *out,
                                      size_t *head_bytes, struct vx_error *error);

/* Reads a response head in the same way; `request_method` is the method that is being answered, which decides
 * on the body (RFC 9112 §6.3). Interim (1xx) responses come as any other. Errors are BAD_RESPONSE or
 * OUT_OF_MEMORY. body_bytes holds the Content-Length also where no body follows (HEAD, 304) and is 0 when
 * there is none (ask vx_headers_has). keep_alive is false for VX_BODY_UNTIL_CLOSE. `upgrade` is set for a 101
 * that has both Connection: upgrade and Upgrade; a 101 without it is for the caller to refuse.
 * limits->uri_bytes and merge_slashes are not used. */
enum vx_h1_result vx_h1_parse_response(struct vx_h1_parser *p, const struct vx_h1_limits *limits,
                                       struct vx_slice bytes, struct vx_arena *arena,
                                       enum vx_method request_method, struct vx_response *out,
                                       size_t *head_bytes, struct vx_error *error);

/* Reads the trailer section after the last chunk, up to and including the empty line (RFC 9112 §7.1.2).
 * `bytes` begins with the section's first byte. Fields that frame or route a message or carry credentials are
 * dropped (RFC 9110 §6.5.1). `from` says whose message it is: errors are BAD_REQUEST and HEADERS_TOO_LARGE
 * for a client, BAD_RESPONSE for a backend. *out is initialised here; limits as for a head. */
enum vx_h1_result vx_h1_parse_trailers(struct vx_h1_parser *p, const struct vx_h1_limits *limits,
                                       struct vx_slice bytes, struct vx_arena *arena,
                                       enum vx_error_source from, struct vx_headers *out, size_t *consumed,
                                       struct vx_error *error);

#endif
