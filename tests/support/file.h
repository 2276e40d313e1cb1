/* SPDX-License-Identifier: Apache-2.0 */
/* Files that tests look into. Tests run in the root of the tree. */
#ifndef VX_TESTS_SUPPORT_FILE_H
#define VX_TESTS_SUPPORT_FILE_H

#include "core/base/slice.h"

/* All of a file, with a NUL behind it that is not counted; for free(). Aborts when it cannot be read. */
char *vx_test_read_file(const char *path, size_t *bytes);

#endif
