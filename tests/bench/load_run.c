/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load itself: connections over epoll, requests on them, and the window in which is counted.
 *
 * Closed loop: each connection sends its next request when the answer to the last is complete.
 * Open loop: requests fall due by a Poisson process of the given rate (the same seed, so the same schedule,
 * for every peer), whether or not earlier ones were answered. A latency runs from the time a request was due,
 * not from when it was sent: what waits for a free connection waits in the figure (no coordinated omission).
 *
 * Invariants
 *  1. An open connection is exactly one of: busy (one request out), in the ring of idle ones, or on its way
 * to be open. Only busy ones expect bytes.
 *  2. The phases follow one another: opening (until every connection has been open), warm-up, window,
 * draining (open loop only: what fell due within the window is waited for), over.
 *  3. A request counts once: complete answers by the time they end, latencies by the time they were due.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 512,
    BUFFER_BYTES = 256 * 1024,
    HEAD_BYTES = 4096,
    REQUEST_BYTES = 512,
    MAX_WAITING = 1 << 20,
    DISCARD_FROM = 64 * 1024,
    MAX_FAILED = 1000
};

enum phase { OPENING, WARM_UP, WINDOW, DRAINING, OVER };
enum state { CLOSED, CONNECTING, HANDSHAKING, IDLE, BUSY };

struct connection {
    int fd;
    enum state state;
    bool hung_up;
    bool was_open;
    struct load_tls *tls;
    uint64_t due_ns;
    uint64_t body_left;
    bool in_body;
    bool ok;
    size_t head_bytes; /* of a head that came in pieces */
    char head[HEAD_BYTES];
};

struct load {
    const struct load_options *options;
    struct load_result *result;
    int epoll_fd;
    struct load_tls_context *tls;
    struct connection *connections;
    unsigned opened; /* connections that have been open at least once */
    enum phase phase;
    uint64_t phase_ends_ns;
    uint64_t window_begin_ns;
    uint64_t window_end_ns;
    unsigned failed_in_row; /* connections that failed before they were open */
    bool given_up;
    struct connection **idle; /* a ring of `connections` places, first in, first out; may hold closed ones */
    unsigned idle_first;
    unsigned idle_count;
    uint64_t *waiting; /* open loop: due times without a connection, a ring of MAX_WAITING */
    size_t waiting_first;
    size_t waiting_count;
    uint64_t next_due_ns;
    uint64_t unanswered; /* fell due within the window and are not answered */
    uint64_t random;
    char request[REQUEST_BYTES];
    size_t request_bytes;
    char buffer[BUFFER_BYTES];
};

static void open_connection(struct load *load, struct connection *connection);

static bool open_loop(const struct load *load) {
    return load->options->rate > 0;
}

static bool in_window(const struct load *load, uint64_t ns) {
    return ns >= load->window_begin_ns && ns < load->window_end_ns;
}

/* xorshift64*, then the exponential distribution of the distance between two arrivals. */
static uint64_t next_distance_ns(struct load *load) {
    load->random ^= load->random >> 12;
    load->random ^= load->random << 25;
    load->random ^= load->random >> 27;
    uint64_t bits = (load->random * 2685821657736338717ULL) >> 11;
    double uniform = ((double)bits + 0.5) / 9007199254740992.0;
    return (uint64_t)(-log(uniform) / load->options->rate * 1e9);
}

static void close_connection(struct connection *connection) {
    if (connection->tls)
        load_tls_end(connection->tls);
    connection->tls = NULL;
    close(connection->fd);
    connection->state = CLOSED;
}

static void lose_request(struct load *load, const struct connection *connection, uint64_t *error) {
    (*error)++;
    if (open_loop(load) && in_window(load, connection->due_ns))
        load->unanswered--;
}

static void give_up(struct load *load, const char *what) {
    if (!load->given_up)
        fprintf(stderr, "load: port %u: %s: %s\n", load->options->port, what, strerror(errno));
    load->given_up = true;
    load->phase = OVER;
}

/* A connection ended, and with it its request if it had one: begins anew. */
static void restart(struct load *load, struct connection *connection, uint64_t *error) {
    enum state state = connection->state;
    load->result->reconnects++;
    close_connection(connection);
    if (state == IDLE)
        return; /* it stands in the ring, and is opened when its turn comes */
    if (state == BUSY) {
        lose_request(load, connection, error);
    } else {
        (*error)++;
        if (++load->failed_in_row == MAX_FAILED)
            give_up(load, "no connection opens");
    }
    open_connection(load, connection);
}

