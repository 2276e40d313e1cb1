/* SPDX-License-Identifier: Apache-2.0 */
/* What an exchange does more where it carries a gRPC call: the deadline that the client set (and what is left of it for
 * the backend), answers of the proxy's own in gRPC's form, and how the call ended, which stands behind its body.
 * x->grpc is NULL for everything else, and none of this is called. */
#ifndef VX_CORE_EXCHANGE_GRPC_H
#define VX_CORE_EXCHANGE_GRPC_H

#include "core/base/timer.h"
#include "core/exchange/internal.h"

struct vx_exchange_grpc {
    struct vx_exchange *exchange;
    struct vx_timer timer;
    uint64_t deadline_ns; /* 0: none */
    uint8_t status;       /* how it ended, once `ended` */
    bool ended;
};

/* Sets x->grpc if the request is a call. False: no memory. */
bool vx_exchange_grpc_begin(struct vx_exchange *x);

/* Before an attempt: the backend is told how much time is left. False: no memory. */
bool vx_exchange_grpc_forward(struct vx_exchange *x, uint64_t now_ns);

/* The backend's final head; true: its status says that the backend cannot work. */
bool vx_exchange_grpc_head(struct vx_exchange *x, const struct vx_response *response);

/* The backend's body is complete; `trailers` may be NULL. True as above. */
bool vx_exchange_grpc_trailers(struct vx_exchange *x, const struct vx_headers *trailers);

/* Puts an answer of our own into gRPC's form: status 200, no body, grpc-status in the head. False: no memory. */
bool vx_exchange_grpc_reply(struct vx_exchange *x, struct vx_reply_content *content);

/* The exchange ends: notes how the call did. */
void vx_exchange_grpc_end(struct vx_exchange *x, struct vx_exchange_record *record);

#endif
