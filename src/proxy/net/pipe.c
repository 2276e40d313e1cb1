/* SPDX-License-Identifier: Apache-2.0 */
/* See pipe.h. */
#include "proxy/net/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { POOL_MAX = 32 };

struct vx_pipe {
    struct vx_pipe *next;
    int from, to; /* the end to read, the end to write */
    size_t bytes; /* what it holds at most */
    bool fixed;   /* the kernel lets it grow no more (pipe-user-pages-soft) */
};

struct vx_pipe *vx_pipe_get(struct vx_tcp *tcp) {
    struct vx_pipe *pipe = tcp->pipes;
    if (pipe) {
        tcp->pipes = pipe->next;
        tcp->pipe_count--;
        return pipe;
    }
    int fds[2];
    pipe = malloc(sizeof *pipe);
    if (!pipe || pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) {
        free(pipe);
        return NULL;
    }
    int bytes = fcntl(fds[1], F_GETPIPE_SZ);
    *pipe = (struct vx_pipe){NULL, fds[0], fds[1], bytes > 0 ? (size_t)bytes : 0, false};
    /* A user who has too many pages in pipes gets tiny ones (pipe(7)): copying is cheaper then. */
    if (pipe->bytes < VX_PIPE_BYTES_MIN) {
        vx_pipe_destroy(pipe);
        return NULL;
    }
    return pipe;
}

void vx_pipe_put(struct vx_tcp *tcp, struct vx_pipe *pipe) {
    if (tcp->pipe_count >= POOL_MAX) {
        vx_pipe_destroy(pipe);
        return;
    }
    pipe->next = tcp->pipes;
    tcp->pipes = pipe;
    tcp->pipe_count++;
}

void vx_pipe_destroy(struct vx_pipe *pipe) {
    close(pipe->from);
    close(pipe->to);
    free(pipe);
}

void vx_pipe_pool_free(struct vx_tcp *tcp) {
    while (tcp->pipes) {
        struct vx_pipe *pipe = tcp->pipes;
        tcp->pipes = pipe->next;
        vx_pipe_destroy(pipe);
    }
    tcp->pipe_count = 0;
}

static ssize_t splice_between(int from, int to, size_t bytes) {
    ssize_t n;
    do
        n = splice(from, NULL, to, NULL, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    return n;
}

ssize_t vx_pipe_fill(struct vx_pipe *pipe, int fd, size_t bytes) {
    if (bytes > pipe->bytes && !pipe->fixed) {
        int granted = fcntl(pipe->to, F_SETPIPE_SZ, (int)bytes);
        pipe->fixed = granted < 0;
        pipe->bytes = granted > 0 ? (size_t)granted : pipe->bytes;
    }
    return splice_between(fd, pipe->to, bytes < pipe->bytes ? bytes : pipe->bytes);
}

ssize_t vx_pipe_drain(struct vx_pipe *pipe, int fd, size_t bytes) {
    return splice_between(pipe->from, fd, bytes);
}
