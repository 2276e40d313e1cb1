/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC's framing of messages inside a body: a flag (compressed or not), four bytes of length, the message. Both sides of a
 * unary call read exactly one, and send one. Any thread. */
#ifndef VX_ADMIN_GRPC_FRAME_H
#define VX_ADMIN_GRPC_FRAME_H

#include <stdint.h>

#include "admin/grpc/status.h"
#include "core/ports/stream.h"

enum { VX_GRPC_PREFIX_BYTES = 5 };

/* What messages under way may hold together. One thread. */
struct vx_grpc_budget {
    uint64_t limit_bytes, held_bytes;
};

/* Gathers the one message of a body. All zero but for the limits. */
struct vx_grpc_reader {
    struct vx_grpc_budget *budget; /* NULL: none */
    uint32_t limit_bytes;          /* of the message */
    uint32_t announced;            /* its length */
    uint8_t prefix[VX_GRPC_PREFIX_BYTES];
    uint8_t prefix_len;
    char *message; /* from malloc; grows as bytes come, not with what is announced */
    size_t len, room;
};

/* Takes in what came. False: *status says what is wrong; the reader takes nothing more. */
bool vx_grpc_reader_feed(struct vx_grpc_reader *r, struct vx_slice bytes, struct vx_grpc_status *status);

/* How far a body has been read. */
enum vx_grpc_read {
    VX_GRPC_READ_WAIT,    /* nothing more now; on_readable follows */
    VX_GRPC_READ_END,     /* the body has ended */
    VX_GRPC_READ_REFUSED, /* *status says what is wrong */
    VX_GRPC_READ_BROKEN,  /* the stream is */
};

/* Takes in what the stream has. */
enum vx_grpc_read vx_grpc_reader_pull(struct vx_grpc_reader *r, struct vx_stream *s,
                                      struct vx_grpc_status *status);

/* The body has ended. False: there was not one whole message. */
bool vx_grpc_reader_end(const struct vx_grpc_reader *r, struct vx_grpc_status *status);

static inline struct vx_slice vx_grpc_reader_message(const struct vx_grpc_reader *r) {
    return vx_slice(r->message, r->len);
}

/* Gives the message back. */
void vx_grpc_reader_free(struct vx_grpc_reader *r);

/* The prefix of a message of `bytes` bytes that is not compressed. */
void vx_grpc_write_prefix(char out[VX_GRPC_PREFIX_BYTES], uint32_t bytes);

/* A prefix and, VX_GRPC_PREFIX_BYTES on, room for its message of `bytes` bytes: *frame is both. For free(); NULL: no
 * memory, or too long. */
char *vx_grpc_new_frame(size_t bytes, struct vx_slice *frame);

/* Sends of *rest what the stream takes. False: some is left; on_writable follows. */
bool vx_grpc_push(struct vx_stream *s, struct vx_slice *rest);

#endif
