/* SPDX-License-Identifier: Apache-2.0 */
/* See sockaddr.h. */
#include "proxy/net/sockaddr.h"

#include <arpa/inet.h>
#include <stddef.h>

static socklen_t unix_sockaddr(struct vx_slice path, struct sockaddr_un *out) {
    if (path.len == 0)
        return 0;
    bool abstract = path.ptr[0] == '@';
    /* A path ends with a NUL, an abstract name does not. */
    if (path.len + !abstract > sizeof out->sun_path)
        return 0;
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, path.ptr, path.len);
    if (abstract)
        out->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + !abstract);
}

socklen_t vx_sockaddr_of(const struct vx_address *a, union vx_sockaddr *out) {
    switch (a->kind) {
    case VX_ADDRESS_IP4:
        out->ip4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&out->ip4.sin_addr, a->ip, 4);
        return sizeof out->ip4;
    case VX_ADDRESS_IP6:
        out->ip6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
        memcpy(&out->ip6.sin6_addr, a->ip, 16);
        return sizeof out->ip6;
    case VX_ADDRESS_UNIX:
        return unix_sockaddr(a->text, &out->un);
    default:
        return 0;
    }
}

void vx_sockaddr_to_address(const union vx_sockaddr *sa, struct vx_address *out) {
    *out = (struct vx_address){.kind = VX_ADDRESS_NONE};
    switch (sa->any.sa_family) {
    case AF_INET:
        out->kind = VX_ADDRESS_IP4;
        out->port = ntohs(sa->ip4.sin_port);
        memcpy(out->ip, &sa->ip4.sin_addr, 4);
        break;
    case AF_INET6:
        out->kind = VX_ADDRESS_IP6;
        out->port = ntohs(sa->ip6.sin6_port);
        memcpy(out->ip, &sa->ip6.sin6_addr, 16);
        vx_address_unmap(out);
        break;
    case AF_UNIX:
        out->kind = VX_ADDRESS_UNIX;
        break;
    default:
        break;
    }
}
