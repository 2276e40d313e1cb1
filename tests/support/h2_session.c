/* SPDX-License-Identifier: Apache-2.0 */
/* See h2_session.h. */
#include "support/h2_session.h"

#include "core/base/assert.h"

nghttp2_session *h2_session_new(const struct h2_session_kind *kind, void *user) {
    enum { UNLIMITED = 1 << 30 };
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_session *ng;
    VX_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, kind->on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, kind->on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, kind->on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, kind->on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, kind->on_invalid);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, kind->on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, kind->on_close);
    nghttp2_option_set_no_auto_window_update(option, kind->keeps_windows);
    if (kind->unlimited) {
        nghttp2_option_set_glitch_rate_limit(option, UNLIMITED, UNLIMITED);
        nghttp2_option_set_stream_reset_rate_limit(option, UNLIMITED, UNLIMITED);
    }
    VX_CHECK((kind->server ? nghttp2_session_server_new2(&ng, callbacks, user, option)
                           : nghttp2_session_client_new2(&ng, callbacks, user, option)) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return ng;
}
