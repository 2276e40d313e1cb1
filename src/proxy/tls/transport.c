/* SPDX-License-Identifier: Apache-2.0 */
/* See transport.h.
 *
 * Received bytes come by one recv into a block (`in`) and SSL takes its records from there; the block goes back as
 * soon as it is empty. Records that an operation seals are put together in the worker's room and leave by one send
 * at its end; what the socket does not take is kept in `out`. So an idle connection holds neither.
 *
 * Invariants:
 *   1. worker->sealed_bytes is 0 outside of an operation.
 *   2. `out` non-empty: `writable` is clear, nothing is sealed, and pending_bytes says how much it is.
 *   3. `readable` clear: SSL was read until it wanted more, and the lower transport is not readable.
 *   4. `broken` set: error is filled, and readable, writable and peer_shut are set.
 *   5. The end of the lower transport without a close_notify is a failure (RFC 8446 §6.1): a body that ends with the
 *      connection could have been cut by anybody.
 *   6. The memory is freed by a task, never below a call of the owner; later where somebody still holds the session.
 *
 * State     | event                     | next      | function
 * HANDSHAKE | lower ready               | HANDSHAKE | drive
 * HANDSHAKE | done                      | OPEN      | finish_handshake (VX_WRITABLE)
 * HANDSHAKE | error, end, lower failed  | HANDSHAKE | break_down (VX_FAILED)
 * OPEN      | lower ready               | OPEN      | on_open_ready
 * any       | close                     | CLOSED    | close_tls; freed by reap
 *
 * Shutting: NONE → (shut) WANTED → (`out` empty: close_notify sealed) NOTIFIED → (`out` empty: FIN) DONE.
 */
#include "proxy/tls/transport.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "core/base/assert.h"
#include "proxy/tls/worker_internal.h"

#define TLS_STATES(X) X(HANDSHAKE) X(OPEN) X(CLOSED)

enum tls_state {
#define X(name) TLS_##name,
    TLS_STATES(X)
#undef X
};

enum shut_step { SHUT_NONE, SHUT_WANTED, SHUT_NOTIFIED, SHUT_DONE };

static const struct vx_transport_ops tls_ops;

static struct vx_tls *tls_of(struct vx_transport *t) {
    return VX_CONTAINER_OF(t, struct vx_tls, base);
}

struct vx_tls *vx_tls_from(const struct vx_transport *t) {
    if (t->ops != &tls_ops)
        return NULL;
    return (struct vx_tls *)(uintptr_t)((const char *)t - offsetof(struct vx_tls, base));
}

struct vx_tls *vx_tls_of(const SSL *ssl) {
    return SSL_get_app_data(ssl);
}

static void break_down(struct vx_tls *t, struct vx_error error) {
    if (t->broken)
        return;
    t->base.error = error;
    t->broken = true;
    t->base.readable = t->base.writable = t->base.peer_shut = true;
    vx_buffer_release(&t->out);
    t->base.pending_bytes = 0;
}

/* What went wrong inside TLS, from BoringSSL's queue of errors; the texts are static. */
static struct vx_error tls_error(struct vx_tls *t) {
    uint32_t code = ERR_peek_error();
    const char *detail = code ? ERR_reason_error_string(code) : NULL;
    int reason = code && ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        detail = X509_verify_cert_error_string(SSL_get_verify_result(t->ssl));
    ERR_clear_error();
    if (t->client)
        return vx_error(VX_ERR_TLS_FAILED, t->state == TLS_HANDSHAKE, detail);
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        return vx_error(VX_ERR_CLIENT_CERT_REQUIRED, false, detail);
    return vx_error(VX_ERR_CLIENT_GONE, false, detail);
}

