/* SPDX-License-Identifier: Apache-2.0 */
/* See tcp.h.
 *
 * Invariants:
 *   1. A socket is registered once, EPOLLET for IN, OUT and RDHUP, and stays so until it is closed.
 *   2. `readable` clear: the kernel's queue was seen empty, so the next byte, FIN or RST makes an edge. A short read
 *      proves that it is empty, except once FIN was seen (`peer_shut`): the end itself is still to be read then, and
 *      no further edge would tell it.
 *   3. `writable` clear: the kernel was seen full (or the pipe holds bytes it did not take), so room makes an edge.
 *   4. pending_bytes > 0 exactly while `pipe` is set, and these bytes go out before any other.
 *   5. `broken` set: error is filled, and readable, writable and peer_shut are set, so that nobody waits for an
 *      event that cannot come.
 *
 * State       | event                  | next       | function
 * CONNECTING  | writable               | OPEN       | on_connected
 * CONNECTING  | error                  | CONNECTING | on_connect_failed (broken; VX_FAILED)
 * OPEN        | readable, writable, FIN| OPEN       | on_events
 * OPEN        | error                  | OPEN       | on_error (broken; VX_FAILED once nothing is left to read)
 * any         | close                  | CLOSED     | close_socket; freed at the end of the round
 */
#include "proxy/net/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "proxy/net/listener.h"
#include "proxy/net/pipe.h"
#include "proxy/net/sockaddr.h"
#include "proxy/net/socket_io.h"

#define SOCKET_STATES(X) X(CONNECTING) X(OPEN) X(CLOSED)

enum socket_state {
#define X(name) SOCKET_##name,
    SOCKET_STATES(X)
#undef X
};

struct socket {
    struct vx_transport base;
    struct vx_watch watch;
    struct vx_tcp *tcp;
    struct vx_pipe *pipe; /* holds base.pending_bytes */
    struct vx_retired retired;
    uint32_t move_bytes; /* what the next move() to this socket carries at most */
    uint8_t state;       /* enum socket_state */
    bool dialed, broken, shut_wanted;
};

static const struct vx_transport_ops socket_ops;

_Static_assert(sizeof(struct socket) <= 256, "an idle connection has 1 KiB for this and all of HTTP/1");

static struct socket *socket_of(struct vx_transport *t) {
    return VX_CONTAINER_OF(t, struct socket, base);
}

/* Ours, not the peer's, to be blamed for: descriptors, memory, local ports. */
static bool is_shortage(int error) {
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
           error == EADDRNOTAVAIL || error == ENOSPC;
}

static struct vx_error dial_error(int error) {
    enum vx_error_code code = error == ETIMEDOUT ? VX_ERR_CONNECT_TIMEOUT : VX_ERR_CONNECT_FAILED;
    struct vx_error e = vx_error(code, true, strerrordesc_np(error));
    if (is_shortage(error))
        e.source = VX_BY_SELF;
    return e;
}

static void drop_pipe(struct socket *s) {
    if (!s->pipe)
        return;
    vx_pipe_destroy(s->pipe);
    s->pipe = NULL;
    s->base.pending_bytes = 0;
}

static void fail(struct socket *s, int error) {
    if (!s->broken) {
        if (s->state == SOCKET_CONNECTING)
            s->base.error = dial_error(error);
        else
            s->base.error = vx_error(s->dialed ? VX_ERR_BACKEND_RESET : VX_ERR_CLIENT_GONE, false,
                                     strerrordesc_np(error));
    }
    s->broken = true;
    s->base.readable = s->base.writable = s->base.peer_shut = true;
    drop_pipe(s);
}

static ssize_t read_socket(struct vx_transport *t, char *to, size_t room) {
    struct socket *s = socket_of(t);
    VX_ASSERT(s->state != SOCKET_CLOSED && room > 0);
    ssize_t n;
    do
        n = vx_socket_recv(s->watch.fd, to, room);
    while (VX_UNLIKELY(n < 0 && errno == EINTR));
    if (VX_LIKELY(n > 0)) {
        if ((size_t)n < room && !t->peer_shut)
            t->readable = false;
        return n;
    }
    if (n == 0) {
        /* After an error was taken from the socket, the kernel answers like this too. */
        if (s->broken)
            return VX_IO_FAILED;
        t->peer_shut = true;
        return 0;
    }
    if (errno == EAGAIN && !s->broken) {
        t->readable = false;
        return VX_IO_AGAIN;
    }
    fail(s, errno);
    return VX_IO_FAILED;
}

