/* SPDX-License-Identifier: Apache-2.0 */
/* See message.h. */
#include "sim/message.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TEXT_MAX = 256 * 1024 };

void message_free(struct message *m) {
    free(m->head.bytes);
    free(m->trailers.bytes);
    *m = (struct message){0};
}

void message_next(struct message *m) {
    m->head.len = m->trailers.len = 0;
    m->left = m->got = 0;
    m->line_len = 0;
    m->chunked = false;
    m->part = MESSAGE_HEAD;
}

void message_length(struct message *m, uint64_t bytes) {
    m->left = bytes;
    m->part = bytes ? MESSAGE_LENGTH : MESSAGE_OVER;
}

void message_chunked(struct message *m) {
    m->part = MESSAGE_CHUNK_SIZE;
    m->chunked = true;
}

void message_raw(struct message *m) {
    m->part = MESSAGE_RAW;
}

static enum message_event bad(struct message *m, const char *why) {
    m->why = why;
    return MESSAGE_BAD;
}

static void append(struct message_text *t, char c) {
    if (t->len + 2 > t->room) {
        t->room = t->room ? t->room * 2 : 512;
        t->bytes = realloc(t->bytes, t->room);
        if (!t->bytes)
            abort();
    }
    t->bytes[t->len++] = c;
    t->bytes[t->len] = '\0';
}

/* Takes one byte of a section of lines; 1: the empty line is complete, -1: not such a section. */
static int take_line_byte(struct message_text *t, char c, bool first_line_may_be_empty) {
    char before = t->len ? t->bytes[t->len - 1] : '\n';
    if (c == '\0' || (c == '\n') != (before == '\r') || t->len > TEXT_MAX)
        return -1;
    bool begins_line = before == '\n';
    if (begins_line && (c == ' ' || c == '\t'))
        return -1;
    append(t, c);
    if (t->len == 2 && memcmp(t->bytes, "\r\n", 2) == 0)
        return first_line_may_be_empty ? 1 : -1;
    return t->len >= 4 && memcmp(t->bytes + t->len - 4, "\r\n\r\n", 4) == 0 ? 1 : 0;
}

static enum message_event read_section(struct message *m, const char **at, size_t *left) {
    bool trailers = m->part == MESSAGE_TRAILERS;
    struct message_text *t = trailers ? &m->trailers : &m->head;
    while (*left) {
        char c = **at;
        ++*at;
        --*left;
        int result = take_line_byte(t, c, trailers);
        if (result < 0)
            return bad(m, trailers ? "malformed trailer section" : "malformed head");
        if (result == 0)
            continue;
        if (trailers) {
            m->part = MESSAGE_OVER;
            return MESSAGE_END;
        }
        return MESSAGE_GOT_HEAD;
    }
    return MESSAGE_MORE;
}

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A chunk's size line as the proxy writes it: digits and CRLF, no extension. */
static enum message_event read_size(struct message *m, const char **at, size_t *left) {
    while (*left) {
        char c = **at;
        ++*at;
        --*left;
        if (c == '\n') {
            if (m->line_len < 2 || m->line[m->line_len - 1] != '\r')
                return bad(m, "malformed chunk size line");
            m->left = 0;
            for (unsigned i = 0; i + 1 < m->line_len; i++) {
                if (digit(m->line[i]) < 0)
                    return bad(m, "a chunk size that is no number");
                m->left = m->left * 16 + (unsigned)digit(m->line[i]);
            }
            m->line_len = 0;
            m->part = m->left ? MESSAGE_CHUNK_DATA : MESSAGE_TRAILERS;
            return MESSAGE_MORE;
        }
        if (m->line_len >= 18)
            return bad(m, "a chunk size line that does not end");
        m->line[m->line_len++] = c;
    }
    return MESSAGE_MORE;
}

static enum message_event read_chunk_end(struct message *m, const char **at, size_t *left) {
    while (*left) {
        char c = **at;
        ++*at;
        --*left;
        if (c != "\r\n"[m->line_len])
            return bad(m, "a chunk that is longer than it said");
        if (++m->line_len == 2) {
            m->line_len = 0;
            m->part = MESSAGE_CHUNK_SIZE;
            return MESSAGE_MORE;
        }
    }
    return MESSAGE_MORE;
}

static enum message_event read_data(struct message *m, const char **at, size_t *left, const char **data,
                                    size_t *len) {
    size_t n = *left;
    if (m->part != MESSAGE_RAW && n > m->left)
        n = m->left;
    *data = *at;
    *len = n;
    *at += n;
    *left -= n;
    m->got += n;
    if (m->part == MESSAGE_RAW)
        return MESSAGE_DATA;
    m->left -= n;
    if (m->left == 0)
        m->part = m->part == MESSAGE_LENGTH ? MESSAGE_OVER : MESSAGE_CHUNK_END;
    return MESSAGE_DATA;
}

enum message_event message_read(struct message *m, const char **at, size_t *left, const char **data,
                                size_t *len) {
    for (;;) {
        enum message_event event = MESSAGE_MORE;
        if (m->part == MESSAGE_OVER)
            return MESSAGE_END;
        if (*left == 0)
            return MESSAGE_MORE;
        switch ((enum message_part)m->part) {
        case MESSAGE_HEAD:
        case MESSAGE_TRAILERS:
            event = read_section(m, at, left);
            break;
        case MESSAGE_CHUNK_SIZE:
            event = read_size(m, at, left);
            break;
        case MESSAGE_CHUNK_END:
            event = read_chunk_end(m, at, left);
            break;
        case MESSAGE_LENGTH:
        case MESSAGE_CHUNK_DATA:
        case MESSAGE_RAW:
            return read_data(m, at, left, data, len);
        case MESSAGE_OVER:
            break;
        }
        if (event != MESSAGE_MORE)
            return event;
    }
}

static void append_all(struct message_text *t, const char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        append(t, bytes[i]);
}

void message_add_field(struct message_text *text, const void *name, size_t name_len, const void *value,
                       size_t value_len) {
    append_all(text, name, name_len);
    append_all(text, ": ", 2);
    append_all(text, value, value_len);
    append_all(text, "\r\n", 2);
}

bool message_field(const struct message_text *text, const char *name, unsigned n, const char **value,
                   size_t *len) {
    size_t name_len = strlen(name);
    const char *line = text->bytes;
    if (!text->len)
        return false;
    for (const char *end; (end = strstr(line, "\r\n")) != NULL && end != line; line = end + 2) {
        if ((size_t)(end - line) <= name_len || line[name_len] != ':' ||
            strncasecmp(line, name, name_len) != 0)
            continue;
        if (n--)
            continue;
        *value = line + name_len + 1;
        while (**value == ' ')
            ++*value;
        *len = (size_t)(end - *value);
        return true;
    }
    return false;
}

bool message_field_is(const struct message_text *text, const char *name, const char *value) {
    const char *found;
    size_t len;
    return message_field(text, name, 0, &found, &len) && len == strlen(value) &&
           memcmp(found, value, len) == 0 && !message_field(text, name, 1, &found, &len);
}

bool message_number(const struct message_text *text, const char *name, uint64_t *out) {
    const char *value;
    size_t len;
    if (!message_field(text, name, 0, &value, &len) || len == 0 || len > 18)
        return false;
    *out = 0;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9')
            return false;
        *out = *out * 10 + (unsigned)(value[i] - '0');
    }
    return !message_field(text, name, 1, &value, &len);
}
