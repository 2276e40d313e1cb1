/* SPDX-License-Identifier: Apache-2.0 */
/* Properties: what a plugin can ask about its exchange, by paths as Envoy has them (`request.path`), their parts joined
 * with zero bytes, and values that plugins leave for one another. */
#ifndef VX_FILTERS_PROXY_WASM_PROPERTIES_H
#define VX_FILTERS_PROXY_WASM_PROPERTIES_H

#include "filters/proxy_wasm/vm.h"

enum { VX_PWASM_PROPERTY_PARTS_MAX = 16 };

/* A value: bytes, or a map of fields. */
struct vx_pwasm_property {
    struct vx_slice bytes;
    struct vx_field_map *map; /* NULL: `bytes` is it */
    char room[VX_ADDRESS_TEXT_MAX + 8];
};

/* NOT_FOUND, SERIALIZATION_FAILURE: the path names a whole of many. The value is good until the next call. */
enum vx_pwasm_status vx_pwasm_property_find(struct vx_pwasm_vm *vm, struct vx_slice path,
                                            struct vx_pwasm_property *out);

/* Leaves a value at the exchange, as `wasm.` and the path; it never hides what the proxy itself says. NOT_FOUND: there is
 * no exchange; INTERNAL_FAILURE: no memory, or too much is kept already. */
enum vx_pwasm_status vx_pwasm_property_set(struct vx_pwasm_vm *vm, struct vx_slice path,
                                           struct vx_slice value);

/* Splits a path at its zero bytes; one at its end is tolerated. Returns the number of parts, 0: none, or too many. */
uint32_t vx_pwasm_property_split(struct vx_slice path, struct vx_slice parts[VX_PWASM_PROPERTY_PARTS_MAX]);

#endif
