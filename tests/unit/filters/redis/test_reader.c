/* SPDX-License-Identifier: Apache-2.0 */
/* What of a server's bytes becomes a reply, and what would take too much memory to become one. */
#include "filters/redis/reader.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 4096 };

static void feed(struct vx_redis_reader *r, const char *text) {
    assert_true(vx_redis_reader_feed(r, vx_slice_of(text)));
}

/* What reading says at last, and how many replies came before. */
static enum vx_redis_read read_all(struct vx_redis_reader *r, unsigned *replies) {
    struct redisReply *reply;
    enum vx_redis_read said;
    *replies = 0;
    while ((said = vx_redis_reader_next(r, ROOM, &reply)) == VX_REDIS_READ_REPLY) {
        freeReplyObject(reply);
        ++*replies;
    }
    return said;
}

static void replies_one_by_one(void **state) {
    (void)state;
    struct vx_redis_reader *r = vx_redis_reader_new();
    struct redisReply *reply;
    assert_true(vx_redis_reader_is_empty(r));
    feed(r, "+OK\r\n-ERR no\r\n:-5\r\n$3\r\nabc\r\n$-1\r\n*-1\r\n*2\r\n:1\r\n*1\r\n$1\r\nx\r\n");
    static const int types[] = {REDIS_REPLY_STATUS, REDIS_REPLY_ERROR, REDIS_REPLY_INTEGER,
                                REDIS_REPLY_STRING, REDIS_REPLY_NIL,   REDIS_REPLY_NIL,
                                REDIS_REPLY_ARRAY};
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
        assert_int_equal(vx_redis_reader_next(r, ROOM, &reply), VX_REDIS_READ_REPLY);
        assert_int_equal(reply->type, types[i]);
        freeReplyObject(reply);
    }
    assert_true(vx_redis_reader_is_empty(r));
    vx_redis_reader_free(r);
}

static void each_reply_has_the_whole_room(void **state) {
    (void)state;
    struct vx_redis_reader *r = vx_redis_reader_new();
    unsigned replies, total = 0;
    for (int i = 0; i < 1000; i++) {
        feed(r, "*3\r\n:1\r\n$3\r\nabc\r\n:");
        assert_int_equal(read_all(r, &replies), VX_REDIS_READ_MORE);
        total += replies;
        feed(r, "2\r\n");
        assert_int_equal(read_all(r, &replies), VX_REDIS_READ_MORE);
        total += replies;
    }
    assert_int_equal(total, 1000);
    vx_redis_reader_free(r);
}

static void what_is_too_large(void **state) {
    (void)state;
    static const char *const texts[] = {
        "*2147483647\r\n",
        "*600\r\n",
        "*2\r\n*200\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*2147483647\r\n",
        "*3\r\n:1\r\n*2147483647\r\n",
    };
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct vx_redis_reader *r = vx_redis_reader_new();
        unsigned replies;
        feed(r, ":1\r\n");
        feed(r, texts[i]);
        if (strcmp(texts[i], "*2\r\n*200\r\n") == 0)
            for (int n = 0; n < 200; n++)
                feed(r, ":1\r\n");
        assert_int_equal(read_all(r, &replies), VX_REDIS_READ_TOO_LARGE);
        assert_int_equal(replies, 1);
        assert_int_equal(read_all(r, &replies), VX_REDIS_READ_TOO_LARGE); /* it stays so */
        vx_redis_reader_free(r);
    }
}

/* Pieces of it, as they come, until it has had enough. */
static size_t bytes_until_refused(const char *begin, const char *piece) {
    struct vx_redis_reader *r = vx_redis_reader_new();
    unsigned replies;
    size_t fed = strlen(begin);
    feed(r, begin);
    while (read_all(r, &replies) == VX_REDIS_READ_MORE && fed < (size_t)10 * ROOM) {
        feed(r, piece);
        fed += strlen(piece);
    }
    assert_int_equal(read_all(r, &replies), VX_REDIS_READ_TOO_LARGE);
    vx_redis_reader_free(r);
    return fed;
}

static void what_never_ends(void **state) {
    (void)state;
    assert_in_range(bytes_until_refused("$2147483647\r\n", "0123456789"), ROOM, ROOM + 50);
    assert_in_range(bytes_until_refused("+", "0123456789"), ROOM, ROOM + 50);
    assert_in_range(bytes_until_refused("*", "0000000000"), ROOM, ROOM + 50);
    assert_in_range(bytes_until_refused("*400\r\n", ":1\r\n"), 6, ROOM);
    assert_in_range(bytes_until_refused("*400\r\n", "$-1\r\n"), 6, ROOM);
    assert_in_range(bytes_until_refused("*400\r\n", "*0\r\n"), 6, ROOM);
}

static void nonsense(void **state) {
    (void)state;
    static const char *const texts[] = {"HTTP/1.1 200 OK\r\n",
                                        "*x\r\n",
                                        "$x\r\n",
                                        ":x\r\n",
                                        "*-2\r\n",
                                        "$-2\r\n",
                                        "*2147483648\r\n",
                                        "*9223372036854775807\r\n",
                                        "*99999999999999999999\r\n",
                                        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
                                        "%1\r\n:1\r\n:2\r\n"};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct vx_redis_reader *r = vx_redis_reader_new();
        unsigned replies;
        feed(r, texts[i]);
        assert_int_equal(read_all(r, &replies), VX_REDIS_READ_NONSENSE);
        vx_redis_reader_free(r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_one_by_one), cmocka_unit_test(each_reply_has_the_whole_room),
        cmocka_unit_test(what_is_too_large),  cmocka_unit_test(what_never_ends),
        cmocka_unit_test(nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