static void send_request(struct load *load, struct connection *connection, uint64_t due_ns) {
    connection->due_ns = due_ns;
    connection->state = BUSY;
    connection->in_body = false;
    connection->head_bytes = 0;
    ptrdiff_t n = connection->tls ? load_tls_write(connection->tls, load->request, load->request_bytes)
                                  : send(connection->fd, load->request, load->request_bytes, MSG_NOSIGNAL);
    if (n != (ptrdiff_t)load->request_bytes)
        restart(load, connection, &load->result->errors.closed);
}

static void push_idle(struct load *load, struct connection *connection) {
    unsigned at = (load->idle_first + load->idle_count++) % load->options->connections;
    connection->state = IDLE;
    load->idle[at] = connection;
}

static struct connection *pop_idle(struct load *load) {
    while (load->idle_count) {
        struct connection *connection = load->idle[load->idle_first];
        load->idle_first = (load->idle_first + 1) % load->options->connections;
        load->idle_count--;
        if (connection->state == IDLE)
            return connection;
        open_connection(load, connection);
    }
    return NULL;
}

/* A connection has nothing to do: gives it the next request, or lets it wait for one. */
static void next_request(struct load *load, struct connection *connection, uint64_t now_ns) {
    if (!open_loop(load)) {
        if (load->phase == OPENING)
            push_idle(load, connection);
        else
            send_request(load, connection, now_ns);
        return;
    }
    if (!load->waiting_count) {
        push_idle(load, connection);
        return;
    }
    uint64_t due_ns = load->waiting[load->waiting_first];
    load->waiting_first = (load->waiting_first + 1) % MAX_WAITING;
    load->waiting_count--;
    send_request(load, connection, due_ns);
}

static void on_open(struct load *load, struct connection *connection) {
    load->failed_in_row = 0;
    if (!connection->was_open) {
        connection->was_open = true;
        load->opened++;
    }
    connection->state = IDLE;
    next_request(load, connection, load_clock_ns());
}

static void complete(struct load *load, struct connection *connection) {
    uint64_t now_ns = load_clock_ns();
    struct load_result *result = load->result;
    if (!connection->ok) {
        lose_request(load, connection, &result->errors.status);
    } else {
        if (load->phase == WINDOW)
            result->requests++;
        if (open_loop(load) ? in_window(load, connection->due_ns) : load->phase == WINDOW) {
            load_histogram_record(&result->latency, now_ns - connection->due_ns);
            load->unanswered -= open_loop(load);
        }
    }
    if (load->options->fresh) {
        close_connection(connection);
        open_connection(load, connection);
    } else {
        next_request(load, connection, now_ns);
    }
}

/* The Content-Length of a head, or -1. The origins always send one, and a proxy has no reason to drop it. */
static int64_t content_length(const char *head, size_t n) {
    static const char name[] = "content-length:";
    const char *at = head;
    const char *end = head + n;
    while ((at = memchr(at, '\n', (size_t)(end - at)))) {
        at++;
        if ((size_t)(end - at) > sizeof name && strncasecmp(at, name, sizeof name - 1) == 0)
            return (int64_t)strtoull(at + sizeof name - 1, NULL, 10);
    }
    return -1;
}

/* Takes a head from n bytes. Returns what it used of them, 0 if the head is not complete, -1 if it is wrong.
 */
static ptrdiff_t take_head(struct connection *connection, const char *bytes, size_t n) {
    const char *end = memmem(bytes, n, "\r\n\r\n", 4);
    if (!end)
        return n < HEAD_BYTES ? 0 : -1;
    size_t head = (size_t)(end - bytes) + 4;
    int64_t length = content_length(bytes, head);
    if (head < 13 || memcmp(bytes, "HTTP/1.1 ", 9) != 0 || length < 0)
        return -1;
    connection->ok = memcmp(bytes + 9, "200", 3) == 0;
    connection->body_left = (uint64_t)length;
    connection->in_body = true;
    return (ptrdiff_t)head;
}

/* Like take_head, over a head that came in pieces. Returns what it used of the n new bytes, -1 if wrong. */
static ptrdiff_t join_head(struct connection *connection, const char *bytes, size_t n) {
    size_t before = connection->head_bytes;
    size_t add = n < HEAD_BYTES - before ? n : HEAD_BYTES - before;
    memcpy(connection->head + before, bytes, add);
    connection->head_bytes += add;
    ptrdiff_t used = take_head(connection, connection->head, connection->head_bytes);
    if (used == 0)
        return add == n ? (ptrdiff_t)n : -1;
    return used < 0 ? -1 : used - (ptrdiff_t)before;
}

/* Takes n bytes of an answer. False: they are not one, or more than one. */
static bool consume(struct load *load, struct connection *connection, const char *bytes, size_t n) {
    if (!connection->in_body) {
        ptrdiff_t used = connection->head_bytes ? 0 : take_head(connection, bytes, n);
        if (used == 0)
            used = join_head(connection, bytes, n);
        if (used < 0)
            return false;
        n -= (size_t)used;
        if (!connection->in_body)
            return true;
    }
    if (n > connection->body_left)
        return false;
    connection->body_left -= n;
    if (load->phase == WINDOW)
        load->result->body_bytes += n;
    return true;
}

