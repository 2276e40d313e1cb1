/* SPDX-License-Identifier: Apache-2.0 */
/* The chunked coding: what is taken and refused, with the input whole, byte by byte, and cut at every place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/http/chunked.h"

#define WHOLE     ((size_t)0)
#define EACH_BYTE SIZE_MAX

/* Decodes `in`, given in pieces, and tells the outcome as text: the body in brackets, how it ended, what is left. */
static char *decode(struct vx_slice in, size_t cut) {
    static const char *const names[] = {"more", "data", "trailers", "done", "error"};
    struct vx_chunked c;
    enum vx_chunked_result result = VX_CHUNKED_MORE;
    char *text = NULL;
    size_t text_len, at = 0;
    FILE *out = open_memstream(&text, &text_len);
    assert_non_null(out);
    vx_chunked_init(&c);
    fputc('[', out);
    while (at < in.len && (result == VX_CHUNKED_MORE || result == VX_CHUNKED_DATA)) {
        size_t n = cut == EACH_BYTE ? 1 : at < cut ? cut - at : in.len - at, consumed = SIZE_MAX;
        char *piece = malloc(n);
        struct vx_slice data;
        assert_non_null(piece);
        memcpy(piece, in.ptr + at, n);
        result = vx_chunked_decode(&c, vx_slice(piece, n), &data, &consumed);
        assert_true(consumed <= n);
        if (result == VX_CHUNKED_MORE)
            assert_int_equal(consumed, n);
        if (result == VX_CHUNKED_DATA) {
            assert_true(data.len > 0 && data.ptr >= piece && data.ptr + data.len == piece + consumed);
            fwrite(data.ptr, 1, data.len, out);
        } else {
            assert_int_equal(data.len, 0);
        }
        at += consumed;
        free(piece);
    }
    fprintf(out, "] %s", names[result == VX_CHUNKED_DATA ? VX_CHUNKED_MORE : result]);
    if (result == VX_CHUNKED_TRAILERS || result == VX_CHUNKED_DONE)
        fprintf(out, " +%zu", in.len - at);
    fclose(out);
    return text;
}

static void check(const char *bytes, size_t len, const char *want) {
    struct vx_slice in = vx_slice(bytes, len);
    for (size_t cut = 0; cut <= len; cut++) {
        char *got = decode(in, cut == len ? EACH_BYTE : cut);
        if (strcmp(got, want) != 0)
            fail_msg("%s cut at %zu: got %s, want %s", bytes, cut, got, want);
        free(got);
    }
}

#define CHECK(bytes, want) check(bytes, sizeof(bytes) - 1, want)

