/* SPDX-License-Identifier: Apache-2.0 */
/* See client.h. */
#include "core/limit/client.h"

static const uint64_t ip4_mark = UINT64_C(0xffffffff) << 32;

enum { CLIENT_BITS_OF_IP6 = 64 };

uint64_t vx_client_of(const struct vx_address *address) {
    struct vx_address a = *address;
    vx_address_unmap(&a);
    if (a.kind != VX_ADDRESS_IP4 && a.kind != VX_ADDRESS_IP6)
        return 0;
    uint64_t word = 0;
    for (unsigned i = 0; i < (a.kind == VX_ADDRESS_IP4 ? 4u : 8u); i++)
        word = word << 8 | a.ip[i];
    return a.kind == VX_ADDRESS_IP4 ? ip4_mark | word : word;
}

struct vx_address vx_client_address(uint64_t client) {
    struct vx_address a = {.kind = VX_ADDRESS_NONE};
    if (client == 0)
        return a;
    bool ip4 = (client & ip4_mark) == ip4_mark;
    unsigned bytes = ip4 ? 4 : 8;
    a.kind = ip4 ? VX_ADDRESS_IP4 : VX_ADDRESS_IP6;
    for (unsigned i = 0; i < bytes; i++)
        a.ip[i] = (uint8_t)(client >> (8 * (bytes - 1 - i)));
    return a;
}

bool vx_client_in_prefix(uint64_t client, const struct vx_prefix *prefix) {
    struct vx_address a = vx_client_address(client);
    struct vx_prefix p = *prefix;
    if (a.kind == VX_ADDRESS_IP6 && p.bits > CLIENT_BITS_OF_IP6) {
        memset(p.address.ip + 8, 0, 8);
        p.bits = CLIENT_BITS_OF_IP6;
    }
    return a.kind != VX_ADDRESS_NONE && vx_prefix_contains(&p, &a);
}

size_t vx_client_format(uint64_t client, char *out) {
    struct vx_address a = vx_client_address(client);
    size_t n = vx_address_format_ip(&a, out);
    if (a.kind == VX_ADDRESS_IP6) {
        memcpy(out + n, "/64", 3);
        n += 3;
    }
    return n;
}
