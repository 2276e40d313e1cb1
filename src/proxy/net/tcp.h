/* SPDX-License-Identifier: Apache-2.0 */
/* Byte transports over stream sockets (TCP and UNIX) and the dialer that opens them. A small request costs
 * one recv and one send: sockets are registered once, edge-triggered, for both directions; a short read tells
 * that the socket is empty without asking again. See transport.h for what transports promise; beyond that:
 *
 *   - An accepted transport starts with `writable` set and gets no VX_WRITABLE for it; a dialed one gets
 * VX_WRITABLE when it is connected. Both start with `readable` clear: the first event says what is there.
 *   - VX_FAILED comes only when nothing that arrived before the failure is left to read. Otherwise
 * VX_READABLE and VX_PEER_SHUT come, and read() gives those bytes first and then VX_IO_FAILED.
 *   - The error's code is CLIENT_GONE for accepted transports; for dialed ones CONNECT_FAILED before,
 * BACKEND_RESET after the connection was made. `detail` names what the kernel said.
 *   - move() keeps what could not be written yet in a pipe (pending_bytes). close() then drops it and resets,
 * since the message would be cut; shut() waits until it is out.
 *   - After write() failed, what had arrived before can still be read.
 *   - move() answers VX_IO_FAILED for a failure of either side: the one whose error.code is set.
 *   - `remote` and `local` of a UNIX transport have kind UNIX and no text. `local` of a dialed one is filled when it is
 *     connected.
 */
#ifndef VX_PROXY_NET_TCP_H
#define VX_PROXY_NET_TCP_H

#include "core/base/list.h"
#include "proxy/net/loop.h"
#include "proxy/net/transport.h"

struct vx_pipe;

struct vx_tcp_stats {
    uint32_t open; /* transports now */
    uint64_t accepted, dialed, dial_failures;
    uint64_t moved_bytes; /* by splice */
    uint64_t exhausted;   /* times that no descriptor or memory was left for accept or dial */
    uint64_t starved;     /* times that a listener stopped accepting for it */
};

/* What the socket transports of one worker share. */
struct vx_tcp {
    struct vx_dialer dialer; /* plain connections only: `tls` of struct vx_dial is not looked at */
    struct vx_loop *loop;
    struct vx_pipe *pipes; /* empty ones, ready for the next move() */
    uint32_t pipe_count;
    struct vx_list starved; /* listeners that wait for a descriptor to become free */
    struct vx_task revive;  /* has them try again */
    struct vx_tcp_stats stats;
};

/* Also has the process ignore SIGPIPE. */
void vx_tcp_init(struct vx_tcp *tcp, struct vx_loop *loop);

/* Closes the pooled pipes. All transports are closed before, and one more round was run or the loop is about
 * to be freed. */
void vx_tcp_free(struct vx_tcp *tcp);

/* A transport over a connected, non-blocking stream socket; TCP_NODELAY is for the caller to have set (accepted sockets
 * inherit it from their listener's). Owns `fd` from here on, also when it fails. `remote` and `local` are copied, but not
 * their text. NULL with errno set: no memory, or the kernel refused. The caller sets on_ready and owner before it
 * returns to the loop. */
struct vx_transport *vx_tcp_adopt(struct vx_tcp *tcp, int fd, const struct vx_address *remote,
                                  const struct vx_address *local);

/* The descriptor of a socket transport, for dumps and tests; -1 when `t` is of another kind. */
int vx_tcp_fd(const struct vx_transport *t);

/* Raises the soft limit of open files to the hard one and returns it. At start, control thread. */
uint64_t vx_tcp_raise_file_limit(void);

#endif
