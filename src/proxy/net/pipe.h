/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes for splice: bytes go from one socket to another through a pipe without passing user memory. Empty pipes wait
 * in a pool of the worker; one that holds bytes belongs to the transport they are for. */
#ifndef VX_PROXY_NET_PIPE_H
#define VX_PROXY_NET_PIPE_H

#include <stddef.h>
#include <sys/types.h>

#include "proxy/net/tcp.h"

/* How much one move() carries. It begins small and doubles while the other side takes all of it, so that a fast reader
 * costs few calls and a slow one holds little memory. */
enum { VX_PIPE_BYTES_MIN = 64 * 1024, VX_PIPE_BYTES_MAX = 1024 * 1024 };

/* An empty pipe; NULL: no descriptors left, or the kernel grants this user no pipe worth having. */
struct vx_pipe *vx_pipe_get(struct vx_tcp *tcp);

/* Back to the pool; it must be empty. */
void vx_pipe_put(struct vx_tcp *tcp, struct vx_pipe *pipe);

/* Closes it with whatever it holds. */
void vx_pipe_destroy(struct vx_pipe *pipe);

void vx_pipe_pool_free(struct vx_tcp *tcp);

/* splice from `fd` into an empty pipe (at most VX_PIPE_BYTES_MAX), and out of it. The results of splice: bytes, 0 at
 * the end, -1 with errno. */
ssize_t vx_pipe_fill(struct vx_pipe *pipe, int fd, size_t bytes);
ssize_t vx_pipe_drain(struct vx_pipe *pipe, int fd, size_t bytes);

#endif
