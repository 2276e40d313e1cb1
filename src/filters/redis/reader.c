/* SPDX-License-Identifier: Apache-2.0 */
/* See reader.h. hiredis makes its objects by a table of functions: ours counts, then has hiredis' own make them. */
#include "filters/redis/reader.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

struct vx_redis_reader {
    redisReader *hiredis;
    const redisReplyObjectFunctions *theirs;
    redisReplyObjectFunctions counting;
    size_t left_bytes; /* of what the reply that is being read may take */
    bool begun;        /* a part of it has been made */
};

/* --- Objects ------------------------------------------------------------------------------------------------------ */

/* Whether an object and what it holds still have room. hiredis ends the reply when it gets none. */
static bool afford(const redisReadTask *task, size_t held_bytes) {
    struct vx_redis_reader *r = task->privdata;
    size_t bytes = sizeof(redisReply) + held_bytes;
    r->begun = true;
    if (bytes > r->left_bytes)
        return false;
    r->left_bytes -= bytes;
    return true;
}

static const redisReplyObjectFunctions *theirs(const redisReadTask *task) {
    return ((const struct vx_redis_reader *)task->privdata)->theirs;
}

static void *make_string(const redisReadTask *task, char *text, size_t len) {
    return afford(task, len) ? theirs(task)->createString(task, text, len) : NULL;
}

static void *make_array(const redisReadTask *task, int elements) {
    return afford(task, (size_t)elements * sizeof(redisReply *)) ? theirs(task)->createArray(task, elements)
                                                                 : NULL;
}

static void *make_integer(const redisReadTask *task, long long value) {
    return afford(task, 0) ? theirs(task)->createInteger(task, value) : NULL;
}

static void *make_nil(const redisReadTask *task) {
    return afford(task, 0) ? theirs(task)->createNil(task) : NULL;
}

/* --- The reader --------------------------------------------------------------------------------------------------- */

struct vx_redis_reader *vx_redis_reader_new(void) {
    struct vx_redis_reader *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->hiredis = redisReaderCreate();
    if (!r->hiredis) {
        free(r);
        return NULL;
    }
    r->theirs = r->hiredis->fn;
    r->counting = (redisReplyObjectFunctions){
        .createString = make_string,
        .createArray = make_array,
        .createInteger = make_integer,
        .createNil = make_nil,
        .freeObject = r->theirs->freeObject,
    };
    r->hiredis->fn = &r->counting;
    r->hiredis->privdata = r;
    return r;
}

void vx_redis_reader_free(struct vx_redis_reader *r) {
    if (!r)
        return;
    redisReaderFree(r->hiredis);
    free(r);
}

bool vx_redis_reader_feed(struct vx_redis_reader *r, struct vx_slice bytes) {
    return redisReaderFeed(r->hiredis, bytes.ptr, bytes.len) == REDIS_OK;
}

static size_t unread(const struct vx_redis_reader *r) {
    return r->hiredis->len - r->hiredis->pos;
}

bool vx_redis_reader_is_empty(const struct vx_redis_reader *r) {
    return unread(r) == 0;
}

enum vx_redis_read vx_redis_reader_next(struct vx_redis_reader *r, size_t max_bytes,
                                        struct redisReply **reply) {
    void *whole = NULL;
    if (!r->begun)
        r->left_bytes = max_bytes;
    if (redisReaderGetReply(r->hiredis, &whole) != REDIS_OK)
        return r->hiredis->err == REDIS_ERR_OOM ? VX_REDIS_READ_TOO_LARGE : VX_REDIS_READ_NONSENSE;
    if (!whole)
        return unread(r) > max_bytes ? VX_REDIS_READ_TOO_LARGE : VX_REDIS_READ_MORE;
    r->begun = false;
    *reply = whole;
    return VX_REDIS_READ_REPLY;
}
