/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that backends gave us, to be resumed by the next connection to the same one: a small bounded cache for all
 * workers, looked at once in each handshake. */
#ifndef VX_PROXY_TLS_SESSIONS_H
#define VX_PROXY_TLS_SESSIONS_H

#include <openssl/base.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { VX_TLS_SESSIONS_MAX = 256 };

struct vx_tls_sessions {
    pthread_mutex_t lock;
    uint32_t next; /* slot to be written next: the oldest */
    struct {
        uint64_t key;
        SSL_SESSION *session;
    } slots[VX_TLS_SESSIONS_MAX];
};

/* False: no memory. */
bool vx_tls_sessions_init(struct vx_tls_sessions *s);
void vx_tls_sessions_free(struct vx_tls_sessions *s);

/* `key` says whose the session is. Takes the reference on `session`. Any thread. */
void vx_tls_sessions_put(struct vx_tls_sessions *s, uint64_t key, SSL_SESSION *session);

/* The newest session of `key`, with a reference of the caller's; one that should be used once only is taken out
 * (RFC 8446 §C.4). NULL: none. Any thread. */
SSL_SESSION *vx_tls_sessions_get(struct vx_tls_sessions *s, uint64_t key);

#endif
