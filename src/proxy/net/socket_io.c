/* SPDX-License-Identifier: Apache-2.0 */
/* See socket_io.h. A file of its own, so that a test can count the calls by functions that stand before these. */
#include "proxy/net/socket_io.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/base/assert.h"

_Static_assert(sizeof(struct vx_slice) == sizeof(struct iovec) &&
                   offsetof(struct vx_slice, ptr) == offsetof(struct iovec, iov_base) &&
                   offsetof(struct vx_slice, len) == offsetof(struct iovec, iov_len),
               "slices are handed to sendmsg as they are");

ssize_t vx_socket_recv(int fd, char *to, size_t room) {
    return syscall(SYS_recvfrom, fd, to, room, 0, NULL, NULL);
}

static __attribute__((noinline)) ssize_t send_all(int fd, const struct vx_slice *slices, unsigned count) {
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)slices, .msg_iovlen = count};
    return syscall(SYS_sendmsg, fd, &m, MSG_NOSIGNAL);
}

ssize_t vx_socket_send(int fd, const struct vx_slice *slices, unsigned count) {
    if (VX_LIKELY(count == 1))
        return syscall(SYS_sendto, fd, slices[0].ptr, slices[0].len, MSG_NOSIGNAL, NULL, 0);
    return send_all(fd, slices, count);
}
