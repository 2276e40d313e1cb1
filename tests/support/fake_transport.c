/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_transport.h. */
#include "support/fake_transport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/assert.h"

static struct fake_transport *of(struct vx_transport *t) {
    struct fake_transport *f = VX_CONTAINER_OF(t, struct fake_transport, base);
    assert_false(f->closed);
    return f;
}

static void append(char **bytes, size_t *len, size_t *room, const char *more, size_t n) {
    if (*len + n + 1 > *room) {
        *room = (*len + n + 1) * 2;
        *bytes = realloc(*bytes, *room);
        assert_non_null(*bytes);
    }
    memcpy(*bytes + *len, more, n);
    *len += n;
    (*bytes)[*len] = '\0';
}

static ssize_t break_now(struct fake_transport *f) {
    f->broken = true;
    f->base.error = vx_error(f->dialed ? VX_ERR_BACKEND_RESET : VX_ERR_CLIENT_GONE, false, "reset");
    f->base.readable = f->base.writable = f->base.peer_shut = true;
    f->base.pending_bytes = f->pipe_len = 0;
    return VX_IO_FAILED;
}

static ssize_t read_some(struct vx_transport *t, char *to, size_t room) {
    struct fake_transport *f = of(t);
    size_t n = f->in_end - f->in_start;
    assert_true(room > 0);
    f->reads++;
    if (n == 0 && f->broken)
        return break_now(f);
    if (n == 0 && f->fin) {
        t->peer_shut = true;
        return 0;
    }
    if (n == 0) {
        t->readable = false;
        return VX_IO_AGAIN;
    }
    if (n > room)
        n = room;
    memcpy(to, f->in + f->in_start, n);
    f->in_start += n;
    if (n < room && !t->peer_shut)
        t->readable = false;
    return (ssize_t)n;
}

static size_t put(struct fake_transport *f, const char *bytes, size_t len) {
    size_t n = len < f->room ? len : f->room;
    append(&f->out, &f->out_len, &f->out_room, bytes, n);
    if (f->room != SIZE_MAX)
        f->room -= n;
    if (n < len)
        f->base.writable = false;
    return n;
}

static void drain_pipe(struct fake_transport *f) {
    if (!f->pipe_len)
        return;
    size_t n = put(f, f->pipe, f->pipe_len);
    memmove(f->pipe, f->pipe + n, f->pipe_len - n);
    f->pipe_len -= n;
    f->base.pending_bytes = f->pipe_len;
}

static ssize_t write_some(struct vx_transport *t, const struct vx_slice *slices, unsigned count) {
    struct fake_transport *f = of(t);
    assert_int_equal(f->shuts, 0);
    assert_true(count > 0 && count <= VX_WRITE_SLICES_MAX);
    f->writes++;
    if (f->broken)
        return break_now(f);
    drain_pipe(f);
    size_t total = 0;
    for (unsigned i = 0; i < count && !f->pipe_len; i++) {
        size_t n = put(f, slices[i].ptr, slices[i].len);
        total += n;
        if (n < slices[i].len)
            break;
    }
    return total ? (ssize_t)total : VX_IO_AGAIN;
}

static ssize_t move_some(struct vx_transport *from_base, struct vx_transport *to_base, size_t bytes) {
    struct fake_transport *from = of(from_base), *to = of(to_base);
    if (!from->net->moves)
        return VX_IO_UNSUPPORTED;
    from->moves++;
    if (from->broken || to->broken)
        return break_now(from->broken ? from : to);
    drain_pipe(to);
    if (!to_base->writable || !from_base->readable)
        return VX_IO_AGAIN;
    size_t n = from->in_end - from->in_start;
    if (n == 0 && from->fin) {
        from_base->peer_shut = true;
        return 0;
    }
    if (n == 0) {
        from_base->readable = false;
        return VX_IO_AGAIN;
    }
    if (n > bytes)
        n = bytes;
    free(to->pipe);
    to->pipe = malloc(n);
    assert_non_null(to->pipe);
    memcpy(to->pipe, from->in + from->in_start, n);
    from->in_start += n;
    to->pipe_len = to_base->pending_bytes = n;
    drain_pipe(to);
    return (ssize_t)n;
}

static void shut(struct vx_transport *t) {
    of(t)->shuts++;
}

static void close_it(struct vx_transport *t, bool reset) {
    struct fake_transport *f = of(t);
    f->closed = true;
    f->reset = reset || f->pipe_len;
}

static const struct vx_transport_ops ops = {
    .read = read_some, .write = write_some, .move = move_some, .shut = shut, .close = close_it};

struct fake_transport *fake_transport_new(struct fake_net *n) {
    struct fake_transport *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_true(n->count < FAKE_TRANSPORTS);
    n->all[n->count++] = f;
    f->base.ops = &ops;
    f->base.writable = true;
    f->base.remote = (struct vx_address){.kind = VX_ADDRESS_IP4, .port = 4711, .ip = {192, 0, 2, 1}};
    f->net = n;
    f->room = SIZE_MAX;
    return f;
}

