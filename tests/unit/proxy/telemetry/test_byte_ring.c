/* SPDX-License-Identifier: Apache-2.0 */
/* The ring between a worker and a writer: wrapping, refusing, and two threads at it. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/telemetry/byte_ring.h"

enum { SMALL = 64, PIECES = 200000 };

static struct vx_byte_ring ring;
static char data[4096];

static size_t waiting(struct vx_slice runs[2]) {
    size_t sum = vx_byte_ring_peek(&ring, runs);
    assert_int_equal(sum, runs[0].len + runs[1].len);
    return sum;
}

static void whole_pieces_or_nothing(void **state) {
    (void)state;
    struct vx_slice runs[2];
    uint64_t used;
    vx_byte_ring_init(&ring, data, SMALL);
    assert_int_equal(waiting(runs), 0);
    assert_true(vx_byte_ring_put(&ring, vx_slice("0123456789012345678901234567890123456789", 40), &used));
    assert_int_equal(used, 40);
    assert_false(vx_byte_ring_put(&ring, vx_slice("0123456789012345678901234", 25), &used));
    assert_int_equal(used, 40);
    assert_true(vx_byte_ring_put(&ring, vx_slice("abcdefghijklmnopqrstuvwx", 24), &used));
    assert_int_equal(used, SMALL);
    assert_false(vx_byte_ring_put(&ring, vx_slice("x", 1), &used));
    assert_true(vx_byte_ring_put(&ring, VX_SLICE(""), &used));
    assert_int_equal(waiting(runs), SMALL);
    assert_int_equal(runs[1].len, 0);
    vx_byte_ring_take(&ring, 40);
    assert_int_equal(waiting(runs), 24);
    assert_memory_equal(runs[0].ptr, "abcdefghijklmnopqrstuvwx", 24);
}

static void longer_than_the_ring(void **state) {
    (void)state;
    uint64_t used;
    vx_byte_ring_init(&ring, data, SMALL);
    assert_false(vx_byte_ring_put(&ring, vx_slice(data, SMALL + 1), &used));
    assert_int_equal(used, 0);
}

static void wraps_at_every_place(void **state) {
    (void)state;
    struct vx_slice runs[2];
    uint64_t used;
    for (size_t start = 0; start < SMALL; start++) {
        vx_byte_ring_init(&ring, data, SMALL);
        assert_true(vx_byte_ring_put(&ring, vx_slice((char[SMALL]){0}, start), &used));
        vx_byte_ring_take(&ring, start);
        assert_true(vx_byte_ring_put(&ring, VX_SLICE("abcdefghijklmnopqrstuvwxyz"), &used));
        assert_int_equal(waiting(runs), 26);
        char all[26];
        memcpy(all, runs[0].ptr, runs[0].len);
        memcpy(all + runs[0].len, runs[1].ptr, runs[1].len);
        assert_memory_equal(all, "abcdefghijklmnopqrstuvwxyz", 26);
    }
}

/* What the producer believes is exact once more than half may be in use. */
static void use_is_exact_above_half(void **state) {
    (void)state;
    uint64_t used;
    vx_byte_ring_init(&ring, data, SMALL);
    assert_true(vx_byte_ring_put(&ring, vx_slice(data + 1024, 30), &used));
    vx_byte_ring_take(&ring, 30);
    assert_true(vx_byte_ring_put(&ring, vx_slice(data + 1024, 10), &used));
    assert_int_equal(used, 10);
}

/* Piece n is n % 97 + 1 bytes of the value n % 251. */
static void *produce(void *refused) {
    uint64_t used;
    for (unsigned n = 0; n < PIECES; n++) {
        char piece[97];
        size_t len = n % 97 + 1;
        memset(piece, (int)(n % 251), len);
        while (!vx_byte_ring_put(&ring, vx_slice(piece, len), &used)) {
            ++*(unsigned long *)refused;
            sched_yield();
        }
    }
    return NULL;
}

static void two_threads(void **state) {
    (void)state;
    pthread_t producer;
    unsigned long refused = 0;
    vx_byte_ring_init(&ring, data, sizeof data);
    assert_int_equal(pthread_create(&producer, NULL, produce, &refused), 0);
    for (unsigned n = 0; n < PIECES;) {
        struct vx_slice runs[2];
        char all[sizeof data];
        size_t have = waiting(runs);
        memcpy(all, runs[0].ptr, runs[0].len);
        memcpy(all + runs[0].len, runs[1].ptr, runs[1].len);
        vx_byte_ring_take(&ring, have);
        for (size_t at = 0; at < have; n++) {
            size_t len = n % 97 + 1;
            assert_true(at + len <= have); /* never part of a piece */
            for (size_t i = 0; i < len; i++)
                assert_int_equal((unsigned char)all[at + i], n % 251);
            at += len;
        }
        if (have == 0)
            sched_yield();
    }
    assert_int_equal(pthread_join(producer, NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_pieces_or_nothing),
        cmocka_unit_test(longer_than_the_ring),
        cmocka_unit_test(wraps_at_every_place),
        cmocka_unit_test(use_is_exact_above_half),
        cmocka_unit_test(two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
