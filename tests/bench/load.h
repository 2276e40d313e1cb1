/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the load generator: what is asked of it (options), what it counted (result), and the helpers
 * it stands on (histogram, CPU readings of other processes, TLS). One thread, one process; nothing here is
 * shared.
 */
#ifndef VORTEX_BENCH_LOAD_H
#define VORTEX_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { LOAD_MAX_PIDS = 32, LOAD_HISTOGRAM_SUB_BITS = 7, LOAD_HISTOGRAM_SLOTS = (64 - 7 + 1) << 7 };

static const uint64_t load_ns_per_s = 1000000000;

/* Durations in ns with less than 1 % error (128 slots for each power of two). */
struct load_histogram {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t slots[LOAD_HISTOGRAM_SLOTS];
};

/* CPU time that processes have used since they began, and what their core has done since boot. */
struct load_cpu {
    uint64_t run_ns;     /* of all threads, from schedstat */
    uint64_t user_ticks; /* utime and stime, which the kernel scales to the same total */
    uint64_t system_ticks;
    uint64_t core_busy_ticks;
    uint64_t core_steal_ticks; /* taken by the hypervisor */
    uint64_t core_all_ticks;
};

struct load_options {
    const char *host;   /* IPv4 address */
    const char *source; /* own address; NULL: as the kernel likes */
    uint16_t port;
    const char *path;
    unsigned connections;
    double warmup_s;
    double window_s;
    double rate; /* requests per second, open loop; 0 is the closed loop */
    bool tls;
    bool fresh; /* a new connection for each request */
    int core;   /* whose busy and stolen time is read; -1 for none */
    int pids[LOAD_MAX_PIDS];
    size_t pid_count;
};

struct load_errors {
    uint64_t connect;
    uint64_t handshake;
    uint64_t closed; /* by the peer, before the answer was complete */
    uint64_t status; /* an answer other than 200 */
    uint64_t framing;
    uint64_t unfinished; /* open loop: no answer within two seconds of the window's end */
    uint64_t overflow;   /* open loop: more requests waited for a connection than the queue holds */
};

struct load_result {
    uint64_t window_ns;
    uint64_t requests; /* complete answers with status 200 within the window */
    uint64_t body_bytes;
    uint64_t reconnects;
    struct load_errors errors;
    struct load_histogram latency;
    struct load_histogram lag; /* open loop: how late this process itself sent, against the schedule */
    struct load_cpu cpu_begin;
    struct load_cpu cpu_end;
};

/* load_run.c: runs the load. False if it could not be run (no connection, a watched process gone); said on
 * stderr. */
bool load_run(const struct load_options *options, struct load_result *result);

/* load_measure.c */
void load_histogram_record(struct load_histogram *histogram, uint64_t ns);

/* The value below which `quantile` (0..1) of the records lie, in ns; 0 if there are none. */
uint64_t load_histogram_quantile(const struct load_histogram *histogram, double quantile);

/* Reads /proc for the options' processes and core. False if a process is gone. */
bool load_cpu_read(const struct load_options *options, struct load_cpu *cpu);

static inline uint64_t load_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * load_ns_per_s + (uint64_t)now.tv_nsec;
}

/* load_tls.c: OpenSSL behind five calls. Reads and writes return as recv and send do, with errno EAGAIN when
 * the socket has to become ready first and EPROTO when TLS itself failed. */
struct load_tls_context;
struct load_tls;
struct load_tls_context *
load_tls_context_create(void); /* owned by the caller until the end of the process; NULL if it failed */
struct load_tls *load_tls_begin(struct load_tls_context *context,
                                int fd);      /* owned by the caller; NULL without memory */
int load_tls_handshake(struct load_tls *tls); /* 1 done, 0 again, -1 failed */
ptrdiff_t load_tls_read(struct load_tls *tls, void *bytes, size_t n);
ptrdiff_t load_tls_write(struct load_tls *tls, const void *bytes, size_t n);
void load_tls_end(struct load_tls *tls);

#endif
