/* SPDX-License-Identifier: Apache-2.0 */
/* A compiled Proxy-WASM module and what it exports. Immutable once loaded; shared by its VMs on all workers. */
#ifndef VX_FILTERS_PROXY_WASM_CODE_H
#define VX_FILTERS_PROXY_WASM_CODE_H

#include "filters/proxy_wasm/abi.h"
#include "filters/wasm/module.h"

struct vx_pwasm_code {
    struct vx_wasm_module module;
    enum vx_pwasm_version version;
    uint32_t exports;          /* a bit for each enum vx_pwasm_export */
    uint32_t told_end;         /* of these: headers callbacks that take end_of_stream */
    struct vx_slice allocator; /* the exported function that gives memory; empty: none */
    bool edits_body;
};

static inline bool vx_pwasm_code_has(const struct vx_pwasm_code *code, enum vx_pwasm_export e) {
    return code->exports >> e & 1;
}

/* Whether the module says that it is for Proxy-WASM: it exports one of the marker functions. */
bool vx_pwasm_code_is(const struct vx_wasm_module *module);

/* Looks at a loaded module, which is the code's from then on. False with *why: it is no Proxy-WASM module, or an export
 * has another type than the ABI gives it; the module is still the caller's. */
bool vx_pwasm_code_init(struct vx_pwasm_code *code, const struct vx_wasm_module *module,
                        struct vx_wasm_text *why);

#endif