static struct vx_transport *dial(struct vx_dialer *self, const struct vx_dial *to, struct vx_error *error) {
    struct fake_net *n = VX_CONTAINER_OF(self, struct fake_net, dialer);
    n->last_dial = *to;
    if (n->refuses) {
        *error = vx_error(VX_ERR_CONNECT_FAILED, true, "refused");
        return NULL;
    }
    struct fake_transport *f = fake_transport_new(n);
    f->dialed = true;
    f->base.writable = false;
    return &f->base;
}

struct fake_transport *fake_dialed(const struct fake_net *n) {
    for (unsigned i = n->count; i-- > 0;)
        if (n->all[i]->dialed)
            return n->all[i];
    fail_msg("nothing was dialed");
    return NULL;
}

void fake_net_init(struct fake_net *n) {
    memset(n, 0, sizeof *n);
    assert_true(vx_slab_init(&n->arenas, VX_SLAB_ARENA_BYTES, 1 << 20));
    assert_true(vx_slab_init(&n->blocks, VX_SLAB_BLOCK_BYTES, 1 << 20));
    n->dialer.dial = dial;
    n->rt.now_ns = FAKE_S(1000);
    vx_timer_wheel_init(&n->rt.wheel, n->rt.now_ns);
    vx_list_init(&n->rt.tasks);
    vx_list_init(&n->rt.later);
    n->rt.arenas = &n->arenas.source;
    n->rt.blocks = &n->blocks.source;
    n->rt.random.state = 1;
    n->rt.dialer = &n->dialer;
}

void fake_net_free(struct fake_net *n) {
    fake_net_round(n);
    for (unsigned i = 0; i < n->count; i++) {
        struct fake_transport *f = n->all[i];
        assert_true(f->closed);
        free(f->in);
        free(f->out);
        free(f->pipe);
        free(f);
    }
    assert_int_equal(n->arenas.used_bytes, 0);
    assert_int_equal(n->blocks.used_bytes, 0);
    assert_int_equal(vx_timer_wheel_next_ns(&n->rt.wheel, n->rt.now_ns), UINT64_MAX);
    vx_slab_free(&n->arenas);
    vx_slab_free(&n->blocks);
}

void fake_net_round(struct fake_net *n) {
    for (unsigned rounds = 0; rounds < 1000; rounds++)
        if (!vx_runtime_run_tasks(&n->rt))
            return;
    fail_msg("something spins");
}

void fake_net_advance(struct fake_net *n, uint64_t ns) {
    uint64_t end = n->rt.now_ns + ns;
    while (n->rt.now_ns < end) {
        uint64_t next = vx_timer_wheel_next_ns(&n->rt.wheel, n->rt.now_ns);
        if (next == 0)
            next = FAKE_MS(1);
        n->rt.now_ns = next < end - n->rt.now_ns ? n->rt.now_ns + next : end;
        vx_timer_wheel_run(&n->rt.wheel, n->rt.now_ns);
        fake_net_round(n);
    }
}

static void tell(struct fake_transport *f, uint32_t ready) {
    if (!f->closed && ready && f->base.on_ready)
        f->base.on_ready(&f->base, ready, f->net->rt.now_ns);
    fake_net_round(f->net);
}

void fake_connected(struct fake_transport *t) {
    t->base.writable = true;
    tell(t, VX_WRITABLE);
}

void fake_send_bytes(struct fake_transport *t, const char *bytes, size_t len) {
    append(&t->in, &t->in_end, &t->in_room, bytes, len);
    bool edge = !t->base.readable;
    t->base.readable = true;
    tell(t, edge ? VX_READABLE : 0);
}

void fake_send(struct fake_transport *t, const char *text) {
    fake_send_bytes(t, text, strlen(text));
}

void fake_fin(struct fake_transport *t) {
    bool edge = !t->base.readable;
    t->fin = t->base.peer_shut = t->base.readable = true;
    tell(t, VX_PEER_SHUT | (edge ? VX_READABLE : 0));
}

void fake_refuse(struct fake_transport *t) {
    break_now(t);
    t->base.error = vx_error(VX_ERR_CONNECT_FAILED, true, "refused");
    tell(t, VX_FAILED);
}

void fake_break(struct fake_transport *t) {
    break_now(t);
    tell(t, VX_FAILED);
}

void fake_give_room(struct fake_transport *t, size_t bytes) {
    t->room = bytes;
    drain_pipe(t);
    if (t->pipe_len || t->base.writable)
        return;
    t->base.writable = true;
    tell(t, VX_WRITABLE);
}

const char *fake_received(struct fake_transport *t) {
    static char *last;
    free(last);
    last = calloc(1, t->out_len + 1);
    assert_non_null(last);
    if (t->out_len)
        memcpy(last, t->out, t->out_len);
    t->out_len = 0;
    return last;
}
