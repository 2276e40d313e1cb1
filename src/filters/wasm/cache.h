/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled modules on disk, so that a restart does not compile again. Whoever can write such a file runs code in our
 * process: the folder is 0700 and the files 0600, and a file that is another user's, or that others may write, is not read.
 * Nor is a folder used to which others may write, or that is neither ours nor root's: what lies there would be theirs to
 * choose among, rename and remove. A file carries the hash of what it holds, so that a damaged one is noticed and made anew. */
#ifndef VX_FILTERS_WASM_CACHE_H
#define VX_FILTERS_WASM_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/slice.h"

enum { VX_WASM_KEY_BYTES = 32 };

/* Names a module's compiled form: the hash of its bytes and of the version of the engine. */
struct vx_wasm_key {
    uint8_t bytes[VX_WASM_KEY_BYTES];
};

struct vx_wasm_key vx_wasm_cache_key(struct vx_slice binary);

/* The whole content for `key`, in memory of malloc's that the caller frees. False: there is none that can be trusted;
 * one that is damaged is removed. */
bool vx_wasm_cache_read(const char *dir, const struct vx_wasm_key *key, uint8_t **content, size_t *bytes);

/* Keeps the content, in one step for whoever reads meanwhile, and forgets the files that were used longest ago. False
 * with errno: it could not be written, nothing has changed. EPERM: the folder is not to be trusted. */
bool vx_wasm_cache_write(const char *dir, const struct vx_wasm_key *key, const uint8_t *content,
                         size_t bytes);

/* Forgets what is kept for `key`. */
void vx_wasm_cache_forget(const char *dir, const struct vx_wasm_key *key);

/* What that errno means, as text. */
const char *vx_wasm_cache_explain(int error);

/* Where the cache lies unless it is configured: $XDG_CACHE_HOME/vortex/wasm, $HOME/.cache/vortex/wasm or
 * /var/cache/vortex/wasm. Returns the length of what is written to `out`; 0: it has no room. */
size_t vx_wasm_cache_default(char *out, size_t room);

#endif
