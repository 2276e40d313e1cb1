/* SPDX-License-Identifier: Apache-2.0 */
/* Response heads and trailer sections: the result does not depend on how the bytes arrive, slices stay inside the input
 * (http_check.c looks), and what is written from a parsed head is parsed as the same response. */
#include <stdlib.h>

#include "core/http/h1_write.h"
#include "support/http_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct vx_h1_limits limits = {2048, 24, 256, true};

static bool parse(struct vx_slice bytes, struct vx_arena *arena, struct vx_response *resp) {
    struct vx_h1_parser parser;
    struct vx_error error;
    size_t head_bytes;
    struct vx_h1_limits more = {limits.header_bytes * 2, (uint16_t)(limits.headers * 2), 0, false};
    vx_h1_parser_init(&parser);
    return vx_h1_parse_response(&parser, &more, bytes, arena, VX_METHOD_GET, resp, &head_bytes, &error) ==
           VX_H1_DONE;
}

static void require_same_when_written(struct vx_slice bytes, struct vx_arena *arena) {
    struct vx_response resp, again;
    if (!parse(bytes, arena, &resp))
        return;
    struct vx_h1_response_write how = {
        .framing = resp.framing,
        .body_bytes = resp.body_bytes,
        .declare_length = resp.body_bytes > 0,
        .connection = resp.keep_alive ? VX_H1_CONNECTION_DEFAULT : VX_H1_CONNECTION_CLOSE,
    };
    size_t room = vx_h1_response_head_max(&resp, &how);
    char *out = vx_arena_alloc(arena, room);
    vx_test_require(out != NULL);
    size_t len = vx_h1_write_response_head(out, room, &resp, &how);
    vx_test_require(len > 0 && parse(vx_slice(out, len), arena, &again));
    vx_test_require(resp.status == again.status && vx_slice_eq(resp.reason, again.reason));
    vx_test_require(resp.framing == again.framing && resp.body_bytes == again.body_bytes);
    vx_test_require(resp.keep_alive == again.keep_alive);
}

/* A trailer section that was taken is written behind a last chunk and taken again. */
static void require_same_trailers(struct vx_slice bytes, struct vx_arena *arena) {
    struct vx_h1_parser parser;
    struct vx_headers trailers, again;
    struct vx_error error;
    size_t consumed;
    vx_h1_parser_init(&parser);
    if (vx_h1_parse_trailers(&parser, &limits, bytes, arena, VX_BY_BACKEND, &trailers, &consumed, &error) !=
        VX_H1_DONE)
        return;
    size_t room = vx_h1_last_chunk_max(&trailers);
    char *out = vx_arena_alloc(arena, room);
    vx_test_require(out != NULL);
    size_t len = vx_h1_write_last_chunk(out, room, &trailers);
    vx_test_require(len >= 5 && memcmp(out, "0\r\n", 3) == 0);
    vx_h1_parser_init(&parser);
    vx_test_require(vx_h1_parse_trailers(&parser, &vx_test_limits, vx_slice(out + 3, len - 3), arena,
                                         VX_BY_BACKEND, &again, &consumed, &error) == VX_H1_DONE);
    vx_test_require(consumed == len - 3 && again.count == trailers.count &&
                    again.present == trailers.present);
}

/* The first byte says what the rest is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum vx_test_head kinds[] = {VX_TEST_RESPONSE, VX_TEST_RESPONSE_TO_HEAD, VX_TEST_TRAILERS};
    struct vx_test_arena memory;
    if (size == 0)
        return 0;
    enum vx_test_head kind = kinds[data[0] % 3];
    struct vx_slice bytes = vx_slice((const char *)data + 1, size - 1);
    vx_test_require_any_cut(kind, bytes, &limits);
    vx_test_arena_init(&memory, SIZE_MAX);
    if (kind == VX_TEST_TRAILERS)
        require_same_trailers(bytes, &memory.arena);
    else
        require_same_when_written(bytes, &memory.arena);
    vx_test_arena_end(&memory);
    return 0;
}
