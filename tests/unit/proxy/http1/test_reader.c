/* SPDX-License-Identifier: Apache-2.0 */
/* The reading half: each framing's end, bodies that stop early, limits, trailers, memory given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "proxy/http1/reader.h"
#include "support/fake_transport.h"

static const struct vx_h1_limits limits = {.header_bytes = 4096, .headers = 8, .uri_bytes = 100};

struct world {
    struct fake_net net;
    struct fake_transport *t;
    struct vx_h1_reader reader;
    struct vx_arena arena;
    char first[1024];
    struct vx_error error;
    char got[4096];
};

static struct world *start(enum vx_framing framing, uint64_t bytes, uint64_t limit) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    fake_net_init(&w->net);
    w->t = fake_transport_new(&w->net);
    vx_arena_init(&w->arena, w->first, sizeof w->first, NULL);
    vx_h1_reader_init(&w->reader, &w->t->base, &w->net.rt, VX_BY_CLIENT, &limits);
    vx_h1_reader_begin_body(&w->reader, framing, bytes, limit, &w->arena);
    return w;
}

static void end(struct world *w) {
    vx_buffer_release(&w->reader.in);
    w->t->base.ops->close(&w->t->base, false);
    fake_net_free(&w->net);
    free(w);
}

/* Takes what is there, `piece` bytes at a time, into w->got; how it stopped. */
static enum vx_pull drink(struct world *w, size_t piece) {
    size_t len = strlen(w->got);
    for (;;) {
        struct vx_slice bytes;
        enum vx_pull result = vx_h1_reader_pull(&w->reader, &bytes, &w->error);
        if (result != VX_PULL_BYTES)
            return result;
        assert_true(bytes.len > 0);
        size_t n = bytes.len < piece ? bytes.len : piece;
        assert_true(len + n < sizeof w->got);
        memcpy(w->got + len, bytes.ptr, n);
        len += n;
        vx_h1_reader_consume(&w->reader, n);
    }
}

static void test_a_length_ends_where_it_says(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_LENGTH, 5, 0);
    assert_int_equal(drink(w, 9), VX_PULL_WAIT);
    fake_send(w->t, "helloGET /");
    assert_int_equal(drink(w, 2), VX_PULL_END);
    assert_string_equal(w->got, "hello");
    assert_int_equal(vx_buffer_len(&w->reader.in), 5); /* the next head is still there */
    assert_int_equal(drink(w, 9), VX_PULL_END);
    end(w);
}

static void test_no_body_needs_no_byte(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_NONE, 0, 0);
    assert_int_equal(drink(w, 9), VX_PULL_END);
    vx_h1_reader_begin_body(&w->reader, VX_BODY_LENGTH, 0, 0, &w->arena);
    assert_int_equal(drink(w, 9), VX_PULL_END);
    assert_int_equal(w->t->reads, 0);
    end(w);
}

static void test_an_early_end_is_a_failure(void **state) {
    (void)state;
    static const enum vx_framing framings[] = {VX_BODY_LENGTH, VX_BODY_CHUNKED};
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = start(framings[i], 10, 0);
        fake_send(w->t, "5\r\nhel");
        assert_int_equal(drink(w, 9), VX_PULL_WAIT);
        fake_fin(w->t);
        assert_int_equal(drink(w, 9), VX_PULL_FAILED);
        assert_int_equal(w->error.code, VX_ERR_CLIENT_GONE);
        end(w);
    }
}

static void test_who_broke_it_is_told(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_LENGTH, 10, 0);
    w->reader.from = VX_BY_BACKEND;
    fake_fin(w->t);
    assert_int_equal(drink(w, 9), VX_PULL_FAILED);
    assert_int_equal(w->error.code, VX_ERR_BACKEND_CLOSED);
    w->t->fin = false;
    w->t->broken = true;
    assert_int_equal(drink(w, 9), VX_PULL_FAILED);
    assert_int_equal(w->error.code, VX_ERR_BACKEND_RESET);
    end(w);
}

