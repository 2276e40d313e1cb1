/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of the benchmark: a single-threaded TCP relay that knows nothing of HTTP.
 *
 * It does the least a process between two sockets can do: one backend connection for each client connection,
 * one read and one write for what passes, no parsing. What a proxy costs above this is what HTTP costs.
 *
 * Invariants
 *  1. Each socket is registered once, edge-triggered, for reading and writing; no epoll_ctl follows.
 *  2. `readable` is true from an edge until a read that says the socket is drained: EAGAIN, or a short read
 *     while no hang-up was reported.
 *  3. A side is read only while nothing is pending towards the other side, so at most one buffer of bytes
 *     is held for each direction, whatever the speed of the reader.
 *  4. A pair that ends goes to the free list only after the batch of events it ended in, so no later event
 *     of that batch finds its memory in another's use.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 64 * 1024, EVENTS = 512, BACKLOG = 4096, MAX_PAIRS = 8192 };

/* Bytes read from one side that the other side did not take at once. */
struct pending {
    struct pending *next_free;
    size_t begin;
    size_t end;
    char bytes[BUFFER_BYTES];
};

struct side {
    int fd;
    bool readable;
    bool hung_up;
    bool ended;           /* end of stream was read */
    struct pending *held; /* waits to be written to this side */
    struct side *other;
    struct pair *pair;
};

struct pair {
    struct side client;
    struct side backend;
    struct pair *next;
    bool dead;
};

struct relay {
    int epoll_fd;
    int listen_fd;
    int signal_fd;
    struct sockaddr_in backend;
    struct pair *pairs;
    struct pair *free_pairs;
    struct pair *dead_pairs;
    struct pending *free_pending;
    char buffer[BUFFER_BYTES];
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void end_pair(struct relay *relay, struct pair *pair) {
    if (pair->dead)
        return;
    pair->dead = true;
    struct side *sides[] = {&pair->client, &pair->backend};
    for (size_t i = 0; i < 2; i++) {
        close(sides[i]->fd);
        if (sides[i]->held) {
            sides[i]->held->next_free = relay->free_pending;
            relay->free_pending = sides[i]->held;
            sides[i]->held = NULL;
        }
    }
    pair->next = relay->dead_pairs;
    relay->dead_pairs = pair;
}

static void reap(struct relay *relay) {
    while (relay->dead_pairs) {
        struct pair *pair = relay->dead_pairs;
        relay->dead_pairs = pair->next;
        pair->next = relay->free_pairs;
        relay->free_pairs = pair;
    }
}

static bool hold(struct relay *relay, struct side *to, const char *bytes, size_t n) {
    struct pending *held = relay->free_pending;
    if (held)
        relay->free_pending = held->next_free;
    else if (!(held = malloc(sizeof *held)))
        return false;
    memcpy(held->bytes, bytes, n);
    held->begin = 0;
    held->end = n;
    to->held = held;
    return true;
}

/* Writes what is held for a side. False: the connection is broken. */
static bool flush(struct relay *relay, struct side *to) {
    struct pending *held = to->held;
    if (!held)
        return true;
    ssize_t n = send(to->fd, held->bytes + held->begin, held->end - held->begin, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN;
    held->begin += (size_t)n;
    if (held->begin == held->end) {
        to->held = NULL;
        held->next_free = relay->free_pending;
        relay->free_pending = held;
    }
    return true;
}

/* Passes n bytes on, or holds what does not go out at once. False: the connection is broken. */
static bool pass(struct relay *relay, struct side *to, const char *bytes, size_t n) {
    ssize_t sent = send(to->fd, bytes, n, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            return false;
        sent = 0;
    }
    return (size_t)sent == n || hold(relay, to, bytes + sent, n - (size_t)sent);
}

/* Moves bytes from one side to the other until it is drained or the other is full. False: broken. */
static bool pump(struct relay *relay, struct side *from) {
    struct side *to = from->other;
    while (from->readable && !from->ended && !to->held) {
        ssize_t n = recv(from->fd, relay->buffer, BUFFER_BYTES, 0);
        if (n < 0) {
            if (errno != EAGAIN)
                return false;
            from->readable = false;
            return true;
        }
        if (n == 0) {
            from->ended = true;
            shutdown(to->fd, SHUT_WR);
            return true;
        }
        if (n < BUFFER_BYTES && !from->hung_up)
            from->readable = false;
        if (!pass(relay, to, relay->buffer, (size_t)n))
            return false;
    }
    return true;
}

static bool finished(const struct pair *pair) {
    return pair->client.ended && pair->backend.ended && !pair->client.held && !pair->backend.held;
}

static void on_event(struct relay *relay, struct side *side, uint32_t events) {
    struct pair *pair = side->pair;
    if (pair->dead)
        return;
    bool alive = !(events & EPOLLERR);
    if (alive && (events & EPOLLOUT) && side->held)
        alive = flush(relay, side) && pump(relay, side->other);
    if (alive && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))) {
        side->readable = true;
        side->hung_up |= (events & (EPOLLRDHUP | EPOLLHUP)) != 0;
        alive = pump(relay, side);
    }
    if (!alive || finished(pair))
        end_pair(relay, pair);
}

