/* SPDX-License-Identifier: Apache-2.0 */
/* What nghttp2 tells of what came. Nothing here calls an owner but `accept`: it is noted, and told afterwards. */
#include "core/http/h1_meaning.h"
#include "proxy/http2/session_internal.h"

enum {
    SMALL_WINDOW_BYTES = 64,
    INTERIMS_MAX = 32, /* a response that has more of them before its final head is no use to anybody */
};

/* The payload of the PINGs that measure the path. */
const uint8_t vx_h2_farewell[8] = {'v', 'o', 'r', 't', 'e', 'x', 'b', 'y'};
static const uint8_t probe[8] = {'v', 'o', 'r', 't', 'e', 'x', 'b', 'p'};

/* What a callback answers: nghttp2 stops reading once the connection is to end. */
static int go_on(const struct vx_h2_session *s) {
    return s->ending || s->broken ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    struct vx_h2_session *s = user;
    bool opens = s->server && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    struct vx_h2_stream *st = opens ? NULL : vx_h2_stream_of(s, frame->hd.stream_id);
    if (opens) {
        bool refused = ++s->peer_streams > s->peer_limit || s->shutting;
        st = refused ? NULL : s->ops->accept(s, frame->hd.stream_id);
        if (st) {
            vx_h2_stream_begin(st, s, frame->hd.stream_id);
            nghttp2_session_set_stream_user_data(ng, frame->hd.stream_id, st);
            s->latest = st;
        } else {
            nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
            vx_h2_session_glitch(s, VX_H2_GLITCH_REFUSED);
        }
    }
    s->parsing = st;
    if (st) {
        st->in_section = true;
        memset(&st->arriving, 0, sizeof st->arriving);
    }
    return go_on(s);
}

static bool is_name(struct vx_slice name, const char *text, size_t len) {
    return name.len == len && memcmp(name.ptr, text, len) == 0;
}

#define IS(name, text) is_name(name, text, sizeof(text) - 1)

/* The place for the value of a request's pseudo-header field; NULL: there is none of that name. */
static struct vx_slice *pseudo(struct vx_h2_pseudo *p, struct vx_slice name) {
    if (IS(name, ":path"))
        return &p->path;
    if (IS(name, ":method"))
        return &p->method;
    if (IS(name, ":scheme"))
        return &p->scheme;
    if (IS(name, ":authority"))
        return &p->authority;
    return IS(name, ":protocol") ? &p->protocol : NULL;
}

static void malformed(struct vx_h2_head *head, const char *how) {
    if (!head->malformed)
        head->malformed = how;
}

static void keep_status(struct vx_h2_head *head, struct vx_slice name, struct vx_slice value) {
    bool good = IS(name, ":status") && !head->status && value.len == 3;
    for (size_t i = 0; i < value.len && good; i++) {
        unsigned digit = (unsigned)(value.ptr[i] - '0');
        good = digit <= 9;
        head->status = (uint16_t)(head->status * 10 + digit);
    }
    if (!good)
        malformed(head, "a bad status, or a pseudo field that no response has");
}

/* RFC 9113 §8.3. False: no memory. */
static bool keep_pseudo(struct vx_h2_stream *st, struct vx_slice name, struct vx_slice value) {
    struct vx_h2_head *head = &st->arriving;
    if (st->head_done || head->fields.count) {
        malformed(head, "a pseudo field behind other fields, or in trailers");
        return true;
    }
    if (!st->session->server) {
        keep_status(head, name, value);
        return true;
    }
    struct vx_slice *place = pseudo(&head->pseudo, name);
    if (!place || place->ptr) {
        malformed(head, "a pseudo field that no request has, or one twice");
        return true;
    }
    if (place == &head->pseudo.path && value.len > st->session->limits->uri_bytes) {
        head->refused = VX_ERR_URI_TOO_LONG;
        return true;
    }
    *place = vx_arena_copy(st->arena, value.ptr ? value : VX_SLICE(""));
    return place->ptr != NULL;
}

