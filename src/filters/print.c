/* SPDX-License-Identifier: Apache-2.0 */
/* See print.h. */
#include "filters/print.h"

#include <stdarg.h>
#include <stdio.h>

void vx_print(struct vx_text_sink *sink, const char *format, ...) {
    char text[VX_PRINT_MAX_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sink->put(sink, vx_slice(text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1));
}
