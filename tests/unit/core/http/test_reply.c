/* SPDX-License-Identifier: Apache-2.0 */
/* Complete small answers: framing, HEAD, statuses without a body, a connection that is full, no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/http/reply.h"
#include "support/fake_downstream.h"

static struct fake_downstream f;
static struct vx_reply reply;

/* A handler that only notes the stream's user, so that the fake can tell it of room. */
static void on_writable(void *user, uint64_t now_ns) {
    (void)now_ns;
    if (vx_reply_resume(&reply, user) == VX_REPLY_DONE)
        f.down.stream.ops->release(&f.down.stream);
}

static const struct vx_stream_events events = {.on_writable = on_writable};

static void setup(enum vx_method method) {
    fake_downstream_init(&f, method, "/");
    f.down.stream.events = &events;
    f.down.stream.user = &f.down;
}

static void done(void) {
    f.down.stream.ops->release(&f.down.stream);
    fake_downstream_check_done(&f);
    fake_downstream_free(&f);
}

static void json_answer(void **state) {
    (void)state;
    setup(VX_METHOD_GET);
    assert_int_equal(vx_reply_json(&reply, &f.down, 404, VX_SLICE("{\"error\":\"Not Found\"}")),
                     VX_REPLY_DONE);
    assert_int_equal(f.response.status, 404);
    assert_int_equal(f.response.framing, VX_BODY_LENGTH);
    assert_int_equal(f.response.body_bytes, 21);
    assert_string_equal(f.fields, "content-type: application/json\n");
    assert_true(vx_slice_eq(fake_downstream_body(&f), VX_SLICE("{\"error\":\"Not Found\"}")));
    done();
}

static void further_fields_in_order(void **state) {
    (void)state;
    setup(VX_METHOD_GET);
    struct vx_reply_field fields[] = {
        {VX_HEADER_LOCATION, VX_SLICE("location"), VX_SLICE("https://example.org/")},
        {VX_HEADER_OTHER, VX_SLICE("retry-after"), VX_SLICE("2")},
    };
    struct vx_reply_content content = {.status = 308, .fields = fields, .field_count = 2};
    assert_int_equal(vx_reply_start(&reply, &f.down, &content), VX_REPLY_DONE);
    assert_string_equal(f.fields, "location: https://example.org/\nretry-after: 2\n");
    assert_int_equal(f.response.framing, VX_BODY_LENGTH);
    assert_int_equal(f.response.body_bytes, 0);
    done();
}

static void head_gets_the_length_only(void **state) {
    (void)state;
    setup(VX_METHOD_HEAD);
    assert_int_equal(vx_reply_json(&reply, &f.down, 200, VX_SLICE("{}")), VX_REPLY_DONE);
    assert_int_equal(f.response.framing, VX_BODY_LENGTH);
    assert_int_equal(f.response.body_bytes, 2);
    assert_int_equal(f.body_len, 0);
    done();
}

static void statuses_without_content(void **state) {
    (void)state;
    const uint16_t statuses[] = {204, 205, 304};
    for (unsigned i = 0; i < 3; i++) {
        setup(VX_METHOD_GET);
        assert_int_equal(vx_reply_json(&reply, &f.down, statuses[i], VX_SLICE("{}")), VX_REPLY_DONE);
        assert_int_equal(f.response.framing, statuses[i] == 205 ? VX_BODY_LENGTH : VX_BODY_NONE);
        assert_int_equal(f.response.body_bytes, 0);
        assert_int_equal(f.body_len, 0);
        done();
    }
}

static void full_connection(void **state) {
    (void)state;
    /* Room from nothing at all to all but one byte. */
    for (size_t room = 0; room < 10; room++) {
        setup(VX_METHOD_GET);
        f.room = room;
        assert_int_equal(vx_reply_json(&reply, &f.down, 200, VX_SLICE("0123456789")), VX_REPLY_WAIT);
        assert_true(f.flushed);
        assert_false(f.finished);
        fake_downstream_writable(&f, 0);
        assert_int_equal(f.body_len, room);
        fake_downstream_writable(&f, SIZE_MAX);
        assert_true(vx_slice_eq(fake_downstream_body(&f), VX_SLICE("0123456789")));
        fake_downstream_check_done(&f);
        fake_downstream_free(&f);
    }
}

static void no_memory(void **state) {
    (void)state;
    setup(VX_METHOD_GET);
    f.out_of_memory = true;
    vx_arena_alloc(&f.arena, sizeof f.first - 8); /* uses up the first piece */
    assert_int_equal(vx_reply_json(&reply, &f.down, 200, VX_SLICE("{}")), VX_REPLY_NO_MEMORY);
    assert_false(f.responded);
    fake_downstream_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_answer),     cmocka_unit_test(further_fields_in_order),
        cmocka_unit_test(full_connection), cmocka_unit_test(head_gets_the_length_only),
        cmocka_unit_test(no_memory),       cmocka_unit_test(statuses_without_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
