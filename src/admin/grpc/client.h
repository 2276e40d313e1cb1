/* SPDX-License-Identifier: Apache-2.0 */
/* One unary gRPC call of ours, over the HTTP client. The thread of that client. */
#ifndef VX_ADMIN_GRPC_CLIENT_H
#define VX_ADMIN_GRPC_CLIENT_H

#include "admin/grpc/frame.h"
#include "core/ports/http_client.h"

/* Plain memory of the caller's, until `done` or vx_grpc_ask_cancel. */
struct vx_grpc_ask {
    struct vx_upstream *up;
    struct vx_arena arena;
    struct vx_request request;
    struct vx_grpc_reader reader;
    struct vx_slice rest; /* of the message, still to be pushed */
    char *message;        /* from malloc: prefix and message */
    const struct vx_response *response;
    bool sent;
    /* How it ended, once, from the loop: with VX_GRPC_OK `message` is the answer; else `text` says why. Both are borrowed. */
    void (*done)(struct vx_grpc_ask *a, enum vx_grpc_code code, struct vx_slice text,
                 struct vx_slice message);
};

struct vx_grpc_ask_options {
    struct vx_http_client *client;
    const struct vx_target *target;
    struct vx_chunk_source *memory; /* for heads */
    const char *path;               /* `/SERVICE/METHOD` */
    uint32_t answer_bytes;          /* a longer answer is refused */
};

/* A buffer for the message of `bytes` bytes, to be written before vx_grpc_ask_start. NULL: no memory. */
char *vx_grpc_ask_room(struct vx_grpc_ask *a, size_t bytes);

/* Sends it; `done` is set. False: not even begun, *text says why (static) and the memory is the caller's again. */
bool vx_grpc_ask_start(struct vx_grpc_ask *a, const struct vx_grpc_ask_options *options, const char **text,
                       uint64_t now_ns);

/* Gives up, between start and done. */
void vx_grpc_ask_cancel(struct vx_grpc_ask *a);

#endif
