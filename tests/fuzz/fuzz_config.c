/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration from whatever bytes: it is read or refused with a place inside the text and a sentence, without
 * crash, leak or work out of proportion. What was read is valid, equals itself, and is read again in the same way. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "admin/yaml/load.h"
#include "core/base/heap.h"
#include "core/config/diff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char path[] = "/etc/vortex/vortex.yaml";

static void require(bool condition) {
    if (!condition)
        abort();
}

static void check_error(const struct vx_config_error *error, size_t size) {
    char line[1024], cut[8];
    require(memchr(error->text, 0, sizeof(error->text)) != NULL && error->text[0]);
    require(error->place.line >= 1 && error->place.column >= 1);
    require(error->place.line <= size + 1 && error->place.column <= size + 1);
    for (const char *p = error->text; *p; p++)
        require((unsigned char)*p >= 0x20 && *p != 0x7f); /* fit for a terminal */
    require(vx_config_error_format(path, error, line, sizeof(line)) == strlen(line));
    require(vx_config_error_format(path, error, cut, sizeof(cut)) == sizeof(cut) - 1);
}

static void check_config(const struct vx_config *config, struct vx_slice text) {
    struct vx_config_error error;
    struct vx_config_diff diff;
    struct vx_heap heap = vx_heap(malloc, free, 4096);
    struct vx_arena scratch;
    char first[256];
    vx_arena_init(&scratch, first, sizeof(first), &heap.source);
    require(config->listener_count >= 1 && config->route_count >= 1);
    require(vx_config_validate(config, &scratch, &error));
    struct vx_config *again = vx_yaml_parse(path, text, &error);
    require(again != NULL);
    require(vx_config_diff(config, again, &scratch, &diff));
    static const struct vx_config_diff none;
    require(memcmp(&diff, &none, sizeof(diff)) == 0);
    vx_config_free(again);
    vx_arena_reset(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vx_config_error error;
    memset(&error, 0xff, sizeof(error));
    struct vx_slice text = vx_slice((const char *)data, size);
    struct vx_config *config = vx_yaml_parse(path, text, &error);
    if (config)
        check_config(config, text);
    else
        check_error(&error, size);
    vx_config_free(config);
    return 0;
}
