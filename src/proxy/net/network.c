/* SPDX-License-Identifier: Apache-2.0 */
/* See network.h. What is sent waits in one buffer a link until the end of the round, so that the questions of many
 * requests leave in one system call.
 *
 * Invariants
 *   1. A link has a transport, or waits for a name, or is broken and says so in its task, or is closed.
 *   2. Events are told from the loop: from the transport, the resolver or the task, never from inside a call.
 *   3. A closed link's memory goes in a task of its own: its transport's event may be on the stack. */
#include "proxy/net/network.h"

#include <stdlib.h>

#include "proxy/dns/resolver.h"

enum {
    READ_BYTES = 16 * 1024,
    READS_A_ROUND = 8,
    BUFFER_MIN_BYTES = 4096,
    NAMES_KEPT = 64, /* more only while there are links to them */
};

/* A name that was dialed: it stays watched, so that the next attempt finds its addresses at once. */
struct name {
    struct vx_list link;
    struct vx_network_dialer *dialer;
    uint32_t links; /* that are not closed */
    struct vx_resolver_watch *watch;
    struct vx_list waiting; /* links */
    struct vx_address address;
    bool known;
    size_t len;
    char text[];
};

struct vx_link {
    struct vx_network_dialer *dialer;
    const struct vx_link_events *events;
    void *user;
    struct vx_transport *transport; /* NULL: none (yet, or any more) */
    struct name *name;              /* NULL: none, or it is closed */
    struct vx_list waiting;         /* in its name's list */
    struct vx_task task;            /* flush, tell that it is broken, or free */
    const char *broken;             /* what the task tells; NULL: nothing */
    bool told;                      /* that it is broken: nothing follows */
    bool closed;
    uint16_t port;
    char *out; /* from malloc; of `out_len` bytes the first `out_sent` have left */
    size_t out_len, out_sent, out_room;
    size_t host_len; /* of the name, for TLS */
    char host[256];
};

static void break_later(struct vx_link *link, const char *why) {
    link->broken = why;
    vx_runtime_defer(link->dialer->rt, &link->task);
}

/* --- Bytes -------------------------------------------------------------------------------------------------------- */

static void flush(struct vx_link *link) {
    struct vx_transport *t = link->transport;
    while (link->out_sent < link->out_len && t->writable) {
        struct vx_slice rest = vx_slice(link->out + link->out_sent, link->out_len - link->out_sent);
        ssize_t n = t->ops->write(t, &rest, 1);
        if (n == VX_IO_FAILED)
            break_later(link, "the connection broke");
        if (n < 0)
            return;
        link->out_sent += (size_t)n;
    }
    if (link->out_sent == link->out_len)
        link->out_len = link->out_sent = 0;
}

static void tell_broken(struct vx_link *link, const char *why, uint64_t now_ns) {
    if (link->closed || link->told)
        return;
    link->told = true;
    link->events->on_broken(link->user, why, now_ns);
}

static void read_all(struct vx_link *link, uint64_t now_ns) {
    char piece[READ_BYTES];
    for (unsigned i = 0; i < READS_A_ROUND && !link->closed; i++) {
        struct vx_transport *t = link->transport;
        ssize_t n = t->ops->read(t, piece, sizeof piece);
        if (n == VX_IO_AGAIN)
            return;
        if (n <= 0) {
            tell_broken(link, n == 0 ? "it closed the connection" : "the connection broke", now_ns);
            return;
        }
        link->events->on_bytes(link->user, vx_slice(piece, (size_t)n), now_ns);
        if (!link->closed && !link->transport->readable)
            return;
    }
    if (!link->closed)
        vx_runtime_defer(link->dialer->rt, &link->task); /* others get their turn first */
}

static void on_ready(struct vx_transport *t, uint32_t ready, uint64_t now_ns) {
    struct vx_link *link = t->owner;
    if (link->closed || link->told)
        return;
    if (ready & VX_FAILED) {
        tell_broken(link, t->error.detail ? t->error.detail : "it cannot be reached", now_ns);
        return;
    }
    if (ready & VX_WRITABLE)
        flush(link);
    if (ready & (VX_READABLE | VX_PEER_SHUT))
        read_all(link, now_ns);
}

static void run_task(struct vx_task *task, uint64_t now_ns) {
    struct vx_link *link = VX_CONTAINER_OF(task, struct vx_link, task);
    if (link->closed) {
        free(link->out);
        free(link);
        return;
    }
    if (link->broken) {
        tell_broken(link, link->broken, now_ns);
        return;
    }
    if (!link->transport || link->told)
        return;
    flush(link);
    if (link->transport->readable)
        read_all(link, now_ns);
}

/* --- Connecting --------------------------------------------------------------------------------------------------- */

static void dial(struct vx_link *link, const struct vx_address *address) {
    struct vx_network_dialer *d = link->dialer;
    struct vx_error error;
    struct vx_dial to = {
        .address = *address,
        .tls = d->tls,
        .server_name = d->server_name.len ? d->server_name : vx_slice(link->host, link->host_len),
    };
    to.address.port = link->port;
    link->transport = d->rt->dialer->dial(d->rt->dialer, &to, &error);
    if (!link->transport) {
        break_later(link, error.detail ? error.detail : "it cannot be reached");
        return;
    }
    link->transport->on_ready = on_ready;
    link->transport->owner = link;
}