/* The lower transport failed, or ended without a close_notify. */
static struct vx_error lower_error(struct vx_tls *t) {
    if (t->out_of_memory)
        return vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL);
    bool connected =
        t->lower->error.code != VX_ERR_CONNECT_FAILED && t->lower->error.code != VX_ERR_CONNECT_TIMEOUT;
    if (t->client && t->state == TLS_HANDSHAKE && connected)
        return vx_error(VX_ERR_TLS_FAILED, true,
                        t->lower_failed ? t->lower->error.detail : "connection closed during the handshake");
    if (t->lower_failed)
        return t->lower->error;
    return vx_error(t->client ? VX_ERR_BACKEND_CLOSED : VX_ERR_CLIENT_GONE, false,
                    "connection closed without close_notify");
}

/* Receives what has come; `in` was empty. */
static void refill(struct vx_tls *t) {
    if (!t->lower->readable || t->lower_ended || t->lower_failed)
        return;
    t->in.block = vx_block_take(t->worker->rt->blocks, 1);
    if (!t->in.block) {
        t->lower_failed = t->out_of_memory = true;
        return;
    }
    ssize_t n = t->lower->ops->read(t->lower, t->in.block->data, t->in.block->bytes);
    if (n > 0) {
        t->in.start = 0;
        t->in.end = (uint32_t)n;
        return;
    }
    vx_buffer_release(&t->in);
    t->lower_ended = n == 0;
    t->lower_failed = n == VX_IO_FAILED;
}

