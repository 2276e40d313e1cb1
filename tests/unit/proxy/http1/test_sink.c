/* SPDX-License-Identifier: Apache-2.0 */
/* The writing half: framing over writes that are cut anywhere, what waits, what is never made to look whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "proxy/http1/sink.h"
#include "support/fake_transport.h"

struct world {
    struct fake_net net;
    struct fake_transport *t;
    struct vx_h1_sink sink;
};

static struct world *start(enum vx_framing framing, uint64_t bytes) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    fake_net_init(&w->net);
    w->t = fake_transport_new(&w->net);
    vx_h1_sink_init(&w->sink, &w->t->base, &w->net.rt);
    vx_h1_sink_begin_body(&w->sink, framing, bytes);
    return w;
}

static void end(struct world *w) {
    vx_buffer_release(&w->sink.out);
    if (!w->t->closed)
        w->t->base.ops->close(&w->t->base, false);
    fake_net_free(&w->net);
    free(w);
}

static void put_head(struct world *w, const char *text) {
    char *room = vx_h1_sink_reserve(&w->sink, strlen(text));
    assert_non_null(room);
    memcpy(room, text, strlen(text));
    vx_h1_sink_commit(&w->sink, strlen(text));
}

static void test_a_head_and_a_small_body_leave_in_one_write(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_LENGTH, 5);
    put_head(w, "HEAD ");
    assert_int_equal(vx_h1_sink_push(&w->sink, VX_SLICE("hello")), 5);
    assert_int_equal(w->t->writes, 0);
    vx_h1_sink_finish(&w->sink, NULL);
    vx_h1_sink_flush(&w->sink);
    assert_int_equal(w->t->writes, 1);
    assert_string_equal(fake_received(w->t), "HEAD hello");
    assert_true(w->sink.finished);
    assert_int_equal(w->sink.sent, 10);
    assert_false(vx_h1_sink_pending(&w->sink));
    end(w);
}

static void test_no_more_than_the_announced_length_is_taken(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_LENGTH, 3);
    assert_int_equal(vx_h1_sink_push(&w->sink, VX_SLICE("abcdef")), 3);
    vx_h1_sink_finish(&w->sink, NULL);
    vx_h1_sink_flush(&w->sink);
    assert_string_equal(fake_received(w->t), "abc");
    end(w);
}

static void test_a_short_body_is_not_finished(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_LENGTH, 9);
    vx_h1_sink_push(&w->sink, VX_SLICE("abc"));
    vx_h1_sink_finish(&w->sink, NULL);
    assert_false(w->sink.finished);
    end(w);
}

static void test_small_chunks_and_trailers(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_CHUNKED, 0);
    struct vx_header item = {.name = "x-sum", .name_len = 5, .value = "7", .value_len = 1};
    struct vx_headers trailers = {.items = &item, .count = 1, .capacity = 1, .present = 1};
    vx_h1_sink_push(&w->sink, VX_SLICE("abc"));
    vx_h1_sink_push(&w->sink, VX_SLICE("0123456789abcdef"));
    vx_h1_sink_finish(&w->sink, &trailers);
    vx_h1_sink_flush(&w->sink);
    assert_string_equal(fake_received(w->t), "3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nx-sum: 7\r\n\r\n");
    end(w);
}

/* Undoes the chunked coding of `text` into `out`; false: it is none. */
static bool unchunk(const char *text, size_t len, char *out, size_t *out_len) {
    struct vx_chunked c;
    struct vx_slice in = vx_slice(text, len), data;
    size_t consumed;
    *out_len = 0;
    vx_chunked_init(&c);
    for (;;) {
        enum vx_chunked_result r = vx_chunked_decode(&c, in, &data, &consumed);
        in = vx_slice_skip(in, consumed);
        if (r == VX_CHUNKED_DONE)
            return in.len == 0;
        if (r != VX_CHUNKED_DATA)
            return false;
        memcpy(out + *out_len, data.ptr, data.len);
        *out_len += data.len;
    }
}

