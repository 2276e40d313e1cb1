/* SPDX-License-Identifier: Apache-2.0 */
/* The end of contexts: proxy_on_done, the time that a guest may ask for by it until it calls proxy_done, proxy_on_delete. */
#ifndef VX_FILTERS_PROXY_WASM_DONE_H
#define VX_FILTERS_PROXY_WASM_DONE_H

#include "filters/proxy_wasm/vm.h"

enum { VX_PWASM_WAITING_MAX = 1000 }; /* contexts of streams that wait, of one VM */

void vx_pwasm_done_init(struct vx_pwasm_vm *vm);

/* The stream of this context has gone: the guest is told, and the context forgotten, or kept where it asks for time. */
void vx_pwasm_done_stream(struct vx_pwasm_context *c, uint64_t now_ns);

/* No stream comes any more. True: nothing is waited for, the VM may be ended. False: vm->through will be told when it may,
 * or the VM has died. */
bool vx_pwasm_done_root(struct vx_pwasm_vm *vm, uint64_t now_ns);

/* It is not waited for any longer, nor is any context of a stream: vm->through will be told soon. */
void vx_pwasm_done_hurry(struct vx_pwasm_vm *vm, uint64_t now_ns);

/* Makes the calls that are still due to the root context and to those that wait, without waiting. The VM may die of them. */
void vx_pwasm_done_at_once(struct vx_pwasm_vm *vm, uint64_t now_ns);

/* The VM has died: nobody waits any more. */
void vx_pwasm_done_forget(struct vx_pwasm_vm *vm);

/* proxy_done. False: the context does not wait. */
bool vx_pwasm_done_say(struct vx_pwasm_context *c);

#endif
