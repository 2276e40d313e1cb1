/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that are sent to Redis, above all the script that decides. */
#ifndef VX_FILTERS_REDIS_COMMAND_H
#define VX_FILTERS_REDIS_COMMAND_H

#include "core/base/slice.h"
#include "core/limit/gcra.h"

/* `vortex:` and 32 hex digits of a key's SHA-256. Clients choose parts of keys, and proxies that share a Redis must agree
 * on them, so no keyed hash would do; and what may be a secret, such as an API key in a header, does not lie in Redis. */
enum { VX_REDIS_DIGEST_BYTES = 16, VX_REDIS_KEY_BYTES = 7 + 2 * VX_REDIS_DIGEST_BYTES };

struct vx_redis_key {
    unsigned char digest[VX_REDIS_DIGEST_BYTES];
    char text[VX_REDIS_KEY_BYTES];
};

void vx_redis_key_make(struct vx_redis_key *key, struct vx_slice from);

/* The slot of a key in a cluster: CRC16 (XMODEM) modulo 16384. Ours have no `{`, so all of the key counts. */
enum { VX_REDIS_SLOTS = 16384 };
unsigned vx_redis_slot(const struct vx_redis_key *key);

/* A command in the protocol's form, from hiredis. */
struct vx_redis_command {
    char *bytes; /* NULL: no memory */
    size_t len;
};

/* From words; the last one is followed by NULL. */
struct vx_redis_command vx_redis_command(const char *const *words);
struct vx_redis_command vx_redis_command_of(const struct vx_slice *words, unsigned count);

/* The name under which a server remembers the script, its SHA-1 as text. */
struct vx_redis_script {
    char name[40];
};
void vx_redis_script_name(struct vx_redis_script *script);

/* Runs the script on a key, by name (EVALSHA) or, with NULL, by its text (EVAL). The answer is a number: the debt in
 * nanoseconds if the request passed, minus one minus the debt if not. */
struct vx_redis_command vx_redis_command_take(const struct vx_redis_key *key, const struct vx_gcra *limit,
                                              uint32_t cost, const struct vx_redis_script *script);

/* Has the script remembered by the server. */
struct vx_redis_command vx_redis_command_load(void);

void vx_redis_command_free(struct vx_redis_command *command);

#endif
