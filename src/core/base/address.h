/* SPDX-License-Identifier: Apache-2.0 */
/* Network addresses as values, without any socket header: what the domain compares, prints and matches. */
#ifndef VX_CORE_BASE_ADDRESS_H
#define VX_CORE_BASE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/slice.h"

enum vx_address_kind {
    VX_ADDRESS_NONE,
    VX_ADDRESS_IP4, /* ip[0..4) in network order */
    VX_ADDRESS_IP6,
    VX_ADDRESS_UNIX, /* text is the path (a leading '@': abstract) */
    VX_ADDRESS_NAME, /* text is the host name, to be resolved */
};

struct vx_address {
    uint8_t kind;  /* enum vx_address_kind */
    uint16_t port; /* host order; 0 for UNIX */
    uint8_t ip[16];
    struct vx_slice text; /* borrowed; empty for IP4 and IP6 */
};

struct vx_prefix {
    struct vx_address address;
    uint8_t bits;
};

enum {
    VX_ADDRESS_TEXT_MAX = 128,
    VX_ADDRESS_UNIX_MAX_BYTES = 107, /* of a UNIX path: sun_path without its NUL */
};

/* Parses `1.2.3.4:80`, `[::1]:80`, `name:80`, `unix:/path`. The slice in a UNIX or NAME result borrows from
 * `text`. False: not an address; *why is static text that says what it must be: "an address such as ...". */
bool vx_address_parse(struct vx_slice text, struct vx_address *out, const char **why);

/* Whether `name` is a host name: labels of letters, digits, `-` and (as container names have it) `_`, at most
 * 253 bytes, not ending in a number (RFC 1123 §2.1). A trailing dot is allowed. */
bool vx_address_name_valid(struct vx_slice name);

/* Parses an IP literal without port (`1.2.3.4`, `::1`, no brackets). ::ffff:a.b.c.d becomes IP4. */
bool vx_address_parse_ip(struct vx_slice text, struct vx_address *out);

/* Parses `10.0.0.0/8`, `fd00::/8` or a bare IP. */
bool vx_prefix_parse(struct vx_slice text, struct vx_prefix *out);

bool vx_prefix_contains(const struct vx_prefix *p, const struct vx_address *a);

/* Turns an IPv4-mapped IPv6 address (::ffff:a.b.c.d, RFC 4291 §2.5.5.2) into the IPv4 one. */
void vx_address_unmap(struct vx_address *a);

bool vx_address_eq(const struct vx_address *a, const struct vx_address *b);

/* Text with port (`[::1]:80`) or, for the _ip form, without (`::1`, RFC 5952). `out` has VX_ADDRESS_TEXT_MAX
 * bytes; returns the length; a longer UNIX path is cut. */
size_t vx_address_format(const struct vx_address *a, char *out);
size_t vx_address_format_ip(const struct vx_address *a, char *out);

#endif
