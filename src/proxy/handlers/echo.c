/* SPDX-License-Identifier: Apache-2.0 */
/* See echo.h. One request is a small state machine:
 *
 *   state     | event                            | next state | function
 *   (begin)   | /delay/                          | WAITING    | begin_delay
 *   (begin)   | /bytes/                          | SENDING    | begin_bytes
 *   (begin)   | any other path, with a body      | GATHERING  | begin_mirror
 *   (begin)   | everything else                  | REPLYING   | reply
 *   WAITING   | timer                            | REPLYING   | on_timer
 *   GATHERING | the body has ended and was small | REPLYING   | gather
 *   GATHERING | the buffer is full               | MIRRORING  | begin_mirroring
 *   REPLYING  | writable                         | REPLYING   | on_writable
 *   SENDING   | writable, readable (our turn)    | SENDING    | send_bytes
 *   MIRRORING | readable, writable               | MIRRORING  | mirror
 *   any       | all sent, failed                 | (over)     | finish_request
 *
 * 1. release() is called exactly once, by finish_request(), after which the request's memory is gone.
 * 2. A small body is read before the answer begins, so that the answer has a length and the connection can stay open;
 *    a large one is answered while it is read.
 * 3. No more of the request is pulled than the connection has taken of the answer. */
#include "proxy/handlers/echo.h"

#include "core/http/reply.h"
#include "proxy/telemetry/text.h"

enum {
    GATHER_MAX_BYTES = 16 * 1024,
    TURN_BYTES = 256 * 1024, /* then other connections get theirs */
};

#define DELAY_MAX_NS   (UINT64_C(600) * 1000000000)
#define BYTES_MAX      (UINT64_C(1) << 40)
#define NOT_A_QUANTITY UINT64_MAX

enum echo_state { REPLYING, WAITING, GATHERING, SENDING, MIRRORING };

struct echo_request {
    struct vx_echo *echo;
    struct vx_downstream *down;
    struct vx_reply reply;
    struct vx_timer timer;
    struct vx_slice text;      /* the request as text; while MIRRORING: what of it is still to be pushed */
    char *text_end, *room_end; /* GATHERING: the body goes here */
    uint64_t left;             /* SENDING: bytes */
    enum echo_state state;
};

static void finish_request(struct echo_request *r) {
    struct vx_downstream *d = r->down;
    vx_timer_remove(r->echo->wheel, &r->timer);
    d->stream.ops->release(&d->stream);
}

/* Answers with a complete body. */
static void reply(struct echo_request *r, uint16_t status, struct vx_slice body) {
    struct vx_reply_field port = {VX_HEADER_OTHER, VX_SLICE("x-echo-port"), r->echo->port};
    struct vx_reply_content content = {
        .status = status,
        .content_type = VX_SLICE("text/plain; charset=utf-8"),
        .body = body,
        .fields = &port,
        .field_count = 1,
    };
    r->state = REPLYING;
    if (vx_reply_start(&r->reply, r->down, &content) != VX_REPLY_WAIT)
        finish_request(r);
}

/* The head of a streamed answer; false: no memory, the request is over. */
static bool respond(struct echo_request *r, enum vx_framing framing, uint64_t bytes,
                    struct vx_slice content_type) {
    struct vx_downstream *d = r->down;
    struct vx_response *response = vx_arena_alloc(d->arena, sizeof *response);
    if (response) {
        *response = (struct vx_response){
            .status = 200,
            .version = VX_HTTP_11,
            .framing = framing,
            .keep_alive = true,
            .body_bytes = bytes,
        };
        struct vx_headers *h = &response->headers;
        if (vx_headers_add(h, d->arena, VX_HEADER_CONTENT_TYPE, VX_SLICE("content-type"), content_type) &&
            vx_headers_add(h, d->arena, VX_HEADER_OTHER, VX_SLICE("x-echo-port"), r->echo->port)) {
            d->ops->respond(d, response);
            return true;
        }
    }
    finish_request(r);
    return false;
}

