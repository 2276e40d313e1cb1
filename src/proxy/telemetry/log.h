/* SPDX-License-Identifier: Apache-2.0 */
/* The program's own log on stderr: text on a terminal, one JSON object a line otherwise. For what an operator
 * should know; never for single requests (that is the access log's), since a line is one blocking write. */
#ifndef VX_PROXY_TELEMETRY_LOG_H
#define VX_PROXY_TELEMETRY_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/ports/log.h"

enum vx_log_format {
    VX_LOG_AUTO, /* text when stderr is a terminal, else JSON */
    VX_LOG_TEXT,
    VX_LOG_JSON,
};

/* Sets the least level that is written and the format. The program never calls it and so has info and VX_LOG_AUTO,
 * decided at each line; it is for tests, which look at the other formats and expect warnings. Any thread. */
void vx_log_setup(enum vx_log_level least, enum vx_log_format format);

/* One line to stderr, by one write(), so lines of several threads never mix. A line feed at the end is not
 * needed; control characters are escaped (text: `?`), a message over 2 KiB is cut. Keeps errno. Any thread; may block on
 * stderr. */
void vx_log(enum vx_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Lets one message through per interval. All zero to begin with; usually `static` beside the message it
 * limits. */
struct vx_log_limit {
    _Atomic uint64_t next_ns;
    _Atomic uint64_t held_back;
};

/* The same as vx_log, but at most once in `interval_ms`; the next line that gets through says how many did
 * not. Any thread. */
void vx_log_limited(struct vx_log_limit *limit, uint32_t interval_ms, enum vx_log_level level,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
