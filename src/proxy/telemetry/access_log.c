/* SPDX-License-Identifier: Apache-2.0 */
/* See access_log.h.
 *
 * Who touches what:
 *   1. A worker writes its own `struct producer` and the head of its ring, nothing else; it reads `mode`.
 *   2. The writer thread owns `fd` and the tails of the rings.
 *   3. The control thread gives the writer a new file through `next_fd` and talks to it by `stopping` and the eventfd;
 *      it never writes to a file itself.
 *   4. `mode` leaves OFF only after rings and writer are there, so a worker that sees it on sees them as well.
 *
 * A line is in a ring as a whole or not at all, and the rings are emptied one after the other, so lines of several
 * workers never mix in the file. */
#include "proxy/telemetry/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "proxy/telemetry/byte_ring.h"
#include "proxy/telemetry/log.h"
#include "proxy/telemetry/log_line.h"
#include "proxy/telemetry/metrics.h"

enum {
    RING_BYTES = 1024 * 1024,
    ROUND_MS = 50,         /* how long a line may wait */
    STUCK_POLL_MS = 100,   /* how often a writer that cannot write looks whether it is still wanted */
    WARN_EVERY_MS = 10000, /* at most so often about lost lines */
    FREE_TIMEOUT_MS = 1000,
    ADOPTION_MS = 500, /* for the writer to take up another file; it looks every ROUND_MS at the latest */
};

enum mode { OFF, JSON, COMBINED };

/* What next_fd may hold beside a file. */
enum { NO_CHANGE = -1, CLOSE = -2 };

/* One worker's end. */
struct producer {
    struct vx_byte_ring ring;
    _Alignas(64) _Atomic bool wake_asked; /* set by the worker, cleared by the writer */
    struct vx_timestamp time;
    char line[VX_LOG_LINE_MAX];
};

struct vx_access_log {
    _Atomic unsigned mode;           /* enum mode */
    _Atomic int64_t wall_minus_mono; /* ns; turns the monotonic clock into the wall clock */
    struct producer *producers;      /* NULL until the log is first turned on */
    uint32_t workers;
    struct vx_metrics *metrics;
    int event_fd; /* wakes the writer */

    /* From the control thread to the writer. */
    _Atomic int next_fd; /* a file for it to take over, NO_CHANGE or CLOSE */
    _Atomic bool stopping;
    _Atomic bool give_up; /* stop waiting for a file that takes nothing */

    /* The control thread's. */
    pthread_t thread;
    bool running;
    bool abandoned; /* the writer hangs in a write; its memory must stay */
    char *path;     /* of a file, for reopening; NULL: stdout, stderr or off */

    /* The writer's. */
    int fd;           /* -1: none */
    bool inside_line; /* the last byte written was no line feed */
    bool torn;        /* the file ends in half a line, whose rest is lost */
    uint64_t dropped_seen;
    struct vx_log_limit drop_warning, write_warning;
};

static int64_t clock_ns(clockid_t clock) {
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void refresh_clock(struct vx_access_log *log) {
    atomic_store_explicit(&log->wall_minus_mono, clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC),
                          memory_order_relaxed);
}

static void wake(struct vx_access_log *log) {
    /* Fails only when the counter is full, and then the writer has been woken often enough. */
    (void)eventfd_write(log->event_fd, 1);
}

struct vx_access_log *vx_access_log_new(uint32_t workers, struct vx_metrics *metrics) {
    struct vx_access_log *log = calloc(1, sizeof *log);
    if (!log)
        return NULL;
    log->workers = workers;
    log->metrics = metrics;
    log->fd = -1;
    atomic_init(&log->next_fd, NO_CHANGE);
    log->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (log->event_fd < 0) {
        free(log);
        return NULL;
    }
    refresh_clock(log);
    return log;
}

/* The worker's side */

