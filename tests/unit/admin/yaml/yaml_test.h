/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the YAML source share: configurations that must be read, and ones that must be refused at the
 * place marked by `@@` in their text. */
#ifndef VX_TEST_YAML_TEST_H
#define VX_TEST_YAML_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "admin/yaml/load.h"

#define CONFIG_PATH "/etc/vortex/vortex.yaml"

/* Parts that complete a test's own text to a configuration. */
#define LISTENER "listeners: [{address: '127.0.0.1:8080'}]\n"
#define ROUTE    "routes: [{name: main, match: {}, backends: [{address: '127.0.0.1:9001'}]}]\n"
#define IN_ROUTE                                                                                             \
    LISTENER "routes:\n- {name: main, match: {}, backends: [{address: '127.0.0.1:9001'}],\n   %s}\n"
#define IN_MATCH LISTENER "routes:\n- {name: main, match: { %s }, backends: [{address: '127.0.0.1:9001'}]}\n"
#define IN_BACKEND                                                                                           \
    LISTENER "routes:\n- {name: main, match: {}, backends: [{address: '127.0.0.1:9001', %s}]}\n"
#define IN_FILE "%s\n" LISTENER ROUTE

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats are the tests' own */
/* `around` with `fragment` with `value` in it. Static text, until the next call. */
static inline const char *fill(const char *around, const char *fragment, const char *value) {
    static char inner[4096], whole[8192];
    snprintf(inner, sizeof(inner), fragment, value);
    snprintf(whole, sizeof(whole), around, inner);
    return whole;
}
#pragma GCC diagnostic pop

static inline struct vx_config *must_read(const char *text) {
    struct vx_config_error error;
    struct vx_config *config = vx_yaml_parse(CONFIG_PATH, vx_slice_of(text), &error);
    if (!config)
        fail_msg("refused at %u:%u: %s\n%s", error.place.line, error.place.column, error.text, text);
    return config;
}

/* Takes `@@` out of `text` and tells where it stood; the start of the file when it is not in it. */
static inline struct vx_place take_mark(char *text) {
    struct vx_place place = {1, 1};
    char *mark = strstr(text, "@@");
    if (!mark)
        return place;
    for (const char *p = text; p < mark; p++) {
        if (*p == '\n')
            place = (struct vx_place){place.line + 1, 1};
        else if (((unsigned char)*p & 0xc0) != 0x80)
            place.column++;
    }
    memmove(mark, mark + 2, strlen(mark + 2) + 1);
    return place;
}

/* `text` must be refused at its mark with an error that contains `says`. */
static inline void must_refuse(const char *text, const char *says) {
    static char plain[64 * 1024];
    struct vx_config_error error;
    assert_true(strlen(text) < sizeof(plain));
    memcpy(plain, text, strlen(text) + 1);
    struct vx_place place = take_mark(plain);
    struct vx_config *config = vx_yaml_parse(CONFIG_PATH, vx_slice_of(plain), &error);
    if (config)
        fail_msg("accepted:\n%s", plain);
    if (error.place.line != place.line || error.place.column != place.column)
        fail_msg("place is %u:%u, not %u:%u: %s\n%s", error.place.line, error.place.column, place.line,
                 place.column, error.text, plain);
    if (!strstr(error.text, says))
        fail_msg("`%s` does not say `%s`\n%s", error.text, says, plain);
}

static inline void assert_slice(struct vx_slice s, const char *text) {
    if (!vx_slice_eq(s, vx_slice_of(text)))
        fail_msg("`%.*s` is not `%s`", VX_SLICE_ARG(s), text);
}

#endif
