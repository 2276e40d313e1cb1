/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY header parser over arbitrary bytes. What must hold: a header is found at the same length whatever
 * follows, a verdict on a prefix never changes once it is given, and addresses are of a kind that says where they
 * come from. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/net/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vx_proxy_header whole, part;
    if (size > 2 * VX_PROXY_HEADER_MAX)
        return 0;
    int all = vx_proxy_protocol_parse((const char *)data, size, &whole);
    require(all >= -1 && all <= (int)size && all <= VX_PROXY_HEADER_MAX);
    require(size < VX_PROXY_HEADER_MAX || all != 0);
    require(whole.source.kind <= VX_ADDRESS_IP6 && whole.destination.kind <= VX_ADDRESS_IP6);
    require((whole.source.kind == VX_ADDRESS_NONE) == (whole.destination.kind == VX_ADDRESS_NONE));
    size_t step = size / 64 + 1;
    for (size_t n = 0; n < size; n += step) {
        int r = vx_proxy_protocol_parse((const char *)data, n, &part);
        require(r == 0 || r == all);
        require(r <= 0 || vx_address_eq(&part.source, &whole.source));
    }
    return 0;
}
