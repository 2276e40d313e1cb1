/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the end of an HTTP/1 head or trailer section and, on the way, every byte that neither may hold: what
 * comes after may then rely on lines that end in CRLF and hold no other control character than HTAB. Private
 * to the parser. Any thread. */
#ifndef VX_CORE_HTTP_H1_SCAN_H
#define VX_CORE_HTTP_H1_SCAN_H

#include "core/base/slice.h"

enum vx_h1_scan {
    VX_H1_SCAN_MORE, /* no empty line yet; `at` says where to go on when there are more bytes */
    VX_H1_SCAN_END,  /* `at` is just behind the empty line */
    VX_H1_SCAN_BAD,  /* the byte at `at` must not stand there: bare LF, what follows a bare CR, a control
                        character */
};

enum { VX_H1_LINES_KEPT = 128 };

/* Where a scan ended, and where the lines of a head end, which the scan sees anyway. */
struct vx_h1_lines {
    struct vx_slice bytes; /* what was scanned; must stay where it is */
    size_t at;             /* see enum vx_h1_scan */
    uint32_t total; /* CRs from where the scan began to the end of the head, the empty line's included */
    uint32_t kept, given;
    uint32_t ends[VX_H1_LINES_KEPT]; /* offsets in `bytes` of the first `kept` CRs that were not given out */
};

/* Scans `bytes` from `from`, where an earlier scan of the same bytes ended, or a line begins. After VX_H1_SCAN_END `lines`
 * gives out the line ends from there on. Heads of up to 4 GiB. */
enum vx_h1_scan vx_h1_scan(struct vx_slice bytes, size_t from, struct vx_h1_lines *lines);

/* Finds further line ends when all that were kept have been given out. */
void vx_h1_lines_refill(struct vx_h1_lines *lines);

/* The CR of the next line; to be called at most `total` times. */
static inline const char *vx_h1_lines_next(struct vx_h1_lines *lines) {
    if (__builtin_expect(lines->given == lines->kept, 0))
        vx_h1_lines_refill(lines);
    return lines->bytes.ptr + lines->ends[lines->given++];
}

/* Why the byte that a scan found bad is bad; static text. */
const char *vx_h1_scan_reason(struct vx_slice bytes, size_t at);

#endif
