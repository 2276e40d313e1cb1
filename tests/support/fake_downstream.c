/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_downstream.h. */
#include "support/fake_downstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/assert.h"
#include "support/method.h"

static struct fake_downstream *of(struct vx_stream *s) {
    return (struct fake_downstream *)s;
}

static enum vx_pull pull(struct vx_stream *s, struct vx_slice *bytes) {
    struct fake_downstream *f = of(s);
    assert_int_equal(f->released, 0);
    if (f->piece_at < f->piece_count) {
        *bytes = f->pieces[f->piece_at];
        return VX_PULL_BYTES;
    }
    if (f->body_broken) {
        s->error = vx_error(VX_ERR_CLIENT_GONE, false, "the test says so");
        return VX_PULL_FAILED;
    }
    return f->body_waits ? VX_PULL_WAIT : VX_PULL_END;
}

static void consume(struct vx_stream *s, size_t bytes) {
    struct fake_downstream *f = of(s);
    f->consumed += bytes;
    if (bytes == 0)
        return;
    assert_true(f->piece_at < f->piece_count);
    struct vx_slice *piece = &f->pieces[f->piece_at];
    assert_true(bytes <= piece->len);
    *piece = vx_slice_skip(*piece, bytes);
    if (piece->len == 0)
        f->piece_at++;
}

static struct vx_headers *trailers(struct vx_stream *s) {
    return of(s)->trailers.count ? &of(s)->trailers : NULL;
}

static size_t push(struct vx_stream *s, struct vx_slice bytes) {
    struct fake_downstream *f = of(s);
    assert_true(f->responded);
    assert_false(f->finished);
    assert_int_equal(f->released, 0);
    size_t taken = bytes.len < f->room ? bytes.len : f->room;
    if (f->room != SIZE_MAX)
        f->room -= taken;
    if (f->body_len + taken > f->body_room) {
        f->body_room = (f->body_len + taken) * 2;
        char *grown = realloc(f->body, f->body_room);
        assert_non_null(grown);
        f->body = grown;
    }
    if (taken)
        memcpy(f->body + f->body_len, bytes.ptr, taken);
    f->body_len += taken;
    f->flushed = false;
    return taken;
}

/* The fields that are to be sent, as text of at most `size` bytes. */
static void write_fields(char *out, size_t size, const struct vx_headers *fields) {
    size_t at = 0;
    for (unsigned i = 0; i < fields->count; i++) {
        const struct vx_header *h = &fields->items[i];
        if (h->flags & VX_HEADER_REMOVED)
            continue;
        int n = snprintf(out + at, size - at, "%.*s: %.*s\n", VX_SLICE_ARG(vx_header_name(h)),
                         VX_SLICE_ARG(vx_header_value(h)));
        assert_true(n > 0 && (size_t)n < size - at);
        at += (size_t)n;
    }
}

static void finish(struct vx_stream *s, struct vx_headers *fields) {
    struct fake_downstream *f = of(s);
    assert_true(f->responded);
    assert_false(f->finished);
    f->finished = f->flushed = true;
    f->trailers_sent = fields != NULL;
    if (fields)
        write_fields(f->trailer_fields, sizeof f->trailer_fields, fields);
}

static void flush(struct vx_stream *s) {
    of(s)->flushed = true;
}

static void again(struct vx_stream *s) {
    of(s)->again++;
}

static void release(struct vx_stream *s) {
    struct fake_downstream *f = of(s);
    assert_int_equal(f->released, 0);
    f->released++;
    /* What the handler kept in the arena is gone now; a use of it shows under the sanitizer. */
    vx_arena_reset(&f->arena);
}

static void respond(struct vx_downstream *d, struct vx_response *response) {
    struct fake_downstream *f = (struct fake_downstream *)d;
    assert_int_equal(f->released, 0);
    assert_false(f->responded);
    if (response->status < 200 && response->status != 101) {
        assert_true(f->interim_count < FAKE_INTERIMS);
        f->interims[f->interim_count++] = response->status;
        return;
    }
    f->responded = true;
    f->response = *response;
    write_fields(f->fields, sizeof f->fields, &response->headers);
}

