/* SPDX-License-Identifier: Apache-2.0 */
/* See output.h. */
#include "filters/proxy_wasm/output.h"

#include <stdlib.h>
#include <string.h>

#include "filters/proxy_wasm/vm.h"

static void log_line(struct vx_pwasm_vm *vm) {
    struct vx_pwasm_output *out = &vm->output;
    if (out->len)
        vx_pwasm_vm_log(vm, out->level, vx_slice(out->text, out->len));
    out->len = 0;
}

/* Takes from the front of `piece` what still belongs to the line; true: the line is complete. */
static bool extend(struct vx_pwasm_output *out, struct vx_slice *piece) {
    size_t room = VX_PWASM_LOG_TEXT_MAX - out->len;
    size_t look = piece->len < room ? piece->len : room;
    const char *end = memchr(piece->ptr, '\n', look);
    size_t take = end ? (size_t)(end - piece->ptr) : look;
    memcpy(out->text + out->len, piece->ptr, take);
    out->len += (uint32_t)take;
    *piece = vx_slice(piece->ptr + take + (end != NULL), piece->len - take - (end != NULL));
    return end || take == room;
}

void vx_pwasm_output_write(struct vx_pwasm_vm *vm, uint32_t level, struct vx_slice piece) {
    struct vx_pwasm_output *out = &vm->output;
    if (!out->text && !(out->text = malloc(VX_PWASM_LOG_TEXT_MAX)))
        return;
    if (level != out->level)
        log_line(vm);
    out->level = level;
    while (piece.len)
        if (extend(out, &piece))
            log_line(vm);
}

void vx_pwasm_output_end(struct vx_pwasm_vm *vm) {
    if (VX_LIKELY(!vm->output.text))
        return;
    log_line(vm);
    free(vm->output.text);
    vm->output.text = NULL;
}