void vx_access_log_write(struct vx_access_log *log, uint32_t worker,
                         const struct vx_exchange_record *record) {
    unsigned mode = atomic_load_explicit(&log->mode, memory_order_acquire);
    if (mode == OFF)
        return;
    struct producer *p = &log->producers[worker];
    int64_t offset = atomic_load_explicit(&log->wall_minus_mono, memory_order_relaxed);
    vx_timestamp_set(&p->time, record->ended_ns + (uint64_t)offset);
    size_t len = mode == JSON ? vx_log_line_json(p->line, record, &p->time)
                              : vx_log_line_combined(p->line, record, &p->time);
    uint64_t used;
    if (VX_UNLIKELY(!vx_byte_ring_put(&p->ring, vx_slice(p->line, len), &used)))
        vx_metrics_add(vx_metrics_worker(log->metrics, worker), VX_WORKER_ACCESS_LOG_DROPPED, 1);
    if (VX_UNLIKELY(used > RING_BYTES / 2) && !atomic_load_explicit(&p->wake_asked, memory_order_relaxed)) {
        atomic_store_explicit(&p->wake_asked, true, memory_order_relaxed);
        wake(log);
    }
}

/* The writer's side */

static void close_file(struct vx_access_log *log) {
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
    log->inside_line = log->torn = false;
}

static void adopt_file(struct vx_access_log *log) {
    int next = atomic_exchange_explicit(&log->next_fd, NO_CHANGE, memory_order_acq_rel);
    if (next == NO_CHANGE)
        return;
    close_file(log);
    if (next != CLOSE)
        log->fd = next;
}

/* Throws away what `runs` hold and counts the lines. */
static void lose(struct vx_access_log *log, struct vx_byte_ring *ring, const struct vx_slice runs[2]) {
    int64_t lines = 0;
    for (unsigned i = 0; i < 2; i++)
        for (size_t at = 0; at < runs[i].len; at++)
            lines += runs[i].ptr[at] == '\n';
    log->torn |= log->inside_line;
    log->inside_line = false;
    vx_byte_ring_take(ring, runs[0].len + runs[1].len);
    /* Of the control thread's values this one is ours: it writes no lines. */
    vx_metrics_add(vx_metrics_worker(log->metrics, log->workers), VX_WORKER_ACCESS_LOG_DROPPED, lines);
}

/* The bytes written of `runs`, 0 when the file takes nothing at the moment, -1 when it is broken. */
static ssize_t write_runs(struct vx_access_log *log, const struct vx_slice runs[2]) {
    struct iovec iov[3];
    int count = 0;
    size_t extra = log->torn;
    if (extra)
        iov[count++] = (struct iovec){(void *)"\n", 1};
    for (unsigned i = 0; i < 2; i++)
        if (runs[i].len)
            iov[count++] = (struct iovec){(void *)runs[i].ptr, runs[i].len};
    ssize_t n = writev(log->fd, iov, count);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (n == 0)
        return 0;
    log->torn = false;
    size_t written = (size_t)n - extra;
    if (written) {
        const char *last =
            written <= runs[0].len ? runs[0].ptr + written - 1 : runs[1].ptr + (written - runs[0].len) - 1;
        log->inside_line = *last != '\n';
    }
    return (ssize_t)written;
}

/* Waits until the file takes something; false when nobody wants to wait any longer. */
static bool wait_for_room(struct vx_access_log *log) {
    struct pollfd p = {.fd = log->fd, .events = POLLOUT};
    poll(&p, 1, STUCK_POLL_MS);
    /* A new file is a way out for a log that hangs in a pipe nobody reads. */
    return !atomic_load_explicit(&log->give_up, memory_order_relaxed) &&
           atomic_load_explicit(&log->next_fd, memory_order_relaxed) == NO_CHANGE;
}