/* Sends what the pipe holds. False when some is left, or the socket broke. */
static bool flush_pipe(struct socket *s) {
    while (s->base.pending_bytes > 0) {
        ssize_t n = vx_pipe_drain(s->pipe, s->watch.fd, s->base.pending_bytes);
        if (n > 0) {
            s->base.pending_bytes -= (size_t)n;
            continue;
        }
        if (n < 0 && errno == EAGAIN)
            s->base.writable = false;
        else
            fail(s, n < 0 ? errno : EPIPE);
        return false;
    }
    if (s->pipe) {
        vx_pipe_put(s->tcp, s->pipe);
        s->pipe = NULL;
        if (s->shut_wanted)
            shutdown(s->watch.fd, SHUT_WR);
    }
    return true;
}

static ssize_t write_socket(struct vx_transport *t, const struct vx_slice *slices, unsigned count) {
    struct socket *s = socket_of(t);
    VX_ASSERT(s->state != SOCKET_CLOSED && count <= VX_WRITE_SLICES_MAX && !s->shut_wanted);
    if (VX_UNLIKELY(s->broken))
        return VX_IO_FAILED;
    if (VX_UNLIKELY(s->pipe) && !flush_pipe(s))
        return s->broken ? VX_IO_FAILED : VX_IO_AGAIN;
    ssize_t n;
    do
        n = vx_socket_send(s->watch.fd, slices, count);
    while (VX_UNLIKELY(n < 0 && errno == EINTR));
    if (VX_UNLIKELY(n < 0)) {
        if (errno != EAGAIN) {
            fail(s, errno);
            return VX_IO_FAILED;
        }
        t->writable = false;
        return VX_IO_AGAIN;
    }
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += slices[i].len;
    if ((size_t)n < total)
        t->writable = false;
    return n;
}

/* Fills an empty pipe from `s`; the result as move() has it. */
static ssize_t fill_pipe(struct socket *s, struct vx_pipe *pipe, size_t bytes) {
    ssize_t n = vx_pipe_fill(pipe, s->watch.fd, bytes);
    if (n > 0)
        return n;
    if (n == 0) {
        if (s->broken)
            return VX_IO_FAILED;
        s->base.peer_shut = true;
        return 0;
    }
    if (errno == EAGAIN && !s->broken) {
        s->base.readable = false;
        return VX_IO_AGAIN;
    }
    if (errno == EINVAL && !s->broken)
        return VX_IO_UNSUPPORTED;
    fail(s, errno);
    return VX_IO_FAILED;
}

/* A reader that keeps up is given more at a time, a slow one less, so that it holds little. */
static void adapt_move(struct socket *sink, bool kept_up, size_t moved) {
    if (kept_up && moved == sink->move_bytes && sink->move_bytes < VX_PIPE_BYTES_MAX)
        sink->move_bytes *= 2;
    else if (!kept_up && sink->move_bytes > VX_PIPE_BYTES_MIN)
        sink->move_bytes =
            sink->move_bytes / 2 > VX_PIPE_BYTES_MIN ? sink->move_bytes / 2 : VX_PIPE_BYTES_MIN;
}

static ssize_t move_socket(struct vx_transport *from, struct vx_transport *to, size_t bytes) {
    if (to->ops != &socket_ops)
        return VX_IO_UNSUPPORTED;
    struct socket *source = socket_of(from), *sink = socket_of(to);
    VX_ASSERT(source->state == SOCKET_OPEN && sink->state == SOCKET_OPEN && bytes > 0 && !sink->shut_wanted);
    if (sink->pipe)
        flush_pipe(sink);
    if (sink->broken)
        return VX_IO_FAILED;
    if (!to->writable || !from->readable)
        return VX_IO_AGAIN;
    struct vx_pipe *pipe = vx_pipe_get(source->tcp);
    if (!pipe)
        return VX_IO_UNSUPPORTED;
    if (bytes > sink->move_bytes)
        bytes = sink->move_bytes;
    ssize_t n = fill_pipe(source, pipe, bytes);
    if (n <= 0) {
        vx_pipe_put(source->tcp, pipe);
        return n;
    }
    source->tcp->stats.moved_bytes += (uint64_t)n;
    sink->pipe = pipe;
    to->pending_bytes = (size_t)n;
    adapt_move(sink, flush_pipe(sink), (size_t)n);
    return sink->broken ? VX_IO_FAILED : n;
}

