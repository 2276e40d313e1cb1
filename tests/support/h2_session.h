/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2's sessions for the far ends of connections under test: what they are told, and how they are made. */
#ifndef VX_TESTS_SUPPORT_H2_SESSION_H
#define VX_TESTS_SUPPORT_H2_SESSION_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct h2_session_kind {
    bool server;
    bool keeps_windows; /* windows open only when the test says so */
    bool unlimited;     /* does without nghttp2's limits of resets and glitches, which go by the real clock */
    /* NULL: nobody listens. */
    nghttp2_on_begin_headers_callback on_begin_headers;
    nghttp2_on_header_callback on_header;
    nghttp2_on_data_chunk_recv_callback on_data;
    nghttp2_on_frame_recv_callback on_frame;
    nghttp2_on_invalid_frame_recv_callback on_invalid;
    nghttp2_on_frame_send_callback on_sent;
    nghttp2_on_stream_close_callback on_close;
};

/* Never NULL; for nghttp2_session_del. */
nghttp2_session *h2_session_new(const struct h2_session_kind *kind, void *user);

/* Both texts are borrowed. */
static inline nghttp2_nv h2_field(const char *name, const char *value) {
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

#endif