static bool keep_field(struct vx_h2_stream *st, struct vx_slice name, struct vx_slice value) {
    struct vx_h2_head *head = &st->arriving;
    enum vx_header_id id = vx_header_id_of_lower(name);
    uint64_t bit = UINT64_C(1) << id;
    head->repeated |= head->fields.present & bit;
    char *copy = vx_arena_alloc(st->arena, value.len + (id == VX_HEADER_OTHER ? name.len : 0) + 1);
    if (!copy)
        return false;
    memcpy(copy, value.ptr, value.len);
    if (id == VX_HEADER_OTHER) {
        memcpy(copy + value.len, name.ptr, name.len);
        name.ptr = copy + value.len;
    } else {
        name = vx_header_id_name(id);
    }
    return vx_headers_add(&head->fields, st->arena, id, name, vx_slice(copy, value.len));
}

/* A field beyond the limits. What such a head costs us is counted by its size. */
static void too_large(struct vx_h2_session *s, struct vx_h2_head *head, uint64_t before) {
    head->refused = VX_ERR_HEADERS_TOO_LARGE;
    uint64_t each = s->limits->header_bytes;
    for (uint64_t n = before / each; n < head->bytes / each; n++)
        if (!vx_h2_session_glitch(s, VX_H2_GLITCH_LARGE_HEAD))
            return;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user) {
    enum { FIELD_OVERHEAD_BYTES = 32 }; /* RFC 9113 §6.5.2 */
    (void)ng;
    (void)frame;
    (void)flags;
    struct vx_h2_session *s = user;
    struct vx_h2_stream *st = s->parsing;
    if (!st)
        return go_on(s);
    struct vx_h2_head *head = &st->arriving;
    uint64_t before = head->bytes;
    head->bytes += name_len + value_len + FIELD_OVERHEAD_BYTES;
    head->count += !name_len || name[0] != ':';
    if (head->bytes > s->limits->header_bytes || head->count > s->limits->headers)
        too_large(s, head, before);
    if (head->refused)
        return go_on(s);
    struct vx_slice n = vx_slice((const char *)name, name_len), v = vx_slice((const char *)value, value_len);
    bool kept = name_len && name[0] == ':' ? keep_pseudo(st, n, v) : keep_field(st, n, v);
    if (!kept)
        head->refused = VX_ERR_OUT_OF_MEMORY;
    return go_on(s);
}

/* The stream is spoilt by what the peer sent on it; the connection goes on. */
static void refuse(struct vx_h2_stream *st, enum vx_error_code code, const char *detail) {
    struct vx_h2_session *s = st->session;
    if (!s->server && code != VX_ERR_OUT_OF_MEMORY)
        code = VX_ERR_BAD_RESPONSE;
    if (nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_PROTOCOL_ERROR) != 0)
        vx_h2_session_break(s, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
    st->resetting = true;
    vx_h2_stream_fail(st, vx_error(code, false, detail));
}

static void refuse_head(struct vx_h2_stream *st, const char *detail) {
    vx_h2_session_glitch(st->session, VX_H2_GLITCH_BAD_HEAD);
    refuse(st, VX_ERR_BAD_REQUEST, detail);
}

/* A body that its head belies costs a backend as much as a reset of the client's own would, so it counts as one. */
static void refuse_body(struct vx_h2_stream *st, const char *detail) {
    vx_h2_session_glitch(st->session, VX_H2_GLITCH_BAD_FRAME);
    refuse(st, VX_ERR_BAD_FRAMING, detail);
}

