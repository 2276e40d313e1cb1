/* SPDX-License-Identifier: Apache-2.0 */
/* Replies out of the bytes that a server sends, by hiredis' reader, with a bound on the memory that one may take: a server
 * that is hostile or broken, or somebody in between, must not make us allocate what it likes. Debian's hiredis 0.14 bounds
 * nothing but nesting (seven arrays); an array's length alone, `*2147483647`, has it allocate 16 GiB. */
#ifndef VX_FILTERS_REDIS_READER_H
#define VX_FILTERS_REDIS_READER_H

#include "core/base/slice.h"

struct redisReply;
struct vx_redis_reader;

enum vx_redis_read {
    VX_REDIS_READ_REPLY,
    VX_REDIS_READ_MORE,      /* it is not whole yet */
    VX_REDIS_READ_NONSENSE,  /* no reply of the protocol */
    VX_REDIS_READ_TOO_LARGE, /* or there is no memory for it */
};

/* NULL: no memory. */
struct vx_redis_reader *vx_redis_reader_new(void);

/* NULL is allowed. */
void vx_redis_reader_free(struct vx_redis_reader *r);

/* Takes bytes in, behind those that are not read yet. False: no memory. */
bool vx_redis_reader_feed(struct vx_redis_reader *r, struct vx_slice bytes);

/* Whether all bytes have been read. */
bool vx_redis_reader_is_empty(const struct vx_redis_reader *r);

/* Reads the next reply, which may take `max_bytes` as bytes that wait, and as many as objects; the same number until it is
 * whole. *reply is then the caller's, for freeReplyObject(). After nonsense or what is too large there is nothing more to
 * be read. */
enum vx_redis_read vx_redis_reader_next(struct vx_redis_reader *r, size_t max_bytes,
                                        struct redisReply **reply);

#endif
