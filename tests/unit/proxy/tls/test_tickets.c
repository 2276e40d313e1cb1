/* SPDX-License-Identifier: Apache-2.0 */
/* Ticket keys: a ticket opens for a day under old keys, is renewed, and other workers may use keys while they turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/tls/tickets_internal.h"

static const uint64_t hour_ns = 3600000000000u;

struct ticket {
    uint8_t name[16], iv[16], bytes[64], mac[32];
    int len;
};

static int turn(struct vx_tls_tickets *k, struct ticket *t, int encrypt, uint8_t *to) {
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    HMAC_CTX *mac = HMAC_CTX_new();
    static const uint8_t secret[20] = "a session's secrets";
    int result = vx_tls_tickets_seal(k, t->name, t->iv, cipher, mac, encrypt);
    int more = 0;
    unsigned mac_len;
    uint8_t digest[32];
    if (result > 0 && encrypt) {
        if (!EVP_EncryptUpdate(cipher, t->bytes, &t->len, secret, sizeof secret) ||
            !EVP_EncryptFinal_ex(cipher, t->bytes + t->len, &more))
            abort();
        t->len += more;
        if (!HMAC_Update(mac, t->bytes, (size_t)t->len) || !HMAC_Final(mac, t->mac, &mac_len))
            abort();
    } else if (result > 0) {
        int len;
        if (!HMAC_Update(mac, t->bytes, (size_t)t->len) || !HMAC_Final(mac, digest, &mac_len) ||
            memcmp(digest, t->mac, 32) != 0 || !EVP_DecryptUpdate(cipher, to, &len, t->bytes, t->len) ||
            !EVP_DecryptFinal_ex(cipher, to + len, &more) || memcmp(to, secret, sizeof secret) != 0)
            abort();
    }
    EVP_CIPHER_CTX_free(cipher);
    HMAC_CTX_free(mac);
    return result;
}

static void opens_for_a_day(void **state) {
    (void)state;
    uint8_t to[96];
    struct ticket t, later;
    struct vx_tls_tickets *k = vx_tls_tickets_new(5 * hour_ns);
    assert_int_equal(turn(k, &t, 1, NULL), 1);
    assert_int_equal(turn(k, &t, 0, to), 1);
    vx_tls_tickets_rotate(k, 5 * hour_ns + 1);
    assert_int_equal(turn(k, &t, 0, to), 1);
    for (uint64_t h = 1; h <= 24; h++) {
        vx_tls_tickets_rotate(k, (5 + h) * hour_ns);
        /* Still taken, and renewed. */
        assert_int_equal(turn(k, &t, 0, to), 2);
    }
    assert_int_equal(turn(k, &later, 1, NULL), 1);
    assert_memory_not_equal(t.name, later.name, 16);
    vx_tls_tickets_rotate(k, (5 + 25) * hour_ns);
    assert_int_equal(turn(k, &t, 0, to), 0);
    assert_int_equal(turn(k, &later, 0, to), 2);
    /* A long sleep of the machine: all but the new one are gone. */
    vx_tls_tickets_rotate(k, 500 * hour_ns);
    assert_int_equal(turn(k, &later, 0, to), 0);
    assert_int_equal(turn(k, &later, 1, NULL), 1);
    assert_int_equal(turn(k, &later, 0, to), 1);
    vx_tls_tickets_drop(k);
}

static void other_keys_do_not_open(void **state) {
    (void)state;
    uint8_t to[96];
    struct ticket t;
    struct vx_tls_tickets *a = vx_tls_tickets_new(0), *b = vx_tls_tickets_new(0);
    assert_int_equal(turn(a, &t, 1, NULL), 1);
    assert_int_equal(turn(b, &t, 0, to), 0);
    vx_tls_tickets_drop(vx_tls_tickets_hold(a));
    assert_int_equal(turn(a, &t, 0, to), 1);
    vx_tls_tickets_drop(a);
    vx_tls_tickets_drop(b);
}

static void *use_much(void *arg) {
    uint8_t to[96];
    for (int i = 0; i < 3000; i++) {
        struct ticket t;
        if (turn(arg, &t, 1, NULL) != 1)
            abort();
        int opened = turn(arg, &t, 0, to);
        if (opened != 1 && opened != 2)
            abort();
    }
    return NULL;
}

static void turns_while_workers_use_it(void **state) {
    (void)state;
    pthread_t threads[3];
    struct vx_tls_tickets *k = vx_tls_tickets_new(0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_much, k), 0);
    /* Fewer turns than keys are kept, so that each ticket still opens. */
    for (uint64_t h = 1; h < 20; h++)
        vx_tls_tickets_rotate(k, h * hour_ns);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    vx_tls_tickets_drop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_for_a_day),
        cmocka_unit_test(other_keys_do_not_open),
        cmocka_unit_test(turns_while_workers_use_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
