/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, slots and commands as Redis knows them. That the script decides as it should is tested on a real server
 * (tests/integration/test_limits_redis.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "filters/redis/command.h"
#include "filters/redis/refused.h"

static void keys_and_slots(void **state) {
    (void)state;
    struct vx_redis_key key, same;
    vx_redis_key_make(&key, VX_SLICE("k")); /* printf k | sha256sum; CLUSTER KEYSLOT */
    assert_memory_equal(key.text, "vortex:8254c329a92850f6d539dd376f4816ee", VX_REDIS_KEY_BYTES);
    assert_int_equal(vx_redis_slot(&key), 10854);
    vx_redis_key_make(&same, VX_SLICE("k"));
    assert_memory_equal(&key, &same, sizeof key);
}

static void commands(void **state) {
    (void)state;
    struct vx_redis_key key;
    struct vx_redis_script script;
    struct vx_gcra limit = {250, 8};
    vx_redis_key_make(&key, VX_SLICE("k"));
    vx_redis_script_name(&script);
    struct vx_redis_command c = vx_redis_command_take(&key, &limit, 3, &script);
    assert_memory_equal(c.bytes, "*6\r\n$7\r\nEVALSHA\r\n$40\r\n", 22);
    assert_memory_equal(c.bytes + 22, script.name, 40);
    const char end[] =
        "\r\n$1\r\n1\r\n$39\r\nvortex:8254c329a92850f6d539dd376f4816ee\r\n$3\r\n750\r\n$4\r\n2000\r\n";
    assert_int_equal(c.len, 22 + 40 + sizeof end - 1);
    assert_memory_equal(c.bytes + 62, end, sizeof end - 1);
    vx_redis_command_free(&c);
    vx_redis_command_free(&c);
    c = vx_redis_command_take(&key, &limit, UINT32_MAX, NULL); /* dearer than the burst is dear enough */
    assert_non_null(strstr(c.bytes, "$4\r\n2250\r\n$4\r\n2000\r\n"));
    vx_redis_command_free(&c);
}

static void refused_keys(void **state) {
    (void)state;
    static struct vx_redis_refused refused;
    struct vx_redis_key key, other;
    vx_redis_key_make(&key, VX_SLICE("k"));
    other = key;
    other.digest[15] ^= 1; /* the same place, another key */
    assert_int_equal(vx_redis_refused_find(&refused, &key), 0);
    vx_redis_refused_note(&refused, &key, 7);
    assert_int_equal(vx_redis_refused_find(&refused, &key), 7);
    assert_int_equal(vx_redis_refused_find(&refused, &other), 0);
    vx_redis_refused_note(&refused, &other, 9);
    assert_int_equal(vx_redis_refused_find(&refused, &key), 0);
    assert_int_equal(vx_redis_refused_find(&refused, &other), 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_slots),
        cmocka_unit_test(commands),
        cmocka_unit_test(refused_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
