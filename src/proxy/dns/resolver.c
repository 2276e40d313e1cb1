/* SPDX-License-Identifier: Apache-2.0 */
/* See resolver.h. c-ares does the protocol; its sockets are watched by the loop, its timeouts are one timer.
 *
 * Invariants:
 *   1. c-ares may answer inside the call that asks (/etc/hosts), so it is asked from tasks and timers only, never
 *      from vx_resolver_watch: users are always called from the loop.
 *   2. A user's call may end any watch, its own included. Telling therefore begins anew at the head of the list
 *      after each call, and `telling` keeps the name itself alive meanwhile.
 *   3. A name without watches lives on only while c-ares owes it an answer (`asking`) or it is being told.
 *
 * Name       | event              | next    | function
 * IDLE       | watched, time over | ASKING  | ask
 * ASKING     | answer             | IDLE    | on_addresses (again when the TTL is over)
 * ASKING     | failure            | IDLE    | on_addresses (again after a pause that doubles)
 */
#include "proxy/dns/resolver.h"

#include <ares.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "core/base/assert.h"

enum { HOST_MAX = 253 };

struct dns_socket {
    struct vx_watch watch;
    struct vx_list link;
    struct vx_resolver *resolver;
    struct vx_retired retired;
    bool gone;
};

struct name {
    struct vx_list link;
    struct vx_resolver *resolver;
    struct vx_list watches;
    struct vx_timer timer; /* asks again */
    struct vx_task attend; /* asks for the first time, tells new watches */
    bool asking, telling;
    uint32_t generation; /* of what is known; 0: nothing yet */
    uint64_t pause_ns;   /* after the next failure */
    struct vx_address *addresses;
    struct vx_resolver_answer answer;
    char host[HOST_MAX + 1];
};

struct vx_resolver_watch {
    struct vx_list link;
    struct name *name;
    uint32_t told; /* generation */
    void (*on_answer)(void *user, const struct vx_resolver_answer *answer, uint64_t now_ns);
    void *user;
};

struct vx_resolver {
    struct vx_loop *loop;
    struct vx_resolver_options options;
    ares_channel channel;
    struct vx_list names, sockets;
    struct vx_timer timeout; /* c-ares's own */
    bool closing;
};

static struct vx_timer_wheel *wheel_of(struct vx_resolver *r) {
    return &vx_loop_runtime(r->loop)->wheel;
}

/* After each call into c-ares: when does it want to be called even if nothing arrives? */
static void set_timeout(struct vx_resolver *r) {
    struct timeval room, *wait = ares_timeout(r->channel, NULL, &room);
    if (!wait) {
        vx_timer_unset(&r->timeout);
        return;
    }
    uint64_t ns = (uint64_t)wait->tv_sec * 1000000000u + (uint64_t)wait->tv_usec * 1000u;
    vx_timer_set(wheel_of(r), &r->timeout, vx_loop_runtime(r->loop)->now_ns + ns);
}

static void on_timeout(struct vx_timer *t, uint64_t now_ns) {
    struct vx_resolver *r = VX_CONTAINER_OF(t, struct vx_resolver, timeout);
    (void)now_ns;
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timeout(r);
}

static void on_socket(struct vx_watch *w, uint32_t events, uint64_t now_ns) {
    struct dns_socket *s = VX_CONTAINER_OF(w, struct dns_socket, watch);
    struct vx_resolver *r = s->resolver;
    (void)now_ns;
    if (s->gone)
        return;
    bool in = events & (EPOLLIN | EPOLLERR | EPOLLHUP), out = events & (EPOLLOUT | EPOLLERR);
    ares_process_fd(r->channel, in ? w->fd : ARES_SOCKET_BAD, out ? w->fd : ARES_SOCKET_BAD);
    set_timeout(r);
}

static struct dns_socket *find_socket(struct vx_resolver *r, int fd) {
    for (struct vx_list *at = r->sockets.next; at != &r->sockets; at = at->next) {
        struct dns_socket *s = VX_CONTAINER_OF(at, struct dns_socket, link);
        if (s->watch.fd == fd)
            return s;
    }
    return NULL;
}

