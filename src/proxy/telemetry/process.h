/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel knows of this process, for the metrics page. */
#ifndef VX_PROXY_TELEMETRY_PROCESS_H
#define VX_PROXY_TELEMETRY_PROCESS_H

#include <stdint.h>

struct vx_process_stats {
    uint64_t cpu_ns; /* user and system, of all threads */
    uint64_t resident_bytes, virtual_bytes;
    uint64_t open_files;
    uint64_t max_files; /* the soft limit; UINT64_MAX: none */
};

/* Values that cannot be read (no /proc) are 0. Any thread; reads files in /proc. */
struct vx_process_stats vx_process_stats_read(void);

/* When the process started, seconds since 1970-01-01; 0 when that cannot be read. Changes with the system's
 * clock, so ask once. Any thread; reads a file in /proc. */
uint64_t vx_process_start_time_s(void);

#endif
