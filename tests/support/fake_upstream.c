/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_upstream.h. */
#include "support/fake_upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/assert.h"

static struct fake_upstream *of(struct vx_stream *s) {
    struct fake_upstream *u = (struct fake_upstream *)s;
    assert_false(u->released);
    return u;
}

static enum vx_pull pull(struct vx_stream *s, struct vx_slice *bytes) {
    struct fake_upstream *u = of(s);
    *bytes = vx_slice(u->rest.ptr, u->step && u->step < u->rest.len ? u->step : u->rest.len);
    if (u->rest.len)
        return VX_PULL_BYTES;
    if (u->body_broken) {
        s->error = vx_error(VX_ERR_BACKEND_RESET, false, "the test says so");
        return VX_PULL_FAILED;
    }
    return u->body_waits ? VX_PULL_WAIT : VX_PULL_END;
}

static void consume(struct vx_stream *s, size_t bytes) {
    struct fake_upstream *u = of(s);
    assert_true(bytes <= u->rest.len);
    u->rest = vx_slice_skip(u->rest, bytes);
    u->up.received_bytes += bytes;
}

static struct vx_headers *trailers(struct vx_stream *s) {
    return of(s)->answer_trailers;
}

static size_t push(struct vx_stream *s, struct vx_slice bytes) {
    struct fake_upstream *u = of(s);
    assert_false(u->finished);
    size_t n = bytes.len < u->room ? bytes.len : u->room;
    if (u->room != SIZE_MAX)
        u->room -= n;
    assert_true(u->body_len + n <= FAKE_UPSTREAM_BODY);
    if (n)
        memcpy(u->body + u->body_len, bytes.ptr, n);
    u->body_len += n;
    u->up.sent = u->up.sent || n;
    return n;
}

static void finish(struct vx_stream *s, struct vx_headers *fields) {
    struct fake_upstream *u = of(s);
    assert_false(u->finished);
    u->finished = true;
    u->trailers_sent = fields != NULL;
}

static void flush(struct vx_stream *s) {
    of(s)->flushes++;
}

static void again(struct vx_stream *s) {
    of(s)->again++;
}

static void release(struct vx_stream *s) {
    of(s)->released = true;
}

static bool describe(const struct vx_stream *s, struct vx_carrier *out) {
    const struct fake_upstream *u = (const struct fake_upstream *)s;
    assert_false(u->released);
    if (u->tls)
        *out = (struct vx_carrier){.tls = u->tls};
    return u->tls != NULL;
}

static bool counts(struct vx_stream *s) {
    return !of(s)->shares;
}

static const struct vx_stream_ops ops = {
    .pull = pull,
    .consume = consume,
    .trailers = trailers,
    .push = push,
    .finish = finish,
    .flush = flush,
    .again = again,
    .describe = describe,
    .counts = counts,
    .release = release,
};

static void note_fields(struct fake_upstream *u, const struct vx_headers *h) {
    size_t at = 0;
    for (unsigned i = 0; i < h->count; i++) {
        if (h->items[i].flags & VX_HEADER_REMOVED)
            continue;
        int n =
            snprintf(u->fields + at, sizeof u->fields - at, "%.*s: %.*s\n",
                     VX_SLICE_ARG(vx_header_name(&h->items[i])), VX_SLICE_ARG(vx_header_value(&h->items[i])));
        assert_true(n > 0 && (size_t)n < sizeof u->fields - at);
        at += (size_t)n;
    }
}

static struct vx_upstream *open_one(struct vx_http_client *port, const struct vx_upstream_open *open,
                                    struct vx_error *error, uint64_t now_ns) {
    struct fake_client *c = VX_CONTAINER_OF(port, struct fake_client, port);
    if (c->refuse) {
        c->refuse--;
        *error = vx_error(c->with, true, "the test says so");
        return NULL;
    }
    assert_true(c->count < FAKE_UPSTREAMS);
    struct fake_upstream *u = &c->ups[c->count++];
    *u = (struct fake_upstream){
        .up = {.stream = {.ops = &ops, .events = open->events, .user = open->user},
               .sent_ns = c->unsent ? 0 : now_ns,
               .sent = !c->unsent,
               .reused = c->reused && !open->fresh},
        .target = open->target,
        .tls = c->tls,
        .fresh = open->fresh,
        .framing = open->request->framing,
        .room = c->room,
        .body = malloc(FAKE_UPSTREAM_BODY),
    };
    assert_non_null(u->body);
    assert_true(open->request->path.len < sizeof u->path);
    memcpy(u->path, open->request->path.ptr, open->request->path.len);
    note_fields(u, &open->request->headers);
    return &u->up;
}

void fake_client_init(struct fake_client *c) {
    memset(c, 0, sizeof *c);
    c->port.open = open_one;
    c->room = SIZE_MAX;
    c->with = VX_ERR_CONNECT_FAILED;
}

void fake_client_free(struct fake_client *c) {
    for (unsigned i = 0; i < c->count; i++) {
        assert_true(c->ups[i].released);
        free(c->ups[i].body);
    }
}

struct fake_upstream *fake_client_last(struct fake_client *c) {
    assert_true(c->count > 0);
    return &c->ups[c->count - 1];
}

void fake_upstream_add_field(struct fake_upstream *u, const char *name, const char *value) {
    struct vx_headers *h = &u->response.headers;
    h->items = u->items;
    h->capacity = sizeof u->items / sizeof *u->items;
    assert_true(h->count < FAKE_ANSWER_FIELDS);
    assert_true(
        vx_headers_add(h, NULL, vx_header_id_of(vx_slice_of(name)), vx_slice_of(name), vx_slice_of(value)));
}

void fake_upstream_answer(struct fake_upstream *u, uint16_t status, const char *body, uint64_t now_ns) {
    assert_false(u->released);
    struct vx_response *r = &u->response;
    r->status = status;
    r->version = VX_HTTP_11;
    r->keep_alive = true;
    u->up.received_bytes++;
    if (status >= 200) {
        u->rest = vx_slice_of(body);
        r->framing = VX_BODY_LENGTH;
        r->body_bytes = u->rest.len;
    } else if (status == 101) {
        r->upgrade = true;
        u->rest = vx_slice_of(body);
    }
    if (!r->headers.items) {
        r->headers.items = u->items;
        r->headers.capacity = sizeof u->items / sizeof *u->items;
    }
    u->up.stream.events->on_response(u->up.stream.user, r, now_ns);
    if (status < 200 && status != 101)
        *r = (struct vx_response){0};
}

void fake_upstream_fail(struct fake_upstream *u, enum vx_error_code code, uint64_t now_ns) {
    assert_false(u->released);
    u->up.stream.error = vx_error(code, code == VX_ERR_BACKEND_REFUSED, NULL);
    u->up.stream.events->on_failed(u->up.stream.user, now_ns);
}

void fake_upstream_writable(struct fake_upstream *u, size_t room, uint64_t now_ns) {
    assert_false(u->released);
    u->room = room;
    u->up.stream.events->on_writable(u->up.stream.user, now_ns);
}

void fake_upstream_readable(struct fake_upstream *u, const char *more, uint64_t now_ns) {
    assert_false(u->released);
    u->rest = vx_slice_of(more);
    u->up.stream.events->on_readable(u->up.stream.user, now_ns);
}
