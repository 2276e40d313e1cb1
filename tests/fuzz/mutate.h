/* SPDX-License-Identifier: Apache-2.0 */
/* Seeded mutations of a corpus, for builds without libFuzzer: the same inputs on every machine and in every run, so that
 * a failure is found again. They know a little HTTP: line ends, delimiters and framing fields go in more often than
 * chance would put them. */
#ifndef VX_TESTS_FUZZ_MUTATE_H
#define VX_TESTS_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/random.h"

struct fuzz_input {
    uint8_t *data;
    size_t size;
};

/* Writes a mutation of one of the `count` > 0 inputs to `out` and returns its size, at most `room`. */
size_t fuzz_mutate(struct vx_random *random, const struct fuzz_input *inputs, size_t count, uint8_t *out,
                   size_t room);

#endif
