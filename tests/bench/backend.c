/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The origin of the benchmark: an HTTP/1.1 server that costs as little as it can, so that what is measured is
 * the proxy in front of it. Answers are made at start; a request costs one read and one write.
 *
 *   backend PORT [DELAY_US]      on 127.0.0.1; with a delay each answer is held back that long
 *
 * GET of /, /1k, /100k and /100m; anything else is 404. Keep-alive and pipelining; requests have no body here
 * (the load generator sends none), so a method other than GET is 405 and the end of the connection.
 *
 * Invariants
 *  1. Each socket is registered once, edge-triggered.
 *  2. A connection answers one request at a time: while `answer` is set, nothing is parsed. What was
 * pipelined waits in its input, which is never larger than INPUT_BYTES; a head that does not fit ends the
 * connection.
 *  3. With a delay, a connection with an answer stands in the queue exactly once, and the queue is in the
 * order of the due times, because the delay is the same for all.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    INPUT_BYTES = 16 * 1024,
    CHUNK_BYTES = 256 * 1024,
    EVENTS = 512,
    BACKLOG = 4096,
    HEAD_BYTES = 512,
    MAX_CONNECTIONS = 4096
};

static const uint64_t ns_per_s = 1000000000;

/* An answer: a first piece (head and the body's beginning), then the body's rest from the origin's chunk. */
struct answer {
    const char *path;
    size_t path_length;
    char *first;
    size_t first_bytes;
    uint64_t total_bytes;
    bool last; /* the connection ends after it */
};

enum { PATHS = 4, NOT_FOUND = PATHS, NOT_ALLOWED, ANSWERS };

struct connection {
    int fd;
    bool readable;
    bool hung_up;
    bool dead;
    bool waiting;                /* in the delay queue */
    const struct answer *answer; /* on its way out */
    uint64_t sent_bytes;
    uint64_t due_ns;
    struct connection *next_waiting;
    struct connection *next_free;
    size_t input_begin;
    size_t input_end;
    char input[INPUT_BYTES];
};

struct origin {
    int epoll_fd;
    int listen_fd;
    int signal_fd;
    uint64_t delay_ns;
    struct connection *first_waiting;
    struct connection *last_waiting;
    struct connection *connections;
    struct connection *free_connections;
    struct connection *dead_connections;
    struct answer answers[ANSWERS];
    char chunk[CHUNK_BYTES];
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * ns_per_s + (uint64_t)now.tv_nsec;
}

static void make_answer(struct origin *origin, int index, const char *path, int code, const char *reason,
                        uint64_t body_bytes) {
    char date[64];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);

    struct answer *answer = &origin->answers[index];
    size_t in_first = body_bytes < CHUNK_BYTES ? (size_t)body_bytes : 0;
    answer->path = path;
    answer->path_length = strlen(path);
    answer->first = malloc(HEAD_BYTES + in_first);
    if (!answer->first)
        fail("backend: malloc");
    int head = snprintf(answer->first, HEAD_BYTES,
                        "HTTP/1.1 %d %s\r\nServer: origin\r\nDate: %s\r\nContent-Type: text/plain\r\n"
                        "Content-Length: %llu\r\n\r\n",
                        code, reason, date, (unsigned long long)body_bytes);
    memset(answer->first + head, 'v', in_first);
    answer->first_bytes = (size_t)head + in_first;
    answer->total_bytes = (uint64_t)head + body_bytes;
}

static void make_answers(struct origin *origin) {
    static const struct {
        const char *path;
        uint64_t bytes;
    } bodies[PATHS] = {{"/", 2}, {"/1k", 1024}, {"/100k", 100 * 1024}, {"/100m", 100 * 1024 * 1024}};
    memset(origin->chunk, 'v', sizeof origin->chunk);
    for (int i = 0; i < PATHS; i++)
        make_answer(origin, i, bodies[i].path, 200, "OK", bodies[i].bytes);
    make_answer(origin, NOT_FOUND, "", 404, "Not Found", 0);
    make_answer(origin, NOT_ALLOWED, "", 405, "Method Not Allowed", 0);
    origin->answers[NOT_ALLOWED].last = true;
}

static const struct answer *choose(const struct origin *origin, const char *head, const char *end) {
    if (end - head < 5 || memcmp(head, "GET ", 4) != 0)
        return &origin->answers[NOT_ALLOWED];
    const char *path = head + 4;
    const char *space = memchr(path, ' ', (size_t)(end - path));
    size_t length = space ? (size_t)(space - path) : 0;
    for (int i = 0; i < PATHS; i++) {
        const struct answer *answer = &origin->answers[i];
        if (length == answer->path_length && memcmp(path, answer->path, length) == 0)
            return answer;
    }
    return &origin->answers[NOT_FOUND];
}

