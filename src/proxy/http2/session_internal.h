/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the session: session.c (its life, reading, writing), receive.c (what nghttp2 tells of what
 * came), send.c (what goes out), stream.c (one stream). */
#ifndef VX_PROXY_HTTP2_SESSION_INTERNAL_H
#define VX_PROXY_HTTP2_SESSION_INTERNAL_H

#include "proxy/http2/session.h"

enum {
    H2_OUT_SOFT_BYTES = 64 * 1024,  /* bodies wait when so much has not been written */
    H2_OUT_HARD_BYTES = 256 * 1024, /* nothing more is read then: replies to what was read fill it too */
};

/* session.c */
void vx_h2_session_soon(struct vx_h2_session *s); /* the round's task has something to do */
void vx_h2_session_write(struct vx_h2_session *s);
void vx_h2_session_break(struct vx_h2_session *s, struct vx_error error);
/* Room for `bytes` behind what waits in s->out; NULL: no memory, the session is broken. */
char *vx_h2_session_reserve(struct vx_h2_session *s, size_t bytes);

/* The connection ends for what the peer did, with a word about it. */
void vx_h2_session_end_for(struct vx_h2_session *s, nghttp2_error_code code, const char *detail);
/* A frame came that asks for or does nothing of a request's. */
void vx_h2_session_control_frame(struct vx_h2_session *s);

/* receive.c */
extern const uint8_t vx_h2_farewell[8]; /* in the PING whose answer says that the first GOAWAY was read */
void vx_h2_set_receive_callbacks(nghttp2_session_callbacks *callbacks);

/* send.c */
void vx_h2_set_send_callbacks(nghttp2_session_callbacks *callbacks);
/* Turns what was submitted into bytes in s->out. Not from inside nghttp2's callbacks. */
void vx_h2_session_pump(struct vx_h2_session *s);
/* Writes our SETTINGS, in which nghttp2 has put no limit of streams, with this one. */
void vx_h2_session_announce_limit(struct vx_h2_session *s, uint32_t streams);
/* How many bytes of a body this stream may send now. */
size_t vx_h2_stream_room(struct vx_h2_stream *st);

/* stream.c */
void vx_h2_stream_begin(struct vx_h2_stream *st, struct vx_h2_session *s, int32_t id);
void vx_h2_stream_pend(struct vx_h2_stream *st, enum vx_h2_pending what);
/* Nothing more can come of it; the owner is told unless the error is VX_ERR_NONE. */
void vx_h2_stream_fail(struct vx_h2_stream *st, struct vx_error error);
/* The stream of this number; NULL: none that is open and has an owner. */
struct vx_h2_stream *vx_h2_stream_of(struct vx_h2_session *s, int32_t id);
/* False: no memory. */
bool vx_h2_stream_receive(struct vx_h2_stream *st, struct vx_slice bytes);

#endif
