/* SPDX-License-Identifier: Apache-2.0 */
/* The chunked transfer coding (RFC 9112 §7.1), decoded without copying and resumable at every byte. */
#ifndef VX_CORE_HTTP_CHUNKED_H
#define VX_CORE_HTTP_CHUNKED_H

#include "core/base/slice.h"

/* Chunk extensions of one message, all together. They mean nothing to us, so more is an attack (RFC 9112
 * §7.1.1). */
enum { VX_CHUNK_EXTENSION_BYTES = 4096 };

/* One message body. Plain value. */
struct vx_chunked {
    uint64_t left; /* of the chunk whose data is being read */
    uint64_t size; /* of the chunk whose head is being read */
    uint16_t extension_bytes;
    uint8_t state;
    uint8_t digits;
};

enum vx_chunked_result {
    VX_CHUNKED_MORE,     /* all of `in` consumed, nothing for the reader in it */
    VX_CHUNKED_DATA,     /* *data is a run of body bytes; call again with the rest of `in` */
    VX_CHUNKED_TRAILERS, /* the last chunk is over and a trailer field follows: vx_h1_parse_trailers reads on
                          */
    VX_CHUNKED_DONE,     /* the message is over, its last CRLF consumed */
    VX_CHUNKED_ERROR,    /* not the chunked coding: BAD_FRAMING from a client, BAD_RESPONSE from a backend */
};

void vx_chunked_init(struct vx_chunked *c);

/* Reads on in `in`. *data lies inside `in` and is empty but for VX_CHUNKED_DATA; *consumed counts the bytes
 * of `in` that are done with, up to and including the run. After TRAILERS, DONE or ERROR it must not be
 * called again. Any thread, no I/O. */
enum vx_chunked_result vx_chunked_decode(struct vx_chunked *c, struct vx_slice in, struct vx_slice *data,
                                         size_t *consumed);

/* Bytes of the current chunk that are still to come, 0 between chunks: what may be moved unread (splice).
 * vx_chunked_skip tells the decoder that `n` of them (n <= that) went past it. */
static inline uint64_t vx_chunked_left(const struct vx_chunked *c) {
    return c->left;
}
void vx_chunked_skip(struct vx_chunked *c, uint64_t n);

/* Writes `size CRLF` for a chunk of n > 0 bytes and returns its length. The chunk's data is followed by CRLF;
 * the body ends with vx_h1_write_last_chunk (h1_write.h). */
size_t vx_chunk_head(char out[18], uint64_t n);

#endif
