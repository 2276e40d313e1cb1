/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a request's body that nobody reads to its end, because the answer came first (RFC 9112 §9.3, §9.6).
 *
 * A client may send all of its body before it reads a byte. Were we to close with bytes of it unread, TCP would answer with a
 * reset, which can take the response with it. So the rest is read and thrown away, in one of two ways: a small rest whose end
 * is known behind a response that keeps the connection (DISCARD), and anything else behind one that said that it ends (LINGER).
 *
 * Invariants
 *   1. A connection goes on only behind a body whose end was found by its framing: a length, or the last chunk.
 *   2. What is thrown away is bounded in bytes, in time, and in the time between two bytes.
 *
 * the body, when the response's head is made         the head says         behind the response
 * read to its end, or all of it here                 -                     IDLE
 * a declared rest, not over REST_MAX_BYTES           -                     DISCARD
 * the same, but the client waits for 100 (Continue)  Connection: close     LINGER: it may leave the body out (RFC 9110 §10.1.1)
 * larger, of unknown length, broken or late          Connection: close     LINGER
 * larger, and the backend reads on (an early 2xx)    -                     by what is left in the end:
 *     nothing, or little                                                   IDLE, DISCARD
 *     much, and the head is still with us            Connection: close     LINGER
 *     much, and the head has gone                    -                     LINGER: nobody could know
 */
#include "proxy/http1/server_internal.h"

enum {
    REST_MAX_BYTES = 256 * 1024, /* as Go's server: below it, reading costs less than another connection */
    LINGER_MAX_BYTES = 64 * 1024 * 1024,
    IDLE_MS = 5000,   /* as nginx: how long a client may pause behind an early answer, */
    WHOLE_MS = 30000, /* and how long it may go on */
    ROUNDS = 64,      /* reads before others get their turn */
};

bool vx_h1_server_rest_is_small(const struct h1_server *c) {
    uint64_t owed;
    return !c->body_timed_out && vx_h1_reader_owes(&c->reader, &owed) && owed <= REST_MAX_BYTES;
}

/* A client that still waits for leave to send its body may send it, or the next request in its place. */
static bool is_undecided(const struct h1_stream *s) {
    uint64_t owed;
    return s->request.expects_continue && !s->told_to_continue &&
           !(vx_h1_reader_owes(&s->conn->reader, &owed) && owed == 0);
}

bool vx_h1_server_may_stay(const struct h1_stream *s, const struct vx_response *response) {
    const struct h1_server *c = s->conn;
    bool read_on = response->early && s->request.version == VX_HTTP_11 && !c->body_timed_out;
    return (vx_h1_server_rest_is_small(c) || read_on) && !is_undecided(s);
}

void vx_h1_server_say_close(struct h1_stream *s) {
    struct h1_server *c = s->conn;
    if (!s->closing && !c->sink.tunnel && !vx_h1_server_rest_is_small(c))
        s->closing = vx_h1_sink_insert(&c->sink, s->head_ends_at, VX_SLICE("Connection: close\r\n"));
}

void vx_h1_server_begin_throwing(struct h1_server *c) {
    c->throwing_until_ns = h1_runtime(c)->now_ns + (uint64_t)WHOLE_MS * 1000000;
}

/* Where at most `most` bytes may go, and *thrown is how many did. */
static enum h1_throwing throw_away(struct h1_server *c, uint64_t most, uint64_t *thrown) {
    char scrap[16384];
    struct vx_transport *t = c->reader.transport;
    for (unsigned i = 0; t->readable && *thrown < most; i++) {
        if (i == ROUNDS) {
            vx_runtime_defer(h1_runtime(c), &c->task);
            break;
        }
        uint64_t left = most - *thrown;
        ssize_t n = t->ops->read(t, scrap, left < sizeof scrap ? (size_t)left : sizeof scrap);
        if (n == VX_IO_AGAIN)
            break;
        if (n <= 0)
            return n == 0 ? H1_THROWN_ENDED : H1_THROWN_FAILED;
        *thrown += (uint64_t)n;
    }
    return *thrown < most ? H1_THROWN_WAITS : H1_THROWN_ENOUGH;
}

enum h1_throwing vx_h1_server_throw_away(struct h1_server *c, bool stays) {
    uint64_t thrown = 0, now_ns = h1_runtime(c)->now_ns;
    uint64_t most = stays ? c->reader.left.bytes : LINGER_MAX_BYTES - c->lingered_bytes;
    enum h1_throwing result = throw_away(c, most, &thrown);
    if (stays)
        vx_h1_reader_skipped(&c->reader, thrown);
    else
        c->lingered_bytes += thrown;
    if (result == H1_THROWN_WAITS && c->throwing_until_ns) {
        uint64_t idle_ns = now_ns + (uint64_t)IDLE_MS * 1000000;
        c->read_deadline_ns = vx_sooner_ns(idle_ns, c->throwing_until_ns);
        vx_h1_server_arm(c);
    }
    return result;
}
