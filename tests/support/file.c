/* SPDX-License-Identifier: Apache-2.0 */
/* See file.h. */
#include "support/file.h"

#include <stdio.h>
#include <stdlib.h>

char *vx_test_read_file(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "%s cannot be opened; tests run in the root of the tree\n", path);
        abort();
    }
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*bytes + 1);
    if (!data || fread(data, 1, *bytes, f) != *bytes)
        abort();
    fclose(f);
    data[*bytes] = '\0';
    return data;
}