static void shut_socket(struct vx_transport *t) {
    struct socket *s = socket_of(t);
    VX_ASSERT(s->state == SOCKET_OPEN);
    s->shut_wanted = true;
    if (!s->pipe)
        shutdown(s->watch.fd, SHUT_WR);
}

static void free_socket(struct vx_retired *r) {
    free(VX_CONTAINER_OF(r, struct socket, retired));
}

static void close_socket(struct vx_transport *t, bool reset) {
    struct socket *s = socket_of(t);
    struct vx_tcp *tcp = s->tcp;
    VX_ASSERT(s->state != SOCKET_CLOSED);
    s->state = SOCKET_CLOSED;
    if (s->pipe) {
        drop_pipe(s);
        reset = true;
    }
    if (reset) {
        struct linger l = {.l_onoff = 1, .l_linger = 0};
        setsockopt(s->watch.fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    }
    vx_loop_unwatch(tcp->loop, &s->watch);
    close(s->watch.fd);
    tcp->stats.open--;
    if (!vx_list_empty(&tcp->starved))
        vx_runtime_defer(vx_loop_runtime(tcp->loop), &tcp->revive);
    vx_loop_retire(tcp->loop, &s->retired);
}

static const struct vx_transport_ops socket_ops = {
    .read = read_socket,
    .write = write_socket,
    .move = move_socket,
    .shut = shut_socket,
    .close = close_socket,
};

static int take_socket_error(int fd) {
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    return error;
}

static void on_connect_failed(struct socket *s, int error, uint64_t now_ns) {
    s->tcp->stats.dial_failures++;
    fail(s, error);
    s->base.on_ready(&s->base, VX_FAILED, now_ns);
}

/* TCP lets a socket connect to itself when the port it was given is the one it asked for and nobody listens there. */
static bool is_self_connected(struct socket *s) {
    union vx_sockaddr sa;
    socklen_t len = sizeof sa;
    if (getsockname(s->watch.fd, &sa.any, &len) < 0)
        return false;
    vx_sockaddr_to_address(&sa, &s->base.local);
    const struct vx_address *r = &s->base.remote, *l = &s->base.local;
    return r->kind != VX_ADDRESS_UNIX && r->kind == l->kind && r->port == l->port &&
           memcmp(r->ip, l->ip, r->kind == VX_ADDRESS_IP4 ? 4 : 16) == 0;
}

/* True: connected, and the event's other bits are to be looked at. */
static bool on_connected(struct socket *s, uint32_t events, uint64_t now_ns) {
    if (events & (EPOLLERR | EPOLLHUP)) {
        int error = take_socket_error(s->watch.fd);
        on_connect_failed(s, error ? error : ECONNRESET, now_ns);
        return false;
    }
    if (!(events & EPOLLOUT))
        return false;
    if (is_self_connected(s)) {
        on_connect_failed(s, ECONNREFUSED, now_ns);
        return false;
    }
    s->state = SOCKET_OPEN;
    return true;
}

/* An error or a hang-up; returns what to report. */
static uint32_t on_error(struct socket *s, uint32_t events) {
    if (s->broken)
        return 0;
    int error = events & EPOLLERR ? take_socket_error(s->watch.fd) : 0;
    if (!error)
        return 0;
    fail(s, error);
    int unread = 0;
    if (ioctl(s->watch.fd, FIONREAD, &unread) == 0 && unread > 0)
        return VX_READABLE | VX_WRITABLE | VX_PEER_SHUT;
    return VX_FAILED;
}

/* There is room to write: what the pipe still holds goes first. Returns what to report. */
static uint32_t on_room(struct socket *s) {
    if (s->pipe && !flush_pipe(s))
        return s->broken ? VX_WRITABLE : 0;
    s->base.writable = true;
    return VX_WRITABLE;
}

static void on_events(struct vx_watch *w, uint32_t events, uint64_t now_ns) {
    struct socket *s = VX_CONTAINER_OF(w, struct socket, watch);
    struct vx_transport *t = &s->base;
    uint32_t ready = 0;
    if (VX_UNLIKELY(s->state != SOCKET_OPEN)) {
        if (s->state == SOCKET_CLOSED || s->broken || !on_connected(s, events, now_ns))
            return;
    }
    if (VX_UNLIKELY(events & (EPOLLERR | EPOLLHUP)))
        ready = on_error(s, events);
    if (VX_LIKELY(!s->broken)) {
        if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) && !t->readable) {
            t->readable = true;
            ready |= VX_READABLE;
        }
        if ((events & (EPOLLRDHUP | EPOLLHUP)) && !t->peer_shut) {
            t->peer_shut = true;
            ready |= VX_PEER_SHUT;
        }
        if ((events & EPOLLOUT) && !t->writable)
            ready |= on_room(s);
    }
    if (ready)
        t->on_ready(t, ready, now_ns);
}

