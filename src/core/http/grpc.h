/* SPDX-License-Identifier: Apache-2.0 */
/* What a proxy has to know of gRPC over HTTP/2: which requests are calls, how long they may take, how they end
 * (PROTOCOL-HTTP2.md, statuscodes.md and http-grpc-status-mapping.md of gRPC). Any thread. */
#ifndef VX_CORE_HTTP_GRPC_H
#define VX_CORE_HTTP_GRPC_H

#include "core/http/message.h"

enum vx_grpc_status {
    VX_GRPC_OK = 0,
    VX_GRPC_CANCELLED = 1,
    VX_GRPC_UNKNOWN = 2,
    VX_GRPC_DEADLINE_EXCEEDED = 4,
    VX_GRPC_PERMISSION_DENIED = 7,
    VX_GRPC_UNIMPLEMENTED = 12,
    VX_GRPC_INTERNAL = 13,
    VX_GRPC_UNAVAILABLE = 14,
    VX_GRPC_UNAUTHENTICATED = 16,
    VX_GRPC_STATUS_COUNT
};

/* A call: HTTP/2 or later, and the content type `application/grpc`, alone or with `+proto` and the like. gRPC-Web is
 * another protocol. */
bool vx_grpc_is_call(const struct vx_request *request);

/* `grpc-timeout`: 1 to 8 digits and a unit. False: it is none. */
bool vx_grpc_read_timeout(struct vx_slice text, uint64_t *ns);

/* The same written, in the finest unit that has room for it; at least 1 ns. Bytes written. */
enum { VX_GRPC_TIMEOUT_MAX_BYTES = 9 };
size_t vx_grpc_write_timeout(char out[VX_GRPC_TIMEOUT_MAX_BYTES], uint64_t ns);

/* `grpc-status`; what is no status that gRPC knows is UNKNOWN. */
uint8_t vx_grpc_read_status(struct vx_slice text);

/* The digits of a status below VX_GRPC_STATUS_COUNT; static. */
struct vx_slice vx_grpc_status_text(uint8_t status);

/* What a client makes of an answer that has no grpc-status. */
uint8_t vx_grpc_status_of_http(uint16_t status);

#endif