static void test_until_close_ends_with_the_connection_and_only_so(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_UNTIL_CLOSE, 0, 0);
    fake_send(w->t, "abc");
    assert_int_equal(drink(w, 9), VX_PULL_WAIT);
    fake_fin(w->t);
    assert_int_equal(drink(w, 9), VX_PULL_END);
    end(w);
    w = start(VX_BODY_UNTIL_CLOSE, 0, 0);
    fake_send(w->t, "abc");
    assert_int_equal(drink(w, 9), VX_PULL_WAIT);
    fake_break(w->t);
    assert_int_equal(drink(w, 9), VX_PULL_FAILED);
    end(w);
}

static void test_chunks_come_out_as_they_went_in_however_they_are_cut(void **state) {
    (void)state;
    static const char text[] = "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\nGET";
    for (size_t step = 1; step < sizeof text; step++) {
        struct world *w = start(VX_BODY_CHUNKED, 0, 0);
        enum vx_pull result = VX_PULL_WAIT;
        for (size_t at = 0; at < sizeof text - 1; at += step) {
            size_t n = sizeof text - 1 - at < step ? sizeof text - 1 - at : step;
            fake_send_bytes(w->t, text + at, n);
            if (result == VX_PULL_WAIT)
                result = drink(w, 3);
        }
        assert_int_equal(result, VX_PULL_END);
        assert_string_equal(w->got, "hello world");
        /* What would route or frame after the fact is dropped (RFC 9110 §6.5.1). */
        assert_non_null(w->reader.trailers);
        assert_int_equal(w->reader.trailers->count, 1);
        end(w);
    }
}

static void test_bad_chunks_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"x\r\n", "5\nhello", "5\r\nhelloX", "fffffffffffffffff\r\n",
                                      "0\r\nA b: c\r\n\r\n"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct world *w = start(VX_BODY_CHUNKED, 0, 0);
        fake_send(w->t, bad[i]);
        assert_int_equal(drink(w, 9), VX_PULL_FAILED);
        end(w);
    }
}

static void test_a_chunked_body_over_the_limit_is_refused(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_CHUNKED, 0, 6);
    fake_send(w->t, "5\r\nhello\r\n2\r\nxy\r\n0\r\n\r\n");
    assert_int_equal(drink(w, 9), VX_PULL_FAILED);
    assert_int_equal(w->error.code, VX_ERR_BODY_TOO_LARGE);
    assert_string_equal(w->got, "hello");
    end(w);
}

static void test_endless_trailers_are_refused(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_CHUNKED, 0, 0);
    fake_send(w->t, "0\r\n");
    enum vx_pull result = drink(w, 9);
    for (unsigned i = 0; i < 1000 && result == VX_PULL_WAIT; i++) {
        fake_send(w->t, "a: bcdefghijklmnopqrstuvw\r\n");
        result = drink(w, 9);
    }
    assert_int_equal(result, VX_PULL_FAILED);
    assert_int_equal(w->error.code, VX_ERR_HEADERS_TOO_LARGE);
    end(w);
}

static void test_a_tunnel_has_no_framing(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_NONE, 0, 0);
    vx_h1_reader_begin_tunnel(&w->reader);
    fake_send(w->t, "0\r\n\r\nanything");
    assert_int_equal(drink(w, 4), VX_PULL_WAIT);
    assert_string_equal(w->got, "0\r\n\r\nanything");
    fake_fin(w->t);
    assert_int_equal(drink(w, 4), VX_PULL_END);
    end(w);
}

static void test_a_pinned_head_is_not_overwritten(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_LENGTH, 100000, 0);
    fake_send(w->t, "HEAD");
    assert_int_equal(vx_h1_reader_fill(&w->reader), 4);
    struct vx_block *pin = vx_block_hold(w->reader.in.block);
    w->reader.in.start += 4;
    char *big = calloc(1, 100000);
    fake_send_bytes(w->t, big, 100000);
    for (size_t left = 100000; left;) {
        struct vx_slice bytes;
        assert_int_equal(vx_h1_reader_pull(&w->reader, &bytes, &w->error), VX_PULL_BYTES);
        left -= bytes.len;
        vx_h1_reader_consume(&w->reader, bytes.len);
    }
    assert_memory_equal(pin->data, "HEAD", 4);
    vx_block_drop(pin);
    vx_h1_reader_relax(&w->reader);
    assert_null(w->reader.in.block); /* an idle connection holds no buffer */
    free(big);
    end(w);
}

