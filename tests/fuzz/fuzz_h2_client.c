/* SPDX-License-Identifier: Apache-2.0 */
/* What a backend of HTTP/2 may send: frames and field sections through the real session and client. Whatever comes, each
 * request hears of one end at most, and what is passed on could be written into a head of HTTP/1.
 *
 * The first byte says how the requests look and how the bytes are cut; the rest comes from the backend. */
#include <stdlib.h>

#include "core/http/bytes.h"
#include "proxy/http2/client.h"
#include "support/fake_transport.h"
#include "support/http_check.h"

enum { REQUESTS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct call {
    struct vx_request request;
    struct vx_test_arena memory;
    struct vx_upstream *up; /* NULL: released */
    unsigned finals, failures;
};

struct world {
    struct fake_net net;
    struct vx_places places;
    struct vx_h2_client client;
    struct vx_target target;
    struct vx_target_shared shared;
    struct call calls[REQUESTS];
};

static void require_fields(const struct vx_headers *h) {
    for (uint16_t i = 0; i < h->count; i++) {
        struct vx_slice name = vx_header_name(&h->items[i]), value = vx_header_value(&h->items[i]);
        vx_test_require(name.len && vx_bytes_token_len(name.ptr, name.ptr + name.len) == name.len);
        for (size_t k = 0; k < value.len; k++)
            vx_test_require(value.ptr[k] != '\r' && value.ptr[k] != '\n' && value.ptr[k] != '\0');
    }
}

static void release(struct call *c) {
    struct vx_upstream *up = c->up;
    c->up = NULL;
    up->stream.ops->release(&up->stream);
}

static void on_readable(void *user, uint64_t now_ns) {
    struct call *c = user;
    struct vx_stream *s = &c->up->stream;
    struct vx_slice bytes;
    (void)now_ns;
    for (;;) {
        switch (s->ops->pull(s, &bytes)) {
        case VX_PULL_BYTES:
            s->ops->consume(s, bytes.len);
            break;
        case VX_PULL_END:
            if (s->ops->trailers(s))
                require_fields(s->ops->trailers(s));
            release(c);
            return;
        case VX_PULL_WAIT:
            return;
        case VX_PULL_FAILED:
            release(c);
            return;
        }
    }
}

static void on_writable(void *user, uint64_t now_ns) {
    struct call *c = user;
    (void)now_ns;
    vx_test_require(c->up != NULL);
    c->up->stream.ops->push(&c->up->stream, VX_SLICE("12345"));
}

static void on_failed(void *user, uint64_t now_ns) {
    struct call *c = user;
    (void)now_ns;
    vx_test_require(c->up != NULL && ++c->failures == 1);
    release(c);
}

static void on_response(void *user, struct vx_response *response, uint64_t now_ns) {
    struct call *c = user;
    vx_test_require(c->up != NULL && c->finals == 0);
    vx_test_require(response->status >= 100 && response->status <= 599);
    require_fields(&response->headers);
    if (response->status < 200 && response->status != 101)
        return;
    c->finals++;
    on_readable(c, now_ns);
}

static const struct vx_stream_events events = {on_readable, on_writable, on_failed, on_response};

static void open_call(struct world *w, struct call *c, unsigned kind) {
    struct vx_error error;
    vx_test_arena_init(&c->memory, SIZE_MAX);
    c->request = (struct vx_request){
        .method = kind & 1 ? VX_METHOD_HEAD : VX_METHOD_POST,
        .method_text = kind & 1 ? VX_SLICE("HEAD") : VX_SLICE("POST"),
        .version = VX_HTTP_2,
        .framing = kind & 2 ? VX_BODY_CHUNKED : VX_BODY_NONE,
        .upgrade = (kind & 4) != 0,
        .path = VX_SLICE("/"),
    };
    struct vx_headers *h = &c->request.headers;
    vx_test_require(vx_headers_add(h, &c->memory.arena, VX_HEADER_HOST, VX_SLICE("host"), VX_SLICE("b")));
    if (c->request.upgrade)
        vx_test_require(vx_headers_add(h, &c->memory.arena, VX_HEADER_UPGRADE, VX_SLICE("upgrade"),
                                       VX_SLICE("websocket")));
    struct vx_upstream_open open = {.target = &w->target,
                                    .request = &c->request,
                                    .arena = &c->memory.arena,
                                    .events = &events,
                                    .user = c};
    c->up = w->client.port.open(&w->client.port, &open, &error, w->net.rt.now_ns);
    if (c->up && c->request.framing == VX_BODY_NONE)
        c->up->stream.ops->finish(&c->up->stream, NULL);
}

static void start(struct world *w, unsigned how) {
    *w = (struct world){0};
    fake_net_init(&w->net);
    w->target = (struct vx_target){
        .name = VX_SLICE("b:80"),
        .shared = &w->shared,
        .http2 = true,
        .max_idle = 1,
        .queue_length = 10,
        .response_timeout_ns = FAKE_S(1),
        .idle_timeout_ns = FAKE_S(1),
    };
    vx_places_init(&w->places, 0);
    vx_h2_client_init(&w->client, &w->net.rt, &w->places);
    for (unsigned i = 0; i < REQUESTS; i++)
        open_call(w, &w->calls[i], i == 0 ? how : how >> 1);
}

/* The backend says all it has to say, in pieces of `piece` bytes (0: at once), and ends. */
static void speak(struct world *w, struct vx_slice input, size_t piece) {
    struct fake_transport *t = fake_dialed(&w->net);
    fake_connected(t);
    while (input.len && !t->closed) {
        size_t n = piece && piece < input.len ? piece : input.len;
        fake_send_bytes(t, input.ptr, n);
        fake_net_round(&w->net);
        input = vx_slice_skip(input, n);
    }
    if (!t->closed)
        fake_fin(t);
    fake_net_advance(&w->net, FAKE_MS(1200));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world w;
    if (size == 0)
        return 0;
    unsigned how = data[0];
    start(&w, how);
    speak(&w, vx_slice((const char *)data + 1, size - 1), how & 0x40 ? 1 + (how >> 3 & 7) : 0);
    for (unsigned i = 0; i < REQUESTS; i++)
        if (w.calls[i].up)
            release(&w.calls[i]);
    vx_h2_client_destroy(&w.client);
    vx_test_require(atomic_load(&w.shared.connections) == 0 && atomic_load(&w.shared.waiting) == 0);
    for (unsigned i = 0; i < REQUESTS; i++)
        vx_test_arena_end(&w.calls[i].memory);
    fake_net_free(&w.net);
    return 0;
}