static void free_socket(struct vx_retired *retired) {
    free(VX_CONTAINER_OF(retired, struct dns_socket, retired));
}

/* c-ares says what it waits for on a socket; nothing: it is about to close it. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable) {
    struct vx_resolver *r = data;
    struct dns_socket *s = find_socket(r, fd);
    uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
    if (s && !events) {
        vx_loop_unwatch(r->loop, &s->watch);
        vx_list_remove(&s->link);
        s->gone = true;
        s->retired.free = free_socket;
        vx_loop_retire(r->loop, &s->retired);
    } else if (s) {
        vx_loop_rewatch(r->loop, &s->watch, events);
    } else if (events) {
        /* Without memory nobody listens to this socket: c-ares's timeout ends the look-up as failed. */
        s = calloc(1, sizeof *s);
        if (!s)
            return;
        s->watch = (struct vx_watch){on_socket, fd};
        s->resolver = r;
        vx_list_init(&s->link);
        vx_list_push_back(&r->sockets, &s->link);
        vx_loop_watch(r->loop, &s->watch, events);
    }
}

static void free_name_if_unused(struct name *n) {
    if (!vx_list_empty(&n->watches) || n->asking || n->telling)
        return;
    vx_timer_remove(wheel_of(n->resolver), &n->timer);
    vx_task_cancel(&n->attend);
    vx_list_remove(&n->link);
    free(n->addresses);
    free(n);
}

/* The first watch that does not know the latest; NULL: all do. */
static struct vx_resolver_watch *first_untold(struct name *n) {
    for (struct vx_list *at = n->watches.next; at != &n->watches; at = at->next) {
        struct vx_resolver_watch *w = VX_CONTAINER_OF(at, struct vx_resolver_watch, link);
        if (w->told != n->generation)
            return w;
    }
    return NULL;
}

static void tell(struct name *n, uint64_t now_ns) {
    struct vx_resolver_watch *w;
    if (n->telling)
        return;
    n->telling = true;
    while (n->generation && (w = first_untold(n))) {
        w->told = n->generation;
        w->on_answer(w->user, &n->answer, now_ns);
    }
    n->telling = false;
    free_name_if_unused(n);
}

static int compare_addresses(const void *left, const void *right) {
    const struct vx_address *a = left, *b = right;
    return a->kind != b->kind ? a->kind - b->kind : memcmp(a->ip, b->ip, sizeof a->ip);
}

static bool take_address(const struct ares_addrinfo_node *node, struct vx_address *out) {
    *out = (struct vx_address){.kind = VX_ADDRESS_NONE};
    if (node->ai_family == AF_INET) {
        out->kind = VX_ADDRESS_IP4;
        memcpy(out->ip, &((const struct sockaddr_in *)(const void *)node->ai_addr)->sin_addr, 4);
    } else if (node->ai_family == AF_INET6) {
        out->kind = VX_ADDRESS_IP6;
        memcpy(out->ip, &((const struct sockaddr_in6 *)(const void *)node->ai_addr)->sin6_addr, 16);
        vx_address_unmap(out);
    }
    return out->kind != VX_ADDRESS_NONE;
}

/* The addresses sorted and without doubles, so that two answers can be compared; NULL: none, or no memory. */
static struct vx_address *collect(const struct ares_addrinfo *info, uint32_t *count, uint64_t *ttl_ns) {
    uint32_t room = 0, n = 0, unique = 0;
    int ttl = INT32_MAX;
    for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next)
        room++;
    struct vx_address *list = room ? malloc(room * sizeof *list) : NULL;
    if (!list)
        return NULL;
    for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next) {
        n += take_address(node, &list[n]);
        ttl = node->ai_ttl < ttl ? node->ai_ttl : ttl;
    }
    for (const struct ares_addrinfo_cname *c = info->cnames; c; c = c->next)
        ttl = c->ttl < ttl ? c->ttl : ttl;
    qsort(list, n, sizeof *list, compare_addresses);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || compare_addresses(&list[i], &list[unique - 1]) != 0)
            list[unique++] = list[i];
    if (unique == 0) {
        free(list);
        return NULL;
    }
    *count = unique;
    *ttl_ns = (uint64_t)(ttl > 0 ? ttl : 0) * 1000000000u;
    return list;
}

