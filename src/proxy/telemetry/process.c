/* SPDX-License-Identifier: Apache-2.0 */
/* See process.h. */
#include "proxy/telemetry/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The beginning of a file in /proc as a string; empty when it cannot be read. */
static void read_file(const char *path, char *out, size_t room) {
    ssize_t len = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        len = read(fd, out, room - 1);
        close(fd);
    }
    out[len > 0 ? len : 0] = 0;
}

/* The space-separated field number `index` (from 0) of `text`; 0 when there are fewer. */
static uint64_t field(const char *text, unsigned index) {
    for (; index > 0 && text; index--) {
        text = strchr(text, ' ');
        text = text ? text + 1 : NULL;
    }
    return text ? strtoull(text, NULL, 10) : 0;
}

static uint64_t count_open_files(void) {
    /* Since Linux 6.2 the size of the folder is the number of open files; listing 100,000 of them takes a
     * while. */
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return (uint64_t)st.st_size;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    uint64_t count = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count - 1; /* the folder itself was open */
}

uint64_t vx_process_start_time_s(void) {
    char text[1024];
    read_file("/proc/self/stat", text, sizeof text);
    const char *after_name = strrchr(text, ')'); /* the name may hold anything, proc(5) */
    struct timespec now, since_boot;
    if (!after_name || clock_gettime(CLOCK_REALTIME, &now) != 0 ||
        clock_gettime(CLOCK_BOOTTIME, &since_boot) != 0)
        return 0;
    /* starttime is field 22 counted from 1, the text after the name begins with field 3 */
    uint64_t start = field(after_name + 2, 19) / (uint64_t)sysconf(_SC_CLK_TCK);
    return (uint64_t)now.tv_sec - (uint64_t)since_boot.tv_sec + start;
}

struct vx_process_stats vx_process_stats_read(void) {
    struct vx_process_stats stats = {0};
    struct timespec cpu;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
        stats.cpu_ns = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
    char statm[256];
    read_file("/proc/self/statm", statm, sizeof statm);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    stats.virtual_bytes = field(statm, 0) * page;
    stats.resident_bytes = field(statm, 1) * page;
    stats.open_files = count_open_files();
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        stats.max_files = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
    return stats;
}
