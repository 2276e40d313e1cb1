/* SPDX-License-Identifier: Apache-2.0 */
/* Opening listening sockets; listener.h tells how a second vortex on the same address is kept out.
 *
 * Why the order bind, listen, SO_REUSEPORT is sound for TCP: the kernel admits a bind or listen beside a *listening*
 * socket only if both have SO_REUSEPORT (SO_REUSEADDR helps only beside sockets that do not listen). Each starter's
 * first socket has none until it listens, so of two starters one fails, in bind or in listen. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/net/listener.h"
#include "proxy/net/sockaddr.h"

enum { BACKLOG_DEFAULT = 65535 }; /* the kernel cuts it to net.core.somaxconn */

static int backlog_of(const struct vx_listen_options *options) {
    return options->backlog ? (int)options->backlog : BACKLOG_DEFAULT;
}

/* One TCP socket, bound and listening; -1 with errno. `join`: beside those that listen already. */
static int open_tcp(const union vx_sockaddr *sa, socklen_t len, bool join,
                    const struct vx_listen_options *options) {
    int fd = socket(sa->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1, v6only = !options->dual_stack;
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    /* Accepted sockets inherit it, which saves a call for each of them. */
    ok = ok && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
    if (sa->any.sa_family == AF_INET6)
        ok = ok && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only) == 0;
    if (join)
        ok = ok && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
    ok = ok && bind(fd, &sa->any, len) == 0 && listen(fd, backlog_of(options)) == 0;
    if (!join)
        ok = ok && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
    if (!ok) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static bool open_tcp_set(struct vx_listen_set *set, const struct vx_listen_options *options) {
    union vx_sockaddr sa;
    socklen_t len = vx_sockaddr_of(&set->address, &sa);
    for (uint32_t i = 0; i < set->count; i++) {
        set->fds[i] = open_tcp(&sa, len, i > 0, options);
        if (set->fds[i] < 0)
            return false;
        if (i == 0 && set->address.port == 0) {
            if (getsockname(set->fds[0], &sa.any, &len) < 0)
                return false;
            set->address.port = ntohs(sa.any.sa_family == AF_INET6 ? sa.ip6.sin6_port : sa.ip4.sin_port);
        }
    }
    return true;
}

/* The folder of a socket file, locked against other starters until it is closed; -1 with errno. */
static int lock_folder(const char *path) {
    char folder[sizeof((struct sockaddr_un *)0)->sun_path + 1];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    memcpy(folder, slash ? path : ".", slash ? len : 1);
    folder[slash ? len : 1] = '\0';
    int fd = open(slash && len == 0 ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int r;
    do
        r = flock(fd, LOCK_EX);
    while (r < 0 && errno == EINTR);
    if (r < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Does somebody accept on this socket file? A full backlog counts as somebody. */
static bool is_answered(const union vx_sockaddr *sa, socklen_t len) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    bool answered = connect(fd, &sa->any, len) == 0 || errno != ECONNREFUSED;
    close(fd);
    return answered;
}

/* Removes a socket file that nobody answers on. False with errno EADDRINUSE: somebody does, or it is no socket. */
static bool remove_stale(const union vx_sockaddr *sa, socklen_t len) {
    struct stat info;
    if (lstat(sa->un.sun_path, &info) == 0 && S_ISSOCK(info.st_mode) && !is_answered(sa, len))
        return unlink(sa->un.sun_path) == 0;
    errno = EADDRINUSE;
    return false;
}

static bool bind_unix(int fd, const union vx_sockaddr *sa, socklen_t len, bool is_file) {
    if (bind(fd, &sa->any, len) == 0)
        return true;
    return errno == EADDRINUSE && is_file && remove_stale(sa, len) && bind(fd, &sa->any, len) == 0;
}

static void note_file(struct vx_listen_set *set, const char *path) {
    struct stat info;
    if (stat(path, &info) < 0)
        return;
    set->unix_device = info.st_dev;
    set->unix_inode = info.st_ino;
}

static void close_keeping_errno(int fd) {
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
}

static int open_unix(struct vx_listen_set *set, const union vx_sockaddr *sa, socklen_t len,
                     const struct vx_listen_options *options) {
    bool is_file = sa->un.sun_path[0] != '\0';
    int lock = is_file ? lock_folder(sa->un.sun_path) : -1;
    if (is_file && lock < 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Linux gives the file the mode that the socket has when it is bound: nobody finds it open to more for a moment. */
    bool private = !options->unix_mode || (fd >= 0 && fchmod(fd, options->unix_mode) == 0);
    bool ok = fd >= 0 && private && bind_unix(fd, sa, len, is_file) && listen(fd, backlog_of(options)) == 0;
    if (ok && is_file)
        note_file(set, sa->un.sun_path);
    if (!ok)
        close_keeping_errno(fd);
    close_keeping_errno(lock);
    return ok ? fd : -1;
}

/* UNIX sockets know no SO_REUSEPORT: the workers share one. */
static bool open_unix_set(struct vx_listen_set *set, const struct vx_listen_options *options) {
    union vx_sockaddr sa;
    socklen_t len = vx_sockaddr_of(&set->address, &sa);
    if (len == 0) {
        errno = ENAMETOOLONG;
        return false;
    }
    set->fds[0] = open_unix(set, &sa, len, options);
    if (set->fds[0] < 0)
        return false;
    for (uint32_t i = 1; i < set->count; i++) {
        set->fds[i] = fcntl(set->fds[0], F_DUPFD_CLOEXEC, 0);
        if (set->fds[i] < 0)
            return false;
    }
    return true;
}

static void explain(int error, char *why) {
    const char *text;
    switch (error) {
    case EADDRINUSE:
        text = "the address is in use: another vortex or another program listens there";
        break;
    case EACCES:
    case EPERM:
        text =
            "permission denied (ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE; a "
            "UNIX socket needs a folder we may write to)";
        break;
    case EADDRNOTAVAIL:
        text = "this machine has no such address";
        break;
    case ENOENT:
        text = "the folder of the UNIX socket does not exist";
        break;
    case ENAMETOOLONG:
        text = "the path of the UNIX socket is longer than 107 bytes";
        break;
    case EAFNOSUPPORT:
        text = "this machine has no such address family (IPv6 switched off?)";
        break;
    default:
        text = strerrordesc_np(error);
        break;
    }
    snprintf(why, VX_LISTEN_WHY_MAX, "%s", text ? text : "unknown error");
}

static struct vx_listen_set *new_set(const struct vx_address *address, uint32_t count) {
    struct vx_listen_set *set = calloc(1, sizeof *set + count * sizeof(int) + address->text.len);
    if (!set)
        return NULL;
    set->address = *address;
    set->count = count;
    set->fds = (int *)(set + 1);
    for (uint32_t i = 0; i < count; i++)
        set->fds[i] = -1;
    if (address->text.len) {
        char *text = (char *)(set->fds + count);
        memcpy(text, address->text.ptr, address->text.len);
        set->address.text.ptr = text;
    }
    return set;
}

struct vx_listen_set *vx_listen_open(const struct vx_address *address, uint32_t count,
                                     const struct vx_listen_options *options, char *why) {
    struct vx_listen_set *set = new_set(address, count);
    bool ok = false;
    if (!set)
        errno = ENOMEM;
    else if (address->kind == VX_ADDRESS_IP4 || address->kind == VX_ADDRESS_IP6)
        ok = open_tcp_set(set, options);
    else if (address->kind == VX_ADDRESS_UNIX)
        ok = open_unix_set(set, options);
    else
        errno = EADDRNOTAVAIL;
    if (ok)
        return set;
    explain(errno, why);
    if (set)
        vx_listen_close(set, true);
    return NULL;
}

int vx_listen_take(struct vx_listen_set *set) {
    for (uint32_t i = 0; i < set->count; i++) {
        int fd = set->fds[i];
        if (fd >= 0) {
            set->fds[i] = -1;
            return fd;
        }
    }
    return -1;
}

void vx_listen_close(struct vx_listen_set *set, bool unlink_file) {
    for (uint32_t i = 0; i < set->count; i++)
        if (set->fds[i] >= 0)
            close(set->fds[i]);
    union vx_sockaddr sa;
    struct stat info;
    if (unlink_file && set->unix_inode && vx_sockaddr_of(&set->address, &sa) > 0 &&
        stat(sa.un.sun_path, &info) == 0 && info.st_ino == set->unix_inode && info.st_dev == set->unix_device)
        unlink(sa.un.sun_path);
    free(set);
}