/* Writes what waits in the ring now; lines that come meanwhile are left for the next round. */
static void drain(struct vx_access_log *log, struct vx_byte_ring *ring) {
    struct vx_slice runs[2];
    size_t left = vx_byte_ring_peek(ring, runs);
    while (left > 0) {
        ssize_t n = log->fd < 0 ? -1 : write_runs(log, runs);
        if (n < 0 || (n == 0 && !wait_for_room(log))) {
            if (n < 0 && log->fd >= 0)
                vx_log_limited(&log->write_warning, WARN_EVERY_MS, VX_LOG_ERROR,
                               "access log: cannot write: %s; lines are lost", strerror(errno));
            lose(log, ring, runs);
            return;
        }
        vx_byte_ring_take(ring, (size_t)n);
        left -= (size_t)n;
        /* Never more than was there at first: that much ends with a whole line. */
        vx_byte_ring_peek(ring, runs);
        if (runs[0].len > left)
            runs[0].len = left;
        if (runs[1].len > left - runs[0].len)
            runs[1].len = left - runs[0].len;
    }
}

static void warn_of_drops(struct vx_access_log *log) {
    uint64_t dropped = vx_metrics_total(log->metrics, VX_WORKER_ACCESS_LOG_DROPPED);
    if (dropped != log->dropped_seen)
        vx_log_limited(&log->drop_warning, WARN_EVERY_MS, VX_LOG_WARN,
                       "access log: %llu lines lost so far: the file does not keep up",
                       (unsigned long long)dropped);
    log->dropped_seen = dropped;
}

static void *write_lines(void *argument) {
    struct vx_access_log *log = argument;
    for (;;) {
        /* Read before the rings are emptied: what was queued before the stop is then written. */
        bool stopping = atomic_load_explicit(&log->stopping, memory_order_acquire);
        refresh_clock(log);
        if (log->fd < 0)
            adopt_file(log);
        for (uint32_t i = 0; i < log->workers; i++) {
            atomic_store_explicit(&log->producers[i].wake_asked, false, memory_order_relaxed);
            drain(log, &log->producers[i].ring);
        }
        warn_of_drops(log);
        if (stopping)
            break;
        /* After the rings: what was queued for the old file goes there. */
        adopt_file(log);
        bool off = log->fd < 0;
        struct pollfd p = {.fd = log->event_fd, .events = POLLIN};
        eventfd_t ignored;
        if (poll(&p, 1, off ? -1 : ROUND_MS) > 0)
            eventfd_read(log->event_fd, &ignored);
    }
    close_file(log);
    return NULL;
}

/* The control thread's side */

static bool refuse(char *why, size_t why_bytes, const char *what, const char *path, int error) {
    snprintf(why, why_bytes, "%s%s%s%s: %s", what, path ? " `" : "", path ? path : "", path ? "'" : "",
             strerror(error));
    return false;
}

static bool make_producers(struct vx_access_log *log) {
    size_t each = sizeof(struct producer);
    struct producer *producers = aligned_alloc(_Alignof(struct producer), log->workers * each);
    char *rings = producers ? malloc((size_t)log->workers * RING_BYTES) : NULL;
    if (!rings) {
        free(producers);
        return false;
    }
    for (uint32_t i = 0; i < log->workers; i++) {
        struct producer *p = &producers[i];
        vx_byte_ring_init(&p->ring, rings + (size_t)i * RING_BYTES, RING_BYTES);
        atomic_init(&p->wake_asked, false);
        p->time = (struct vx_timestamp){0};
    }
    log->producers = producers;
    return true;
}

