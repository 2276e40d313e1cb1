/* SPDX-License-Identifier: Apache-2.0 */
/* See signals.h. */
#include "proxy/net/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void on_events(struct vx_watch *watch, uint32_t events, uint64_t now_ns) {
    (void)events;
    struct vx_signals *s = VX_CONTAINER_OF(watch, struct vx_signals, watch);
    struct signalfd_siginfo info;
    while (s->loop && read(watch->fd, &info, sizeof info) == (ssize_t)sizeof info)
        s->on_signal(s->user, (int)info.ssi_signo, now_ns);
}

bool vx_signals_start(struct vx_signals *s, struct vx_loop *loop, const int *numbers, unsigned count,
                      void (*on_signal)(void *user, int number, uint64_t now_ns), void *user) {
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < count; i++)
        sigaddset(&set, numbers[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return false;
    *s = (struct vx_signals){
        .watch = {.on_events = on_events, .fd = fd},
        .loop = loop,
        .on_signal = on_signal,
        .user = user,
    };
    if (vx_loop_watch(loop, &s->watch, EPOLLIN))
        return true;
    close(fd);
    s->loop = NULL;
    return false;
}

void vx_signals_stop(struct vx_signals *s) {
    if (!s->loop)
        return;
    vx_loop_unwatch(s->loop, &s->watch);
    close(s->watch.fd);
    s->loop = NULL;
}
