/* SPDX-License-Identifier: Apache-2.0 */
/* Formatted text into a sink of the core's. */
#ifndef VX_FILTERS_PRINT_H
#define VX_FILTERS_PRINT_H

#include "core/ports/text_sink.h"

enum { VX_PRINT_MAX_BYTES = 1024 };

/* As printf; what is longer than VX_PRINT_MAX_BYTES is cut. */
void vx_print(struct vx_text_sink *sink, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
