/* SPDX-License-Identifier: Apache-2.0 */
/* Who is limited and banned, as one word: an IPv4 address, or the /64 of an IPv6 one, since whoever has one address of a
 * /64 has all of them. */
#ifndef VX_CORE_LIMIT_CLIENT_H
#define VX_CORE_LIMIT_CLIENT_H

#include "core/base/address.h"

/* The upper half of an IPv6 address as it is; an IPv4 address below 32 set bits, where no unicast IPv6 address lies.
 * 0: nobody (a UNIX socket, or an address of ::/64, where ::1 is). */
uint64_t vx_client_of(const struct vx_address *address);

/* The address, or the first one of the /64; kind NONE for 0. */
struct vx_address vx_client_address(uint64_t client);

/* Whether some address of the client lies in the prefix. */
bool vx_client_in_prefix(uint64_t client, const struct vx_prefix *prefix);

/* `192.0.2.1` or `2001:db8::/64`. `out` has VX_ADDRESS_TEXT_MAX bytes; returns the length. */
size_t vx_client_format(uint64_t client, char *out);

#endif
