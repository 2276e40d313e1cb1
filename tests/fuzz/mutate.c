/* SPDX-License-Identifier: Apache-2.0 */
/* See mutate.h. */
#include "fuzz/mutate.h"

#include <string.h>

static const char *const words[] = {
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\n",
    "\t",
    " ",
    ":",
    ": ",
    ",",
    ";",
    "=",
    "\"",
    "\\",
    "/",
    "//",
    "/../",
    "/./",
    "%2e",
    "%2f",
    "%",
    "?",
    "#",
    "*",
    "@",
    "[::1]",
    "\x7f",
    "\x80",
    "\xff",
    "0",
    "1",
    "5",
    "+",
    "-",
    "0x",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    ";a=b",
    ";a=\"b\"",
    "chunked",
    ", chunked",
    "gzip",
    "identity",
    "close",
    "keep-alive",
    "upgrade",
    "100-continue",
    "http://",
    "https://a",
    "HTTP/1.0",
    "HTTP/1.1",
    "HTTP/2.0",
    "GET ",
    "HEAD ",
    "OPTIONS * ",
    "CONNECT ",
    "Host: a\r\n",
    "Host: b\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Connection: upgrade\r\n",
    "Upgrade: websocket\r\n",
    "Expect: 100-continue\r\n",
    " folded\r\n",
    "A: b\r\n",
    "model",
    "\\u006d",
    "{}",
    "[]",
};

enum { WORDS = sizeof words / sizeof *words, MOST_CHANGES = 4, LONGEST_CUT = 24 };

struct text {
    uint8_t *data;
    size_t size, room;
};

static void insert(struct text *t, size_t at, const void *bytes, size_t n) {
    if (n > t->room - t->size)
        return;
    memmove(t->data + at + n, t->data + at, t->size - at);
    memcpy(t->data + at, bytes, n);
    t->size += n;
}

static void cut(struct text *t, size_t at, size_t n) {
    if (n > t->size - at)
        n = t->size - at;
    memmove(t->data + at, t->data + at + n, t->size - at - n);
    t->size -= n;
}

static size_t place(struct vx_random *random, const struct text *t) {
    return vx_random_below(random, (uint32_t)t->size + 1);
}

static void change(struct vx_random *random, struct text *t, const struct fuzz_input *other) {
    uint8_t copy[LONGEST_CUT];
    size_t at = place(random, t), n = 1 + vx_random_below(random, LONGEST_CUT);
    const char *word = words[vx_random_below(random, WORDS)];
    switch (vx_random_below(random, 8)) {
    case 0:
        if (at < t->size)
            t->data[at] ^= (uint8_t)(1u << vx_random_below(random, 8));
        break;
    case 1:
        if (at < t->size)
            t->data[at] = (uint8_t)vx_random_next(random);
        break;
    case 2:
        cut(t, at, 1);
        break;
    case 3:
        cut(t, at, n);
        break;
    case 4:
        if (n > t->size - at)
            n = t->size - at;
        memcpy(copy, t->data + at, n);
        insert(t, place(random, t), copy, n);
        break;
    case 5:
        if (other->size) {
            size_t from = vx_random_below(random, (uint32_t)other->size);
            insert(t, at, other->data + from, n < other->size - from ? n : other->size - from);
        }
        break;
    case 6:
        cut(t, at, strlen(word));
        insert(t, at, word, strlen(word));
        break;
    default:
        insert(t, at, word, strlen(word));
    }
}

size_t fuzz_mutate(struct vx_random *random, const struct fuzz_input *inputs, size_t count, uint8_t *out,
                   size_t room) {
    const struct fuzz_input *from = &inputs[vx_random_below(random, (uint32_t)count)];
    struct text t = {out, from->size < room ? from->size : room, room};
    memcpy(out, from->data, t.size);
    for (uint32_t left = 1 + vx_random_below(random, MOST_CHANGES); left > 0; left--)
        change(random, &t, &inputs[vx_random_below(random, (uint32_t)count)]);
    return t.size;
}