/* Reads once: the bytes in the buffer, 0 if body was dropped, -1 at the end of the stream or with errno. A
 * large body is dropped in the kernel (MSG_TRUNC), so that its copy is not on this core. */
static ptrdiff_t receive(struct load *load, struct connection *connection, bool *drained) {
    if (connection->tls) {
        *drained = false;
        ptrdiff_t read = load_tls_read(connection->tls, load->buffer, BUFFER_BYTES);
        return read == 0 ? -1 : read;
    }
    bool discard = connection->in_body && connection->body_left > DISCARD_FROM;
    size_t asked = discard ? connection->body_left : BUFFER_BYTES;
    ssize_t n =
        discard ? recv(connection->fd, NULL, asked, MSG_TRUNC) : recv(connection->fd, load->buffer, asked, 0);
    *drained = n >= 0 && (size_t)n < asked && !connection->hung_up;
    if (n > 0 && discard) {
        connection->body_left -= (uint64_t)n;
        if (load->phase == WINDOW)
            load->result->body_bytes += (uint64_t)n;
        return 0;
    }
    return n == 0 ? -1 : n;
}

static void on_readable(struct load *load, struct connection *connection) {
    while (connection->state == BUSY) {
        bool drained = false;
        errno = 0;
        ptrdiff_t n = receive(load, connection, &drained);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            restart(load, connection, &load->result->errors.closed);
            return;
        }
        if (n > 0 && !consume(load, connection, load->buffer, (size_t)n)) {
            restart(load, connection, &load->result->errors.framing);
            return;
        }
        if (connection->in_body && connection->body_left == 0) {
            complete(load, connection);
            return;
        }
        if (drained)
            return;
    }
}

static void handshake(struct load *load, struct connection *connection) {
    int done = load_tls_handshake(connection->tls);
    if (done < 0)
        restart(load, connection, &load->result->errors.handshake);
    else if (done)
        on_open(load, connection);
}

static void on_event(struct load *load, struct connection *connection, uint32_t events) {
    if (connection->state == CLOSED)
        return;
    if (events & (EPOLLRDHUP | EPOLLHUP))
        connection->hung_up = true;
    if (events & EPOLLERR) {
        restart(load, connection,
                connection->state == CONNECTING ? &load->result->errors.connect
                                                : &load->result->errors.closed);
        return;
    }
    if (connection->state == CONNECTING && (events & EPOLLOUT)) {
        connection->state = HANDSHAKING;
        if (!connection->tls)
            on_open(load, connection);
    }
    if (connection->state == HANDSHAKING)
        handshake(load, connection);
    else if (connection->state == BUSY && (events & EPOLLIN))
        on_readable(load, connection);
    if (connection->hung_up && (connection->state == IDLE || connection->state == BUSY))
        restart(load, connection, &load->result->errors.closed);
}

static void open_connection(struct load *load, struct connection *connection) {
    int one = 1;
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(load->options->port)};
    struct sockaddr_in own = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        give_up(load, "socket");
        return;
    }
    connection->fd = fd;
    connection->hung_up = false;
    connection->state = CONNECTING;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const char *source = load->options->source;
    bool good = inet_pton(AF_INET, load->options->host, &peer.sin_addr) == 1 &&
                (!source || (inet_pton(AF_INET, source, &own.sin_addr) == 1 &&
                             bind(fd, (struct sockaddr *)&own, sizeof own) == 0));
    good = good && (connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0 || errno == EINPROGRESS);
    if (good && load->tls)
        good = (connection->tls = load_tls_begin(load->tls, fd)) != NULL;
    if (good)
        good = epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
    if (!good) {
        give_up(load, "connect");
        close_connection(connection);
    }
}

/* Open loop: sends what has fallen due. */
static void send_due(struct load *load, uint64_t now_ns) {
    if (load->phase != WARM_UP && load->phase != WINDOW)
        return;
    while (load->next_due_ns <= now_ns) {
        uint64_t due_ns = load->next_due_ns;
        load->next_due_ns += next_distance_ns(load);
        if (in_window(load, due_ns)) {
            load->unanswered++;
            load_histogram_record(&load->result->lag, now_ns - due_ns);
        }
        struct connection *connection = load->waiting_count ? NULL : pop_idle(load);
        if (connection) {
            send_request(load, connection, due_ns);
        } else if (load->waiting_count < MAX_WAITING) {
            load->waiting[(load->waiting_first + load->waiting_count++) % MAX_WAITING] = due_ns;
        } else {
            load->result->errors.overflow++;
            load->unanswered -= in_window(load, due_ns);
        }
    }
}

