/* SPDX-License-Identifier: Apache-2.0 */
/* See code.h. */
#include "filters/proxy_wasm/code.h"

#include <stdio.h>

_Static_assert(VX_PWASM_EXPORT_COUNT <= 32, "struct vx_pwasm_code has a bit for each");

static bool find_version(const struct vx_wasm_module *m, enum vx_pwasm_version *version) {
    static const char *const markers[] = {
        [VX_PWASM_0_1_0] = "proxy_abi_version_0_1_0",
        [VX_PWASM_0_2_0] = "proxy_abi_version_0_2_0",
        [VX_PWASM_0_2_1] = "proxy_abi_version_0_2_1",
    };
    char type[VX_WASM_TYPE_MAX];
    for (unsigned v = VX_PWASM_0_1_0; v <= VX_PWASM_0_2_1; v++)
        if (vx_wasm_module_exports(m, vx_slice_of(markers[v]), type)) {
            *version = (enum vx_pwasm_version)v;
            return true;
        }
    return false;
}

bool vx_pwasm_code_is(const struct vx_wasm_module *module) {
    enum vx_pwasm_version version;
    return find_version(module, &version);
}

/* Headers callbacks came without end_of_stream at first, and some modules of that time still do. */
static bool without_end(enum vx_pwasm_export e, const char *type) {
    return (e == VX_PWASM_ON_REQUEST_HEADERS || e == VX_PWASM_ON_RESPONSE_HEADERS) &&
           strcmp(type, "ii:i") == 0;
}

static bool look_at(struct vx_pwasm_code *code, enum vx_pwasm_export e, const char *name, const char *wanted,
                    struct vx_wasm_text *why) {
    char type[VX_WASM_TYPE_MAX];
    if (!vx_wasm_module_exports(&code->module, vx_slice_of(name), type))
        return true;
    bool whole = strcmp(type, wanted) == 0;
    if (!whole && !without_end(e, type)) {
        snprintf(why->text, sizeof why->text, "it exports %s with the type (%s), which must be (%s)", name,
                 type, wanted);
        return false;
    }
    code->exports |= UINT32_C(1) << e;
    if (whole)
        code->told_end |= UINT32_C(1) << e;
    return true;
}

/* proxy_on_memory_allocate first: TinyGo exports both, and what its malloc gives stays until free() is called. */
static struct vx_slice find_allocator(const struct vx_wasm_module *m) {
    static const struct vx_slice names[] = {{"proxy_on_memory_allocate", 24}, {"malloc", 6}};
    char type[VX_WASM_TYPE_MAX];
    for (unsigned i = 0; i < 2; i++)
        if (vx_wasm_module_exports(m, names[i], type) && strcmp(type, "i:i") == 0)
            return names[i];
    return VX_SLICE_NONE;
}

bool vx_pwasm_code_init(struct vx_pwasm_code *code, const struct vx_wasm_module *module,
                        struct vx_wasm_text *why) {
    static const struct {
        const char *name, *type;
    } wanted[] = {
#define X(id, name, type) {name, type},
        VX_PWASM_EXPORT_LIST(X)
#undef X
    };
    *code = (struct vx_pwasm_code){.module = *module};
    if (!find_version(module, &code->version)) {
        snprintf(why->text, sizeof why->text,
                 "it exports neither execute nor proxy_abi_version_0_1_0, _0_2_0 or _0_2_1");
        return false;
    }
    for (unsigned e = 0; e < VX_PWASM_EXPORT_COUNT; e++)
        if (!look_at(code, (enum vx_pwasm_export)e, wanted[e].name, wanted[e].type, why))
            return false;
    code->allocator = find_allocator(module);
    code->edits_body = vx_wasm_module_wants(module, VX_SLICE("env"), VX_SLICE("proxy_set_buffer_bytes"));
    return true;
}
