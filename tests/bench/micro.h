/* SPDX-License-Identifier: Apache-2.0 */
/* What the micro-benchmarks share: the clocks, and how a figure is reported. */
#ifndef VX_TESTS_BENCH_MICRO_H
#define VX_TESTS_BENCH_MICRO_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t micro_clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* CPU time of this thread: others on the machine are not in the figures. */
static inline uint64_t micro_cpu_ns(void) {
    return micro_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static inline int micro_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the figures. */
static inline double micro_median(double *figures, size_t count) {
    qsort(figures, count, sizeof *figures, micro_compare);
    return figures[count / 2];
}

/* One JSON object on a line: the median, lowest and highest of the rounds. Sorts them. */
static inline void micro_report(const char *name, const char *unit, double *rounds, size_t count) {
    double median = micro_median(rounds, count);
    printf("{\"name\":\"%s\",\"unit\":\"%s\",\"median\":%.3f,\"min\":%.3f,\"max\":%.3f}\n", name, unit,
           median, rounds[0], rounds[count - 1]);
    fflush(stdout);
}

#endif
