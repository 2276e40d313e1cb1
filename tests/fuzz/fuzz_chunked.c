/* SPDX-License-Identifier: Apache-2.0 */
/* The chunked coding: the body and the end do not depend on how the bytes arrive, the runs lie inside the input, and a
 * body that was taken is written in our own chunks and taken again. */
#include <stdlib.h>

#include "core/http/chunked.h"
#include "support/http_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum vx_chunked_result end;
    size_t consumed;
    size_t body_len;
    char *body;
};

/* Decodes with the input given `step` bytes at a time, each piece in memory of its own. */
static struct outcome decode(struct vx_slice in, size_t step) {
    struct vx_chunked c;
    struct outcome o = {.end = VX_CHUNKED_MORE, .body = malloc(in.len + 1)};
    vx_test_require(o.body != NULL);
    vx_chunked_init(&c);
    while (o.consumed < in.len && (o.end == VX_CHUNKED_MORE || o.end == VX_CHUNKED_DATA)) {
        size_t n = in.len - o.consumed < step ? in.len - o.consumed : step, consumed = SIZE_MAX;
        struct vx_slice data;
        char *piece = malloc(n);
        vx_test_require(piece != NULL);
        memcpy(piece, in.ptr + o.consumed, n);
        o.end = vx_chunked_decode(&c, vx_slice(piece, n), &data, &consumed);
        vx_test_require(consumed <= n && (data.len == 0) == (o.end != VX_CHUNKED_DATA));
        vx_test_require(o.end != VX_CHUNKED_MORE || consumed == n);
        if (data.len) {
            vx_test_require(data.ptr >= piece && data.ptr + data.len == piece + consumed);
            memcpy(o.body + o.body_len, data.ptr, data.len);
            o.body_len += data.len;
        }
        o.consumed += consumed;
        free(piece);
    }
    if (o.end == VX_CHUNKED_DATA)
        o.end = VX_CHUNKED_MORE;
    return o;
}

static void require_same_in_our_chunks(const struct outcome *o) {
    size_t room = o->body_len * 21 + 5, len = 0, sent = 0;
    char *text = malloc(room);
    vx_test_require(text != NULL);
    for (size_t n = 1; sent < o->body_len; sent += n, n = n * 3 + 1) {
        if (n > o->body_len - sent)
            n = o->body_len - sent;
        char head[18];
        size_t head_len = vx_chunk_head(head, n);
        vx_test_require(len + head_len + n + 2 + 5 <= room);
        memcpy(text + len, head, head_len);
        memcpy(text + len + head_len, o->body + sent, n);
        memcpy(text + len + head_len + n, "\r\n", 2);
        len += head_len + n + 2;
    }
    memcpy(text + len, "0\r\n\r\n", 5);
    len += 5;
    struct outcome again = decode(vx_slice(text, len), len);
    vx_test_require(again.end == VX_CHUNKED_DONE && again.consumed == len && again.body_len == o->body_len);
    vx_test_require(memcmp(again.body, o->body, o->body_len) == 0);
    free(again.body);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vx_slice in = vx_slice((const char *)data, size);
    struct outcome whole = decode(in, SIZE_MAX);
    for (size_t step = 1; step < 4; step++) {
        struct outcome pieces = decode(in, step);
        vx_test_require(pieces.end == whole.end && pieces.body_len == whole.body_len);
        vx_test_require(memcmp(pieces.body, whole.body, whole.body_len) == 0);
        vx_test_require(whole.end == VX_CHUNKED_ERROR || pieces.consumed == whole.consumed);
        free(pieces.body);
    }
    if (whole.end == VX_CHUNKED_DONE)
        require_same_in_our_chunks(&whole);
    free(whole.body);
    return 0;
}