static bool watch(struct relay *relay, struct side *side) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = side};
    return epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, side->fd, &event) == 0;
}

/* A socket on its way to the backend, or -1. The connection need not be complete: until it is, a write is
 * EAGAIN. */
static int connect_backend(const struct relay *relay) {
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)&relay->backend, sizeof relay->backend) == 0 ||
        errno == EINPROGRESS)
        return fd;
    close(fd);
    return -1;
}

static void begin_pair(struct relay *relay, int client_fd) {
    int one = 1;
    int backend_fd = relay->free_pairs ? connect_backend(relay) : -1;
    if (backend_fd < 0) {
        close(client_fd);
        return;
    }
    setsockopt(client_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct pair *pair = relay->free_pairs;
    relay->free_pairs = pair->next;
    memset(pair, 0, sizeof *pair);
    pair->client = (struct side){.fd = client_fd, .other = &pair->backend, .pair = pair};
    pair->backend = (struct side){.fd = backend_fd, .other = &pair->client, .pair = pair};
    if (!watch(relay, &pair->client) || !watch(relay, &pair->backend))
        end_pair(relay, pair);
}

static void accept_all(struct relay *relay) {
    for (;;) {
        int fd = accept4(relay->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            begin_pair(relay, fd);
        else if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

static void loop(struct relay *relay) {
    struct epoll_event events[EVENTS];
    for (;;) {
        int n = epoll_wait(relay->epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            void *about = events[i].data.ptr;
            if (about == &relay->signal_fd)
                return;
            if (about == &relay->listen_fd)
                accept_all(relay);
            else
                on_event(relay, about, events[i].events);
        }
        reap(relay);
    }
}

static uint16_t parse_port(const char *text) {
    char *end = NULL;
    unsigned long port = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || port == 0 || port > UINT16_MAX) {
        fprintf(stderr, "relay: \"%s\" is not a port\n", text);
        exit(2);
    }
    return (uint16_t)port;
}

static void open_sockets(struct relay *relay, uint16_t port) {
    int one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    relay->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(relay->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(relay->listen_fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("relay: bind");
    if (listen(relay->listen_fd, BACKLOG) < 0)
        fail("relay: listen");

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    relay->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    relay->epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    struct epoll_event on_signal = {.events = EPOLLIN, .data.ptr = &relay->signal_fd};
    struct epoll_event on_client = {.events = EPOLLIN, .data.ptr = &relay->listen_fd};
    if (epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, relay->signal_fd, &on_signal) < 0 ||
        epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, relay->listen_fd, &on_client) < 0)
        fail("relay: epoll_ctl");
}

static void make_pairs(struct relay *relay) {
    relay->pairs = calloc(MAX_PAIRS, sizeof *relay->pairs);
    if (!relay->pairs)
        fail("relay: calloc");
    for (size_t i = 0; i < MAX_PAIRS; i++) {
        relay->pairs[i].dead = true;
        relay->pairs[i].next = relay->free_pairs;
        relay->free_pairs = &relay->pairs[i];
    }
}

static void release(struct relay *relay) {
    for (size_t i = 0; i < MAX_PAIRS; i++)
        end_pair(relay, &relay->pairs[i]);
    while (relay->free_pending) {
        struct pending *next = relay->free_pending->next_free;
        free(relay->free_pending);
        relay->free_pending = next;
    }
    close(relay->listen_fd);
    close(relay->signal_fd);
    close(relay->epoll_fd);
    free(relay->pairs);
    free(relay);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: relay PORT BACKEND_PORT (both on 127.0.0.1)\n");
        return 2;
    }
    struct relay *relay = calloc(1, sizeof *relay);
    if (!relay)
        fail("relay: calloc");
    relay->backend = (struct sockaddr_in){.sin_family = AF_INET,
                                          .sin_port = htons(parse_port(argv[2])),
                                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    make_pairs(relay);
    open_sockets(relay, parse_port(argv[1]));
    loop(relay);
    release(relay);
    return 0;
}