static struct socket *new_socket(struct vx_tcp *tcp, int fd) {
    struct socket *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->base.ops = &socket_ops;
    s->tcp = tcp;
    s->watch = (struct vx_watch){on_events, fd};
    s->retired.free = free_socket;
    s->move_bytes = VX_PIPE_BYTES_MIN;
    if (!vx_loop_watch(tcp->loop, &s->watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)) {
        free(s);
        return NULL;
    }
    tcp->stats.open++;
    return s;
}

static struct vx_address without_text(const struct vx_address *a) {
    struct vx_address copy = *a;
    copy.text = VX_SLICE_NONE;
    return copy;
}

struct vx_transport *vx_tcp_adopt(struct vx_tcp *tcp, int fd, const struct vx_address *remote,
                                  const struct vx_address *local) {
    struct socket *s = new_socket(tcp, fd);
    if (!s) {
        int error = errno;
        close(fd);
        errno = error;
        return NULL;
    }
    s->state = SOCKET_OPEN;
    s->base.writable = true;
    s->base.remote = without_text(remote);
    s->base.local = without_text(local);
    return &s->base;
}

int vx_tcp_fd(const struct vx_transport *t) {
    if (t->ops != &socket_ops)
        return -1;
    return ((const struct socket *)((const char *)t - offsetof(struct socket, base)))->watch.fd;
}

static struct vx_transport *refuse_dial(struct vx_tcp *tcp, int error, struct vx_error *out) {
    tcp->stats.dial_failures++;
    if (is_shortage(error))
        tcp->stats.exhausted++;
    *out = dial_error(error);
    return NULL;
}

static struct vx_transport *dial(struct vx_dialer *self, const struct vx_dial *to, struct vx_error *error) {
    struct vx_tcp *tcp = VX_CONTAINER_OF(self, struct vx_tcp, dialer);
    union vx_sockaddr sa;
    socklen_t len = vx_sockaddr_of(&to->address, &sa);
    tcp->stats.dialed++;
    if (len == 0)
        return refuse_dial(tcp, to->address.kind == VX_ADDRESS_UNIX ? ENAMETOOLONG : EDESTADDRREQ, error);
    int fd = socket(sa.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return refuse_dial(tcp, errno, error);
    if (to->address.kind != VX_ADDRESS_UNIX) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    /* EAGAIN comes from UNIX sockets only: their backlog is full, and no event would follow. */
    if (connect(fd, &sa.any, len) < 0 && errno != EINPROGRESS) {
        int cause = errno;
        close(fd);
        return refuse_dial(tcp, cause, error);
    }
    struct socket *s = new_socket(tcp, fd);
    if (!s) {
        int cause = errno;
        close(fd);
        return refuse_dial(tcp, cause, error);
    }
    s->state = SOCKET_CONNECTING;
    s->dialed = true;
    s->base.remote = without_text(&to->address);
    return &s->base;
}

void vx_tcp_init(struct vx_tcp *tcp, struct vx_loop *loop) {
    *tcp = (struct vx_tcp){.dialer = {dial}, .loop = loop};
    /* splice has no MSG_NOSIGNAL. */
    signal(SIGPIPE, SIG_IGN);
    vx_list_init(&tcp->starved);
    vx_task_init(&tcp->revive, vx_listener_revive);
}

void vx_tcp_free(struct vx_tcp *tcp) {
    VX_ASSERT(tcp->stats.open == 0);
    vx_task_cancel(&tcp->revive);
    vx_pipe_pool_free(tcp);
}

uint64_t vx_tcp_raise_file_limit(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 0;
    if (r.rlim_cur < r.rlim_max) {
        rlim_t before = r.rlim_cur;
        r.rlim_cur = r.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &r) < 0)
            return before;
    }
    return r.rlim_cur;
}