static void takes(void **state) {
    (void)state;
    CHECK("0\r\n\r\n", "[] done +0");
    CHECK("5\r\nhello\r\n0\r\n\r\n", "[hello] done +0");
    CHECK("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET", "[hello world] done +3");
    CHECK("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "[01234567890123456789] done +0");
    CHECK("000000000000005\r\nhello\r\n000000000000000\r\n\r\n", "[hello] done +0");
    CHECK("4\r\n\r\n\r\n\r\n0\r\n\r\n", "[\r\n\r\n] done +0");
    CHECK("0\r\nA: b\r\n\r\n", "[] trailers +8");
    CHECK("1\r\nx\r\n0\r\n:", "[x] trailers +1");
    CHECK("", "[] more");
    CHECK("5", "[] more");
    CHECK("5\r", "[] more");
    CHECK("5\r\n", "[] more");
    CHECK("5\r\nhel", "[hel] more");
    CHECK("5\r\nhello", "[hello] more");
    CHECK("5\r\nhello\r\n0\r\n", "[hello] more");
    CHECK("0\r\n\r", "[] more");
    CHECK("fffffffffffffff\r\nx", "[x] more");
}

static void takes_extensions(void **state) {
    (void)state;
    CHECK("0;a\r\n\r\n", "[] done +0");
    CHECK("0;a=b\r\n\r\n", "[] done +0");
    CHECK("0;a=b;c;d=\"e\"\r\n\r\n", "[] done +0");
    CHECK("0 ; a = b ; c\r\n\r\n", "[] done +0");
    CHECK("0\t;\ta\t=\tb\r\n\r\n", "[] done +0");
    CHECK("0;a=\"\"\r\n\r\n", "[] done +0");
    CHECK("0;a=\"b c;d=\\\"\\\\\xc3\"\r\n\r\n", "[] done +0");
    CHECK("0;a=\"b\" ;c\r\n\r\n", "[] done +0");
    CHECK("0;a=\"\\;\\=\\\t\\ \"\r\n\r\n", "[] done +0");
    CHECK("5;a=b\r\nhello\r\n0\r\n\r\n", "[hello] done +0");
}

static void refuses(void **state) {
    (void)state;
    CHECK("\r\n", "[] error");
    CHECK("x\r\n", "[] error");
    CHECK(" 5\r\n", "[] error");
    CHECK("+5\r\n", "[] error");
    CHECK("-5\r\n", "[] error");
    CHECK("0x5\r\n", "[] error");
    CHECK("5g\r\n", "[] error");
    CHECK("5,5\r\n", "[] error");
    CHECK("5 5\r\n", "[] error");
    CHECK("5 \r\n", "[] error");
    CHECK("5\t\r\n", "[] error");
    CHECK("5\n", "[] error");
    CHECK("5\rx", "[] error");
    CHECK("5\r\r\n", "[] error");
    CHECK("5\0\r\n", "[] error");
    CHECK("0000000000000005\r\n", "[] error");
    CHECK("1000000000000000\r\n", "[] error");
    CHECK("fffffffffffffffff\r\n", "[] error");
    CHECK("5\r\nhellox", "[hello] error");
    CHECK("5\r\nhello\n", "[hello] error");
    CHECK("5\r\nhello\rx", "[hello] error");
    CHECK("5\r\nhello\r\n\r\n", "[hello] error");
    CHECK("5\r\nhello\r\nx", "[hello] error");
    CHECK("0\r\n\rx", "[] error");
}

static void refuses_extensions(void **state) {
    (void)state;
    CHECK("0;\r\n", "[] error");
    CHECK("0;;a\r\n", "[] error");
    CHECK("0;=b\r\n", "[] error");
    CHECK("0;a=\r\n", "[] error");
    CHECK("0;a==b\r\n", "[] error");
    CHECK("0;a \r\n", "[] error");
    CHECK("0;a=b \r\n", "[] error");
    CHECK("0;a b\r\n", "[] error");
    CHECK("0;a=b c\r\n", "[] error");
    CHECK("0;a=\"b\r\n", "[] error");
    CHECK("0;a=\"b\"c\r\n", "[] error");
    CHECK("0;a=\"b\"=c\r\n", "[] error");
    CHECK("0;a=\"\\\r\n", "[] error");
    CHECK("0;a=\"\x01\"\r\n", "[] error");
    CHECK("0;a=\"\x7f\"\r\n", "[] error");
    CHECK("0;a=\"\n\"\r\n", "[] error");
    CHECK("0;a=b\n\r\n", "[] error");
    CHECK("0;a\0\r\n", "[] error");
    CHECK("0;a(\r\n", "[] error");
    CHECK("0;\xc3\r\n", "[] error");
    CHECK("0 a\r\n", "[] error");
}

/* All extensions of a message together are bounded, in one chunk and over many. */
static void bounds_extensions(void **state) {
    (void)state;
    static char body[VX_CHUNK_EXTENSION_BYTES + 16];
    for (size_t extra = 0; extra < 2; extra++) {
        size_t n = VX_CHUNK_EXTENSION_BYTES + extra;
        memset(body, 'a', sizeof body);
        body[0] = '0';
        body[1] = ';';
        memcpy(body + 1 + n, "\r\n\r\n", 4);
        char *got = decode(vx_slice(body, 1 + n + 4), WHOLE);
        assert_string_equal(got, extra ? "[] error" : "[] done +0");
        free(got);
    }
    struct vx_chunked c;
    unsigned chunks = 0;
    vx_chunked_init(&c);
    for (;; chunks++) {
        static const char chunk[] = "1;ab=cdef\r\nx\r\n"; /* 8 bytes of extension */
        struct vx_slice in = vx_slice(chunk, sizeof chunk - 1), data;
        size_t consumed;
        if (vx_chunked_decode(&c, in, &data, &consumed) == VX_CHUNKED_ERROR)
            break;
        assert_int_equal(vx_chunked_decode(&c, vx_slice_skip(in, consumed), &data, &consumed),
                         VX_CHUNKED_MORE);
    }
    assert_int_equal(chunks, VX_CHUNK_EXTENSION_BYTES / 8);
}

static void skips_what_went_past(void **state) {
    (void)state;
    struct vx_chunked c;
    struct vx_slice data;
    size_t consumed;
    vx_chunked_init(&c);
    assert_int_equal(vx_chunked_left(&c), 0);
    assert_int_equal(vx_chunked_decode(&c, VX_SLICE("10000000\r\nab"), &data, &consumed), VX_CHUNKED_DATA);
    assert_int_equal(vx_chunked_left(&c), 0x10000000 - 2);
    vx_chunked_skip(&c, 0);
    vx_chunked_skip(&c, 0x10000000 - 3);
    assert_int_equal(vx_chunked_left(&c), 1);
    vx_chunked_skip(&c, 1);
    assert_int_equal(vx_chunked_left(&c), 0);
    assert_int_equal(vx_chunked_decode(&c, VX_SLICE("\r\n0\r\n\r\n"), &data, &consumed), VX_CHUNKED_DONE);
    vx_chunked_init(&c);
    assert_int_equal(vx_chunked_decode(&c, VX_SLICE("5"), &data, &consumed), VX_CHUNKED_MORE);
    assert_int_equal(vx_chunked_left(&c), 0); /* a size that is still being read is no data */
}

static void writes_chunk_heads(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1,
                                     9,
                                     10,
                                     15,
                                     16,
                                     255,
                                     256,
                                     4095,
                                     4096,
                                     65536,
                                     0xfffffff,
                                     0x10000000,
                                     UINT64_C(0xfffffffffffffff),
                                     UINT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char out[18], want[32];
        size_t n = vx_chunk_head(out, sizes[i]);
        int want_n = snprintf(want, sizeof want, "%llx\r\n", (unsigned long long)sizes[i]);
        assert_int_equal(n, want_n);
        assert_memory_equal(out, want, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes),
        cmocka_unit_test(takes_extensions),
        cmocka_unit_test(refuses),
        cmocka_unit_test(refuses_extensions),
        cmocka_unit_test(bounds_extensions),
        cmocka_unit_test(skips_what_went_past),
        cmocka_unit_test(writes_chunk_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
