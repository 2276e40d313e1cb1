/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the load generator measures with: a histogram of durations, and the CPU time of other processes as the
 * kernel tells it in /proc. The readings are taken in this process, at the very begin and end of the window,
 * so that neither the warm-up nor the start of another program is counted.
 */
#include "load.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUB_SLOTS = 1 << LOAD_HISTOGRAM_SUB_BITS, TEXT_BYTES = 16 * 1024 };

static size_t slot_of(uint64_t ns) {
    if (ns < SUB_SLOTS)
        return (size_t)ns;
    unsigned power = 63U - (unsigned)__builtin_clzll(ns);
    unsigned shift = power - LOAD_HISTOGRAM_SUB_BITS;
    return ((size_t)(shift + 1) << LOAD_HISTOGRAM_SUB_BITS) + (size_t)((ns >> shift) - SUB_SLOTS);
}

/* The middle of a slot's range. */
static uint64_t value_of(size_t slot) {
    if (slot < SUB_SLOTS)
        return slot;
    unsigned shift = (unsigned)(slot >> LOAD_HISTOGRAM_SUB_BITS) - 1;
    uint64_t lowest = (uint64_t)((slot & (SUB_SLOTS - 1)) + SUB_SLOTS) << shift;
    return lowest + ((1ULL << shift) >> 1);
}

void load_histogram_record(struct load_histogram *histogram, uint64_t ns) {
    histogram->slots[slot_of(ns)]++;
    histogram->count++;
    histogram->sum_ns += ns;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

uint64_t load_histogram_quantile(const struct load_histogram *histogram, double quantile) {
    uint64_t wanted = (uint64_t)(quantile * (double)histogram->count + 0.5);
    uint64_t seen = 0;
    if (histogram->count == 0)
        return 0;
    if (wanted == 0)
        wanted = 1;
    for (size_t slot = 0; slot < LOAD_HISTOGRAM_SLOTS; slot++) {
        seen += histogram->slots[slot];
        if (seen >= wanted)
            return value_of(slot) < histogram->max_ns ? value_of(slot) : histogram->max_ns;
    }
    return histogram->max_ns;
}

static bool read_text(const char *path, char *text) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, TEXT_BYTES - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

/* Reads `count` numbers that stand behind `skip` others. False if there are fewer. */
static bool read_numbers(const char *text, size_t skip, uint64_t *numbers, size_t count) {
    for (size_t i = 0; i < skip + count; i++) {
        char *end = NULL;
        unsigned long long number = strtoull(text, &end, 10);
        if (end == text)
            return false;
        if (i >= skip)
            numbers[i - skip] = number;
        text = end;
    }
    return true;
}

/* Adds utime and stime, the 14th and 15th field of stat; the command's name, which may hold blanks, ends at ')'. */
static bool add_ticks(int pid, struct load_cpu *cpu) {
    char path[64];
    char text[TEXT_BYTES];
    uint64_t ticks[2];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!read_text(path, text))
        return false;
    /* Behind the name stand a blank, the state's letter, and the fields from the fourth on. */
    const char *rest = strrchr(text, ')');
    if (!rest || strlen(rest) < 4 || !read_numbers(rest + 3, 10, ticks, 2))
        return false;
    cpu->user_ticks += ticks[0];
    cpu->system_ticks += ticks[1];
    return true;
}

static bool add_run_time(int pid, struct load_cpu *cpu) {
    char path[320];
    char text[TEXT_BYTES];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return false;
    for (struct dirent *task = readdir(tasks); task; task = readdir(tasks)) {
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
        if (read_text(path, text))
            cpu->run_ns += strtoull(text, NULL, 10);
    }
    closedir(tasks);
    return true;
}

/* A core's line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. */
static void read_core(int core, struct load_cpu *cpu) {
    char text[TEXT_BYTES];
    char name[32];
    uint64_t field[8];
    int length = snprintf(name, sizeof name, "\ncpu%d ", core);
    if (core < 0 || !read_text("/proc/stat", text))
        return;
    const char *line = strstr(text, name);
    if (!line || !read_numbers(line + length, 0, field, 8))
        return;
    cpu->core_busy_ticks = field[0] + field[1] + field[2] + field[5] + field[6];
    cpu->core_steal_ticks = field[7];
    cpu->core_all_ticks = cpu->core_busy_ticks + field[3] + field[4] + field[7];
}

bool load_cpu_read(const struct load_options *options, struct load_cpu *cpu) {
    memset(cpu, 0, sizeof *cpu);
    read_core(options->core, cpu);
    for (size_t i = 0; i < options->pid_count; i++) {
        if (!add_ticks(options->pids[i], cpu) || !add_run_time(options->pids[i], cpu)) {
            fprintf(stderr, "load: process %d is gone\n", options->pids[i]);
            return false;
        }
    }
    return true;
}
