/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny backend for trying things, behind `vortex echo --port N`:
 *
 *   GET /             one friendly line that names the port
 *   /status/503       that status (200..599) and its reason phrase
 *   /delay/500ms      a line after that time (`20ms`, `5s`, `1m`; up to ten minutes)
 *   /bytes/10MiB      that many bytes (`100`, `64KiB`, `1GiB`; up to 1 TiB)
 *   anything else     200, the request as text: request line, header fields, an empty line, the body
 *
 * Every answer carries `x-echo-port`, so that one sees which backend gave it. */
#ifndef VX_PROXY_HANDLERS_ECHO_H
#define VX_PROXY_HANDLERS_ECHO_H

#include "core/base/timer.h"
#include "core/ports/handler.h"

enum { VX_ECHO_PATTERN_BYTES = 64 * 1024 };

/* Plain memory of the owner, not to be moved; outlives all its downstreams. One thread. */
struct vx_echo {
    struct vx_handler handler; /* what the HTTP server gets */
    struct vx_timer_wheel *wheel;
    char port_text[8];
    struct vx_slice port;
    char pattern[VX_ECHO_PATTERN_BYTES]; /* what /bytes sends, again and again */
};

/* `wheel` is that of the loop the handler runs on and outlives it. Never fails; nothing to free. */
void vx_echo_init(struct vx_echo *echo, struct vx_timer_wheel *wheel, uint16_t port);

#endif
