/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the TLS session beneath a connection, and of the two certificates in it. An adapter of TLS fills it in;
 * what certificates say is found out only when somebody asks. The connection's thread. */
#ifndef VX_CORE_PORTS_TLS_SESSION_H
#define VX_CORE_PORTS_TLS_SESSION_H

#include "core/base/slice.h"

enum vx_certificate { VX_CERTIFICATE_LOCAL, VX_CERTIFICATE_PEER };

enum vx_certificate_fact {
    VX_CERTIFICATE_SUBJECT,  /* as RFC 2253 writes it */
    VX_CERTIFICATE_DNS_NAME, /* the first one in subjectAltName */
    VX_CERTIFICATE_URI,      /* likewise */
    VX_CERTIFICATE_SHA256,   /* of the certificate, in lower-case hex */
    VX_CERTIFICATE_FACTS
};

struct vx_tls_session;

struct vx_tls_session_ops {
    /* False: there is no such certificate, or it does not say that. *text lives as long as the session. */
    bool (*tell)(const struct vx_tls_session *s, enum vx_certificate whose, enum vx_certificate_fact fact,
                 struct vx_slice *text);
    /* The session goes with its connection, but not while it is held. */
    void (*hold)(const struct vx_tls_session *s);
    void (*drop)(const struct vx_tls_session *s);
};

struct vx_tls_session {
    const struct vx_tls_session_ops *ops;
    struct vx_slice version;
    bool peer_certified; /* the peer has shown a certificate, and it was found good */
};

#endif