static void take_trailers(struct vx_h2_stream *st) {
    const struct vx_h2_head *head = &st->arriving;
    struct vx_headers *fields = vx_arena_alloc(st->arena, sizeof *fields);
    const char *detail = head->malformed;
    if (!fields || head->refused) {
        refuse(st, head->refused ? head->refused : VX_ERR_OUT_OF_MEMORY, "too large trailers");
        return;
    }
    *fields = head->fields;
    if (detail || !vx_h2_read_trailers(fields, &detail))
        refuse_head(st, detail);
    else if (!head->ended)
        refuse_head(st, "trailers that do not end the message");
    else
        st->trailers = fields;
}

/* The length that the head declares is held against what comes (RFC 9113 §8.1.1). A bad one is for the reader of the
 * head to refuse. */
static void note_length(struct vx_h2_stream *st) {
    enum vx_framing framing;
    uint64_t bytes;
    struct vx_h1_fault fault =
        vx_h1_read_framing(&st->head.fields, st->head.repeated, VX_HTTP_2, &framing, &bytes);
    st->has_length = !fault.code && framing == VX_BODY_LENGTH;
    st->declared_bytes = st->has_length ? bytes : 0;
}

/* A field section is complete. */
static void section_over(struct vx_h2_session *s, struct vx_h2_stream *st) {
    st->in_section = false;
    s->parsing = NULL;
    if (st->head_done) {
        take_trailers(st);
        return;
    }
    if (st->arriving.malformed) {
        refuse_head(st, st->arriving.malformed);
        return;
    }
    st->head = st->arriving;
    st->head_done = s->server || st->head.status >= 200;
    st->bodyless = st->bodyless || st->head.status == 304;
    if (!st->head_done && ++st->interims > INTERIMS_MAX) {
        refuse_head(st, "too many interim responses");
        return;
    }
    if (st->head_done && vx_headers_has(&st->head.fields, VX_HEADER_CONTENT_LENGTH))
        note_length(st);
    vx_h2_stream_pend(st, VX_H2_PENDING_HEAD);
}

/* END_STREAM: with a head, with the last bytes, or with trailers. */
static void ended_by_peer(struct vx_h2_stream *st, bool with_head) {
    if (!st->head_done) {
        refuse_head(st, "a message that ends before its final head");
        return;
    }
    if (st->has_length && !with_head && !st->bodyless && st->received_bytes != st->declared_bytes) {
        refuse_body(st, "a body that is not as long as its Content-Length says");
        return;
    }
    st->remote_ended = true;
    if (st->waits_body)
        vx_h2_stream_pend(st, VX_H2_PENDING_READABLE);
}

static void on_window_update(struct vx_h2_session *s, struct vx_h2_stream *st, const nghttp2_frame *frame) {
    s->window_opened = true;
    if (st)
        st->given_window = true;
    bool waits = st ? !vx_list_empty(&st->waiting) : !vx_list_empty(&s->waiting);
    if (waits && frame->window_update.window_size_increment < SMALL_WINDOW_BYTES)
        vx_h2_session_glitch(s, VX_H2_GLITCH_SMALL_WINDOW);
    else
        vx_h2_session_control_frame(s);
}

static void on_settings(struct vx_h2_session *s) {
    s->window_opened = s->capacity_moved = s->settings_came = true;
    vx_h2_session_control_frame(s);
}

static void on_ping(struct vx_h2_session *s, const nghttp2_frame *frame) {
    if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
        vx_h2_session_control_frame(s);
    else if (memcmp(frame->ping.opaque_data, probe, sizeof probe) == 0)
        vx_h2_flow_answered(&s->flow, s->rt->now_ns);
    else if (memcmp(frame->ping.opaque_data, vx_h2_farewell, sizeof vx_h2_farewell) == 0)
        vx_h2_session_shut(s);
}

