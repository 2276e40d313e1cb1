/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses from text a stranger may have written (PROXY protocol, X-Forwarded-For, Host): what is read can
 * be written and read again, and libc takes the same IP addresses as we do. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/base/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition)
        abort();
}

static void check_address(struct vx_slice text) {
    struct vx_address a, b;
    const char *why = NULL;
    char out[VX_ADDRESS_TEXT_MAX];
    if (!vx_address_parse(text, &a, &why)) {
        require(why != NULL);
        return;
    }
    size_t n = vx_address_format(&a, out);
    require(n < VX_ADDRESS_TEXT_MAX && strlen(out) == n);
    if (n == VX_ADDRESS_TEXT_MAX - 1)
        return; /* cut */
    require(vx_address_parse(vx_slice(out, n), &b, &why));
    require(vx_address_eq(&a, &b));
}

static void check_ip(struct vx_slice text) {
    struct vx_address a, b;
    char out[VX_ADDRESS_TEXT_MAX], copy[64];
    bool ours = vx_address_parse_ip(text, &a);
    if (text.len < sizeof(copy) && (text.len == 0 || !memchr(text.ptr, 0, text.len))) {
        uint8_t ip[16];
        if (text.len)
            memcpy(copy, text.ptr, text.len);
        copy[text.len] = '\0';
        require(ours == (inet_pton(strchr(copy, ':') ? AF_INET6 : AF_INET, copy, ip) == 1));
    }
    if (!ours)
        return;
    size_t n = vx_address_format_ip(&a, out);
    require(vx_address_parse_ip(vx_slice(out, n), &b) && vx_address_eq(&a, &b));
}

static void check_prefix(struct vx_slice text) {
    struct vx_prefix p;
    if (!vx_prefix_parse(text, &p))
        return;
    require(p.bits <= (p.address.kind == VX_ADDRESS_IP4 ? 32 : 128));
    require(vx_prefix_contains(&p, &p.address));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vx_slice text = vx_slice((const char *)data, size);
    check_address(text);
    check_ip(text);
    check_prefix(text);
    return 0;
}