static void on_answer(void *user, const struct vx_resolver_answer *answer, uint64_t now_ns) {
    struct name *name = user;
    struct vx_list *node;
    (void)now_ns;
    name->known = answer->count > 0;
    if (name->known)
        name->address = answer->addresses[0];
    while ((node = vx_list_pop_front(&name->waiting)) != NULL) {
        struct vx_link *link = VX_CONTAINER_OF(node, struct vx_link, waiting);
        if (name->known)
            dial(link, &name->address);
        else
            break_later(link, "its name does not resolve");
    }
}

static void free_name(struct name *name) {
    vx_list_remove(&name->link);
    name->dialer->name_count--;
    vx_resolver_unwatch(name->watch);
    free(name);
}

/* A cluster may change its nodes' names again and again: those dialed longest ago go first. */
static void forget_some_names(struct vx_network_dialer *d) {
    struct vx_list *next;
    for (struct vx_list *at = d->names.next; at != &d->names && d->name_count >= NAMES_KEPT; at = next) {
        struct name *name = VX_CONTAINER_OF(at, struct name, link);
        next = at->next;
        if (!name->links)
            free_name(name);
    }
}

static struct name *find_name(struct vx_network_dialer *d, struct vx_slice text) {
    for (struct vx_list *at = d->names.next; at != &d->names; at = at->next) {
        struct name *name = VX_CONTAINER_OF(at, struct name, link);
        if (!vx_slice_ieq(vx_slice(name->text, name->len), text))
            continue;
        vx_list_remove(at);
        vx_list_push_back(&d->names, at);
        return name;
    }
    const char *why;
    forget_some_names(d);
    if (!d->resolver)
        d->resolver = vx_resolver_new(d->loop, &(struct vx_resolver_options){0}, &why);
    struct name *name = d->resolver ? calloc(1, sizeof *name + text.len) : NULL;
    if (!name)
        return NULL;
    name->dialer = d;
    name->len = text.len;
    memcpy(name->text, text.ptr, text.len);
    vx_list_init(&name->waiting);
    name->watch = vx_resolver_watch(d->resolver, text, on_answer, name);
    if (!name->watch) {
        free(name);
        return NULL;
    }
    vx_list_init(&name->link);
    vx_list_push_back(&d->names, &name->link);
    d->name_count++;
    return name;
}

static void dial_name(struct vx_link *link, struct vx_slice text) {
    struct name *name = find_name(link->dialer, text);
    if (!name) {
        break_later(link, "its name cannot be looked up");
        return;
    }
    link->name = name;
    name->links++;
    if (name->known)
        dial(link, &name->address);
    else
        vx_list_push_back(&name->waiting, &link->waiting);
}

/* What a certificate has to name: the host as it was configured or told. */
static void note_host(struct vx_link *link, const struct vx_address *to) {
    char text[VX_ADDRESS_TEXT_MAX];
    struct vx_slice host = to->text;
    if (to->kind != VX_ADDRESS_NAME)
        host = vx_slice(text, vx_address_format_ip(to, text));
    link->host_len = host.len < sizeof link->host ? host.len : sizeof link->host;
    memcpy(link->host, host.ptr, link->host_len);
}

/* --- The port ----------------------------------------------------------------------------------------------------- */

static struct vx_link *open_link(struct vx_network *net, const struct vx_address *to,
                                 const struct vx_link_events *events, void *user) {
    struct vx_network_dialer *d = VX_CONTAINER_OF(net, struct vx_network_dialer, net);
    struct vx_link *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    link->dialer = d;
    link->events = events;
    link->user = user;
    link->port = to->port;
    vx_list_init(&link->waiting);
    vx_task_init(&link->task, run_task);
    note_host(link, to);
    if (to->kind == VX_ADDRESS_NAME)
        dial_name(link, to->text);
    else
        dial(link, to);
    return link;
}

static bool make_room(struct vx_link *link, size_t bytes) {
    size_t room = link->out_room ? link->out_room : BUFFER_MIN_BYTES;
    while (room < link->out_len + bytes)
        room *= 2;
    if (room == link->out_room)
        return true;
    char *out = realloc(link->out, room);
    if (!out)
        return false;
    link->out = out;
    link->out_room = room;
    return true;
}

static void send_bytes(struct vx_link *link, struct vx_slice bytes) {
    if (!make_room(link, bytes.len)) {
        break_later(link, "no memory");
        return;
    }
    memcpy(link->out + link->out_len, bytes.ptr, bytes.len);
    link->out_len += bytes.len;
    vx_runtime_defer(link->dialer->rt, &link->task);
}

static void close_link(struct vx_link *link) {
    link->closed = true;
    vx_list_remove(&link->waiting);
    if (link->name)
        link->name->links--;
    link->name = NULL;
    if (link->transport)
        link->transport->ops->close(link->transport, false);
    link->transport = NULL;
    vx_runtime_defer(link->dialer->rt, &link->task);
}

void vx_network_dialer_init(struct vx_network_dialer *d, struct vx_runtime *rt, struct vx_loop *loop,
                            const struct vx_tls_client *tls, struct vx_slice server_name) {
    *d = (struct vx_network_dialer){
        .net = {.open = open_link, .send = send_bytes, .close = close_link},
        .rt = rt,
        .loop = loop,
        .tls = tls,
        .server_name = server_name,
    };
    vx_list_init(&d->names);
}

void vx_network_dialer_destroy(struct vx_network_dialer *d) {
    struct vx_list *next;
    for (struct vx_list *at = d->names.next; at != &d->names; at = next) {
        next = at->next;
        free_name(VX_CONTAINER_OF(at, struct name, link));
    }
    vx_resolver_free(d->resolver);
}
