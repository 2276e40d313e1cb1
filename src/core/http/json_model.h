/* SPDX-License-Identifier: Apache-2.0 */
/* The `model` of an OpenAI-style JSON request body, which picks among a route's backends.
 * A scanner of our own: a DOM of the body would cost several times its size in memory, to read one string. */
#ifndef VX_CORE_HTTP_JSON_MODEL_H
#define VX_CORE_HTTP_JSON_MODEL_H

#include "core/base/arena.h"
#include "core/base/slice.h"

enum vx_json_model_result {
    VX_JSON_MODEL_FOUND,     /* *model is the string, escapes resolved */
    VX_JSON_MODEL_NONE,      /* valid JSON, but no object, or one without a string member `model` */
    VX_JSON_MODEL_INVALID,   /* not JSON (RFC 8259), or nested deeper than VX_JSON_MODEL_DEPTH */
    VX_JSON_MODEL_NO_MEMORY, /* the string had escapes and the arena has no room */
};

enum { VX_JSON_MODEL_DEPTH = 512 };

/* Looks through the whole `body`. When the member occurs more than once the last one counts, as in the
 * parsers that backends use. *model lies in `body`, or in the arena when it had escapes; it is written for
 * FOUND only. Any thread; time linear in the body, constant memory. */
enum vx_json_model_result vx_json_model(struct vx_slice body, struct vx_arena *arena, struct vx_slice *model);

#endif
