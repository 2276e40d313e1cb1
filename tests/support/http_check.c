/* SPDX-License-Identifier: Apache-2.0 */
/* See http_check.h. */
#include "support/http_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/random.h"

const struct vx_h1_limits vx_test_limits = {65536, 128, 8192, true};

enum { EVERY_CUT_BYTES = 512, SPREAD_CUTS = 32, FUZZ_EACH_BYTE = 128, FUZZ_CUTS = 4, FIRST_CHUNK_BYTES = 64 };

_Noreturn void vx_test_broken(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: %s\n", file, line, condition);
    abort();
}

static void *take(struct vx_chunk_source *self, size_t bytes) {
    struct vx_test_arena *a = (struct vx_test_arena *)(void *)self;
    if (bytes > a->left)
        return NULL;
    a->left -= bytes;
    return malloc(bytes);
}

static void give(struct vx_chunk_source *self, void *chunk, size_t bytes) {
    struct vx_test_arena *a = (struct vx_test_arena *)(void *)self;
    a->left += bytes;
    free(chunk);
}

void vx_test_arena_init(struct vx_test_arena *a, size_t limit) {
    a->source = (struct vx_chunk_source){take, give, FIRST_CHUNK_BYTES};
    a->left = limit;
    vx_arena_init(&a->arena, NULL, 0, &a->source);
}

void vx_test_arena_end(struct vx_test_arena *a) {
    vx_arena_reset(&a->arena);
}

struct vx_test_arena vx_test_memory;

int vx_test_memory_begin(void **state) {
    (void)state;
    vx_test_arena_init(&vx_test_memory, SIZE_MAX);
    return 0;
}

int vx_test_memory_end(void **state) {
    (void)state;
    vx_test_arena_end(&vx_test_memory);
    return 0;
}

static bool lies_in(struct vx_slice s, struct vx_slice whole) {
    return s.len == 0 || (s.ptr >= whole.ptr && s.ptr + s.len <= whole.ptr + whole.len);
}

static void tell_fields(FILE *out, const struct vx_headers *h, struct vx_slice bytes) {
    uint64_t present = 0;
    fputs(" |", out);
    for (uint16_t i = 0; i < h->count; i++) {
        struct vx_slice name = vx_header_name(&h->items[i]), value = vx_header_value(&h->items[i]);
        vx_test_require(lies_in(name, bytes) && lies_in(value, bytes));
        vx_test_require(h->items[i].flags == VX_HEADER_RAW && value.ptr > name.ptr);
        vx_test_require(h->items[i].id == vx_header_id_of(name));
        present |= UINT64_C(1) << h->items[i].id;
        fprintf(out, " %.*s=%.*s |", VX_SLICE_ARG(name), VX_SLICE_ARG(value));
    }
    vx_test_require(h->present == present);
}

static void tell_framing(FILE *out, enum vx_framing framing, uint64_t body_bytes) {
    static const char *const names[] = {"none", "length", "chunked", "until-close"};
    fprintf(out, " %s", names[framing]);
    if (framing == VX_BODY_LENGTH || body_bytes)
        fprintf(out, "=%" PRIu64, body_bytes);
}

static const char *version_name(enum vx_http_version v) {
    return v == VX_HTTP_11 ? "1.1" : "1.0";
}

static void tell_request(FILE *out, const struct vx_request *r, struct vx_slice bytes) {
    vx_test_require(lies_in(r->method_text, bytes) && lies_in(r->target, bytes) && lies_in(r->query, bytes) &&
                    lies_in(r->authority, bytes));
    vx_test_require(r->method == vx_method_of(r->method_text));
    fprintf(out, "%.*s %.*s %s", VX_SLICE_ARG(r->method_text), VX_SLICE_ARG(r->target),
            version_name(r->version));
    fprintf(out, " authority=%.*s host=%.*s path=%.*s", VX_SLICE_ARG(r->authority), VX_SLICE_ARG(r->host),
            VX_SLICE_ARG(r->path));
    if (r->query.ptr)
        fprintf(out, " query=%.*s", VX_SLICE_ARG(r->query));
    tell_framing(out, r->framing, r->body_bytes);
    fputs(r->keep_alive ? " keep-alive" : " close", out);
    fputs(r->expects_continue ? " continue" : "", out);
    fputs(r->upgrade ? " upgrade" : "", out);
    tell_fields(out, &r->headers, bytes);
}

static void tell_response(FILE *out, const struct vx_response *r, struct vx_slice bytes) {
    vx_test_require(lies_in(r->reason, bytes));
    fprintf(out, "%u %s reason=%.*s", r->status, version_name(r->version), VX_SLICE_ARG(r->reason));
    tell_framing(out, r->framing, r->body_bytes);
    fputs(r->keep_alive ? " keep-alive" : " close", out);
    fputs(r->upgrade ? " upgrade" : "", out);
    tell_fields(out, &r->headers, bytes);
}

union parsed {
    struct vx_request request;
    struct vx_response response;
    struct vx_headers trailers;
};

