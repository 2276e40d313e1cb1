/* SPDX-License-Identifier: Apache-2.0 */
/* See command.h. */
#include "filters/redis/command.h"

#include <hiredis/hiredis.h>
#include <openssl/sha.h>

#include "core/base/decimal.h"

enum { WORDS_MAX = 8 };

/* GCRA by the server's clock, so that proxies need not agree on theirs. Lua counts in doubles, exact up to 2^53: enough for
 * microseconds since 1970 and for debts in nanoseconds up to the longest capacity, not for both in one number. So a key's
 * value is two: when, and the debt at that time. It expires when it is paid off. A clock that was set back, or another
 * server's that is behind, takes nothing off the debt. */
static const char script_text[] = "local t = redis.call('TIME')\n"
                                  "local now = t[1] * 1000000 + t[2]\n"
                                  "local price, capacity, debt = tonumber(ARGV[1]), tonumber(ARGV[2]), 0\n"
                                  "local was = redis.call('GET', KEYS[1])\n"
                                  "if was then\n"
                                  "  local at, owed = string.match(was, '^(%d+) (%d+)$')\n"
                                  "  debt = math.max(0, owed - math.max(0, now - at) * 1000)\n"
                                  "end\n"
                                  "local after = debt + price\n"
                                  "if after > capacity then return -1 - debt end\n"
                                  "redis.call('SET', KEYS[1], string.format('%.0f %.0f', now, after),\n"
                                  "  'PX', string.format('%.0f', math.ceil(after / 1000000)))\n"
                                  "return after\n";

static void to_hex(const unsigned char *bytes, size_t count, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

void vx_redis_key_make(struct vx_redis_key *key, struct vx_slice from) {
    static const char prefix[] = "vortex:";
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)from.ptr, from.len, digest);
    memcpy(key->digest, digest, VX_REDIS_DIGEST_BYTES);
    memcpy(key->text, prefix, sizeof prefix - 1);
    to_hex(key->digest, VX_REDIS_DIGEST_BYTES, key->text + sizeof prefix - 1);
}

unsigned vx_redis_slot(const struct vx_redis_key *key) {
    unsigned crc = 0;
    for (size_t i = 0; i < VX_REDIS_KEY_BYTES; i++) {
        crc ^= (unsigned)(unsigned char)key->text[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
        crc &= 0xffff;
    }
    return crc % VX_REDIS_SLOTS;
}

struct vx_redis_command vx_redis_command_of(const struct vx_slice *words, unsigned count) {
    const char *argv[WORDS_MAX];
    size_t lengths[WORDS_MAX];
    struct vx_redis_command command = {NULL, 0};
    for (unsigned i = 0; i < count; i++) {
        argv[i] = words[i].ptr;
        lengths[i] = words[i].len;
    }
    int len = redisFormatCommandArgv(&command.bytes, (int)count, argv, lengths);
    if (len < 0)
        command.bytes = NULL;
    command.len = len > 0 ? (size_t)len : 0;
    return command;
}

struct vx_redis_command vx_redis_command(const char *const *words) {
    struct vx_slice slices[WORDS_MAX];
    unsigned count = 0;
    for (; words[count]; count++)
        slices[count] = vx_slice_of(words[count]);
    return vx_redis_command_of(slices, count);
}

void vx_redis_script_name(struct vx_redis_script *script) {
    unsigned char sha1[SHA_DIGEST_LENGTH];
    SHA1((const unsigned char *)script_text, sizeof script_text - 1, sha1);
    to_hex(sha1, sizeof sha1, script->name);
}

struct vx_redis_command vx_redis_command_take(const struct vx_redis_key *key, const struct vx_gcra *limit,
                                              uint32_t cost, const struct vx_redis_script *script) {
    char price[VX_DECIMAL_MAX_BYTES], capacity[VX_DECIMAL_MAX_BYTES];
    const struct vx_slice words[] = {
        script ? VX_SLICE("EVALSHA") : VX_SLICE("EVAL"),
        script ? vx_slice(script->name, sizeof script->name) : vx_slice(script_text, sizeof script_text - 1),
        VX_SLICE("1"),
        vx_slice(key->text, sizeof key->text),
        vx_decimal(vx_gcra_price_ns(limit, cost), price),
        vx_decimal(vx_gcra_capacity_ns(limit), capacity),
    };
    return vx_redis_command_of(words, sizeof words / sizeof *words);
}

struct vx_redis_command vx_redis_command_load(void) {
    return vx_redis_command((const char *const[]){"SCRIPT", "LOAD", script_text, NULL});
}

void vx_redis_command_free(struct vx_redis_command *command) {
    if (command->bytes)
        redisFreeCommand(command->bytes);
    command->bytes = NULL;
}