static const struct vx_stream_ops stream_ops = {
    .pull = pull,
    .consume = consume,
    .trailers = trailers,
    .push = push,
    .finish = finish,
    .flush = flush,
    .again = again,
    .release = release,
};

static const struct vx_downstream_ops downstream_ops = {.respond = respond};

static void *take(struct vx_chunk_source *self, size_t bytes) {
    struct fake_downstream *f = VX_CONTAINER_OF(self, struct fake_downstream, source);
    if (f->out_of_memory)
        return NULL;
    f->chunks++;
    return aligned_alloc(16, (bytes + 15) & ~(size_t)15);
}

static void give(struct vx_chunk_source *self, void *chunk, size_t bytes) {
    (void)bytes;
    VX_CONTAINER_OF(self, struct fake_downstream, source)->chunks--;
    free(chunk);
}

void fake_downstream_init(struct fake_downstream *f, enum vx_method method, const char *path) {
    memset(f, 0, sizeof *f);
    f->source = (struct vx_chunk_source){.take = take, .give = give, .chunk_bytes = 1024};
    vx_arena_init(&f->arena, f->first, sizeof f->first, &f->source);
    f->room = SIZE_MAX;
    const char *question = strchr(path, '?');
    f->request = (struct vx_request){
        .method = method,
        .version = VX_HTTP_11,
        .keep_alive = true,
        .method_text = method_name(method),
        .target = vx_slice_of(path),
        .path = vx_slice(path, question ? (size_t)(question - path) : strlen(path)),
        .query = vx_slice_of(question ? question + 1 : NULL),
    };
    f->down = (struct vx_downstream){
        .stream = {.ops = &stream_ops},
        .ops = &downstream_ops,
        .request = &f->request,
        .arena = &f->arena,
        .client = &f->client,
    };
}

void fake_downstream_free(struct fake_downstream *f) {
    vx_arena_reset(&f->arena);
    assert_int_equal(f->chunks, 0);
    free(f->body);
    free(f->request.headers.items);
    memset(f, 0, sizeof *f);
}

void fake_downstream_add_field(struct fake_downstream *f, const char *name, const char *value) {
    struct vx_headers *h = &f->request.headers;
    if (!h->items) {
        h->items = calloc(FAKE_FIELDS, sizeof *h->items);
        h->capacity = FAKE_FIELDS;
    }
    assert_non_null(h->items);
    assert_true(h->count < h->capacity);
    assert_true(
        vx_headers_add(h, NULL, vx_header_id_of(vx_slice_of(name)), vx_slice_of(name), vx_slice_of(value)));
}

void fake_downstream_add_body(struct fake_downstream *f, struct vx_slice bytes) {
    assert_true(f->piece_count < FAKE_PIECES);
    f->pieces[f->piece_count++] = bytes;
    f->request.framing = VX_BODY_LENGTH;
    f->request.body_bytes += bytes.len;
}

void fake_downstream_begin(struct fake_downstream *f, struct vx_handler *handler, uint64_t now_ns) {
    f->down.started_ns = now_ns;
    handler->begin(handler, &f->down, now_ns);
    assert_true(f->released || (f->down.stream.events && f->down.stream.user));
}

void fake_downstream_writable(struct fake_downstream *f, size_t room) {
    assert_int_equal(f->released, 0);
    f->room = room;
    f->down.stream.events->on_writable(f->down.stream.user, 0);
}

void fake_downstream_check_done(const struct fake_downstream *f) {
    assert_int_equal(f->released, 1);
    assert_true(f->responded);
    assert_true(f->finished);
    assert_true(f->flushed || f->body_len == 0);
    bool bodyless = f->request.method == VX_METHOD_HEAD || f->response.framing == VX_BODY_NONE;
    if (bodyless)
        assert_int_equal(f->body_len, 0);
    else if (f->response.framing == VX_BODY_LENGTH)
        assert_int_equal(f->body_len, f->response.body_bytes);
}

struct vx_slice fake_downstream_body(const struct fake_downstream *f) {
    return vx_slice(f->body, f->body_len);
}