/* Room for `step` bytes at a time cuts size lines, data and the CRLF behind it at every place. */
static void push_in_steps(size_t step) {
    enum { BYTES = 9000 };
    struct world *w = start(VX_BODY_CHUNKED, 0);
    char *body = malloc(BYTES), *back = malloc(BYTES), *wire = calloc(1, BYTES * 2);
    size_t wire_len = 0, at = 0, back_len;
    for (size_t i = 0; i < BYTES; i++)
        body[i] = (char)('a' + i % 26);
    put_head(w, "H");
    w->t->room = step;
    bool finished = false;
    for (unsigned turns = 0; !finished || vx_h1_sink_pending(&w->sink); turns++) {
        assert_true(turns < 4 * BYTES);
        while (at < BYTES) {
            size_t taken = vx_h1_sink_push(&w->sink, vx_slice(body + at, BYTES - at));
            at += taken;
            if (at < BYTES) {
                assert_true(w->sink.wants_room);
                break;
            }
        }
        if (at == BYTES && !finished) {
            vx_h1_sink_finish(&w->sink, NULL);
            finished = true;
        }
        vx_h1_sink_flush(&w->sink);
        memcpy(wire + wire_len, w->t->out, w->t->out_len);
        wire_len += w->t->out_len;
        w->t->out_len = 0;
        w->t->room = step;
        w->t->base.writable = true;
    }
    assert_int_equal(wire[0], 'H');
    assert_int_equal(w->sink.sent, wire_len);
    assert_true(unchunk(wire + 1, wire_len - 1, back, &back_len));
    assert_int_equal(back_len, BYTES);
    assert_memory_equal(back, body, BYTES);
    free(body);
    free(back);
    free(wire);
    end(w);
}

static void test_chunks_survive_partial_writes(void **state) {
    (void)state;
    static const size_t steps[] = {1, 2, 3, 7, 8, 100, 4095, 4096, 4097, 8999, 9005};
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++)
        push_in_steps(steps[i]);
}

/* No event would tell of room that was there all the time. */
static void test_more_bytes_than_an_open_chunk_has_left(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_CHUNKED, 0);
    char *big = malloc(6000);
    char back[8192];
    size_t back_len;
    memset(big, 'x', 6000);
    w->t->room = 1000;
    size_t taken = vx_h1_sink_push(&w->sink, vx_slice(big, 5000));
    assert_true(taken > 0 && taken < 1000);
    w->t->room = SIZE_MAX;
    w->t->base.writable = true;
    assert_int_equal(vx_h1_sink_push(&w->sink, vx_slice(big, 6000 - taken)), 6000 - taken);
    vx_h1_sink_finish(&w->sink, NULL);
    vx_h1_sink_flush(&w->sink);
    assert_true(unchunk(w->t->out, w->t->out_len, back, &back_len));
    assert_int_equal(back_len, 6000);
    free(big);
    end(w);
}

static void test_a_full_connection_takes_nothing_more(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_UNTIL_CLOSE, 0);
    char *big = calloc(1, 100000);
    w->t->room = 10;
    assert_int_equal(vx_h1_sink_push(&w->sink, vx_slice(big, 100000)), 10);
    assert_true(w->sink.wants_room);
    /* What fits the buffer may still be taken, and then no more: the buffer does not grow. */
    size_t buffered = 0, n;
    while ((n = vx_h1_sink_push(&w->sink, vx_slice(big, 4000))) > 0)
        buffered += n;
    assert_true(buffered <= VX_SLAB_BLOCK_BYTES);
    free(big);
    end(w);
}

static void test_a_broken_transport_sets_failed(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_UNTIL_CLOSE, 0);
    vx_h1_sink_push(&w->sink, VX_SLICE("abc"));
    w->t->broken = true;
    vx_h1_sink_flush(&w->sink);
    assert_true(w->sink.failed);
    assert_int_equal(vx_h1_sink_push(&w->sink, VX_SLICE("abc")), 0);
    vx_h1_sink_finish(&w->sink, NULL);
    assert_false(w->sink.finished);
    end(w);
}

