/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of struct vx_tls_worker. No operation of a TLS transport ever runs inside another one, so one room for
 * records serves all transports of a worker: it is empty before and after each operation. */
#ifndef VX_PROXY_TLS_WORKER_INTERNAL_H
#define VX_PROXY_TLS_WORKER_INTERNAL_H

#include <openssl/bio.h>

#include "proxy/tls/worker.h"

enum {
    VX_TLS_RECORD_BYTES = 16384, /* of plaintext, RFC 8446 §5.1 */
    /* What one write() seals and one send carries. */
    VX_TLS_RECORDS_AT_ONCE = 4,
    /* Header, tag and padding of each record; and tickets that go out with them. It grows for a large flight of a
     * handshake (long chains of certificates). */
    VX_TLS_SEALED_BYTES = VX_TLS_RECORDS_AT_ONCE * (VX_TLS_RECORD_BYTES + 256) + 16 * 1024
};

struct vx_tls_worker {
    struct vx_runtime *rt;
    BIO_METHOD *method;
    uint32_t open; /* transports now */
    char *sealed;
    size_t sealed_bytes, sealed_room;
    char plain[VX_TLS_RECORD_BYTES]; /* where small slices are put together to one record */
};

#endif
