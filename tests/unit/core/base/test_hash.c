/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash against known values; the table hash for spread, dependence on key, length and every bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/hash.h"
#include "core/base/random.h"

static char counting[64];

static int begin(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof counting; i++)
        counting[i] = (char)i;
    return 0;
}

static uint64_t exact(uint64_t (*hash)(const struct vx_hash_key *, struct vx_slice),
                      const struct vx_hash_key *key, const char *bytes, size_t len) {
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    uint64_t h = hash(key, vx_slice(copy, len));
    free(copy);
    return h;
}

/* The reference implementation's vectors have the key 00 01 ... 0f; CPython 3.11 hashes bytes with SipHash-1-3 too, and
 * with PYTHONHASHSEED=0 its key is zero: hash(bytes(range(n))). */
static void siphash_has_known_values(void **state) {
    (void)state;
    static const uint64_t reference[] = {0xabac0158050fc4dc, 0xc9f49bf37d57ca93, 0x82cb9b024dc7d44d,
                                         0x8bf80ab8e7ddf7fb};
    static const struct {
        size_t len;
        uint64_t hash;
    } cpython[] = {
        {1, 0x68a914128e01e473},  {7, 0x2f098ab0c751325a},  {8, 0xead411e67ebe2eea},  {9, 0x75927f9d95124362},
        {15, 0xf30eb725bb91c9ea}, {16, 0x8972188433a5c5b7}, {63, 0x385d3e39e5f37359},
    };
    struct vx_hash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908}, zero = {0, 0};
    for (size_t len = 0; len < sizeof reference / sizeof *reference; len++)
        assert_true(exact(vx_hash_sip, &key, counting, len) == reference[len]);
    for (size_t i = 0; i < sizeof cpython / sizeof *cpython; i++)
        assert_true(exact(vx_hash_sip, &zero, counting, cpython[i].len) == cpython[i].hash);
}

/* Half of the result's bits change, about, when one bit of the input or of the key does. */
static void check_avalanche(uint64_t (*hash)(const struct vx_hash_key *, struct vx_slice)) {
    struct vx_random random = {10};
    for (size_t len = 1; len <= 40; len++) {
        unsigned changed = 0, bits = 0;
        for (size_t bit = 0; bit < len * 8 + 128; bit++) {
            struct vx_hash_key key = {vx_random_next(&random), vx_random_next(&random)};
            char bytes[40];
            for (size_t i = 0; i < len; i++)
                bytes[i] = (char)vx_random_next(&random);
            uint64_t before = exact(hash, &key, bytes, len);
            if (bit < len * 8)
                bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
            else if (bit < len * 8 + 64)
                key.k0 ^= UINT64_C(1) << (bit - len * 8);
            else
                key.k1 ^= UINT64_C(1) << (bit - len * 8 - 64);
            uint64_t differ = before ^ exact(hash, &key, bytes, len);
            assert_true(differ != 0);
            changed += (unsigned)__builtin_popcountll(differ);
            bits += 64;
        }
        assert_true(changed > bits * 47 / 100 && changed < bits * 53 / 100);
    }
}

static void every_bit_matters(void **state) {
    (void)state;
    check_avalanche(vx_hash_sip);
    check_avalanche(vx_hash_fast);
}

static void length_matters(void **state) {
    (void)state;
    static const char zeros[64];
    struct vx_hash_key key = {1, 2};
    uint64_t seen[sizeof zeros];
    for (size_t len = 0; len < sizeof zeros; len++) {
        seen[len] = exact(vx_hash_fast, &key, zeros, len);
        for (size_t i = 0; i < len; i++)
            assert_true(seen[i] != seen[len]);
    }
}

/* Names that differ little fill a table evenly. */
static void spreads(void **state) {
    (void)state;
    enum { BUCKETS = 256, EACH = 100 };
    unsigned by_bytes[BUCKETS] = {0}, by_word[BUCKETS] = {0};
    struct vx_hash_key key = {0x1234, 0x5678};
    char name[] = "backend-00000.example.com";
    for (int i = 0; i < BUCKETS * EACH; i++) {
        for (int k = 0, n = i; k < 5; k++, n /= 10)
            name[12 - k] = (char)('0' + n % 10);
        by_bytes[vx_hash_fast(&key, vx_slice(name, sizeof name - 1)) % BUCKETS]++;
        by_word[vx_hash_word(&key, (uint64_t)i * 64) % BUCKETS]++;
    }
    for (int i = 0; i < BUCKETS; i++) {
        assert_in_range(by_bytes[i], EACH / 2, EACH * 2);
        assert_in_range(by_word[i], EACH / 2, EACH * 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_has_known_values),
        cmocka_unit_test(every_bit_matters),
        cmocka_unit_test(length_matters),
        cmocka_unit_test(spreads),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