static void test_move_takes_large_plain_bodies_only(void **state) {
    (void)state;
    enum { BYTES = 200000 };
    struct world *w = start(VX_BODY_LENGTH, BYTES);
    struct fake_transport *source = fake_transport_new(&w->net);
    struct vx_h1_limits limits = {.header_bytes = 65536, .headers = 64};
    struct vx_h1_reader reader;
    char *body = calloc(1, BYTES);
    w->net.moves = true;
    vx_h1_reader_init(&reader, &source->base, &w->net.rt, VX_BY_CLIENT, &limits);
    vx_h1_reader_begin_body(&reader, VX_BODY_LENGTH, 1000, 0, NULL);
    assert_int_equal(vx_h1_move(&reader, &w->sink), -1);
    vx_h1_reader_begin_body(&reader, VX_BODY_LENGTH, BYTES, 0, NULL);
    assert_int_equal(vx_h1_move(&reader, &w->sink), 0);
    assert_false(w->sink.wants_room); /* it is the source that is waited for */
    fake_send_bytes(source, body, BYTES);
    w->t->room = 70000;
    assert_int_equal(vx_h1_move(&reader, &w->sink), BYTES);
    assert_true(reader.ended);
    assert_true(vx_h1_sink_pending(&w->sink));
    w->sink.finished = false;
    vx_h1_sink_finish(&w->sink, NULL);
    assert_true(w->sink.finished);
    fake_give_room(w->t, SIZE_MAX);
    assert_false(vx_h1_sink_pending(&w->sink));
    assert_int_equal(w->t->out_len, BYTES);
    source->base.ops->close(&source->base, false);
    free(body);
    end(w);
}

static void test_move_never_goes_into_chunks(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_CHUNKED, 0);
    struct vx_h1_limits limits = {.header_bytes = 65536, .headers = 64};
    struct vx_h1_reader reader;
    w->net.moves = true;
    vx_h1_reader_init(&reader, &w->t->base, &w->net.rt, VX_BY_CLIENT, &limits);
    vx_h1_reader_begin_body(&reader, VX_BODY_LENGTH, 1 << 20, 0, NULL);
    assert_int_equal(vx_h1_move(&reader, &w->sink), -1);
    end(w);
}

static void test_what_has_not_gone_may_still_be_added_to(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_LENGTH, 5);
    put_head(w, "HEAD .");
    uint64_t at = vx_h1_sink_position(&w->sink) - 1;
    vx_h1_sink_push(&w->sink, VX_SLICE("hello"));
    w->t->room = 3;
    vx_h1_sink_flush(&w->sink);
    assert_true(vx_h1_sink_insert(&w->sink, at, VX_SLICE("more ")));
    w->t->room = 3;
    w->t->base.writable = true;
    vx_h1_sink_flush(&w->sink);
    assert_false(vx_h1_sink_insert(&w->sink, at, VX_SLICE("too late ")));
    fake_give_room(w->t, SIZE_MAX);
    vx_h1_sink_flush(&w->sink);
    assert_string_equal(fake_received(w->t), "HEAD more .hello");
    end(w);
}

static void test_a_full_buffer_grows_for_what_is_added(void **state) {
    (void)state;
    struct world *w = start(VX_BODY_LENGTH, 0);
    put_head(w, "A.");
    size_t room = vx_buffer_room(&w->sink.out);
    char *rest = vx_h1_sink_reserve(&w->sink, room);
    memset(rest, 'x', room);
    vx_h1_sink_commit(&w->sink, room);
    assert_true(vx_h1_sink_insert(&w->sink, 1, VX_SLICE("BC")));
    vx_h1_sink_flush(&w->sink);
    const char *got = fake_received(w->t);
    assert_int_equal(strlen(got), room + 4);
    assert_int_equal(strncmp(got, "ABC.x", 5), 0);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_has_not_gone_may_still_be_added_to),
        cmocka_unit_test(test_a_full_buffer_grows_for_what_is_added),
        cmocka_unit_test(test_a_head_and_a_small_body_leave_in_one_write),
        cmocka_unit_test(test_no_more_than_the_announced_length_is_taken),
        cmocka_unit_test(test_a_short_body_is_not_finished),
        cmocka_unit_test(test_small_chunks_and_trailers),
        cmocka_unit_test(test_chunks_survive_partial_writes),
        cmocka_unit_test(test_more_bytes_than_an_open_chunk_has_left),
        cmocka_unit_test(test_a_full_connection_takes_nothing_more),
        cmocka_unit_test(test_a_broken_transport_sets_failed),
        cmocka_unit_test(test_move_takes_large_plain_bodies_only),
        cmocka_unit_test(test_move_never_goes_into_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