/* Takes one request from the input, if a whole one is there. False: the connection must end. */
static bool parse(const struct origin *origin, struct connection *connection) {
    char *begin = connection->input + connection->input_begin;
    size_t n = connection->input_end - connection->input_begin;
    char *end = memmem(begin, n, "\r\n\r\n", 4);
    if (end) {
        connection->answer = choose(origin, begin, end);
        connection->sent_bytes = 0;
        connection->input_begin += (size_t)(end - begin) + 4;
        if (connection->input_begin == connection->input_end)
            connection->input_begin = connection->input_end = 0;
        return true;
    }
    memmove(connection->input, begin, n);
    connection->input_begin = 0;
    connection->input_end = n;
    return n < INPUT_BYTES;
}

/* Fills the input. False: end of stream, or broken. */
static bool fill(struct connection *connection) {
    size_t space = INPUT_BYTES - connection->input_end;
    ssize_t n = recv(connection->fd, connection->input + connection->input_end, space, 0);
    if (n > 0) {
        connection->input_end += (size_t)n;
        return true;
    }
    connection->readable = false;
    return n < 0 && errno == EAGAIN;
}

/* Sends what is left of the answer. False: broken, or it was the last. */
static bool answer_more(const struct origin *origin, struct connection *connection) {
    const struct answer *answer = connection->answer;
    while (connection->sent_bytes < answer->total_bytes) {
        const char *from = origin->chunk;
        uint64_t n = answer->total_bytes - connection->sent_bytes;
        if (connection->sent_bytes < answer->first_bytes) {
            from = answer->first + connection->sent_bytes;
            n = answer->first_bytes - connection->sent_bytes;
        }
        int more = n < answer->total_bytes - connection->sent_bytes ? MSG_MORE : 0;
        if (n > CHUNK_BYTES)
            n = CHUNK_BYTES;
        ssize_t sent = send(connection->fd, from, n, MSG_NOSIGNAL | more);
        if (sent < 0)
            return errno == EAGAIN;
        connection->sent_bytes += (uint64_t)sent;
    }
    connection->answer = NULL;
    return !answer->last;
}

static void enqueue(struct origin *origin, struct connection *connection) {
    connection->waiting = true;
    connection->due_ns = clock_ns() + origin->delay_ns;
    connection->next_waiting = NULL;
    if (origin->last_waiting)
        origin->last_waiting->next_waiting = connection;
    else
        origin->first_waiting = connection;
    origin->last_waiting = connection;
}

/* Reads, parses and answers until there is nothing to do. False: the connection must end. */
static bool serve(struct origin *origin, struct connection *connection) {
    for (;;) {
        if (connection->waiting)
            return true;
        if (connection->answer) {
            if (!answer_more(origin, connection))
                return false;
            if (connection->answer)
                return true;
        }
        bool has_input = connection->input_end > connection->input_begin;
        if (has_input && !parse(origin, connection))
            return false;
        if (connection->answer) {
            if (origin->delay_ns)
                enqueue(origin, connection);
            continue;
        }
        if (!connection->readable)
            return true;
        if (!fill(connection))
            return false;
        if (!connection->readable)
            return true;
        /* What did not fill the space drained the socket, unless the end of stream stands behind it. */
        connection->readable = connection->hung_up || connection->input_end == INPUT_BYTES;
    }
}

/* A connection in the delay queue stays allocated until it leaves the queue. */
static void end_connection(struct origin *origin, struct connection *connection) {
    close(connection->fd);
    connection->dead = true;
    if (connection->waiting)
        return;
    connection->next_free = origin->dead_connections;
    origin->dead_connections = connection;
}

static void reap(struct origin *origin) {
    while (origin->dead_connections) {
        struct connection *connection = origin->dead_connections;
        origin->dead_connections = connection->next_free;
        connection->next_free = origin->free_connections;
        origin->free_connections = connection;
    }
}

