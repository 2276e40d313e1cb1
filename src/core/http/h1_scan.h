/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the end of an HTTP/1 head or trailer section and, on the way, every byte that neither may hold: what
 * comes after may then rely on lines that end in CRLF and hold no other control character than HTAB. Private
 * to the parser. Any thread. */
#ifndef VX_CORE_HTTP_H1_SCAN_H
#define VX_CORE_HTTP_H1_SCAN_H

#include "core/base/slice.h"

enum vx_h1_scan {
    VX_H1_SCAN_MORE, /* no empty line yet; *at says where to go on when there are more bytes */
    VX_H1_SCAN_END,  /* *at is just behind the empty line */
    VX_H1_SCAN_BAD,  /* the byte at *at must not stand there: bare LF, what follows a bare CR, a control
                        character */
};

/* Scans `bytes` from *at, where an earlier scan of the same bytes ended, or a line begins. */
enum vx_h1_scan vx_h1_scan(struct vx_slice bytes, size_t *at);

/* Why the byte that a scan found bad is bad; static text. */
const char *vx_h1_scan_reason(struct vx_slice bytes, size_t at);

#endif