static int start_writer(struct vx_access_log *log) {
    /* The writer takes no signals: they are the control thread's, and a closed pipe shall be an error only. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&log->thread, NULL, write_lines, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return error;
    pthread_setname_np(log->thread, "access-log");
    log->running = true;
    return 0;
}

/* A descriptor of its own for what the configuration names, or -1 with errno. */
static int open_file(struct vx_slice name, const char *path) {
    if (vx_slice_eq(name, VX_SLICE("stdout")))
        return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    if (vx_slice_eq(name, VX_SLICE("stderr")))
        return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    /* O_NONBLOCK is for a named pipe without a reader: an error now is better than a control thread that hangs. */
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
}

static void give_file(struct vx_access_log *log, int fd) {
    int unused = atomic_exchange_explicit(&log->next_fd, fd, memory_order_acq_rel);
    if (unused >= 0)
        close(unused);
}

/* Waits, for a moment at most, until the writer has the new file: what happens after a reload is said there, not in the
 * file that was renamed meanwhile. */
static void await_adoption(struct vx_access_log *log) {
    struct timespec pause = {.tv_nsec = 1000000};
    wake(log);
    for (unsigned ms = 0; ms < ADOPTION_MS; ms++) {
        if (atomic_load_explicit(&log->next_fd, memory_order_acquire) == NO_CHANGE)
            return;
        nanosleep(&pause, NULL);
    }
}

static bool turn_on(struct vx_access_log *log, const struct vx_config_access_log *config, char *path,
                    char *why, size_t why_bytes) {
    if (!log->producers && !make_producers(log))
        return refuse(why, why_bytes, "access log", NULL, ENOMEM);
    int fd = open_file(config->path, path);
    if (fd < 0)
        return refuse(why, why_bytes, "cannot open the access log", path, errno);
    int error = log->running ? 0 : start_writer(log);
    if (error) {
        close(fd);
        return refuse(why, why_bytes, "cannot start the access log's writer", NULL, error);
    }
    give_file(log, fd);
    return true;
}

bool vx_access_log_apply(struct vx_access_log *log, const struct vx_config_access_log *config, char *why,
                         size_t why_bytes) {
    if (!config->enabled) {
        atomic_store_explicit(&log->mode, OFF, memory_order_release);
        free(log->path);
        log->path = NULL;
        give_file(log, CLOSE);
        wake(log);
        return true;
    }
    char *path = strndup(config->path.ptr, config->path.len);
    if (!path)
        return refuse(why, why_bytes, "access log", NULL, ENOMEM);
    if (!turn_on(log, config, path, why, why_bytes)) {
        free(path);
        return false;
    }
    free(log->path);
    log->path = path;
    refresh_clock(log);
    atomic_store_explicit(&log->mode, config->json ? JSON : COMBINED, memory_order_release);
    await_adoption(log);
    return true;
}

bool vx_access_log_reopen(struct vx_access_log *log, char *why, size_t why_bytes) {
    if (!log->path)
        return true;
    int fd = open_file(vx_slice_of(log->path), log->path);
    if (fd < 0)
        return refuse(why, why_bytes, "cannot open the access log", log->path, errno);
    give_file(log, fd);
    await_adoption(log);
    return true;
}

bool vx_access_log_stop(struct vx_access_log *log, uint32_t timeout_ms) {
    atomic_store_explicit(&log->mode, OFF, memory_order_release);
    if (!log->running)
        return !log->abandoned;
    atomic_store_explicit(&log->stopping, true, memory_order_release);
    wake(log);
    int64_t until = clock_ns(CLOCK_REALTIME) + (int64_t)timeout_ms * 1000000;
    struct timespec deadline = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    log->running = false;
    if (pthread_timedjoin_np(log->thread, NULL, &deadline) == 0)
        return true;
    atomic_store_explicit(&log->give_up, true, memory_order_relaxed);
    deadline.tv_sec++;
    if (pthread_timedjoin_np(log->thread, NULL, &deadline) != 0) {
        pthread_detach(log->thread);
        log->abandoned = true;
    }
    return false;
}

void vx_access_log_free(struct vx_access_log *log) {
    if (!log)
        return;
    vx_access_log_stop(log, FREE_TIMEOUT_MS);
    /* A writer that hangs in the kernel still uses all of this; the program is about to end anyway. */
    if (log->abandoned)
        return;
    give_file(log, NO_CHANGE);
    close(log->event_fd);
    if (log->producers)
        free(log->producers[0].ring.data);
    free(log->producers);
    free(log->path);
    free(log);
}
