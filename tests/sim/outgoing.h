/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that an actor is about to send. */
#ifndef SIM_OUTGOING_H
#define SIM_OUTGOING_H

#include <stdbool.h>
#include <stddef.h>

struct outgoing {
    char *bytes;
    size_t at, len, room;
};

void outgoing_text(struct outgoing *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
void outgoing_bytes(struct outgoing *o, const char *bytes, size_t len);

/* Room for `len` more bytes at the end, counted as there already. */
char *outgoing_extend(struct outgoing *o, size_t len);

void outgoing_clear(struct outgoing *o);
void outgoing_free(struct outgoing *o);

static inline size_t outgoing_left(const struct outgoing *o) {
    return o->len - o->at;
}

#endif