static bool same_addresses(const struct name *n, const struct vx_address *list, uint32_t count) {
    if (n->answer.count != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (compare_addresses(&n->addresses[i], &list[i]) != 0)
            return false;
    return true;
}

static void take_failure(struct name *n, const char *error, uint64_t now_ns) {
    const struct vx_resolver_options *o = &n->resolver->options;
    if (!n->answer.error || !n->generation)
        n->generation++;
    n->answer.error = error;
    n->answer.ttl_ns = 0;
    vx_timer_set(wheel_of(n->resolver), &n->timer, now_ns + n->pause_ns);
    n->pause_ns = n->pause_ns * 2 < o->retry_max_ns ? n->pause_ns * 2 : o->retry_max_ns;
}

static void take_answer(struct name *n, struct vx_address *list, uint32_t count, uint64_t ttl_ns,
                        uint64_t now_ns) {
    const struct vx_resolver_options *o = &n->resolver->options;
    ttl_ns = ttl_ns < o->ttl_min_ns ? o->ttl_min_ns : ttl_ns;
    ttl_ns = ttl_ns > o->ttl_max_ns ? o->ttl_max_ns : ttl_ns;
    if (n->answer.error || !n->generation || !same_addresses(n, list, count))
        n->generation++;
    free(n->addresses);
    n->addresses = list;
    n->answer = (struct vx_resolver_answer){list, count, ttl_ns, NULL};
    n->pause_ns = o->retry_min_ns;
    vx_timer_set(wheel_of(n->resolver), &n->timer, now_ns + ttl_ns);
}

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *info) {
    struct name *n = arg;
    struct vx_resolver *r = n->resolver;
    uint64_t now_ns = vx_loop_runtime(r->loop)->now_ns, ttl_ns = 0;
    uint32_t count = 0;
    (void)timeouts;
    n->asking = false;
    struct vx_address *list = status == ARES_SUCCESS ? collect(info, &count, &ttl_ns) : NULL;
    if (info)
        ares_freeaddrinfo(info);
    if (r->closing) {
        free(list);
        return;
    }
    if (list)
        take_answer(n, list, count, ttl_ns, now_ns);
    else
        take_failure(n, ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status), now_ns);
    tell(n, now_ns);
}

static void ask(struct name *n) {
    static const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT};
    struct vx_resolver *r = n->resolver;
    if (n->asking)
        return;
    n->asking = true;
    ares_getaddrinfo(r->channel, n->host, NULL, &hints, on_addresses, n);
    set_timeout(r);
}

static void on_time_over(struct vx_timer *t, uint64_t now_ns) {
    (void)now_ns;
    ask(VX_CONTAINER_OF(t, struct name, timer));
}

/* A name that is watched anew: asks for it, or tells what is known. */
static void attend(struct vx_task *task, uint64_t now_ns) {
    struct name *n = VX_CONTAINER_OF(task, struct name, attend);
    if (n->generation)
        tell(n, now_ns);
    else
        ask(n);
}

static void apply_defaults(struct vx_resolver_options *o) {
    static const uint64_t second_ns = 1000000000;
    if (!o->timeout_ns)
        o->timeout_ns = 2 * second_ns;
    if (!o->tries)
        o->tries = 3;
    if (!o->ttl_min_ns)
        o->ttl_min_ns = second_ns;
    if (!o->ttl_max_ns)
        o->ttl_max_ns = 300 * second_ns;
    if (!o->retry_min_ns)
        o->retry_min_ns = second_ns;
    if (!o->retry_max_ns)
        o->retry_max_ns = 60 * second_ns;
}

