/* SPDX-License-Identifier: Apache-2.0 */
/* See fault.h. */
#include "admin/yaml/fault.h"

#include <stdarg.h>
#include <stdio.h>

enum { NAME_MAX_BYTES = 40 };

bool vx_yaml_fault(struct vx_config_error *error, struct vx_place place, const char *format, ...) {
    va_list args;
    error->place = place;
    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return false;
}

bool vx_yaml_no_memory(struct vx_config_error *error) {
    return vx_yaml_fault(error, (struct vx_place){1, 1}, "not enough memory for this configuration");
}

struct vx_yaml_quote vx_yaml_quote(struct vx_slice text) {
    struct vx_yaml_quote q;
    size_t room = sizeof(q.text) - 1, n = text.len;
    bool cut = n > room;
    if (cut) {
        n = room - 3;
        while (n && ((unsigned char)text.ptr[n] & 0xc0) == 0x80)
            n--; /* not amid a UTF-8 character */
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        q.text[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    if (cut) {
        memcpy(q.text + n, "...", 3);
        n += 3;
    }
    q.text[n] = '\0';
    return q;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Damerau-Levenshtein distance (neighbours may be swapped) without case; both at most NAME_MAX_BYTES. */
static size_t distance(struct vx_slice a, struct vx_slice b) {
    size_t rows[3][NAME_MAX_BYTES + 1];
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *now = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            char x = vx_lower(a.ptr[i - 1]), y = vx_lower(b.ptr[j - 1]);
            size_t cost = x == y ? 0 : 1;
            now[j] = least(least(before[j], now[j - 1]) + 1, before[j - 1] + cost);
            if (i > 1 && j > 1 && x == vx_lower(b.ptr[j - 2]) && y == vx_lower(a.ptr[i - 2]))
                now[j] = least(now[j], earlier[j - 2] + 1);
        }
    }
    return rows[a.len % 3][b.len];
}

const char *vx_yaml_nearest(struct vx_slice text, const char *const *names, size_t count) {
    const char *best = NULL;
    size_t best_distance = 0;
    if (text.len == 0 || text.len > NAME_MAX_BYTES)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        struct vx_slice name = vx_slice_of(names[i]);
        if (name.len == 0 || name.len > NAME_MAX_BYTES)
            continue;
        size_t d = distance(text, name), longer = text.len > name.len ? text.len : name.len;
        /* Half of the letters have to be right, or the hint would be a guess. */
        if (2 * d <= longer && (!best || d < best_distance)) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}