static enum vx_h1_result parse_step(enum vx_test_head kind, struct vx_h1_parser *p,
                                    const struct vx_h1_limits *limits, struct vx_slice bytes,
                                    struct vx_arena *arena, union parsed *out, size_t *head_bytes,
                                    struct vx_error *error) {
    switch (kind) {
    case VX_TEST_REQUEST:
        return vx_h1_parse_request(p, limits, bytes, arena, &out->request, head_bytes, error);
    case VX_TEST_TRAILERS:
        return vx_h1_parse_trailers(p, limits, bytes, arena, VX_BY_CLIENT, &out->trailers, head_bytes, error);
    default:
        return vx_h1_parse_response(p, limits, bytes, arena,
                                    kind == VX_TEST_RESPONSE ? VX_METHOD_GET : VX_METHOD_HEAD, &out->response,
                                    head_bytes, error);
    }
}

static void tell(FILE *out, enum vx_test_head kind, enum vx_h1_result result, const union parsed *parsed,
                 struct vx_slice head, const struct vx_error *error) {
    if (result == VX_H1_MORE)
        fputs("more", out);
    else if (result == VX_H1_ERROR)
        fprintf(out, "%s: %s", vx_error_info(error->code)->word, error->detail);
    else if (kind == VX_TEST_REQUEST)
        tell_request(out, &parsed->request, head);
    else if (kind == VX_TEST_TRAILERS)
        tell_fields(out, &parsed->trailers, head);
    else
        tell_response(out, &parsed->response, head);
}

/* A copy of its own size each time: the bytes move in memory from call to call, as they may. */
static char *copy_of(struct vx_slice s) {
    char *copy = malloc(s.len ? s.len : 1);
    vx_test_require(copy != NULL);
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    return copy;
}

char *vx_test_parse(enum vx_test_head kind, struct vx_slice bytes, const struct vx_h1_limits *limits,
                    size_t cut) {
    struct vx_test_arena arena;
    struct vx_h1_parser parser;
    union parsed parsed;
    struct vx_error error;
    enum vx_h1_result result = VX_H1_MORE;
    size_t head_bytes = 0, have = cut == VX_TEST_EACH_BYTE ? 0 : cut ? cut : bytes.len;
    char *input = NULL, *text = NULL;
    size_t text_len;
    vx_h1_parser_init(&parser);
    vx_test_arena_init(&arena, SIZE_MAX);
    for (;;) {
        free(input);
        input = copy_of(vx_slice(bytes.ptr, have));
        result = parse_step(kind, &parser, limits, vx_slice(input, have), &arena.arena, &parsed, &head_bytes,
                            &error);
        if (result != VX_H1_MORE || have == bytes.len)
            break;
        have = cut == VX_TEST_EACH_BYTE ? have + 1 : bytes.len;
    }
    FILE *out = open_memstream(&text, &text_len);
    vx_test_require(out != NULL);
    vx_test_require(result != VX_H1_DONE || head_bytes <= have);
    tell(out, kind, result, &parsed, vx_slice(input, head_bytes), &error);
    if (result == VX_H1_DONE && head_bytes < bytes.len)
        fprintf(out, " +%zu", bytes.len - head_bytes);
    fclose(out);
    free(input);
    vx_test_arena_end(&arena);
    return text;
}

static void require_same(struct vx_slice bytes, const char *whole, char *other, size_t cut) {
    if (strcmp(whole, other) != 0) {
        fprintf(stderr, "input: %.*s\nwhole: %s\ncut at %zu: %s\n", VX_SLICE_ARG(bytes), whole, cut, other);
        abort();
    }
    free(other);
}

char *vx_test_parse_every_way(enum vx_test_head kind, struct vx_slice bytes,
                              const struct vx_h1_limits *limits) {
    char *whole = vx_test_parse(kind, bytes, limits, VX_TEST_WHOLE);
    size_t step = bytes.len <= EVERY_CUT_BYTES ? 1 : bytes.len / SPREAD_CUTS;
    for (size_t cut = 1; cut < bytes.len; cut += step)
        require_same(bytes, whole, vx_test_parse(kind, bytes, limits, cut), cut);
    if (bytes.len <= EVERY_CUT_BYTES)
        require_same(bytes, whole, vx_test_parse(kind, bytes, limits, VX_TEST_EACH_BYTE), VX_TEST_EACH_BYTE);
    return whole;
}

void vx_test_require_any_cut(enum vx_test_head kind, struct vx_slice bytes,
                             const struct vx_h1_limits *limits) {
    char *whole = vx_test_parse(kind, bytes, limits, VX_TEST_WHOLE);
    struct vx_random random = {bytes.len};
    for (size_t i = 0; i < bytes.len; i++)
        random.state = random.state * 31 + (unsigned char)bytes.ptr[i];
    for (int i = 0; i < FUZZ_CUTS && bytes.len > 1; i++) {
        size_t cut = 1 + vx_random_below(&random, (uint32_t)bytes.len - 1);
        require_same(bytes, whole, vx_test_parse(kind, bytes, limits, cut), cut);
    }
    if (bytes.len <= FUZZ_EACH_BYTE)
        require_same(bytes, whole, vx_test_parse(kind, bytes, limits, VX_TEST_EACH_BYTE), VX_TEST_EACH_BYTE);
    free(whole);
}
