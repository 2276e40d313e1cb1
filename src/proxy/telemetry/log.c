/* SPDX-License-Identifier: Apache-2.0 */
/* See log.h. The level and the format are the only state; they belong to the process as stderr does. */
#include "proxy/telemetry/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "core/base/assert.h"
#include "proxy/telemetry/text.h"
#include "proxy/telemetry/timestamp.h"

enum { MESSAGE_MAX_BYTES = 2048, LINE_MAX_BYTES = 6 * MESSAGE_MAX_BYTES + 128 };

static struct {
    _Atomic unsigned least;
    _Atomic unsigned format;
} log_state = {VX_LOG_INFO, VX_LOG_AUTO};

static const char *const level_names[VX_LOG_LEVEL_COUNT] = {
#define X(name, text) [VX_LOG_##name] = (text),
    VX_LOG_LEVEL_LIST(X)
#undef X
};

void vx_log_setup(enum vx_log_level least, enum vx_log_format format) {
    atomic_store_explicit(&log_state.least, least, memory_order_relaxed);
    atomic_store_explicit(&log_state.format, format, memory_order_relaxed);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static bool as_json(void) {
    unsigned format = atomic_load_explicit(&log_state.format, memory_order_relaxed);
    return format == VX_LOG_JSON || (format == VX_LOG_AUTO && !isatty(STDERR_FILENO));
}

static char *put(char *out, struct vx_slice s) {
    memcpy(out, s.ptr, s.len);
    return out + s.len;
}

/* For a terminal: what is no plain text becomes `?`, so that no message can move the cursor or hide another one. */
static char *put_plain(char *out, struct vx_slice s) {
    for (size_t i = 0; i < s.len; i++)
        *out++ = (unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f ? '?' : s.ptr[i];
    return out;
}

static size_t format_line(char *line, enum vx_log_level level, struct vx_slice message) {
    struct vx_timestamp now = {0};
    vx_timestamp_set(&now, clock_ns(CLOCK_REALTIME));
    struct vx_slice time = vx_slice(now.rfc3339, sizeof now.rfc3339);
    struct vx_slice name = vx_slice_of(level_names[level]);
    char *out = line;
    if (as_json()) {
        out = put(out, VX_SLICE("{\"time\":\""));
        out = put(out, time);
        out = put(out, VX_SLICE("\",\"level\":\""));
        out = put(out, name);
        out = put(out, VX_SLICE("\",\"message\":\""));
        out = vx_format_json(out, message);
        out = put(out, VX_SLICE("\"}\n"));
    } else {
        out = put(out, time);
        out = put(out, VX_SLICE(" "));
        out = put(out, name);
        out = put(out, vx_slice("      ", 6 - name.len));
        out = put_plain(out, message);
        out = put(out, VX_SLICE("\n"));
    }
    return (size_t)(out - line);
}

static void log_v(enum vx_log_level level, const char *format, va_list args) {
    if (level < atomic_load_explicit(&log_state.least, memory_order_relaxed))
        return;
    int saved = errno;
    char message[MESSAGE_MAX_BYTES];
    int wanted = vsnprintf(message, sizeof message, format, args);
    size_t len = wanted < 0 ? 0 : (size_t)wanted;
    if (len >= sizeof message)
        len = sizeof message - 1;
    while (len > 0 && message[len - 1] == '\n')
        len--;
    char line[LINE_MAX_BYTES];
    size_t bytes = format_line(line, level, vx_slice(message, len));
    /* Where stderr cannot take it there is nobody left to tell. */
    ssize_t ignored = write(STDERR_FILENO, line, bytes);
    (void)ignored;
    errno = saved;
}

void vx_log(enum vx_log_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    log_v(level, format, args);
    va_end(args);
}

void vx_log_limited(struct vx_log_limit *limit, uint32_t interval_ms, enum vx_log_level level,
                    const char *format, ...) {
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    uint64_t next = atomic_load_explicit(&limit->next_ns, memory_order_relaxed);
    if (now < next ||
        !atomic_compare_exchange_strong(&limit->next_ns, &next, now + interval_ms * 1000000ull)) {
        atomic_fetch_add_explicit(&limit->held_back, 1, memory_order_relaxed);
        return;
    }
    uint64_t held_back = atomic_exchange_explicit(&limit->held_back, 0, memory_order_relaxed);
    char message[MESSAGE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (held_back)
        vx_log(level, "%s (and %llu more like this)", message, (unsigned long long)held_back);
    else
        vx_log(level, "%s", message);
}
