/* SPDX-License-Identifier: Apache-2.0 */
/* How a gRPC call ends: a code and a text, and what both look like in a header or trailer. Any thread. */
#ifndef VX_ADMIN_GRPC_STATUS_H
#define VX_ADMIN_GRPC_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/slice.h"

/* Those that we use, by their numbers in the specification. */
enum vx_grpc_code {
    VX_GRPC_OK = 0,
    VX_GRPC_RESOURCE_EXHAUSTED = 8,
    VX_GRPC_FAILED_PRECONDITION = 9,
    VX_GRPC_UNIMPLEMENTED = 12,
    VX_GRPC_INTERNAL = 13,
    VX_GRPC_CODE_MAX = 16
};

/* `text` is static. */
struct vx_grpc_status {
    enum vx_grpc_code code;
    const char *text;
};

/* The code in decimal digits; static. */
struct vx_slice vx_grpc_code_text(enum vx_grpc_code code);

/* False: `text` is no code. */
bool vx_grpc_code_parse(struct vx_slice text, enum vx_grpc_code *code);

/* Writes `text` as the value of grpc-message: all but printable ASCII, and `%`, percent-encoded. At most three bytes for
 * each of `text`; returns how many. */
size_t vx_grpc_encode_message(char *out, struct vx_slice text);

/* The other way; what is no escape stays as it is. At most as many bytes as `text` has, which may be `out` itself; returns
 * how many. */
size_t vx_grpc_decode_message(char *out, struct vx_slice text);

#endif
