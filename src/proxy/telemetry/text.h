/* SPDX-License-Identifier: Apache-2.0 */
/* A buffer of text that grows: what pages are rendered into. Running out of memory sets `failed` and later
 * appends do nothing, so callers check once at the end. Any thread, one at a time. */
#ifndef VX_PROXY_TELEMETRY_TEXT_H
#define VX_PROXY_TELEMETRY_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/ports/text_sink.h"

/* All zero is an empty text. */
struct vx_text {
    char *data; /* from malloc; owned */
    size_t len, capacity;
    bool failed; /* no memory: what is there is incomplete */
};

/* A text as the sink of an adapter. */
struct vx_text_writer {
    struct vx_text_sink sink;
    struct vx_text *text;
};
struct vx_text_writer vx_text_writer(struct vx_text *text);

enum { VX_TEXT_U64_MAX = 20, VX_TEXT_SECONDS_MAX = 32 };

/* Gives the memory back; `text` is then empty. */
void vx_text_free(struct vx_text *text);

/* Room for `bytes` more at data + len, or NULL (failed is set). The caller writes and adds to len. */
char *vx_text_room(struct vx_text *text, size_t bytes);

void vx_text_add(struct vx_text *text, struct vx_slice s);
void vx_text_u64(struct vx_text *text, uint64_t n);

/* As printf. */
void vx_text_format(struct vx_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `ns` as seconds with nine decimals at most, trailing zeros left out: 1500000000 is `1.5`. Exact. */
void vx_text_seconds(struct vx_text *text, uint64_t ns);

/* A Prometheus label value: backslash, double quote and line feed escaped. */
void vx_text_label(struct vx_text *text, struct vx_slice s);

/* The digits of `n` at `out` (VX_TEXT_U64_MAX bytes at most); returns how many. */
size_t vx_format_u64(char *out, uint64_t n);

/* `ns` as milliseconds with three decimals, cut: 1234567 is `1.234`. At most VX_TEXT_U64_MAX + 4 bytes. */
size_t vx_format_ms(char *out, uint64_t ns);

/* Writes `s` to `out` as the inside of a JSON string. Valid UTF-8 stays as it is; control characters
 * (U+0000..U+001F, U+007F..U+009F), `"` and `\` are escaped; a byte that belongs to no valid UTF-8 sequence
 * (RFC 3629) becomes \u00XX with its value. At most 6 bytes for each byte of `s`; returns the end. */
char *vx_format_json(char *out, struct vx_slice s);

/* Writes `s` to `out` as nginx's combined format does: `"`, `\`, bytes below 0x20 and from 0x7f on as \xXX.
 * At most 4 bytes for each byte of `s`; returns the end. */
char *vx_format_combined(char *out, struct vx_slice s);

#endif
