/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest writes to its standard outputs, for the log. The runtime of a language writes a line in pieces, a panic
 * word by word, so lines are gathered; what has no end of line yet is logged when the guest returns. */
#ifndef VX_FILTERS_PROXY_WASM_OUTPUT_H
#define VX_FILTERS_PROXY_WASM_OUTPUT_H

#include "core/base/slice.h"

struct vx_pwasm_vm;

struct vx_pwasm_output {
    char *text; /* the line so far; NULL: none since the guest was entered */
    uint32_t len;
    uint32_t level; /* one of VX_PWASM_LEVEL_* */
};

/* Takes a piece; each line that it completes, or that is as long as the log takes one, is logged. A piece of another level
 * begins a line of its own. The thread that the guest runs on. */
void vx_pwasm_output_write(struct vx_pwasm_vm *vm, uint32_t level, struct vx_slice piece);

/* Logs what is left and gives its memory back: when the guest has returned or trapped. */
void vx_pwasm_output_end(struct vx_pwasm_vm *vm);

#endif