static int open_channel(struct vx_resolver *r) {
    struct ares_options o = {.timeout = (int)(r->options.timeout_ns / 1000000),
                             .tries = (int)r->options.tries,
                             .sock_state_cb = on_socket_state,
                             .sock_state_cb_data = r};
    int status =
        ares_init_options(&r->channel, &o, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS || !r->options.servers)
        return status;
    status = ares_set_servers_ports_csv(r->channel, r->options.servers);
    if (status != ARES_SUCCESS)
        ares_destroy(r->channel);
    return status;
}

struct vx_resolver *vx_resolver_new(struct vx_loop *loop, const struct vx_resolver_options *options,
                                    const char **why) {
    struct vx_resolver *r = calloc(1, sizeof *r);
    if (!r) {
        *why = "out of memory";
        return NULL;
    }
    r->loop = loop;
    r->options = *options;
    apply_defaults(&r->options);
    vx_list_init(&r->names);
    vx_list_init(&r->sockets);
    vx_timer_init(&r->timeout, on_timeout);
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status == ARES_SUCCESS) {
        status = open_channel(r);
        if (status != ARES_SUCCESS)
            ares_library_cleanup();
    }
    /* The text was the caller's; c-ares has read it. */
    r->options.servers = NULL;
    if (status != ARES_SUCCESS) {
        *why = ares_strerror(status);
        free(r);
        return NULL;
    }
    return r;
}

void vx_resolver_free(struct vx_resolver *r) {
    if (!r)
        return;
    r->closing = true;
    ares_destroy(r->channel);
    ares_library_cleanup();
    vx_timer_remove(wheel_of(r), &r->timeout);
    struct vx_list *next_name, *next;
    for (struct vx_list *at = r->names.next; at != &r->names; at = next_name) {
        struct name *n = VX_CONTAINER_OF(at, struct name, link);
        next_name = at->next;
        for (struct vx_list *w = n->watches.next; w != &n->watches; w = next) {
            next = w->next;
            free(VX_CONTAINER_OF(w, struct vx_resolver_watch, link));
        }
        vx_list_init(&n->watches);
        VX_ASSERT(!n->telling && !n->asking);
        free_name_if_unused(n);
    }
    free(r);
}

static struct name *find_name(struct vx_resolver *r, struct vx_slice host) {
    for (struct vx_list *at = r->names.next; at != &r->names; at = at->next) {
        struct name *n = VX_CONTAINER_OF(at, struct name, link);
        if (vx_slice_ieq(vx_slice_of(n->host), host))
            return n;
    }
    return NULL;
}

static struct name *new_name(struct vx_resolver *r, struct vx_slice host) {
    struct name *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->resolver = r;
    n->pause_ns = r->options.retry_min_ns;
    memcpy(n->host, host.ptr, host.len);
    vx_list_init(&n->watches);
    vx_timer_init(&n->timer, on_time_over);
    vx_task_init(&n->attend, attend);
    vx_list_init(&n->link);
    vx_list_push_back(&r->names, &n->link);
    return n;
}

struct vx_resolver_watch *
vx_resolver_watch(struct vx_resolver *r, struct vx_slice host,
                  void (*on_answer)(void *user, const struct vx_resolver_answer *answer, uint64_t now_ns),
                  void *user) {
    if (host.len == 0 || host.len > HOST_MAX || memchr(host.ptr, '\0', host.len))
        return NULL;
    struct vx_resolver_watch *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    struct name *n = find_name(r, host);
    if (!n)
        n = new_name(r, host);
    if (!n) {
        free(w);
        return NULL;
    }
    w->name = n;
    w->on_answer = on_answer;
    w->user = user;
    vx_list_init(&w->link);
    vx_list_push_back(&n->watches, &w->link);
    vx_runtime_defer(vx_loop_runtime(r->loop), &n->attend);
    return w;
}

void vx_resolver_unwatch(struct vx_resolver_watch *w) {
    if (!w)
        return;
    struct name *n = w->name;
    vx_list_remove(&w->link);
    free(w);
    free_name_if_unused(n);
}
