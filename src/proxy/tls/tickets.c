/* SPDX-License-Identifier: Apache-2.0 */
/* See tickets.h. A lock guards the keys: they are looked at once in a handshake, which costs a thousand times as much,
 * and changed once an hour. */
#include "proxy/tls/tickets.h"

#include <openssl/digest.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/tls/tickets_internal.h"

enum {
    KEYS = 25, /* the newest and a day's older ones */
    NAME_BYTES = 16,
    IV_BYTES = 16
};

static const uint64_t HOUR_NS = 3600ull * 1000000000;

struct ticket_key {
    uint8_t name[NAME_BYTES], cipher[32], mac[32];
    uint64_t made_ns;
};

struct vx_tls_tickets {
    atomic_uint holders;
    pthread_rwlock_t lock;
    unsigned count;
    struct ticket_key keys[KEYS]; /* the newest first */
};

static void make_key(struct ticket_key *key, uint64_t now_ns) {
    RAND_bytes(key->name, sizeof key->name);
    RAND_bytes(key->cipher, sizeof key->cipher);
    RAND_bytes(key->mac, sizeof key->mac);
    key->made_ns = now_ns;
}

struct vx_tls_tickets *vx_tls_tickets_new(uint64_t now_ns) {
    struct vx_tls_tickets *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    if (pthread_rwlock_init(&k->lock, NULL) != 0) {
        free(k);
        return NULL;
    }
    atomic_init(&k->holders, 1);
    make_key(&k->keys[0], now_ns);
    k->count = 1;
    return k;
}

struct vx_tls_tickets *vx_tls_tickets_hold(struct vx_tls_tickets *k) {
    atomic_fetch_add_explicit(&k->holders, 1, memory_order_relaxed);
    return k;
}

void vx_tls_tickets_drop(struct vx_tls_tickets *k) {
    if (!k || atomic_fetch_sub_explicit(&k->holders, 1, memory_order_acq_rel) != 1)
        return;
    pthread_rwlock_destroy(&k->lock);
    OPENSSL_cleanse(k, sizeof *k);
    free(k);
}

void vx_tls_tickets_rotate(struct vx_tls_tickets *k, uint64_t now_ns) {
    pthread_rwlock_wrlock(&k->lock);
    if (now_ns - k->keys[0].made_ns >= HOUR_NS) {
        if (k->count < KEYS)
            k->count++;
        memmove(&k->keys[1], &k->keys[0], (k->count - 1) * sizeof k->keys[0]);
        make_key(&k->keys[0], now_ns);
    }
    while (k->count > 1 && now_ns - k->keys[k->count - 1].made_ns >= 25 * HOUR_NS) {
        k->count--;
        OPENSSL_cleanse(&k->keys[k->count], sizeof k->keys[0]);
    }
    pthread_rwlock_unlock(&k->lock);
}

static int seal_with(const struct ticket_key *key, const uint8_t *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *mac,
                     int encrypt) {
    bool ok = HMAC_Init_ex(mac, key->mac, sizeof key->mac, EVP_sha256(), NULL) &&
              EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, encrypt);
    return ok ? 1 : -1;
}

int vx_tls_tickets_seal(struct vx_tls_tickets *k, uint8_t *key_name, uint8_t *iv, EVP_CIPHER_CTX *cipher,
                        HMAC_CTX *mac, int encrypt) {
    int result = 0;
    pthread_rwlock_rdlock(&k->lock);
    if (encrypt) {
        memcpy(key_name, k->keys[0].name, NAME_BYTES);
        RAND_bytes(iv, IV_BYTES);
        result = seal_with(&k->keys[0], iv, cipher, mac, 1);
    } else {
        for (unsigned i = 0; i < k->count && result == 0; i++) {
            if (memcmp(key_name, k->keys[i].name, NAME_BYTES) != 0)
                continue;
            result = seal_with(&k->keys[i], iv, cipher, mac, 0);
            /* 2: taken, and renewed under the newest key. */
            if (result == 1 && i > 0)
                result = 2;
        }
    }
    pthread_rwlock_unlock(&k->lock);
    return result;
}
