/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the admin service whose body is anything at all, cut anywhere: each gets exactly one answer, whole and well
 * framed, and gives everything back. The first byte is the method, the second the size of the pieces. */
#include <stdint.h>
#include <stdlib.h>

#include "admin/service/service.h"
#include "core/base/heap.h"
#include "support/fake_admin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const methods[] = {"ReloadConfig", "GetStats", "UpdateWasmPlugin", "ListBans", "AddBan",
                                      "RemoveBan",    "Dump",     "Nothing"};

/* A downstream that has the body already. */
struct call {
    struct vx_downstream down;
    struct vx_request request;
    struct vx_header type;
    struct vx_arena arena;
    struct vx_slice body;
    size_t step;
    char sent[4096];
    size_t sent_len;
    bool status_in_head, responded, finished, trailers;
    unsigned released;
};

static void require(bool condition) {
    if (!condition)
        abort();
}

static enum vx_pull pull(struct vx_stream *s, struct vx_slice *bytes) {
    struct call *c = (struct call *)s;
    *bytes = vx_slice(c->body.ptr, c->body.len < c->step ? c->body.len : c->step);
    return c->body.len ? VX_PULL_BYTES : VX_PULL_END;
}

static void consume(struct vx_stream *s, size_t bytes) {
    struct call *c = (struct call *)s;
    c->body = vx_slice_skip(c->body, bytes);
}

static size_t push(struct vx_stream *s, struct vx_slice bytes) {
    struct call *c = (struct call *)s;
    require(c->responded && !c->finished && bytes.len <= sizeof c->sent - c->sent_len);
    memcpy(c->sent + c->sent_len, bytes.ptr, bytes.len);
    c->sent_len += bytes.len;
    return bytes.len;
}

static void finish(struct vx_stream *s, struct vx_headers *trailers) {
    struct call *c = (struct call *)s;
    require(c->responded && !c->finished);
    c->finished = true;
    c->trailers = trailers && vx_headers_find(trailers, VX_HEADER_GRPC_STATUS);
}

static void flush(struct vx_stream *s) {
    (void)s;
}

static void release(struct vx_stream *s) {
    ((struct call *)s)->released++;
}

static void respond(struct vx_downstream *d, struct vx_response *response) {
    struct call *c = (struct call *)d;
    require(!c->responded && response->status == 200);
    c->responded = true;
    c->status_in_head = vx_headers_find(&response->headers, VX_HEADER_GRPC_STATUS) != NULL;
}

static void make(struct call *c, const char *path, struct vx_chunk_source *heap) {
    static const struct vx_stream_ops stream_ops = {
        .pull = pull, .consume = consume, .push = push, .finish = finish, .flush = flush, .release = release};
    static const struct vx_downstream_ops ops = {.respond = respond};
    static const char type[] = "application/grpc";
    c->type = (struct vx_header){"content-type", type, sizeof type - 1, 12, VX_HEADER_CONTENT_TYPE, 0};
    c->request = (struct vx_request){
        .method = VX_METHOD_POST,
        .version = VX_HTTP_2,
        .path = vx_slice_of(path),
        .headers = {&c->type, UINT64_C(1) << VX_HEADER_CONTENT_TYPE, 1, 1},
    };
    vx_arena_init(&c->arena, NULL, 0, heap);
    c->down = (struct vx_downstream){
        .stream = {.ops = &stream_ops}, .ops = &ops, .request = &c->request, .arena = &c->arena};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vx_heap heap = vx_heap(malloc, free, 1024);
    static struct fake_admin admin;
    static struct vx_admin_service service;
    static struct call c;
    if (size < 2)
        return 0;
    char path[64] = "/vortex.admin.AdminService/";
    const char *method = methods[data[0] % (sizeof methods / sizeof *methods)];
    memcpy(path + strlen(path), method, strlen(method));
    memset(&c, 0, sizeof c);
    fake_admin_init(&admin);
    admin.later = data[0] & 0x80;
    admin.answer.text = VX_SLICE("a\377b");
    vx_admin_service_init(&service, &admin.port);
    make(&c, path, &heap.source);
    c.step = data[1] ? data[1] : 1;
    c.body = vx_slice((const char *)data + 2, size - 2);
    service.server.handler.begin(&service.server.handler, &c.down, 0);
    if (admin.waits)
        fake_admin_answer(&admin);
    require(c.released == 1 && c.finished && c.status_in_head != c.trailers);
    require(admin.questions == c.trailers);
    if (c.trailers) {
        struct vx_grpc_reader reader = {.limit_bytes = sizeof c.sent};
        struct vx_grpc_status status;
        require(vx_grpc_reader_feed(&reader, vx_slice(c.sent, c.sent_len), &status) &&
                vx_grpc_reader_end(&reader, &status));
        vx_grpc_reader_free(&reader);
    }
    require(service.server.calls == 0 && service.server.budget.held_bytes == 0);
    vx_arena_reset(&c.arena);
    return 0;
}
