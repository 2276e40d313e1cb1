/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of whoever claims to be a Redis. None takes more memory than it may; it makes no difference in how many pieces
 * the bytes come; and what is read is what hiredis alone reads there, which is asked only where that is safe. */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/assert.h"
#include "filters/redis/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 2048 };

static size_t held_bytes(const struct redisReply *reply) {
    size_t bytes = sizeof *reply;
    if (reply->type == REDIS_REPLY_ARRAY) {
        bytes += reply->elements * sizeof *reply->element;
        for (size_t i = 0; i < reply->elements; i++)
            bytes += held_bytes(reply->element[i]);
    } else if (reply->type != REDIS_REPLY_INTEGER && reply->type != REDIS_REPLY_NIL) {
        bytes += reply->len;
    }
    return bytes;
}

static bool same(const struct redisReply *a, const struct redisReply *b) {
    if (a->type != b->type)
        return false;
    if (a->type == REDIS_REPLY_INTEGER)
        return a->integer == b->integer;
    if (a->type == REDIS_REPLY_NIL)
        return true;
    if (a->type != REDIS_REPLY_ARRAY)
        return a->len == b->len && memcmp(a->str, b->str, a->len) == 0;
    bool equal = a->elements == b->elements;
    for (size_t i = 0; equal && i < a->elements; i++)
        equal = same(a->element[i], b->element[i]);
    return equal;
}

/* The next reply of `whole`'s, which has all bytes, must be this one. */
static void compare(struct vx_redis_reader *whole, redisReader *alone, struct redisReply *reply) {
    struct redisReply *other;
    void *theirs = NULL;
    VX_CHECK(held_bytes(reply) <= ROOM);
    VX_CHECK(vx_redis_reader_next(whole, ROOM, &other) == VX_REDIS_READ_REPLY && same(reply, other));
    VX_CHECK(redisReaderGetReply(alone, &theirs) == REDIS_OK && theirs && same(reply, theirs));
    freeReplyObject(theirs);
    freeReplyObject(other);
    freeReplyObject(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vx_redis_reader *pieces = vx_redis_reader_new(), *whole = vx_redis_reader_new();
    redisReader *alone = redisReaderCreate();
    enum vx_redis_read said = VX_REDIS_READ_MORE;
    VX_CHECK(vx_redis_reader_feed(whole, vx_slice((const char *)data, size)));
    VX_CHECK(redisReaderFeed(alone, (const char *)data, size) == REDIS_OK);
    for (size_t at = 0; at < size && said == VX_REDIS_READ_MORE;) {
        size_t n = 1 + data[at] % 7;
        n = n < size - at ? n : size - at;
        VX_CHECK(vx_redis_reader_feed(pieces, vx_slice((const char *)data + at, n)));
        at += n;
        struct redisReply *reply;
        while ((said = vx_redis_reader_next(pieces, ROOM, &reply)) == VX_REDIS_READ_REPLY)
            compare(whole, alone, reply);
    }
    vx_redis_reader_free(pieces);
    vx_redis_reader_free(whole);
    redisReaderFree(alone);
    return 0;
}
