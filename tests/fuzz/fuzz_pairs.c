/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest hands to the host: lists of pairs, which written again give the same bytes, and paths of properties. */
#include <stdlib.h>

#include "core/base/assert.h"
#include "filters/proxy_wasm/pairs.h"
#include "filters/proxy_wasm/properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_pairs(struct vx_slice input) {
    static struct vx_field fields[VX_FIELD_MAP_PAIRS_MAX];
    uint32_t count;
    if (!vx_pwasm_pairs_read(input, fields, &count))
        return;
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += fields[i].name.len + fields[i].value.len;
    size_t whole = vx_pwasm_pairs_bytes(count, bytes);
    VX_CHECK(count == 0 || whole == input.len);
    uint8_t *out = malloc(whole + 1);
    VX_CHECK(out);
    if (count) {
        struct vx_pwasm_pairs p = vx_pwasm_pairs_begin(out, count, whole);
        for (uint32_t i = 0; i < count; i++)
            VX_CHECK(vx_pwasm_pairs_put(&p, fields[i].name, fields[i].value, false));
        VX_CHECK(vx_pwasm_pairs_full(&p));
        VX_CHECK(memcmp(out, input.ptr, whole) == 0);
    }
    free(out);
}

static void check_path(struct vx_slice input) {
    struct vx_slice parts[VX_PWASM_PROPERTY_PARTS_MAX];
    uint32_t count = vx_pwasm_property_split(input, parts);
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        VX_CHECK(parts[i].ptr >= input.ptr && parts[i].ptr + parts[i].len <= input.ptr + input.len);
        VX_CHECK(!parts[i].len || !memchr(parts[i].ptr, '\0', parts[i].len));
        bytes += parts[i].len;
    }
    VX_CHECK(bytes + count <= input.len + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vx_slice input = vx_slice((const char *)data, size);
    check_pairs(input);
    check_path(input);
    return 0;
}
