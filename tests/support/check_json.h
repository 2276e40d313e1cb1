/* SPDX-License-Identifier: Apache-2.0 */
/* A strict reader of one flat JSON object (RFC 8259; strings, numbers, booleans, null), for tests of what we write. */
#ifndef VX_TESTS_SUPPORT_CHECK_JSON_H
#define VX_TESTS_SUPPORT_CHECK_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/slice.h"

enum { JSON_MEMBERS = 32, JSON_KEY_MAX = 64, JSON_TEXT_MAX = 64 * 1024 };

enum json_kind { JSON_STRING, JSON_NUMBER, JSON_BOOL, JSON_NULL };

struct json_member {
    char key[JSON_KEY_MAX];
    enum json_kind kind;
    struct vx_slice value; /* a string decoded to UTF-8, else the text as it stands */
};

struct json_object {
    struct json_member members[JSON_MEMBERS];
    unsigned count;
    char text[JSON_TEXT_MAX]; /* what the values point into */
    size_t used;
};

/* False: `s` is not exactly one such object (not valid UTF-8, a repeated key, anything after it, ...). */
bool json_read(struct json_object *o, struct vx_slice s);

/* The member's value; fails the test when there is none. */
struct vx_slice json_value(const struct json_object *o, const char *key);

/* Fails the test unless the member has this value. */
void json_check(const struct json_object *o, const char *key, const char *value);

#endif
