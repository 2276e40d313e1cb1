/* SPDX-License-Identifier: Apache-2.0 */
/* Text for a protobuf string, which must be valid UTF-8: paths and names of the configuration may be anything. */
#ifndef VX_ADMIN_SERVICE_TEXT_H
#define VX_ADMIN_SERVICE_TEXT_H

#include "core/base/slice.h"

/* A NUL-terminated copy, for free(), in which each byte that belongs to no UTF-8 sequence (RFC 3629), and each NUL, is a
 * `?`. NULL: no memory. Any thread. */
char *vx_admin_text(struct vx_slice text);

#endif