/* `text` as a number followed by one of the units, in the smallest unit; NOT_A_QUANTITY when it is no such thing or
 * more than `max`. */
struct unit {
    struct vx_slice name;
    uint64_t factor;
};

static uint64_t quantity(struct vx_slice text, const struct unit *units, unsigned count, uint64_t max) {
    uint64_t n = 0;
    size_t at = 0;
    for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++) {
        n = n * 10 + (uint64_t)(text.ptr[at] - '0');
        if (n > max)
            return NOT_A_QUANTITY;
    }
    if (at == 0)
        return NOT_A_QUANTITY;
    for (unsigned i = 0; i < count; i++)
        if (vx_slice_eq(vx_slice_skip(text, at), units[i].name))
            return n <= max / units[i].factor ? n * units[i].factor : NOT_A_QUANTITY;
    return NOT_A_QUANTITY;
}

/* Short texts in the arena */

static char *put(char *out, struct vx_slice s) {
    if (s.len)
        memcpy(out, s.ptr, s.len);
    return out + s.len;
}

/* The three as one text; without memory, the last. */
static struct vx_slice join(struct echo_request *r, struct vx_slice before, struct vx_slice middle,
                            struct vx_slice after) {
    const struct vx_slice parts[] = {before, middle, after};
    struct vx_slice whole = vx_arena_join(r->down->arena, parts, 3);
    return whole.ptr ? whole : after;
}

/* /status/N */

static void begin_status(struct echo_request *r, struct vx_slice argument) {
    static const struct unit plain = {VX_SLICE(""), 1};
    uint64_t status = quantity(argument, &plain, 1, 599);
    if (status == NOT_A_QUANTITY || status < 200) {
        reply(r, 400, VX_SLICE("/status/ takes a status from 200 to 599.\n"));
        return;
    }
    char digits[VX_TEXT_U64_MAX];
    struct vx_slice number = vx_slice(digits, vx_format_u64(digits, status));
    struct vx_slice line = join(r, number, VX_SLICE(" "), vx_status_reason((uint16_t)status));
    reply(r, (uint16_t)status, join(r, line, VX_SLICE(""), VX_SLICE("\n")));
}

/* /delay/D */

static void on_timer(struct vx_timer *timer, uint64_t now_ns) {
    (void)now_ns;
    struct echo_request *r = VX_CONTAINER_OF(timer, struct echo_request, timer);
    reply(r, 200, r->text);
}

static void begin_delay(struct echo_request *r, struct vx_slice argument, uint64_t now_ns) {
    static const struct unit units[] = {
        {VX_SLICE("ms"), 1000000},
        {VX_SLICE("s"), 1000000000},
        {VX_SLICE("m"), UINT64_C(60) * 1000000000},
    };
    uint64_t delay_ns = quantity(argument, units, 3, DELAY_MAX_NS);
    if (delay_ns == NOT_A_QUANTITY) {
        reply(r, 400, VX_SLICE("/delay/ takes a duration up to ten minutes, as 20ms, 5s or 1m.\n"));
        return;
    }
    r->text = join(r, VX_SLICE("waited "), argument, VX_SLICE("\n"));
    r->state = WAITING;
    vx_timer_set(r->echo->wheel, &r->timer, now_ns + delay_ns);
}

/* /bytes/N */

static void send_bytes(struct echo_request *r) {
    struct vx_stream *s = &r->down->stream;
    for (uint64_t turn = 0; r->left > 0 && turn < TURN_BYTES;) {
        size_t piece = r->left < VX_ECHO_PATTERN_BYTES ? r->left : VX_ECHO_PATTERN_BYTES;
        size_t taken = s->ops->push(s, vx_slice(r->echo->pattern, piece));
        r->left -= taken;
        turn += taken;
        if (taken < piece) {
            s->ops->flush(s);
            return;
        }
    }
    if (r->left > 0) {
        s->ops->flush(s);
        s->ops->again(s);
        return;
    }
    s->ops->finish(s, NULL);
    s->ops->flush(s);
    finish_request(r);
}

