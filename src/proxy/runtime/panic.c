/* SPDX-License-Identifier: Apache-2.0 */
/* The program's answer to a broken assertion (core/base/assert.h): say which one, and abort. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/assert.h"

_Noreturn void vx_panic(const char *file, int line, const char *condition) {
    fprintf(stderr, "vortex: broken assertion at %s:%d: %s\n", file, line, condition);
    abort();
}
