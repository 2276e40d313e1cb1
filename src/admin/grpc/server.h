/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC service behind the HTTP server: unary calls over HTTP/2. It reads the message, runs the method, sends the answer;
 * what messages mean is the methods' business. One thread. */
#ifndef VX_ADMIN_GRPC_SERVER_H
#define VX_ADMIN_GRPC_SERVER_H

#include "admin/grpc/frame.h"
#include "core/ports/handler.h"

struct vx_grpc_call; /* one call, from its method's run() to its answer */

struct vx_grpc_method {
    struct vx_slice name;
    const void *about; /* the service's own */
};

struct vx_grpc_limits {
    uint32_t message_bytes; /* of one request */
    uint64_t held_bytes;    /* of all requests under way */
    uint32_t calls;         /* at a time; one more is refused */
};

struct vx_grpc_service {
    struct vx_slice name; /* in full, as `vortex.admin.AdminService` */
    const struct vx_grpc_method *methods;
    size_t method_count;
    struct vx_grpc_limits limits;
    /* Runs a method. The message is borrowed for the call. It answers now or later, exactly once, by vx_grpc_answer or
     * vx_grpc_fail. */
    void (*run)(void *user, const struct vx_grpc_method *method, struct vx_grpc_call *call,
                struct vx_slice message);
};

/* Plain memory of the owner; outlives its downstreams and calls. */
struct vx_grpc_server {
    struct vx_handler handler; /* what the HTTP server gets */
    const struct vx_grpc_service *service;
    struct vx_grpc_budget budget;
    uint32_t calls; /* under way */
    void *user;     /* of run() */
};

/* `service` outlives the server. Never fails, nothing to free. */
void vx_grpc_server_init(struct vx_grpc_server *s, const struct vx_grpc_service *service, void *user);

/* A buffer for the answer's message of `bytes` bytes, to be written before vx_grpc_answer. NULL: no memory (fail the call
 * then). */
char *vx_grpc_answer_room(struct vx_grpc_call *call, size_t bytes);

/* Ends the call with the message that was written. The call is gone. */
void vx_grpc_answer(struct vx_grpc_call *call);

/* Ends the call with an error; `text` is copied. The call is gone. */
void vx_grpc_fail(struct vx_grpc_call *call, enum vx_grpc_code code, struct vx_slice text);

#endif