static void begin_bytes(struct echo_request *r, struct vx_slice argument) {
    static const struct unit units[] = {
        {VX_SLICE(""), 1},
        {VX_SLICE("KiB"), UINT64_C(1) << 10},
        {VX_SLICE("MiB"), UINT64_C(1) << 20},
        {VX_SLICE("GiB"), UINT64_C(1) << 30},
    };
    uint64_t bytes = quantity(argument, units, 4, BYTES_MAX);
    if (bytes == NOT_A_QUANTITY) {
        reply(r, 400, VX_SLICE("/bytes/ takes a size up to 1024GiB, as 100, 64KiB or 10MiB.\n"));
        return;
    }
    r->left = r->down->request->method == VX_METHOD_HEAD ? 0 : bytes;
    r->state = SENDING;
    if (respond(r, VX_BODY_LENGTH, bytes, VX_SLICE("application/octet-stream")))
        send_bytes(r);
}

/* Everything else: the request as text */

static void mirror(struct echo_request *r) {
    struct vx_stream *s = &r->down->stream;
    for (size_t turn = 0; turn < TURN_BYTES;) {
        bool ours = r->text.len > 0;
        struct vx_slice bytes = r->text;
        enum vx_pull got = ours ? VX_PULL_BYTES : s->ops->pull(s, &bytes);
        if (got == VX_PULL_END)
            s->ops->finish(s, s->ops->trailers(s));
        if (got != VX_PULL_BYTES)
            s->ops->flush(s);
        if (got == VX_PULL_END || got == VX_PULL_FAILED)
            finish_request(r);
        if (got != VX_PULL_BYTES)
            return;
        size_t taken = s->ops->push(s, bytes);
        turn += taken;
        if (ours)
            r->text = vx_slice_skip(r->text, taken);
        else
            s->ops->consume(s, taken);
        if (taken < bytes.len) {
            s->ops->flush(s);
            return;
        }
    }
    s->ops->flush(s);
    s->ops->again(s);
}

/* The body is larger than what was gathered of it: the answer begins before it has ended. */
static void begin_mirroring(struct echo_request *r) {
    const struct vx_request *request = r->down->request;
    uint64_t head_bytes = r->text.len;
    r->text.len = (size_t)(r->text_end - r->text.ptr);
    r->state = MIRRORING;
    if (respond(r, request->framing, head_bytes + request->body_bytes, VX_SLICE("text/plain; charset=utf-8")))
        mirror(r);
}

static void gather(struct echo_request *r) {
    struct vx_stream *s = &r->down->stream;
    for (;;) {
        struct vx_slice bytes;
        switch (s->ops->pull(s, &bytes)) {
        case VX_PULL_WAIT:
            return;
        case VX_PULL_FAILED:
            finish_request(r);
            return;
        case VX_PULL_END:
            reply(r, 200, vx_slice(r->text.ptr, (size_t)(r->text_end - r->text.ptr)));
            return;
        case VX_PULL_BYTES:
        default:
            break;
        }
        size_t room = (size_t)(r->room_end - r->text_end);
        if (bytes.len > room) {
            begin_mirroring(r);
            return;
        }
        r->text_end = put(r->text_end, bytes);
        s->ops->consume(s, bytes.len);
    }
}

static size_t head_text_max(const struct vx_request *request) {
    size_t max = request->method_text.len + request->target.len + sizeof "  HTTP/1.1\n\n";
    for (unsigned i = 0; i < request->headers.count; i++)
        max += request->headers.items[i].name_len + (size_t)request->headers.items[i].value_len + 3;
    return max;
}

static char *put_head(char *out, const struct vx_request *request) {
    out = put(put(out, request->method_text), VX_SLICE(" "));
    out = put(out, request->target);
    out = put(out, request->version == VX_HTTP_10 ? VX_SLICE(" HTTP/1.0\n") : VX_SLICE(" HTTP/1.1\n"));
    for (unsigned i = 0; i < request->headers.count; i++) {
        const struct vx_header *h = &request->headers.items[i];
        if (h->flags & VX_HEADER_REMOVED)
            continue;
        out = put(put(out, vx_header_name(h)), VX_SLICE(": "));
        out = put(put(out, vx_header_value(h)), VX_SLICE("\n"));
    }
    return put(out, VX_SLICE("\n"));
}

