/* SPDX-License-Identifier: Apache-2.0 */
/* The two system calls of the request path. glibc's recv and send are cancellation points, which costs as much again as
 * the way into the kernel, and nobody cancels our threads. Any thread; errno as usual. */
#ifndef VX_PROXY_NET_SOCKET_IO_H
#define VX_PROXY_NET_SOCKET_IO_H

#include <sys/types.h>

#include "core/base/slice.h"

/* recv(2) without flags. */
ssize_t vx_socket_recv(int fd, char *to, size_t room);

/* Sends `count` slices (at least one) with MSG_NOSIGNAL, as sendmsg(2) does. */
ssize_t vx_socket_send(int fd, const struct vx_slice *slices, unsigned count);

#endif