/* A frame of a message: HEADERS or DATA. */
static void on_message_frame(struct vx_h2_session *s, struct vx_h2_stream *st, const nghttp2_frame *frame) {
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    bool head = frame->hd.type == NGHTTP2_HEADERS;
    if (head || frame->hd.length > frame->data.padlen)
        vx_h2_glitches_work(&s->glitches);
    else if (!ends)
        vx_h2_session_glitch(s, VX_H2_GLITCH_EMPTY_DATA);
    if (!st || st->failed)
        return;
    bool first = head && !st->head_done;
    if (head && st->in_section) {
        st->arriving.ended = ends;
        section_over(s, st);
    }
    if (ends && !st->failed)
        ended_by_peer(st, first);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    (void)ng;
    struct vx_h2_session *s = user;
    struct vx_h2_stream *st = vx_h2_stream_of(s, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        on_message_frame(s, st, frame);
        break;
    case NGHTTP2_RST_STREAM:
        if (s->server && st && !st->local_ended)
            vx_h2_session_glitch(s, VX_H2_GLITCH_RESET);
        break;
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            on_settings(s);
        break;
    case NGHTTP2_PING:
        on_ping(s, frame);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        on_window_update(s, st, frame);
        break;
    case NGHTTP2_GOAWAY:
        s->goaway_came = true;
        break;
    default:
        break;
    }
    return go_on(s);
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *user) {
    (void)flags;
    struct vx_h2_session *s = user;
    struct vx_h2_stream *st = vx_h2_stream_of(s, id);
    nghttp2_session_consume_connection(ng, len);
    if (!st || st->failed)
        return go_on(s);
    if (!st->head_done || (st->has_length && st->received_bytes + len > st->declared_bytes)) {
        refuse_body(st, "more of a body than its Content-Length says, or none before its head");
        return go_on(s);
    }
    if (!vx_h2_stream_receive(st, vx_slice((const char *)data, len))) {
        vx_h2_session_break(s, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (vx_h2_flow_arrived(&s->flow, (uint32_t)len, st->received_bytes, s->rt->now_ns))
        nghttp2_submit_ping(ng, NGHTTP2_FLAG_NONE, probe);
    return go_on(s);
}

/* A frame whose meaning is wrong: nghttp2 resets the stream, or ends the connection, after this. */
static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *user) {
    (void)ng;
    (void)error;
    struct vx_h2_session *s = user;
    struct vx_h2_stream *st = vx_h2_stream_of(s, frame->hd.stream_id);
    if (st && !st->error.code)
        st->error = s->server ? vx_error(VX_ERR_BAD_REQUEST, false, "a malformed HTTP/2 request")
                              : vx_error(VX_ERR_BAD_RESPONSE, false, "a malformed HTTP/2 response");
    bool head = s->server && frame->hd.type == NGHTTP2_HEADERS;
    vx_h2_session_glitch(s, head ? VX_H2_GLITCH_BAD_HEAD : VX_H2_GLITCH_BAD_FRAME);
    return go_on(s);
}

static struct vx_error closed_by(const struct vx_h2_session *s, uint32_t code) {
    if (s->server)
        return vx_error(VX_ERR_CLIENT_GONE, false, "the stream was reset");
    if (code == NGHTTP2_REFUSED_STREAM)
        return vx_error(VX_ERR_BACKEND_RESET, true, "the stream was refused");
    return vx_error(VX_ERR_BACKEND_RESET, false, "the stream was reset");
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user) {
    (void)ng;
    struct vx_h2_session *s = user;
    struct vx_h2_stream *st = vx_h2_stream_of(s, id);
    s->latest = NULL;
    s->capacity_moved = true;
    s->peer_streams -= s->server;
    if (!st)
        return 0;
    st->closed = true;
    st->code = code;
    vx_list_remove(&st->waiting);
    if (s->parsing == st)
        s->parsing = NULL;
    /* NO_ERROR behind a complete message only says that the rest of ours is not wanted (RFC 9113 §8.1). */
    if (code != NGHTTP2_NO_ERROR || !st->remote_ended)
        vx_h2_stream_fail(st, closed_by(s, code));
    return 0;
}

void vx_h2_set_receive_callbacks(nghttp2_session_callbacks *callbacks) {
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}
