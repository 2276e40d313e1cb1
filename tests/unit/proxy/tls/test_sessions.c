/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of backends' sessions: newest first, bounded, one key's sessions never another's, safe between workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <openssl/ssl.h>
#include <stdlib.h>

#include "proxy/tls/sessions.h"

static SSL_CTX *ctx;

static int set_up(void **state) {
    (void)state;
    ctx = SSL_CTX_new(TLS_method());
    return ctx == NULL;
}

static int tear_down(void **state) {
    (void)state;
    SSL_CTX_free(ctx);
    return 0;
}

static SSL_SESSION *make(uint16_t version) {
    SSL_SESSION *s = SSL_SESSION_new(ctx);
    if (!s || SSL_SESSION_set_protocol_version(s, version) != 1)
        abort();
    return s;
}

static void tls13_sessions_are_used_once(void **state) {
    (void)state;
    struct vx_tls_sessions cache;
    assert_true(vx_tls_sessions_init(&cache));
    SSL_SESSION *a = make(TLS1_3_VERSION), *b = make(TLS1_3_VERSION), *got;
    vx_tls_sessions_put(&cache, 7, a);
    vx_tls_sessions_put(&cache, 7, b);
    assert_null(vx_tls_sessions_get(&cache, 8));
    got = vx_tls_sessions_get(&cache, 7);
    assert_ptr_equal(got, b);
    SSL_SESSION_free(got);
    got = vx_tls_sessions_get(&cache, 7);
    assert_ptr_equal(got, a);
    SSL_SESSION_free(got);
    assert_null(vx_tls_sessions_get(&cache, 7));
    vx_tls_sessions_free(&cache);
}

static void tls12_sessions_stay(void **state) {
    (void)state;
    struct vx_tls_sessions cache;
    assert_true(vx_tls_sessions_init(&cache));
    SSL_SESSION *a = make(TLS1_2_VERSION);
    vx_tls_sessions_put(&cache, 7, a);
    for (int i = 0; i < 3; i++) {
        SSL_SESSION *got = vx_tls_sessions_get(&cache, 7);
        assert_ptr_equal(got, a);
        SSL_SESSION_free(got);
    }
    vx_tls_sessions_free(&cache);
}

static void the_oldest_gives_way(void **state) {
    (void)state;
    struct vx_tls_sessions cache;
    assert_true(vx_tls_sessions_init(&cache));
    for (uint64_t i = 0; i < VX_TLS_SESSIONS_MAX + 10; i++)
        vx_tls_sessions_put(&cache, i, make(TLS1_3_VERSION));
    for (uint64_t i = 0; i < VX_TLS_SESSIONS_MAX + 10; i++) {
        SSL_SESSION *got = vx_tls_sessions_get(&cache, i);
        assert_int_equal(got != NULL, i >= 10);
        SSL_SESSION_free(got);
    }
    vx_tls_sessions_free(&cache);
}

static void *use_much(void *arg) {
    for (uint64_t i = 0; i < 5000; i++) {
        vx_tls_sessions_put(arg, i % 5, make(i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION));
        SSL_SESSION_free(vx_tls_sessions_get(arg, i % 5));
    }
    return NULL;
}

static void workers_share_it(void **state) {
    (void)state;
    struct vx_tls_sessions cache;
    pthread_t threads[3];
    assert_true(vx_tls_sessions_init(&cache));
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_much, &cache), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    vx_tls_sessions_free(&cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls13_sessions_are_used_once),
        cmocka_unit_test(tls12_sessions_stay),
        cmocka_unit_test(the_oldest_gives_way),
        cmocka_unit_test(workers_share_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
