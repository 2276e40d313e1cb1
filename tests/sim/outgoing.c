/* SPDX-License-Identifier: Apache-2.0 */
/* See outgoing.h. */
#include "sim/outgoing.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1024 };

char *outgoing_extend(struct outgoing *o, size_t len) {
    if (o->at == o->len)
        outgoing_clear(o);
    if (o->len + len > o->room) {
        while (o->len + len > o->room)
            o->room = o->room ? o->room * 2 : 1024;
        o->bytes = realloc(o->bytes, o->room);
        if (!o->bytes)
            abort();
    }
    o->len += len;
    return o->bytes + o->len - len;
}

void outgoing_bytes(struct outgoing *o, const char *bytes, size_t len) {
    if (len)
        memcpy(outgoing_extend(o, len), bytes, len);
}

void outgoing_text(struct outgoing *o, const char *format, ...) {
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0 || n >= TEXT_MAX)
        abort();
    outgoing_bytes(o, text, (size_t)n);
}

void outgoing_clear(struct outgoing *o) {
    o->at = o->len = 0;
}

void outgoing_free(struct outgoing *o) {
    free(o->bytes);
    *o = (struct outgoing){0};
}
