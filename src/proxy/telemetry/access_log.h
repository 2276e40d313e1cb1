/* SPDX-License-Identifier: Apache-2.0 */
/* The access log, off the request path: each worker writes its finished lines into a ring of bytes of its
 * own, one writer thread empties all rings into the file every 50 ms (earlier when one fills up). A full ring
 * drops the line and counts it; a slow or full disk therefore costs lines, never requests. */
#ifndef VX_PROXY_TELEMETRY_ACCESS_LOG_H
#define VX_PROXY_TELEMETRY_ACCESS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/config/model.h"
#include "core/ports/recorder.h"

struct vx_access_log;
struct vx_metrics;

/* An access log that is off, for `workers` workers; `metrics` outlives it and counts dropped lines. No thread
 * is started yet. NULL: no memory. Control thread, like everything here that is not said to be a worker's. */
struct vx_access_log *vx_access_log_new(uint32_t workers, struct vx_metrics *metrics);

/* Makes it as configured: on, off, another path or format. A file is (re)opened each time, so a reload also
 * follows log rotation; `stdout` and `stderr` stay those of the process. False: the file cannot be opened (or
 * no memory, no thread), *why says so in `why_bytes` bytes, NUL-terminated, and the log stays as it was.
 * Waits until the writer has the new file, 500 ms at most; so does vx_access_log_reopen. */
bool vx_access_log_apply(struct vx_access_log *log, const struct vx_config_access_log *config, char *why,
                         size_t why_bytes);

/* Opens the file again under its name: for SIGUSR1 after it was renamed. False: as above; lines then go on
 * into the old file. Does nothing when the log is off or no file. */
bool vx_access_log_reopen(struct vx_access_log *log, char *why, size_t why_bytes);

/* Writes what is queued and ends the writer, for which it waits `timeout_ms` at most: a reader that does not
 * read must not keep the program from ending. False: lines were left behind. No worker may write afterwards.
 */
bool vx_access_log_stop(struct vx_access_log *log, uint32_t timeout_ms);

/* Stops it (for a second at most) and frees it. NULL is allowed. */
void vx_access_log_free(struct vx_access_log *log);

/* Queues one line if the log is on. The worker's thread; never blocks, no allocation. */
void vx_access_log_write(struct vx_access_log *log, uint32_t worker, const struct vx_exchange_record *record);

#endif
