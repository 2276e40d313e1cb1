/* SPDX-License-Identifier: Apache-2.0 */
/* Reading files. Any thread; it may block. */
#ifndef VX_FILTERS_FILE_H
#define VX_FILTERS_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* The content of a file of at most `most_bytes`, for free(); NULL with errno. */
char *vx_file_read(const char *path, size_t most_bytes, size_t *bytes);

/* Reads exactly `bytes` bytes. False: it cannot be read, or ends before. */
bool vx_file_fill(int fd, void *to, size_t bytes);

#endif