static void begin_load(struct load *load, uint64_t now_ns) {
    load->phase = WARM_UP;
    load->window_begin_ns = now_ns + (uint64_t)(load->options->warmup_s * 1e9);
    load->window_end_ns = load->window_begin_ns + (uint64_t)(load->options->window_s * 1e9);
    load->phase_ends_ns = load->window_begin_ns;
    load->next_due_ns = now_ns;
    if (open_loop(load))
        return;
    for (struct connection *connection = pop_idle(load); connection; connection = pop_idle(load))
        send_request(load, connection, now_ns);
}

/* Goes from one phase to the next when its time is over. False: the load cannot go on. */
static bool change_phase(struct load *load, uint64_t now_ns) {
    struct load_result *result = load->result;
    if (load->phase == OPENING && load->opened == load->options->connections) {
        begin_load(load, now_ns);
        return true;
    }
    if (load->phase == DRAINING && load->unanswered == 0)
        load->phase = OVER;
    if (load->phase == OVER || now_ns < load->phase_ends_ns)
        return true;
    switch (load->phase) {
    case OPENING:
        fprintf(stderr, "load: only %u of %u connections opened\n", load->opened, load->options->connections);
        return false;
    case WARM_UP:
        memset(&result->errors, 0, sizeof result->errors);
        result->reconnects = 0;
        load->phase = WINDOW;
        load->phase_ends_ns = load->window_end_ns;
        result->window_ns = now_ns;
        return load_cpu_read(load->options, &result->cpu_begin);
    case WINDOW:
        result->window_ns = now_ns - result->window_ns;
        load->phase = open_loop(load) ? DRAINING : OVER;
        load->phase_ends_ns = now_ns + 2 * load_ns_per_s;
        return load_cpu_read(load->options, &result->cpu_end);
    default:
        result->errors.unfinished = load->unanswered;
        load->phase = OVER;
        return true;
    }
}

static int wait_for(const struct load *load, struct epoll_event *events) {
    uint64_t now_ns = load_clock_ns();
    uint64_t until_ns = load->phase_ends_ns;
    if (open_loop(load) && (load->phase == WARM_UP || load->phase == WINDOW) && load->next_due_ns < until_ns)
        until_ns = load->next_due_ns;
    uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    struct timespec timeout = {.tv_sec = (time_t)(left_ns / load_ns_per_s),
                               .tv_nsec = (long)(left_ns % load_ns_per_s)};
    return epoll_pwait2(load->epoll_fd, events, EVENTS, &timeout, NULL);
}

static bool loop(struct load *load) {
    struct epoll_event events[EVENTS];
    while (load->phase != OVER) {
        int n = wait_for(load, events);
        for (int i = 0; i < n; i++)
            on_event(load, events[i].data.ptr, events[i].events);
        uint64_t now_ns = load_clock_ns();
        if (open_loop(load))
            send_due(load, now_ns);
        if (!change_phase(load, now_ns))
            return false;
    }
    return !load->given_up;
}

static bool prepare(struct load *load) {
    unsigned connections = load->options->connections;
    load->connections = calloc(connections, sizeof *load->connections);
    load->idle = calloc(connections, sizeof(struct connection *));
    load->waiting = open_loop(load) ? calloc(MAX_WAITING, sizeof *load->waiting) : NULL;
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!load->connections || !load->idle || (open_loop(load) && !load->waiting) || load->epoll_fd < 0) {
        perror("load");
        return false;
    }
    if (load->options->tls && !(load->tls = load_tls_context_create()))
        return false;
    load->request_bytes =
        (size_t)snprintf(load->request, REQUEST_BYTES,
                         "GET %s HTTP/1.1\r\nHost: localhost:%u\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n",
                         load->options->path, load->options->port);
    prctl(PR_SET_TIMERSLACK, 1000UL);
    load->random = 0x9e3779b97f4a7c15ULL;
    load->phase = OPENING;
    load->phase_ends_ns = load_clock_ns() + 20 * load_ns_per_s;
    for (unsigned i = 0; i < connections; i++)
        open_connection(load, &load->connections[i]);
    return !load->given_up;
}

bool load_run(const struct load_options *options, struct load_result *result) {
    struct load *load = calloc(1, sizeof *load);
    if (!load)
        return false;
    load->options = options;
    load->result = result;
    bool good = prepare(load) && loop(load);
    if (load->connections)
        for (unsigned i = 0; i < options->connections; i++)
            if (load->connections[i].state != CLOSED)
                close_connection(&load->connections[i]);
    close(load->epoll_fd);
    free(load->waiting);
    free((void *)load->idle);
    free(load->connections);
    free(load);
    return good;
}
