/* SPDX-License-Identifier: Apache-2.0 */
/* Signals as events of a loop: blocked for the thread (and those it starts afterwards), read from a descriptor. */
#ifndef VX_PROXY_NET_SIGNALS_H
#define VX_PROXY_NET_SIGNALS_H

#include "proxy/net/loop.h"

struct vx_signals {
    struct vx_watch watch;
    struct vx_loop *loop;
    void (*on_signal)(void *user, int number, uint64_t now_ns);
    void *user;
};

/* Tells `on_signal`, on the loop's thread, of each of the `count` signals in `numbers`.
 * Call before other threads start. False with errno: the kernel refused. */
bool vx_signals_start(struct vx_signals *s, struct vx_loop *loop, const int *numbers, unsigned count,
                      void (*on_signal)(void *user, int number, uint64_t now_ns), void *user);

/* No more; harmless when it was never started and `s` is zero. */
void vx_signals_stop(struct vx_signals *s);

#endif
