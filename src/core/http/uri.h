/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets, paths and hosts in the one form that routes, limits and filters see (RFC 3986, RFC 9112
 * §3.2). Any thread; nothing is copied when the input already has that form. Errors are the code to answer
 * with. */
#ifndef VX_CORE_HTTP_URI_H
#define VX_CORE_HTTP_URI_H

#include "core/base/arena.h"
#include "core/base/error.h"
#include "core/base/slice.h"

enum vx_target_form {
    VX_TARGET_ORIGIN,   /* /path?query */
    VX_TARGET_ABSOLUTE, /* http://authority/path?query */
    VX_TARGET_ASTERISK, /* * */
};

struct vx_request_target {
    enum vx_target_form form;
    bool https;                /* absolute-form: its scheme */
    struct vx_slice authority; /* absolute-form, else empty */
    struct vx_slice path;      /* as it came; `*` for asterisk-form; empty when an absolute-form has none */
    struct vx_slice query;     /* after `?`; ptr NULL when there is no `?` */
};

/* Splits a request target that holds no white space and no control characters; all slices lie in `target`.
 * NONE, or BAD_REQUEST: no known form, a scheme other than http and https, a `#`, a byte above 0x7f. */
enum vx_error_code vx_request_target_split(struct vx_slice target, struct vx_request_target *out);

/* `.` and `..` segments resolved, percent-encoded unreserved characters decoded (RFC 3986 §6.2.2; that covers
 * %2e),
 * `//` made `/` when merge_slashes. All other escapes stay, %2f among them. `path` begins with `/`; *out lies
 * in `path` or in the arena. NONE, BAD_PATH (above the root, a bad escape, %00) or OUT_OF_MEMORY. */
enum vx_error_code vx_path_normalise(struct vx_slice path, bool merge_slashes, struct vx_arena *arena,
                                     struct vx_slice *out);

/* The form for comparing hosts: lower case, no port, no trailing dot; an IPv6 literal keeps its brackets.
 * `authority` is uri-host [":" port] (RFC 9110 §7.2). *port gets the digits after `:`, empty when there are
 * none; it may be NULL. *out lies in `authority` or in the arena. NONE, BAD_HOST (also when empty, with user
 * information, or with a port above 65535) or OUT_OF_MEMORY. */
enum vx_error_code vx_host_normalise(struct vx_slice authority, struct vx_arena *arena, struct vx_slice *out,
                                     struct vx_slice *port);

#endif