static int bio_read(BIO *bio, char *to, int room) {
    struct vx_tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (!t->in.block)
        refill(t);
    if (!t->in.block) {
        if (t->lower_ended || t->lower_failed)
            return 0;
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = vx_buffer_len(&t->in);
    if (n > (size_t)room)
        n = (size_t)room;
    memcpy(to, t->in.block->data + t->in.start, n);
    t->in.start += (uint32_t)n;
    if (t->in.start == t->in.end)
        vx_buffer_release(&t->in);
    return (int)n;
}

static bool make_room(struct vx_tls_worker *w, size_t bytes) {
    size_t need = w->sealed_bytes + bytes;
    if (VX_LIKELY(need <= w->sealed_room))
        return true;
    char *more = realloc(w->sealed, need + VX_TLS_SEALED_BYTES);
    if (!more)
        return false;
    w->sealed = more;
    w->sealed_room = need + VX_TLS_SEALED_BYTES;
    return true;
}

static int bio_write(BIO *bio, const char *from, int bytes) {
    struct vx_tls *t = BIO_get_data(bio);
    struct vx_tls_worker *w = t->worker;
    BIO_clear_retry_flags(bio);
    /* What was sealed earlier waits: the order would be lost. */
    if (vx_buffer_len(&t->out) > 0 || !make_room(w, (size_t)bytes)) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(w->sealed + w->sealed_bytes, from, (size_t)bytes);
    w->sealed_bytes += (size_t)bytes;
    return bytes;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

struct vx_tls_worker *vx_tls_worker_new(struct vx_runtime *rt) {
    struct vx_tls_worker *w = malloc(sizeof *w);
    if (!w)
        return NULL;
    w->rt = rt;
    w->open = 0;
    w->sealed_bytes = 0;
    w->sealed_room = VX_TLS_SEALED_BYTES;
    w->sealed = malloc(w->sealed_room);
    w->method = BIO_meth_new(BIO_get_new_index(), "vx_transport");
    if (!w->method || !w->sealed) {
        BIO_meth_free(w->method);
        free(w->sealed);
        free(w);
        return NULL;
    }
    BIO_meth_set_read(w->method, bio_read);
    BIO_meth_set_write(w->method, bio_write);
    BIO_meth_set_ctrl(w->method, bio_ctrl);
    return w;
}

void vx_tls_worker_free(struct vx_tls_worker *w) {
    VX_ASSERT(w->open == 0);
    BIO_meth_free(w->method);
    free(w->sealed);
    free(w);
}

/* Sends `bytes` and says how many went; a failure is noted. */
static size_t send_lower(struct vx_tls *t, const char *from, size_t bytes) {
    if (!t->lower->writable || t->write_broken)
        return 0;
    struct vx_slice s = {from, bytes};
    ssize_t n = t->lower->ops->write(t->lower, &s, 1);
    if (n == VX_IO_FAILED) {
        t->base.error = t->lower->error;
        t->write_broken = true;
    }
    return n > 0 ? (size_t)n : 0;
}

/* The end of each operation: sends what it sealed and keeps the rest. */
static void send_sealed(struct vx_tls *t) {
    struct vx_tls_worker *w = t->worker;
    size_t bytes = w->sealed_bytes;
    w->sealed_bytes = 0;
    if (bytes == 0)
        return;
    size_t sent = send_lower(t, w->sealed, bytes);
    if (sent == bytes || t->write_broken || t->broken)
        return;
    t->out.block = vx_block_take(w->rt->blocks, bytes - sent);
    if (!t->out.block) {
        break_down(t, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
        return;
    }
    t->out.start = 0;
    t->out.end = (uint32_t)(bytes - sent);
    memcpy(t->out.block->data, w->sealed + sent, bytes - sent);
    t->base.pending_bytes = bytes - sent;
    t->base.writable = false;
}

/* Sends what was kept; true when nothing is left. */
static bool send_kept(struct vx_tls *t) {
    size_t kept = vx_buffer_len(&t->out);
    if (kept == 0)
        return true;
    size_t sent = send_lower(t, t->out.block->data + t->out.start, kept);
    t->out.start += (uint32_t)sent;
    t->base.pending_bytes = kept - sent;
    if (sent < kept && !t->write_broken)
        return false;
    vx_buffer_release(&t->out);
    t->base.pending_bytes = 0;
    return true;
}

static void advance_shut(struct vx_tls *t) {
    if (t->shut_step == SHUT_WANTED && vx_buffer_len(&t->out) == 0) {
        if (t->state == TLS_OPEN && !t->broken && !t->write_broken) {
            SSL_shutdown(t->ssl);
            ERR_clear_error();
            send_sealed(t);
        }
        t->shut_step = SHUT_NOTIFIED;
    }
    if (t->shut_step == SHUT_NOTIFIED && vx_buffer_len(&t->out) == 0) {
        t->shut_step = SHUT_DONE;
        if (!t->write_broken)
            t->lower->ops->shut(t->lower);
    }
}

/* Nothing more can come of reading before the next edge. Asking SSL would find that out too, for the price of a record. */
static bool is_drained(const struct vx_tls *t) {
    return !t->in.block && !t->lower->readable && !t->lower_ended && !t->lower_failed &&
           SSL_pending(t->ssl) == 0;
}

/* Why SSL_read or SSL_peek gave nothing: one of enum vx_io, or 0 for the orderly end. */
static ssize_t judge_read(struct vx_tls *t, int result) {
    int error = SSL_get_error(t->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return VX_IO_AGAIN;
    if (error == SSL_ERROR_ZERO_RETURN) {
        t->ended = t->base.peer_shut = true;
        return 0;
    }
    if (error == SSL_ERROR_SYSCALL && (t->lower_ended || t->lower_failed))
        break_down(t, lower_error(t));
    else
        break_down(t, tls_error(t));
    return VX_IO_FAILED;
}

static ssize_t read_tls(struct vx_transport *base, char *to, size_t room) {
    struct vx_tls *t = tls_of(base);
    VX_ASSERT(t->state != TLS_CLOSED && room > 0);
    if (t->state != TLS_OPEN || t->broken)
        return t->broken ? VX_IO_FAILED : VX_IO_AGAIN;
    if (t->ended)
        return 0;
    size_t got = 0;
    ssize_t verdict = 1;
    while (got < room) {
        size_t want = room - got < INT_MAX ? room - got : INT_MAX;
        int n = SSL_read(t->ssl, to + got, (int)want);
        if (n <= 0) {
            verdict = judge_read(t, n);
            break;
        }
        got += (size_t)n;
        if (is_drained(t)) {
            verdict = VX_IO_AGAIN;
            break;
        }
    }
    /* Reading may have sealed something, too: an alert, the answer to a KeyUpdate (RFC 8446 §4.6.3). */
    send_sealed(t);
    if (t->broken)
        verdict = VX_IO_FAILED;
    if (verdict == VX_IO_AGAIN)
        base->readable = false;
    return got ? (ssize_t)got : verdict;
}

/* Seals one record from the slices, beginning at *at bytes into the first. Returns its plaintext, 0 on failure. */
static size_t seal_record(struct vx_tls *t, const struct vx_slice **slices, unsigned *count, size_t *at) {
    const char *from = (*slices)->ptr + *at;
    size_t bytes = (*slices)->len - *at;
    if (bytes >= VX_TLS_RECORD_BYTES || *count == 1) {
        if (bytes > VX_TLS_RECORD_BYTES)
            bytes = VX_TLS_RECORD_BYTES;
        *at += bytes;
    } else {
        /* Small pieces share a record. */
        char *plain = t->worker->plain;
        from = plain;
        bytes = 0;
        while (*count > 0 && bytes < VX_TLS_RECORD_BYTES) {
            size_t n = (*slices)->len - *at, room = VX_TLS_RECORD_BYTES - bytes;
            if (n > room)
                n = room;
            if (n)
                memcpy(plain + bytes, (*slices)->ptr + *at, n);
            bytes += n;
            *at += n;
            if (*at < (*slices)->len)
                break;
            ++*slices;
            --*count;
            *at = 0;
        }
    }
    if (bytes == 0 || SSL_write(t->ssl, from, (int)bytes) == (int)bytes)
        return bytes;
    break_down(t, tls_error(t));
    return 0;
}

/* Seals some records of what is `left` and sends them. Returns their plaintext. */
static size_t seal_some(struct vx_tls *t, const struct vx_slice **slices, unsigned *count, size_t *at,
                        size_t left) {
    size_t taken = 0;
    for (unsigned i = 0; i < VX_TLS_RECORDS_AT_ONCE && taken < left; i++) {
        while (*at == (*slices)->len) {
            ++*slices;
            --*count;
            *at = 0;
        }
        size_t n = seal_record(t, slices, count, at);
        if (n == 0)
            break;
        taken += n;
    }
    send_sealed(t);
    return taken;
}

static ssize_t write_tls(struct vx_transport *base, const struct vx_slice *slices, unsigned count) {
    struct vx_tls *t = tls_of(base);
    VX_ASSERT(t->state != TLS_CLOSED && t->shut_step == SHUT_NONE);
    if (t->broken || t->write_broken)
        return VX_IO_FAILED;
    if (t->state != TLS_OPEN || !send_kept(t) || !t->lower->writable) {
        base->writable = false;
        return t->write_broken ? VX_IO_FAILED : VX_IO_AGAIN;
    }
    size_t taken = 0, total = 0, at = 0;
    for (unsigned i = 0; i < count; i++)
        total += slices[i].len;
    /* Less than all goes only where the transport is full: nobody would tell of room that is there already. */
    do
        taken += seal_some(t, &slices, &count, &at, total - taken);
    while (taken < total && base->writable && !t->broken && !t->write_broken);
    if (t->broken || t->write_broken)
        return VX_IO_FAILED;
    return (ssize_t)taken;
}

static ssize_t move_tls(struct vx_transport *from, struct vx_transport *to, size_t bytes) {
    (void)from, (void)to, (void)bytes;
    return VX_IO_UNSUPPORTED;
}

static void shut_tls(struct vx_transport *base) {
    struct vx_tls *t = tls_of(base);
    VX_ASSERT(t->state != TLS_CLOSED);
    if (t->shut_step != SHUT_NONE)
        return;
    t->shut_step = SHUT_WANTED;
    advance_shut(t);
}

void vx_tls_drop(struct vx_tls *t) {
    if (--t->holders)
        return;
    SSL_free(t->ssl);
    free(t->texts);
    free(t->peer);
    t->drop_context(t->context);
    free(t);
}

static void reap(struct vx_task *task, uint64_t now_ns) {
    (void)now_ns;
    vx_tls_drop(VX_CONTAINER_OF(task, struct vx_tls, reap));
}

static void close_tls(struct vx_transport *base, bool reset) {
    struct vx_tls *t = tls_of(base);
    VX_ASSERT(t->state != TLS_CLOSED);
    if (vx_buffer_len(&t->out) > 0)
        reset = true;
    if (!reset && t->shut_step == SHUT_NONE && t->state == TLS_OPEN && !t->broken && !t->write_broken) {
        SSL_shutdown(t->ssl);
        ERR_clear_error();
        send_lower(t, t->worker->sealed, t->worker->sealed_bytes);
        t->worker->sealed_bytes = 0;
    }
    t->state = TLS_CLOSED;
    vx_buffer_release(&t->in);
    vx_buffer_release(&t->out);
    t->lower->ops->close(t->lower, reset);
    t->lower = NULL;
    t->worker->open--;
    vx_task_cancel(&t->start);
    vx_runtime_defer(t->worker->rt, &t->reap);
}

static const struct vx_transport_ops tls_ops = {
    .read = read_tls,
    .write = write_tls,
    .move = move_tls,
    .shut = shut_tls,
    .close = close_tls,
};

/* Is there something for the owner to read? What is TLS's own (tickets, KeyUpdate) is dealt with on the way, so that
 * an idle connection to a backend that sent a ticket does not look as if it had something to say. */
static bool has_news(struct vx_tls *t) {
    char byte;
    if (is_drained(t))
        return false;
    int n = SSL_peek(t->ssl, &byte, 1);
    bool news = n > 0 || judge_read(t, n) != VX_IO_AGAIN;
    send_sealed(t);
    return news || t->broken;
}

static void report(struct vx_tls *t, uint32_t ready, uint64_t now_ns) {
    if (ready)
        t->base.on_ready(&t->base, ready, now_ns);
}

static void fail_handshake(struct vx_tls *t, struct vx_error error, uint64_t now_ns) {
    break_down(t, error);
    report(t, VX_FAILED, now_ns);
}

static void finish_handshake(struct vx_tls *t, uint64_t now_ns) {
    if (!vx_tls_describe(t)) {
        fail_handshake(t, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL), now_ns);
        return;
    }
    t->state = TLS_OPEN;
    t->base.tls = &t->info;
    t->base.remote = t->lower->remote;
    t->base.local = t->lower->local;
    uint32_t ready = VX_WRITABLE;
    t->base.writable = vx_buffer_len(&t->out) == 0;
    t->base.readable = has_news(t);
    if (t->base.readable)
        ready |= VX_READABLE;
    if (t->lower->peer_shut && !t->ended)
        t->base.peer_shut = true;
    if (t->base.peer_shut)
        ready |= VX_PEER_SHUT;
    report(t, ready, now_ns);
}

/* Takes the handshake as far as it goes now. */
static void drive(struct vx_tls *t, uint64_t now_ns) {
    if (!send_kept(t))
        return;
    if (!t->write_broken) {
        int error = SSL_get_error(t->ssl, SSL_do_handshake(t->ssl));
        if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ) {
            bool lower_down = error == SSL_ERROR_SYSCALL && (t->lower_ended || t->lower_failed);
            struct vx_error why = lower_down ? lower_error(t) : tls_error(t);
            send_sealed(t); /* the alert */
            fail_handshake(t, why, now_ns);
            return;
        }
        send_sealed(t);
        if (!t->broken && !t->write_broken) {
            if (error == SSL_ERROR_NONE)
                finish_handshake(t, now_ns);
            return;
        }
    }
    if (t->write_broken)
        t->lower_failed = true;
    fail_handshake(t, t->broken ? t->base.error : lower_error(t), now_ns);
}

/* The connection below takes bytes again: kept records go first. Returns what to report. */
static uint32_t on_lower_room(struct vx_tls *t) {
    if (!send_kept(t))
        return 0;
    advance_shut(t);
    if (t->base.writable || vx_buffer_len(&t->out) > 0)
        return 0;
    t->base.writable = true;
    return VX_WRITABLE;
}

static void on_open_ready(struct vx_tls *t, uint32_t lower_ready, uint64_t now_ns) {
    struct vx_transport *base = &t->base;
    uint32_t ready = lower_ready & VX_WRITABLE ? on_lower_room(t) : 0;
    bool unread = t->in.block || SSL_pending(t->ssl) > 0;
    if ((lower_ready & VX_FAILED) && !unread) {
        t->lower_failed = true;
        break_down(t, lower_error(t));
        report(t, VX_FAILED, now_ns);
        return;
    }
    if ((lower_ready & (VX_READABLE | VX_FAILED)) && !base->readable && !t->ended) {
        base->readable = !t->client || has_news(t);
        if (base->readable)
            ready |= VX_READABLE;
    }
    if ((lower_ready & (VX_PEER_SHUT | VX_FAILED)) && !base->peer_shut) {
        base->peer_shut = true;
        ready |= VX_PEER_SHUT;
    }
    if (t->broken)
        ready |= VX_READABLE;
    report(t, ready, now_ns);
}

static void on_lower_ready(struct vx_transport *lower, uint32_t ready, uint64_t now_ns) {
    struct vx_tls *t = lower->owner;
    if (t->broken)
        return;
    if (t->state == TLS_OPEN) {
        on_open_ready(t, ready, now_ns);
    } else if (ready & VX_FAILED) {
        t->lower_failed = true;
        fail_handshake(t, lower_error(t), now_ns);
    } else if (t->client ? lower->writable || vx_buffer_len(&t->out) > 0 : true) {
        drive(t, now_ns);
    }
}

static void start(struct vx_task *task, uint64_t now_ns) {
    struct vx_tls *t = VX_CONTAINER_OF(task, struct vx_tls, start);
    /* An event of the same round may have been quicker. */
    if (t->state == TLS_HANDSHAKE && !t->broken)
        drive(t, now_ns);
}

static bool attach(struct vx_tls *t, SSL_CTX *ctx) {
    t->ssl = SSL_new(ctx);
    BIO *bio = BIO_new(t->worker->method);
    if (!t->ssl || !bio) {
        BIO_free(bio);
        return false;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_app_data(t->ssl, t);
    SSL_set_mode(t->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* What only a handshake needs is freed after it. */
    SSL_set_shed_handshake_config(t->ssl, 1);
    if (t->client)
        SSL_set_connect_state(t->ssl);
    else
        SSL_set_accept_state(t->ssl);
    return true;
}

struct vx_tls *vx_tls_new(SSL_CTX *ctx, struct vx_tls_worker *worker, struct vx_transport *lower, bool client,
                          void *context, void (*drop_context)(void *context)) {
    struct vx_tls *t = calloc(1, sizeof *t);
    if (t) {
        t->worker = worker;
        t->client = client;
        t->holders = 1;
    }
    if (!t || !attach(t, ctx)) {
        if (t)
            SSL_free(t->ssl);
        free(t);
        drop_context(context);
        lower->ops->close(lower, true);
        return NULL;
    }
    t->base.ops = &tls_ops;
    t->base.remote = lower->remote;
    t->base.local = lower->local;
    t->lower = lower;
    t->context = context;
    t->drop_context = drop_context;
    t->state = TLS_HANDSHAKE;
    vx_task_init(&t->start, start);
    vx_task_init(&t->reap, reap);
    lower->owner = t;
    lower->on_ready = on_lower_ready;
    worker->open++;
    /* No edge will tell of what is there already. */
    if (client ? lower->writable : lower->readable)
        vx_runtime_defer(worker->rt, &t->start);
    return t;
}
