/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of an HTTP/2 connection over a fake_transport, by an nghttp2 session of its own: asks or answers, keeps
 * what it gets, and fails the test when what it gets is no HTTP/2. */
#ifndef VX_TESTS_SUPPORT_H2_PEER_H
#define VX_TESTS_SUPPORT_H2_PEER_H

#include "support/fake_transport.h"
#include "support/h2_session.h"

enum { H2_PEER_STREAMS = 64, H2_PEER_TEXT = 1024 };

/* What came on one stream. */
struct h2_peer_stream {
    int32_t id;
    char head[H2_PEER_TEXT];     /* `name: value` lines of the last head that was not trailers */
    char trailers[H2_PEER_TEXT]; /* likewise */
    size_t body_bytes;
    char body[H2_PEER_TEXT]; /* its beginning */
    unsigned heads;
    bool ended, closed;
    uint32_t code; /* of the close */
};

struct h2_peer {
    nghttp2_session *ng;
    struct fake_transport *t;
    struct h2_peer_stream streams[H2_PEER_STREAMS];
    unsigned stream_count;
    unsigned goaways;
    uint32_t goaway_code;
    int32_t goaway_last;
    uint32_t most_streams; /* that the other side lets us have */
    bool connect_protocol; /* it takes extended CONNECT */
    const char *sending;   /* what is left of the body that goes out */
    size_t sending_bytes;
    bool sending_ends;
};

/* `window`: of each stream, 0: the usual one. `t` is what the connection under test writes to. */
void h2_peer_init(struct h2_peer *p, struct fake_transport *t, bool server, uint32_t window);
void h2_peer_free(struct h2_peer *p);

/* Lets both sides talk until nothing more is said. */
void h2_peer_talk(struct h2_peer *p);

/* Sends a head: pairs of name and value, ended by NULL. Returns the stream (0: a new one). Nothing is talked yet. */
int32_t h2_peer_head(struct h2_peer *p, int32_t stream, bool ends, const char *const *fields);

/* `GET path`, complete, and talks. */
int32_t h2_peer_get(struct h2_peer *p, const char *path);

/* Body bytes, as far as the windows let them; returns how many went, having talked. */
size_t h2_peer_body(struct h2_peer *p, int32_t stream, const char *bytes, size_t len, bool ends);

/* Bytes past nghttp2, as a client that errs or attacks sends them; then talks. */
void h2_peer_raw(struct h2_peer *p, uint8_t type, uint8_t flags, int32_t stream, const void *payload,
                 size_t len);

struct h2_peer_stream *h2_peer_stream(struct h2_peer *p, int32_t id);

#endif
