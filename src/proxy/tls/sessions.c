/* SPDX-License-Identifier: Apache-2.0 */
/* See sessions.h. */
#include "proxy/tls/sessions.h"

#include <openssl/ssl.h>
#include <string.h>

bool vx_tls_sessions_init(struct vx_tls_sessions *s) {
    memset(s, 0, sizeof *s);
    return pthread_mutex_init(&s->lock, NULL) == 0;
}

void vx_tls_sessions_free(struct vx_tls_sessions *s) {
    for (uint32_t i = 0; i < VX_TLS_SESSIONS_MAX; i++)
        SSL_SESSION_free(s->slots[i].session);
    pthread_mutex_destroy(&s->lock);
}

void vx_tls_sessions_put(struct vx_tls_sessions *s, uint64_t key, SSL_SESSION *session) {
    pthread_mutex_lock(&s->lock);
    SSL_SESSION *old = s->slots[s->next].session;
    s->slots[s->next].key = key;
    s->slots[s->next].session = session;
    s->next = (s->next + 1) % VX_TLS_SESSIONS_MAX;
    pthread_mutex_unlock(&s->lock);
    SSL_SESSION_free(old);
}

SSL_SESSION *vx_tls_sessions_get(struct vx_tls_sessions *s, uint64_t key) {
    SSL_SESSION *found = NULL;
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 1; i <= VX_TLS_SESSIONS_MAX && !found; i++) {
        uint32_t slot = (s->next + VX_TLS_SESSIONS_MAX - i) % VX_TLS_SESSIONS_MAX;
        if (!s->slots[slot].session || s->slots[slot].key != key)
            continue;
        found = s->slots[slot].session;
        if (SSL_SESSION_should_be_single_use(found))
            s->slots[slot].session = NULL;
        else
            SSL_SESSION_up_ref(found);
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}
