/* SPDX-License-Identifier: Apache-2.0 */
/* See call.h. */
#include "support/call.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "support/method.h"

static void on_readable(void *user, uint64_t now_ns) {
    (void)now_ns;
    ((struct call *)user)->readable++;
}

static void on_writable(void *user, uint64_t now_ns) {
    (void)now_ns;
    ((struct call *)user)->writable++;
}

static void on_failed(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct call *c = user;
    assert_non_null(c->up); /* no event after release() */
    c->failed++;
    c->failure = c->up->stream.error;
    c->was_sent = c->up->sent;
    c->counts = !c->up->stream.ops->counts || c->up->stream.ops->counts(&c->up->stream);
}

static void on_response(void *user, struct vx_response *response, uint64_t now_ns) {
    (void)now_ns;
    struct call *c = user;
    assert_non_null(c->up);
    if (response->status < 200 && response->status != 101) {
        c->interims++;
        return;
    }
    c->responses++;
    c->status = response->status;
    if (c->releases_on_response)
        call_release(c);
}

const struct vx_stream_events call_events = {
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_failed = on_failed,
    .on_response = on_response,
};

void call_init(struct call *c, enum vx_method method, enum vx_framing framing, uint64_t bytes) {
    memset(c, 0, sizeof *c);
    vx_arena_init(&c->arena, c->first, sizeof c->first, NULL);
    c->request = (struct vx_request){
        .method = method,
        .method_text = method_name(method),
        .version = VX_HTTP_11,
        .framing = framing,
        .body_bytes = bytes,
        .path = VX_SLICE("/p"),
        .headers = {.items = c->items, .capacity = sizeof c->items / sizeof c->items[0]},
    };
    assert_true(
        vx_headers_add(&c->request.headers, &c->arena, VX_HEADER_HOST, VX_SLICE("Host"), VX_SLICE("b")));
}

bool call_open_at(struct call *c, struct vx_http_client *client, const struct vx_target *target, bool fresh,
                  uint64_t now_ns, struct vx_error *error) {
    struct vx_upstream_open open = {.target = target,
                                    .request = &c->request,
                                    .arena = &c->arena,
                                    .events = &call_events,
                                    .user = c,
                                    .fresh = fresh};
    c->up = client->open(client, &open, error, now_ns);
    return c->up != NULL;
}

void call_release(struct call *c) {
    struct vx_upstream *up = c->up;
    c->up = NULL;
    up->stream.ops->release(&up->stream);
}

enum vx_pull call_pull(struct call *c, struct vx_slice *bytes) {
    return c->up->stream.ops->pull(&c->up->stream, bytes);
}

size_t call_drink(struct call *c) {
    struct vx_slice bytes;
    enum vx_pull result;
    size_t sum = 0;
    while ((result = call_pull(c, &bytes)) == VX_PULL_BYTES) {
        sum += bytes.len;
        c->up->stream.ops->consume(&c->up->stream, bytes.len);
    }
    assert_int_equal(result, VX_PULL_END);
    return sum;
}

struct vx_target call_target(struct vx_target_shared *shared, uint32_t pool) {
    return (struct vx_target){
        .address = {.kind = VX_ADDRESS_IP4, .port = 80, .ip = {10, 0, 0, 1}},
        .name = VX_SLICE("b:80"),
        .shared = shared,
        .pool = pool,
        .max_idle = 4,
        .queue_length = 2,
        .connect_timeout_ns = FAKE_S(1),
        .response_timeout_ns = FAKE_S(30),
        .idle_timeout_ns = FAKE_S(20),
        .pool_idle_ns = FAKE_S(60),
        .queue_timeout_ns = FAKE_S(5),
    };
}
