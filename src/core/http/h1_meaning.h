/* SPDX-License-Identifier: Apache-2.0 */
/* What the field lines of an HTTP/1 head mean together: how the body is framed, whether the connection lives,
 * what it is asked to become. Private to the parser. Any thread; details are static text. */
#ifndef VX_CORE_HTTP_H1_MEANING_H
#define VX_CORE_HTTP_H1_MEANING_H

#include "core/http/message.h"

/* What was found, as the code to answer with (a backend's message: any code is BAD_RESPONSE) and a word for
 * the log. */
struct vx_h1_fault {
    enum vx_error_code code; /* VX_ERR_NONE: nothing is wrong */
    const char *detail;
};

/* The framing fields (RFC 9112 §6). *framing is NONE where there are none. `repeated` has a bit for each id
 * that occurred more than once. */
struct vx_h1_fault vx_h1_read_framing(const struct vx_headers *h, uint64_t repeated,
                                      enum vx_http_version version, enum vx_framing *framing,
                                      uint64_t *body_bytes);

/* keep_alive (RFC 9112 §9.3) and upgrade (RFC 9110 §7.8, HTTP/1.1 only). */
struct vx_h1_fault vx_h1_read_connection(const struct vx_headers *h, enum vx_http_version version,
                                         bool *keep_alive, bool *upgrade);

/* Expect (RFC 9110 §10.1.1); `version` and `framing` of `req` are known. */
struct vx_h1_fault vx_h1_read_expect(struct vx_request *req);

#endif