static void begin_mirror(struct echo_request *r) {
    struct vx_downstream *d = r->down;
    const struct vx_request *request = d->request;
    bool body = request->framing != VX_BODY_NONE && request->method != VX_METHOD_HEAD;
    size_t head_max = head_text_max(request);
    size_t room = body ? head_max + GATHER_MAX_BYTES : head_max;
    char *text = vx_arena_alloc(d->arena, room);
    if (!text) {
        finish_request(r);
        return;
    }
    r->text_end = put_head(text, request);
    r->room_end = text + room;
    r->text = vx_slice(text, (size_t)(r->text_end - text));
    if (!body) {
        reply(r, 200, r->text);
        return;
    }
    if (request->expects_continue)
        d->ops->respond(d, &(struct vx_response){.status = 100, .version = VX_HTTP_11});
    r->state = GATHERING;
    gather(r);
}

/* Events */

static void on_readable(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct echo_request *r = user;
    if (r->state == GATHERING)
        gather(r);
    else if (r->state == MIRRORING)
        mirror(r);
    else if (r->state == SENDING)
        send_bytes(r);
}

static void on_writable(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct echo_request *r = user;
    if (r->state == MIRRORING)
        mirror(r);
    else if (r->state == SENDING)
        send_bytes(r);
    else if (r->state == REPLYING && vx_reply_resume(&r->reply, r->down) == VX_REPLY_DONE)
        finish_request(r);
}

static void on_failed(void *user, uint64_t now_ns) {
    (void)now_ns;
    finish_request(user);
}

static const struct vx_stream_events events = {
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_failed = on_failed,
};

static bool argument_of(struct vx_slice path, struct vx_slice prefix, struct vx_slice *argument) {
    if (!vx_slice_starts_with(path, prefix))
        return false;
    *argument = vx_slice_skip(path, prefix.len);
    return true;
}

static void begin(struct vx_handler *self, struct vx_downstream *d, uint64_t now_ns) {
    d->stream.events = &events;
    struct echo_request *r = vx_arena_alloc(d->arena, sizeof *r);
    if (!r) {
        d->stream.ops->release(&d->stream);
        return;
    }
    *r = (struct echo_request){.echo = VX_CONTAINER_OF(self, struct vx_echo, handler), .down = d};
    vx_timer_init(&r->timer, on_timer);
    d->stream.user = r;
    const struct vx_request *request = d->request;
    bool plain = request->method == VX_METHOD_GET || request->method == VX_METHOD_HEAD;
    struct vx_slice argument;
    if (argument_of(request->path, VX_SLICE("/status/"), &argument))
        begin_status(r, argument);
    else if (argument_of(request->path, VX_SLICE("/delay/"), &argument))
        begin_delay(r, argument, now_ns);
    else if (argument_of(request->path, VX_SLICE("/bytes/"), &argument))
        begin_bytes(r, argument);
    else if (plain && request->framing == VX_BODY_NONE && vx_slice_eq(request->path, VX_SLICE("/")))
        reply(r, 200,
              join(r, VX_SLICE("Hello from the echo backend on port "), r->echo->port, VX_SLICE(".\n")));
    else
        begin_mirror(r);
}

void vx_echo_init(struct vx_echo *echo, struct vx_timer_wheel *wheel, uint16_t port) {
    echo->handler = (struct vx_handler){.begin = begin};
    echo->wheel = wheel;
    echo->port = vx_slice(echo->port_text, vx_format_u64(echo->port_text, port));
    for (size_t i = 0; i < sizeof echo->pattern; i++)
        echo->pattern[i] = i % 64 == 63 ? '\n' : (char)('a' + i % 26);
}
