/* SPDX-License-Identifier: Apache-2.0 */
/* See h2_peer.h. */
#include "support/h2_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct h2_peer_stream *find(struct h2_peer *p, int32_t id) {
    for (unsigned i = 0; i < p->stream_count; i++)
        if (p->streams[i].id == id)
            return &p->streams[i];
    assert_true(p->stream_count < H2_PEER_STREAMS);
    struct h2_peer_stream *s = &p->streams[p->stream_count++];
    *s = (struct h2_peer_stream){.id = id};
    return s;
}

struct h2_peer_stream *h2_peer_stream(struct h2_peer *p, int32_t id) {
    return find(p, id);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    (void)ng;
    struct h2_peer_stream *s = find(user, frame->hd.stream_id);
    if (frame->headers.cat == NGHTTP2_HCAT_HEADERS && strncmp(s->head, ":status: 1", 10) != 0)
        s->trailers[0] = '\0';
    else
        s->head[0] = '\0';
    s->heads++;
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user) {
    (void)ng;
    (void)flags;
    struct h2_peer_stream *s = find(user, frame->hd.stream_id);
    bool trailers = frame->headers.cat == NGHTTP2_HCAT_HEADERS && name[0] != ':' && s->heads > 1 &&
                    strncmp(s->head, ":status: 1", 10) != 0;
    char *text = trailers ? s->trailers : s->head;
    size_t used = strlen(text);
    snprintf(text + used, H2_PEER_TEXT - used, "%.*s: %.*s\n", (int)name_len, name, (int)value_len, value);
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *user) {
    (void)ng;
    (void)flags;
    struct h2_peer_stream *s = find(user, id);
    size_t room = s->body_bytes < sizeof s->body - 1 ? sizeof s->body - 1 - s->body_bytes : 0;
    memcpy(s->body + (room ? s->body_bytes : 0), data, len < room ? len : room);
    s->body_bytes += len;
    return 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    struct h2_peer *p = user;
    if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
        frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        find(p, frame->hd.stream_id)->ended = true;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        p->goaways++;
        p->goaway_code = frame->goaway.error_code;
        p->goaway_last = frame->goaway.last_stream_id;
    }
    p->most_streams = nghttp2_session_get_remote_settings(ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    p->connect_protocol = nghttp2_session_get_remote_settings(ng, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL);
    return 0;
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user) {
    (void)ng;
    struct h2_peer_stream *s = find(user, id);
    s->closed = true;
    s->code = code;
    return 0;
}

void h2_peer_init(struct h2_peer *p, struct fake_transport *t, bool server, uint32_t window) {
    *p = (struct h2_peer){.t = t};
    p->ng = h2_session_new(
        &(struct h2_session_kind){
            .server = server,
            .keeps_windows = window != 0,
            .on_begin_headers = on_begin_headers,
            .on_header = on_header,
            .on_data = on_data,
            .on_frame = on_frame,
            .on_close = on_close,
        },
        p);
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    assert_int_equal(nghttp2_submit_settings(p->ng, NGHTTP2_FLAG_NONE, &entry, window != 0), 0);
}

void h2_peer_free(struct h2_peer *p) {
    nghttp2_session_del(p->ng);
}

static bool say(struct h2_peer *p) {
    const uint8_t *bytes;
    bool said = false;
    for (nghttp2_ssize n; (n = nghttp2_session_mem_send2(p->ng, &bytes)) > 0 && !p->t->closed; said = true)
        fake_send_bytes(p->t, (const char *)bytes, (size_t)n);
    return said;
}

static bool hear(struct h2_peer *p) {
    size_t len = p->t->out_len;
    if (!len)
        return false;
    char *bytes = malloc(len);
    assert_non_null(bytes);
    memcpy(bytes, p->t->out, len);
    p->t->out_len = 0;
    assert_int_equal(nghttp2_session_mem_recv2(p->ng, (const uint8_t *)bytes, len), len);
    free(bytes);
    return true;
}

void h2_peer_talk(struct h2_peer *p) {
    fake_net_round(p->t->net);
    for (bool said = true, heard = true; said || heard;) {
        said = say(p);
        heard = hear(p);
    }
}

int32_t h2_peer_head(struct h2_peer *p, int32_t stream, bool ends, const char *const *fields) {
    nghttp2_nv nv[32];
    size_t count = 0;
    for (; fields[2 * count]; count++) {
        nv[count] = h2_field(fields[2 * count], fields[2 * count + 1]);
        nv[count].flags |= NGHTTP2_NV_FLAG_NO_COPY_NAME; /* else nghttp2 makes it lower case */
    }
    int32_t id = nghttp2_submit_headers(p->ng, ends ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE,
                                        stream ? stream : -1, NULL, nv, count, NULL);
    assert_true(id >= 0);
    if (stream)
        return stream;
    find(p, id);
    return id;
}

int32_t h2_peer_get(struct h2_peer *p, const char *path) {
    const char *fields[] = {":method", "GET", ":scheme", "http", ":authority", "a", ":path", path, NULL};
    int32_t id = h2_peer_head(p, 0, true, fields);
    h2_peer_talk(p);
    return id;
}

static nghttp2_ssize read_body(nghttp2_session *ng, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                               nghttp2_data_source *source, void *user) {
    (void)ng;
    (void)id;
    (void)source;
    struct h2_peer *p = user;
    size_t n = p->sending_bytes < room ? p->sending_bytes : room;
    if (n)
        memcpy(to, p->sending, n);
    p->sending += n;
    p->sending_bytes -= n;
    if (!p->sending_bytes)
        *flags |= NGHTTP2_DATA_FLAG_EOF | (p->sending_ends ? 0 : NGHTTP2_DATA_FLAG_NO_END_STREAM);
    return (nghttp2_ssize)n;
}

size_t h2_peer_body(struct h2_peer *p, int32_t stream, const char *bytes, size_t len, bool ends) {
    nghttp2_data_provider2 provider = {.read_callback = read_body};
    h2_peer_talk(p); /* its head has to be out */
    p->sending = bytes;
    p->sending_bytes = len;
    p->sending_ends = ends;
    assert_int_equal(nghttp2_submit_data2(p->ng, NGHTTP2_FLAG_END_STREAM, stream, &provider), 0);
    h2_peer_talk(p);
    return len - p->sending_bytes;
}

void h2_peer_raw(struct h2_peer *p, uint8_t type, uint8_t flags, int32_t stream, const void *payload,
                 size_t len) {
    h2_peer_talk(p);
    char head[9] = {0};
    head[0] = (char)(len >> 16);
    head[1] = (char)(len >> 8);
    head[2] = (char)len;
    head[3] = (char)type;
    head[4] = (char)flags;
    head[7] = (char)(stream >> 8);
    head[8] = (char)stream;
    if (!p->t->closed)
        fake_send_bytes(p->t, head, sizeof head);
    if (!p->t->closed && len)
        fake_send_bytes(p->t, payload, len);
    h2_peer_talk(p);
}
