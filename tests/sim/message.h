/* SPDX-License-Identifier: Apache-2.0 */
/* The actors' own reader of HTTP/1 messages, written apart from the proxy's and as strict as can be, because the proxy
 * has no excuse for sending anything odd: a deviation is a finding. */
#ifndef SIM_MESSAGE_H
#define SIM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum message_part {
    MESSAGE_HEAD,
    MESSAGE_LENGTH,
    MESSAGE_CHUNK_SIZE,
    MESSAGE_CHUNK_DATA,
    MESSAGE_CHUNK_END,
    MESSAGE_TRAILERS,
    MESSAGE_RAW, /* until the end of the connection */
    MESSAGE_OVER,
};

enum message_event {
    MESSAGE_MORE, /* all is consumed */
    MESSAGE_GOT_HEAD, /* `head` is complete: message_length() and its like, or message_next(), say how it goes on */
    MESSAGE_DATA, /* *data, *len: a run of the body */
    MESSAGE_END,  /* the message is complete; trailer lines are in `trailers` */
    MESSAGE_BAD,  /* `why` */
};

struct message_text {
    char *bytes; /* lines with their CRLF; NUL behind */
    size_t len, room;
};

struct message {
    struct message_text head, trailers;
    uint64_t left; /* of the body or the chunk */
    uint64_t got;  /* body bytes so far */
    const char *why;
    char line[64]; /* chunk size line */
    uint8_t line_len;
    uint8_t part; /* enum message_part */
    bool chunked;
};

void message_free(struct message *m);

/* Appends a field as a line, for heads that come as fields (HTTP/2). */
void message_add_field(struct message_text *text, const void *name, size_t name_len, const void *value,
                       size_t value_len);

/* The next message begins. */
void message_next(struct message *m);

/* After MESSAGE_GOT_HEAD: what follows. */
void message_length(struct message *m, uint64_t bytes);
void message_chunked(struct message *m);
void message_raw(struct message *m);

/* Reads on in *at..*at+*left and moves both. */
enum message_event message_read(struct message *m, const char **at, size_t *left, const char **data,
                                size_t *len);

/* True when some byte of the current message has come. */
static inline bool message_begun(const struct message *m) {
    return m->part != MESSAGE_HEAD || m->head.len > 0;
}

/* The value of the n-th field (from 0) of this lower-case name in head or trailers. False: there is none. */
bool message_field(const struct message_text *text, const char *name, unsigned n, const char **value,
                   size_t *len);

/* The same, whether the only one has exactly this value. */
bool message_field_is(const struct message_text *text, const char *name, const char *value);

/* A decimal field; false: missing, doubled or no number. */
bool message_number(const struct message_text *text, const char *name, uint64_t *out);

#endif
