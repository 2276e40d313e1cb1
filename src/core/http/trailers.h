/* SPDX-License-Identifier: Apache-2.0 */
/* Which fields may come behind a body, in any version of HTTP. */
#ifndef VX_CORE_HTTP_TRAILERS_H
#define VX_CORE_HTTP_TRAILERS_H

#include "core/http/message.h"

/* Takes out what would frame, route or authorise the message after the fact (RFC 9110 §6.5.1). Any thread. */
void vx_trailers_strip(struct vx_headers *trailers);

#endif
