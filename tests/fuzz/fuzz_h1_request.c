/* SPDX-License-Identifier: Apache-2.0 */
/* Request heads: the result does not depend on how the bytes arrive, slices stay inside the input (http_check.c looks),
 * and what is written from a parsed head is parsed as the same request. */
#include <stdlib.h>

#include "core/http/h1_write.h"
#include "support/http_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct vx_h1_limits limits = {2048, 24, 256, true};

static bool parse(struct vx_slice bytes, struct vx_arena *arena, struct vx_request *req) {
    struct vx_h1_parser parser;
    struct vx_error error;
    size_t head_bytes;
    /* What is written may be longer than what came: a Host is added, framing is spelled out. */
    struct vx_h1_limits more = {limits.header_bytes * 2, (uint16_t)(limits.headers * 2), limits.uri_bytes * 2,
                                true};
    vx_h1_parser_init(&parser);
    return vx_h1_parse_request(&parser, &more, bytes, arena, req, &head_bytes, &error) == VX_H1_DONE;
}

static bool written_anew(const struct vx_header *h) {
    switch (h->id) {
    case VX_HEADER_CONNECTION:
    case VX_HEADER_CONTENT_LENGTH:
    case VX_HEADER_TRANSFER_ENCODING:
    case VX_HEADER_KEEP_ALIVE:
    case VX_HEADER_PROXY_CONNECTION:
    case VX_HEADER_UPGRADE:
        return true;
    default:
        return h->flags & VX_HEADER_REMOVED;
    }
}

static void require_same_fields(const struct vx_headers *a, const struct vx_headers *b) {
    uint16_t i = 0, k = 0;
    for (;;) {
        while (i < a->count && written_anew(&a->items[i]))
            i++;
        while (k < b->count && written_anew(&b->items[k]))
            k++;
        if (i == a->count || k == b->count)
            break;
        vx_test_require(vx_slice_eq(vx_header_name(&a->items[i]), vx_header_name(&b->items[k])));
        vx_test_require(vx_slice_eq(vx_header_value(&a->items[i]), vx_header_value(&b->items[k])));
        i++;
        k++;
    }
    vx_test_require(i == a->count && k == b->count);
}

static void require_same_when_written(struct vx_slice bytes, struct vx_arena *arena) {
    struct vx_request req, again;
    if (!parse(bytes, arena, &req))
        return;
    if (req.version == VX_HTTP_10)
        vx_headers_remove(&req.headers, VX_HEADER_EXPECT); /* as the exchange does: it was ignored */
    if (!vx_headers_find(&req.headers, VX_HEADER_HOST)) {
        struct vx_slice host = req.authority.len ? req.authority : VX_SLICE("a");
        vx_test_require(vx_headers_add(&req.headers, arena, VX_HEADER_HOST, VX_SLICE("Host"), host));
    }
    struct vx_h1_request_write how = {
        .framing = req.framing,
        .body_bytes = req.body_bytes,
        .connection = req.keep_alive ? VX_H1_CONNECTION_DEFAULT : VX_H1_CONNECTION_CLOSE,
        .upgrade =
            req.upgrade ? vx_header_value(vx_headers_find(&req.headers, VX_HEADER_UPGRADE)) : VX_SLICE_NONE,
    };
    size_t room = vx_h1_request_head_max(&req, &how);
    char *out = vx_arena_alloc(arena, room);
    vx_test_require(out != NULL);
    size_t len = vx_h1_write_request_head(out, room, &req, &how);
    vx_test_require(len > 0 && vx_h1_write_request_head(out, len - 1, &req, &how) == 0);
    vx_test_require(vx_h1_write_request_head(out, len, &req, &how) == len);
    vx_test_require(parse(vx_slice(out, len), arena, &again));
    vx_test_require(vx_slice_eq(req.method_text, again.method_text) && vx_slice_eq(req.path, again.path));
    vx_test_require(vx_slice_eq(req.query, again.query) && !req.query.ptr == !again.query.ptr);
    vx_test_require(req.version == VX_HTTP_10 || vx_slice_eq(req.host, again.host));
    vx_test_require(req.framing == again.framing && req.body_bytes == again.body_bytes);
    vx_test_require(req.upgrade == again.upgrade && (req.upgrade || req.keep_alive == again.keep_alive));
    require_same_fields(&req.headers, &again.headers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vx_test_arena memory;
    struct vx_slice bytes = vx_slice((const char *)data, size);
    vx_test_require_any_cut(VX_TEST_REQUEST, bytes, &limits);
    vx_test_arena_init(&memory, SIZE_MAX);
    require_same_when_written(bytes, &memory.arena);
    vx_test_arena_end(&memory);
    return 0;
}
