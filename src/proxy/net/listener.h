/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets: made by the control thread, so that every error shows before anything starts; served by
 * the workers, one socket each.
 *
 * One address belongs to one vortex. SO_REUSEPORT alone would let a second one in, so the first socket of a
 * set is bound and listening *without* it: the kernel then refuses it whenever anybody holds the address,
 * another vortex included. Only afterwards is SO_REUSEPORT set on it, and the workers' further sockets join.
 * Two that start at the same instant cannot both pass, because a listening socket without SO_REUSEPORT admits
 * nobody. A UNIX socket is one socket that all workers accept from; its file is replaced only if nobody
 * answers on it, under a lock (flock) on the folder so that two starters do not remove each other's. */
#ifndef VX_PROXY_NET_LISTENER_H
#define VX_PROXY_NET_LISTENER_H

#include "core/base/address.h"
#include "proxy/net/tcp.h"

struct vx_listen_options {
    uint32_t backlog; /* 0: as large as the kernel lets it be */
    /* An IPv6 wildcard also takes IPv4 clients (as ::ffff:a.b.c.d, shown as IPv4). Set it unless an IPv4
     * listener wants the same port. */
    bool dual_stack;
    uint32_t unix_mode; /* permissions of a UNIX socket's file; 0: as the umask has it */
};

/* The sockets of one address. Control thread; ownership of each descriptor passes to the listener that takes
 * it. */
struct vx_listen_set {
    /* With the port that was chosen when 0 was asked for; text is owned by the set. */
    struct vx_address address;
    uint32_t count;
    int *fds;                         /* -1 where taken */
    uint64_t unix_device, unix_inode; /* of the socket file, to remove only our own */
};

/* Binds and listens `count` times on `address` (IP4, IP6, or UNIX with `@name` for an abstract one). NULL:
 * `why` (at least VX_LISTEN_WHY_MAX bytes) says in words what went wrong. Nothing is left behind then. */
struct vx_listen_set *vx_listen_open(const struct vx_address *address, uint32_t count,
                                     const struct vx_listen_options *options, char *why);
enum { VX_LISTEN_WHY_MAX = 256 };

/* Takes the next descriptor out of the set, for a worker (or to hand it to a new process); -1: none left. */
int vx_listen_take(struct vx_listen_set *set);

/* Closes what was not taken. `unlink_file`: also removes a UNIX socket's file if it is still ours. */
void vx_listen_close(struct vx_listen_set *set, bool unlink_file);

/* Accepting on one worker. */
struct vx_listener;

struct vx_listener_options {
    /* A new connection, the callee's from here on: it sets on_ready and owner. With proxy_protocol the header
     * was read already and `remote` and `local` are what it said. */
    void (*on_accept)(void *user, struct vx_transport *t, uint64_t now_ns);
    /* For a limit on connections: asked before each accept. False: the callee has paused the listener. NULL: none. */
    bool (*admit)(void *user);
    /* What was admitted has come to on_accept and counts by itself, or has come to nothing. */
    void (*admitted)(void *user);
    void *user;
    /* Of the set; IP4 and IP6 wildcard or port tell whether `local` must be asked for. */
    struct vx_address address;
    bool proxy_protocol;
    uint64_t proxy_timeout_ns; /* for the whole PROXY header */
};

/* Starts accepting on `fd`, which is the listener's from here on, also when it fails. NULL with errno set:
 * the kernel refused. When descriptors or memory run out it pauses, and tries again when a connection of this
 * worker closes or 100 ms later: clients wait in the backlog, nothing spins. */
struct vx_listener *vx_listener_start(struct vx_tcp *tcp, int fd, const struct vx_listener_options *options);

/* Stops and goes on accepting (a limit on connections, for instance); clients wait in the backlog meanwhile.
 */
void vx_listener_pause(struct vx_listener *l);
void vx_listener_resume(struct vx_listener *l);

/* Accepts whatever already waits and closes the socket. Connections whose PROXY header is under way are still
 * handed over when it comes; vx_listener_pending says how many there are. */
void vx_listener_stop(struct vx_listener *l);
uint32_t vx_listener_pending(const struct vx_listener *l);

/* Ends it: closes the socket if it is open, and the connections whose PROXY header has not come. NULL is
 * allowed. */
void vx_listener_free(struct vx_listener *l);

/* The task by which a worker's listeners that ran out of descriptors try again; for vx_tcp_init. */
void vx_listener_revive(struct vx_task *task, uint64_t now_ns);

/* The listening socket, to hand it over to a new process (dup it); -1 once stopped. */
int vx_listener_fd(const struct vx_listener *l);

#endif