static void answer_due(struct origin *origin) {
    uint64_t now_ns = origin->first_waiting ? clock_ns() : 0;
    while (origin->first_waiting && origin->first_waiting->due_ns <= now_ns) {
        struct connection *connection = origin->first_waiting;
        origin->first_waiting = connection->next_waiting;
        if (!origin->first_waiting)
            origin->last_waiting = NULL;
        connection->waiting = false;
        if (connection->dead) {
            connection->next_free = origin->dead_connections;
            origin->dead_connections = connection;
        } else if (!answer_more(origin, connection) || !serve(origin, connection)) {
            end_connection(origin, connection);
        }
    }
}

static void begin_connection(struct origin *origin, int fd) {
    int one = 1;
    struct connection *connection = origin->free_connections;
    if (!connection) {
        close(fd);
        return;
    }
    origin->free_connections = connection->next_free;
    memset(connection, 0, offsetof(struct connection, input));
    connection->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(origin->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        end_connection(origin, connection);
}

static void accept_all(struct origin *origin) {
    for (;;) {
        int fd = accept4(origin->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            begin_connection(origin, fd);
        else if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

static void on_event(struct origin *origin, struct connection *connection, uint32_t events) {
    if (connection->dead)
        return;
    if (events & (EPOLLERR | EPOLLHUP)) {
        end_connection(origin, connection);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP))
        connection->readable = true;
    if (events & EPOLLRDHUP)
        connection->hung_up = true;
    if (!serve(origin, connection))
        end_connection(origin, connection);
}

static int wait_for(const struct origin *origin, struct epoll_event *events) {
    if (!origin->first_waiting)
        return epoll_wait(origin->epoll_fd, events, EVENTS, -1);
    uint64_t now_ns = clock_ns();
    uint64_t due_ns = origin->first_waiting->due_ns;
    uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    struct timespec timeout = {.tv_sec = (time_t)(left_ns / ns_per_s), .tv_nsec = (long)(left_ns % ns_per_s)};
    return epoll_pwait2(origin->epoll_fd, events, EVENTS, &timeout, NULL);
}

static void loop(struct origin *origin) {
    struct epoll_event events[EVENTS];
    for (;;) {
        int n = wait_for(origin, events);
        for (int i = 0; i < n; i++) {
            void *about = events[i].data.ptr;
            if (about == &origin->signal_fd)
                return;
            if (about == &origin->listen_fd)
                accept_all(origin);
            else
                on_event(origin, about, events[i].events);
        }
        answer_due(origin);
        reap(origin);
    }
}

static void make_connections(struct origin *origin) {
    origin->connections = calloc(MAX_CONNECTIONS, sizeof *origin->connections);
    if (!origin->connections)
        fail("backend: calloc");
    for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
        origin->connections[i].next_free = origin->free_connections;
        origin->free_connections = &origin->connections[i];
    }
}

static void open_sockets(struct origin *origin, uint16_t port) {
    int one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    origin->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(origin->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(origin->listen_fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("backend: bind");
    if (listen(origin->listen_fd, BACKLOG) < 0)
        fail("backend: listen");

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    origin->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    origin->epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    struct epoll_event on_signal = {.events = EPOLLIN, .data.ptr = &origin->signal_fd};
    struct epoll_event on_client = {.events = EPOLLIN, .data.ptr = &origin->listen_fd};
    if (epoll_ctl(origin->epoll_fd, EPOLL_CTL_ADD, origin->signal_fd, &on_signal) < 0 ||
        epoll_ctl(origin->epoll_fd, EPOLL_CTL_ADD, origin->listen_fd, &on_client) < 0)
        fail("backend: epoll_ctl");
}

static void release(struct origin *origin) {
    for (size_t i = 0; i < ANSWERS; i++)
        free(origin->answers[i].first);
    close(origin->listen_fd);
    close(origin->signal_fd);
    close(origin->epoll_fd);
    free(origin->connections);
    free(origin);
}

static unsigned long parse_number(const char *text, unsigned long largest) {
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number > largest) {
        fprintf(stderr, "backend: \"%s\" is not a number up to %lu\n", text, largest);
        exit(2);
    }
    return number;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: backend PORT [DELAY_US] (on 127.0.0.1)\n");
        return 2;
    }
    struct origin *origin = calloc(1, sizeof *origin);
    if (!origin)
        fail("backend: calloc");
    if (argc == 3)
        origin->delay_ns = parse_number(argv[2], 60 * 1000000UL) * 1000;
    prctl(PR_SET_TIMERSLACK, 1000UL);
    make_answers(origin);
    make_connections(origin);
    open_sockets(origin, (uint16_t)parse_number(argv[1], UINT16_MAX));
    loop(origin);
    release(origin);
    return 0;
}
