/* SPDX-License-Identifier: Apache-2.0 */
/* Parses a head in every way it can arrive and holds the results against each other, for the unit tests and the
 * fuzzers. A result is told as one line of text, so that a table can say what is expected and a failure shows itself.
 *
 *   GET / 1.1 authority=a host=a path=/ none keep-alive | Host=a |
 *   200 1.1 reason=OK length=5 keep-alive | Content-Length=5 |
 *   | Digest=x |                       (trailers)
 *   more
 *   bad_request: a bare LF
 *
 * What is broken in the code under test ends the program with a message: each input lies in memory of its own size, so
 * a sanitizer sees reads past it. */
#ifndef VX_TESTS_SUPPORT_HTTP_CHECK_H
#define VX_TESTS_SUPPORT_HTTP_CHECK_H

#include "core/http/h1_parse.h"

extern const struct vx_h1_limits vx_test_limits; /* 64 KiB, 128 fields, 8 KiB of target, slashes merged */

/* A head's arena: memory comes from malloc, chunk by chunk. */
struct vx_test_arena {
    struct vx_chunk_source source;
    struct vx_arena arena;
    size_t left; /* bytes that may still be taken */
};

void vx_test_arena_init(struct vx_test_arena *a, size_t limit);
void vx_test_arena_end(struct vx_test_arena *a);

/* The memory of one program's tests: the two functions are its group's set-up and tear-down. */
extern struct vx_test_arena vx_test_memory;
int vx_test_memory_begin(void **state);
int vx_test_memory_end(void **state);

enum vx_test_head { VX_TEST_REQUEST, VX_TEST_RESPONSE, VX_TEST_RESPONSE_TO_HEAD, VX_TEST_TRAILERS };

/* Where the input is cut: in two at a place (0: not at all), or after each byte. */
#define VX_TEST_WHOLE     ((size_t)0)
#define VX_TEST_EACH_BYTE SIZE_MAX

/* The result as text; the caller frees it. */
char *vx_test_parse(enum vx_test_head kind, struct vx_slice bytes, const struct vx_h1_limits *limits,
                    size_t cut);

/* The same, after the input was also parsed byte by byte and cut in two at every place (a spread of places when it is
 * long), with the same result each time. */
char *vx_test_parse_every_way(enum vx_test_head kind, struct vx_slice bytes,
                              const struct vx_h1_limits *limits);

/* The same for fuzzers, with fewer cuts: byte by byte when it is short, and in two at a few places. */
void vx_test_require_any_cut(enum vx_test_head kind, struct vx_slice bytes,
                             const struct vx_h1_limits *limits);

/* Ends the program when `condition` is false. */
#define vx_test_require(condition)                                                                           \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            vx_test_broken(__FILE__, __LINE__, #condition);                                                  \
    } while (0)
_Noreturn void vx_test_broken(const char *file, int line, const char *condition);

#endif
