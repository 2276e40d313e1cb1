/* SPDX-License-Identifier: Apache-2.0 */
/* Between the domain's addresses and the kernel's. */
#ifndef VX_PROXY_NET_SOCKADDR_H
#define VX_PROXY_NET_SOCKADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/base/address.h"

union vx_sockaddr {
    struct sockaddr any;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
    struct sockaddr_un un;
};

/* The kernel's form of an IP4, IP6 or UNIX address (`@name`: abstract) and its length; 0: a NAME, or a path that is
 * too long for a socket. */
socklen_t vx_sockaddr_of(const struct vx_address *a, union vx_sockaddr *out);

/* The domain's form; ::ffff:a.b.c.d becomes IPv4. UNIX addresses come without text. */
void vx_sockaddr_to_address(const union vx_sockaddr *sa, struct vx_address *out);

#endif