static void test_what_is_owed_is_known_by_the_framing(void **state) {
    (void)state;
    static const struct {
        enum vx_framing framing;
        uint64_t declared;
        const char *here;
        bool known;
        uint64_t owed;
        const char *behind; /* what stays in the buffer when the body is skipped; NULL: all of it */
    } cases[] = {
        {VX_BODY_LENGTH, 10, "1234", true, 6, ""},
        {VX_BODY_LENGTH, 4, "1234GET", true, 0, "GET"},
        {VX_BODY_CHUNKED, 0, "4\r\n1234\r\n0\r\n\r\nGET", true, 0, "GET"},
        {VX_BODY_CHUNKED, 0, "4\r\n1234\r\n0\r\n", false, 0, NULL},
        {VX_BODY_CHUNKED, 0, "0\r\nA: b\r\n", false, 0, NULL},
        {VX_BODY_CHUNKED, 0, "4\r\n12345\r\n0\r\n\r\n", false, 0, NULL},
        {VX_BODY_UNTIL_CLOSE, 0, "1234", false, 0, NULL},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        for (unsigned taken = 0; taken < 2; taken++) { /* a byte that was handed out is not in the way */
            struct world *w = start(cases[i].framing, cases[i].declared, 0);
            struct vx_slice run;
            uint64_t owed;
            fake_send(w->t, cases[i].here);
            if (!taken)
                vx_h1_reader_fill(&w->reader);
            else if (vx_h1_reader_pull(&w->reader, &run, &w->error) == VX_PULL_BYTES)
                vx_h1_reader_consume(&w->reader, 1);
            size_t before = vx_buffer_len(&w->reader.in);
            assert_int_equal(vx_h1_reader_owes(&w->reader, &owed), cases[i].known);
            assert_int_equal(owed, cases[i].owed);
            vx_h1_reader_skip(&w->reader);
            assert_int_equal(vx_buffer_len(&w->reader.in),
                             cases[i].behind ? strlen(cases[i].behind) : before);
            assert_int_equal(w->reader.ended, cases[i].known && owed == 0);
            if (owed) {
                vx_h1_reader_skipped(&w->reader, owed - 1);
                assert_false(w->reader.ended);
                vx_h1_reader_skipped(&w->reader, 1);
                assert_true(w->reader.ended);
            }
            end(w);
        }
}

static void test_nothing_is_known_behind_a_failure(void **state) {
    (void)state;
    uint64_t owed;
    struct world *w = start(VX_BODY_CHUNKED, 0, 0);
    fake_send(w->t, "zz\r\n0\r\n\r\n");
    assert_int_equal(drink(w, 1), VX_PULL_FAILED);
    assert_false(vx_h1_reader_owes(&w->reader, &owed));
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_length_ends_where_it_says),
        cmocka_unit_test(test_no_body_needs_no_byte),
        cmocka_unit_test(test_an_early_end_is_a_failure),
        cmocka_unit_test(test_who_broke_it_is_told),
        cmocka_unit_test(test_until_close_ends_with_the_connection_and_only_so),
        cmocka_unit_test(test_chunks_come_out_as_they_went_in_however_they_are_cut),
        cmocka_unit_test(test_bad_chunks_are_refused),
        cmocka_unit_test(test_a_chunked_body_over_the_limit_is_refused),
        cmocka_unit_test(test_endless_trailers_are_refused),
        cmocka_unit_test(test_a_tunnel_has_no_framing),
        cmocka_unit_test(test_what_is_owed_is_known_by_the_framing),
        cmocka_unit_test(test_nothing_is_known_behind_a_failure),
        cmocka_unit_test(test_a_pinned_head_is_not_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
