/* SPDX-License-Identifier: Apache-2.0 */
/* The scan against a byte-by-byte one written from the rules, with both of its block classifiers, on heads and on random
 * bytes that are nearly heads, resumed at random places; and the line ends it leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* The file itself, to call each classifier whatever this machine would choose. */
#include "core/http/h1_scan.c" // NOLINT(bugprone-suspicious-include)

#include "core/base/random.h"

enum { MAX_BYTES = 600, ROUNDS = 60000 };

typedef enum vx_h1_scan scan_function(struct vx_slice bytes, size_t from, struct vx_h1_lines *lines);

static enum vx_h1_scan scan_plain(struct vx_slice bytes, size_t from, struct vx_h1_lines *lines) {
    lines->bytes = bytes;
    lines->given = 0;
    return bytes.len < BLOCK ? scan_short(bytes, from, lines) : scan_baseline(bytes, from, lines);
}

/* What the header says, one byte after the other. */
static enum vx_h1_scan expected(struct vx_slice bytes, size_t *at) {
    bool line_begins = true;
    for (size_t i = 0; i < bytes.len; i++) {
        char c = bytes.ptr[i];
        *at = i;
        if (c == '\r') {
            bool empty = line_begins;
            if (i + 1 == bytes.len) {
                *at = empty ? i : i + 1;
                return VX_H1_SCAN_MORE;
            }
            *at = ++i;
            if (bytes.ptr[i] != '\n')
                return VX_H1_SCAN_BAD;
            *at = i + 1;
            if (empty)
                return VX_H1_SCAN_END;
            line_begins = true;
            continue;
        }
        if (c == '\n' || is_bad((unsigned char)c))
            return VX_H1_SCAN_BAD;
        line_begins = false;
    }
    *at = bytes.len;
    return VX_H1_SCAN_MORE;
}

/* Mostly text and line ends in pairs; now and then what must not be there. */
static size_t random_bytes(struct vx_random *random, char *out) {
    size_t want = vx_random_below(random, MAX_BYTES), n = 0;
    unsigned line = 1 + vx_random_below(random, 90);
    bool dirty = vx_random_below(random, 2);
    while (n + 2 < want) {
        unsigned dice = vx_random_below(random, line + 1);
        if (dice == 0) {
            out[n++] = '\r';
            out[n++] = '\n';
        } else {
            out[n++] = (char)(0x20 + vx_random_below(random, 0x5f));
        }
        if (dirty && vx_random_below(random, 200) == 0)
            out[n - 1] = (char)vx_random_below(random, 256);
    }
    return n;
}

static char *copy_of(const char *bytes, size_t len) {
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    return copy;
}

static void check_lines(struct vx_h1_lines *lines, size_t end) {
    const char *at = lines->bytes.ptr, *stop = lines->bytes.ptr + end - 2;
    uint32_t total = 0;
    for (;;) {
        const char *cr = memchr(at, '\r', (size_t)(stop + 1 - at));
        assert_ptr_equal(vx_h1_lines_next(lines), cr);
        total++;
        if (cr == stop)
            break;
        at = cr + 2;
    }
    assert_int_equal(lines->total, total);
}

static void check_scan(scan_function *scan, const char *bytes, size_t len, struct vx_random *random) {
    struct vx_h1_lines lines;
    size_t want_at = 0;
    enum vx_h1_scan want = expected(vx_slice(bytes, len), &want_at);
    char *copy = copy_of(bytes, len);
    assert_int_equal(scan(vx_slice(copy, len), 0, &lines), want);
    assert_int_equal(lines.at, want_at);
    if (want == VX_H1_SCAN_END)
        check_lines(&lines, want_at);
    free(copy);

    enum vx_h1_scan got = VX_H1_SCAN_MORE;
    size_t have = 0;
    lines.at = 0;
    while (got == VX_H1_SCAN_MORE && have < len) {
        have += 1 + vx_random_below(random, (uint32_t)(len - have));
        copy = copy_of(bytes, have);
        got = scan(vx_slice(copy, have), lines.at, &lines);
        free(copy);
    }
    assert_int_equal(got, want);
    assert_int_equal(lines.at, want_at);
}

static void agrees_with_the_rules(void **state) {
    (void)state;
    struct vx_random random = {1};
    char bytes[MAX_BYTES];
    unsigned ended = 0, refused = 0;
    for (int i = 0; i < ROUNDS; i++) {
        size_t len = random_bytes(&random, bytes), at = 0;
        enum vx_h1_scan want = expected(vx_slice(bytes, len), &at);
        ended += want == VX_H1_SCAN_END;
        refused += want == VX_H1_SCAN_BAD;
        check_scan(vx_h1_scan, bytes, len, &random);
        check_scan(scan_plain, bytes, len, &random);
    }
    assert_true(ended > ROUNDS / 20 && refused > ROUNDS / 20);
}

/* The end, and each kind of fault, at every place of a block and with every amount of bytes behind. */
static void finds_each_event_at_each_place(void **state) {
    (void)state;
    static const char *const events[] = {"\r\n\r\n", "\r\n\rx", "\rx",  "\n",    "\x01",
                                         "\x7f",     "\r",      "\r\n", "\r\n\r"};
    struct vx_random random = {2};
    for (size_t e = 0; e < sizeof events / sizeof *events; e++) {
        for (size_t before = 0; before < 140; before++) {
            for (size_t behind = 0; behind < 140; behind += behind < 4 ? 1 : 17) {
                char bytes[512];
                size_t n = strlen(events[e]);
                memset(bytes, 'a', sizeof bytes);
                memcpy(bytes + before, events[e], n);
                check_scan(vx_h1_scan, bytes, before + n + behind, &random);
                check_scan(scan_plain, bytes, before + n + behind, &random);
            }
        }
    }
}

static void says_why(void **state) {
    (void)state;
    assert_string_equal(vx_h1_scan_reason(VX_SLICE("a\n"), 1), "a bare LF");
    assert_string_equal(vx_h1_scan_reason(VX_SLICE("\rx"), 1), "a bare CR");
    assert_string_equal(vx_h1_scan_reason(VX_SLICE("\0"), 0), "a NUL byte");
    assert_string_equal(vx_h1_scan_reason(VX_SLICE("\x02"), 0), "a control character");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_rules),
        cmocka_unit_test(finds_each_event_at_each_place),
        cmocka_unit_test(says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
