/* SPDX-License-Identifier: Apache-2.0 */
/* See store.h. A question goes to the server that has the key; its answer, or that there is none, decides. Whatever goes
 * wrong is decided by `on_store_failure`, in one place (blind). */
#include "filters/redis/store.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "filters/redis/internal.h"

enum { HOPS_MAX = 4 };

static void count(struct vx_redis_store *s, enum vx_redis_count what) {
    s->counts[what]++;
}

/* --- Servers ------------------------------------------------------------------------------------------------------ */

bool vx_redis_store_is_up(const struct vx_redis_store *s) {
    for (uint16_t i = 0; i < s->node_count; i++)
        if (s->nodes[i]->connection.state == VX_REDIS_READY)
            return true;
    return false;
}

void vx_redis_store_report(struct vx_redis_store *s, const char *trouble) {
    bool was_in_trouble = s->trouble != NULL;
    s->trouble = trouble;
    if (was_in_trouble == (trouble != NULL))
        return;
    s->options.report(s->options.user, trouble);
}

static void node_up(struct vx_redis_connection *c, uint64_t now_ns) {
    struct vx_redis_node *node = VX_CONTAINER_OF(c, struct vx_redis_node, connection);
    vx_redis_store_report(node->store, NULL);
    node->store->topology->up(node->store, node, now_ns);
}

static void node_down(struct vx_redis_connection *c, const char *why, uint64_t now_ns) {
    struct vx_redis_node *node = VX_CONTAINER_OF(c, struct vx_redis_node, connection);
    vx_redis_store_report(node->store, why);
    node->store->topology->down(node->store, node, now_ns);
}

static struct vx_redis_node *new_node(struct vx_redis_store *s, const struct vx_address *address) {
    struct vx_redis_node *node = s->node_count < VX_REDIS_NODES_MAX ? malloc(sizeof *node) : NULL;
    struct vx_redis_node **nodes = node ? realloc(s->nodes, (s->node_count + 1u) * sizeof *nodes) : NULL;
    if (!nodes) {
        free(node);
        return NULL;
    }
    s->nodes = nodes;
    vx_redis_connection_init(&node->connection, &s->shared);
    node->store = s;
    node->index = s->node_count;
    node->wanted = false;
    node->connection.on_up = node_up;
    node->connection.on_down = node_down;
    node->connection.user = s->config.user;
    node->connection.password = s->config.password;
    node->connection.must_master = s->config.kind == VX_RATE_STORE_SENTINEL;
    vx_redis_connection_aim(&node->connection, address);
    s->nodes[s->node_count++] = node;
    return node;
}

struct vx_redis_node *vx_redis_node_at(struct vx_redis_store *s, const struct vx_address *address) {
    for (uint16_t i = 0; i < s->node_count; i++)
        if (vx_address_eq(&s->nodes[i]->connection.address, address))
            return s->nodes[i];
    return new_node(s, address);
}

void vx_redis_node_free(struct vx_redis_store *s, uint16_t index, uint64_t now_ns) {
    struct vx_redis_node *node = s->nodes[index], *last = s->nodes[s->node_count - 1];
    vx_redis_connection_close(&node->connection, now_ns);
    last->index = index;
    s->nodes[index] = last;
    s->node_count--;
    free(node);
}

bool vx_redis_read_address(struct vx_slice host, uint64_t port, const struct vx_address *self,
                           struct vx_address *out) {
    if (port == 0 || port > UINT16_MAX)
        return false;
    if (host.len == 0 && self)
        *out = *self;
    else if (!vx_address_parse_ip(host, out)) {
        if (!vx_address_name_valid(host) || host.len >= VX_REDIS_HOST_MAX_BYTES)
            return false;
        *out = (struct vx_address){.kind = VX_ADDRESS_NAME, .text = host};
    }
    out->port = (uint16_t)port;
    return true;
}

/* One server, always the same. */

static bool single_start(struct vx_redis_store *s, uint64_t now_ns) {
    struct vx_redis_node *node = vx_redis_node_at(s, &s->config.hosts[0]);
    if (node)
        vx_redis_connection_open(&node->connection, now_ns);
    return node != NULL;
}

static struct vx_redis_node *single_node_for(struct vx_redis_store *s, const struct vx_redis_key *key) {
    (void)key;
    return s->nodes[0];
}

static void single_up(struct vx_redis_store *s, struct vx_redis_node *node, uint64_t now_ns) {
    (void)s, (void)node, (void)now_ns;
}

static void single_down(struct vx_redis_store *s, struct vx_redis_node *node, uint64_t now_ns) {
    (void)s;
    vx_redis_connection_open(&node->connection, now_ns);
}

static void single_stop(struct vx_redis_store *s, uint64_t now_ns) {
    (void)s, (void)now_ns;
}

const struct vx_redis_topology vx_redis_single = {single_start, single_node_for, single_up, single_down,
                                                  single_stop};

/* --- Questions and answers ---------------------------------------------------------------------------------------- */

/* The server cannot be asked, or does not answer. */
static enum vx_rate_verdict blind(struct vx_redis_store *s, struct vx_rate_request *r, uint64_t now_ns) {
    r->debt_ns = 0;
    switch (s->config.on_failure) {
    case VX_STORE_FAILURE_ALLOW:
        return VX_RATE_PASS_BLIND;
    case VX_STORE_FAILURE_DENY:
        return VX_RATE_REFUSE_BLIND;
    case VX_STORE_FAILURE_LOCAL:
        break;
    }
    s->options.local->prepare(s->options.local, r);
    return s->options.local->take(s->options.local, r, now_ns);
}

static struct vx_redis_ask *take_ask(struct vx_redis_store *s) {
    struct vx_redis_ask *ask = s->free_asks;
    if (ask)
        s->free_asks = ask->next;
    else
        ask = malloc(sizeof *ask);
    return ask;
}

static void give_ask(struct vx_redis_ask *ask) {
    ask->over = true;
    if (ask->asking_out)
        return;
    ask->next = ask->store->free_asks;
    ask->store->free_asks = ask;
}

static void asking_done(struct vx_redis_call *call, const struct redisReply *reply, uint64_t now_ns) {
    struct vx_redis_ask *ask = VX_CONTAINER_OF(call, struct vx_redis_ask, asking_call);
    (void)reply, (void)now_ns; /* if it failed, so does the question behind it */
    ask->asking_out = false;
    if (ask->over)
        give_ask(ask);
}

/* Decides what is pending. */
static void settle(struct vx_redis_ask *ask, enum vx_rate_verdict verdict, uint64_t now_ns) {
    struct vx_rate_request *r = ask->request;
    give_ask(ask);
    r->verdict = verdict;
    r->pending = NULL;
    r->decided(r, now_ns);
}

static void settle_blind(struct vx_redis_ask *ask, uint64_t now_ns) {
    settle(ask, blind(ask->store, ask->request, now_ns), now_ns);
}

/* Sends the question to its node. `whole`: with the script's text. False: it cannot be asked. */
static bool send(struct vx_redis_ask *ask, bool whole, bool asking, uint64_t now_ns) {
    struct vx_redis_store *s = ask->store;
    struct vx_redis_connection *c = &ask->node->connection;
    if (!vx_redis_connection_usable(c))
        return false;
    if (asking && !ask->asking_out) {
        struct vx_redis_command command = vx_redis_command((const char *const[]){"ASKING", NULL});
        ask->asking_out = true;
        vx_redis_connection_send(c, &command, &ask->asking_call, now_ns);
    }
    struct vx_redis_command command =
        vx_redis_command_take(&ask->key, &ask->request->limit, ask->request->cost, whole ? NULL : &s->script);
    if (!command.bytes)
        return false;
    vx_redis_connection_send(c, &command, &ask->call, now_ns);
    return true;
}

static void answered(struct vx_redis_ask *ask, long long number, uint64_t now_ns) {
    struct vx_redis_store *s = ask->store;
    bool pass = number >= 0;
    ask->request->debt_ns = (uint64_t)(pass ? number : -1 - number);
    vx_histogram_record(s->options.latency, now_ns - ask->call.sent_ns);
    /* The server decided after the question was sent, so this is rather too early. */
    if (!pass)
        vx_redis_refused_note(&s->refused, &ask->key, ask->call.sent_ns + ask->request->debt_ns);
    settle(ask, pass ? VX_RATE_PASS : VX_RATE_REFUSE, now_ns);
}

/* An error: some can be mended by asking again, elsewhere or with the script's text. */
static void refused(struct vx_redis_ask *ask, struct vx_slice error, uint64_t now_ns) {
    struct vx_redis_store *s = ask->store;
    struct vx_redis_node *from = ask->node;
    bool no_script = vx_slice_starts_with(error, VX_SLICE("NOSCRIPT")), asking = false;
    struct vx_redis_node *to = no_script ? from : NULL;
    if (s->map && !to)
        to = vx_redis_cluster_redirected(s, from, error, &asking, now_ns);
    if (to && ask->hops++ < HOPS_MAX) {
        ask->node = to;
        if (send(ask, no_script || to != from, asking, now_ns))
            return;
    }
    count(s, VX_REDIS_COUNT_ERROR);
    settle_blind(ask, now_ns);
    /* A master that has become a replica: somebody else is the master now. */
    if (vx_slice_starts_with(error, VX_SLICE("READONLY")) && from->connection.state == VX_REDIS_READY)
        vx_redis_connection_fail(&from->connection, "it has become a replica", now_ns);
}

static void reply_came(struct vx_redis_call *call, const struct redisReply *reply, uint64_t now_ns) {
    struct vx_redis_ask *ask = VX_CONTAINER_OF(call, struct vx_redis_ask, call);
    if (!ask->request) {
        give_ask(ask);
    } else if (!reply) {
        count(ask->store, VX_REDIS_COUNT_LOST);
        settle_blind(ask, now_ns);
    } else if (reply->type == REDIS_REPLY_INTEGER) {
        answered(ask, reply->integer, now_ns);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        refused(ask, vx_slice(reply->str, reply->len), now_ns);
    } else {
        count(ask->store, VX_REDIS_COUNT_ERROR);
        settle_blind(ask, now_ns);
    }
}

/* Sends a new question; false: it cannot be asked. */
static bool ask_server(struct vx_redis_store *s, struct vx_rate_request *r, const struct vx_redis_key *key,
                       uint64_t now_ns) {
    struct vx_redis_node *node = s->topology->node_for(s, key);
    struct vx_redis_ask *ask = node ? take_ask(s) : NULL;
    if (!ask)
        return false;
    *ask = (struct vx_redis_ask){
        .call = {.done = reply_came},
        .asking_call = {.done = asking_done},
        .store = s,
        .request = r,
        .node = node,
        .key = *key,
    };
    if (!send(ask, false, false, now_ns)) {
        give_ask(ask);
        return false;
    }
    r->pending = ask;
    return true;
}

/* There is nothing to fetch; most questions go out, and the local store is prepared when it is asked. */
static void prepare(struct vx_rate_store *port, struct vx_rate_request *r) {
    (void)port;
    r->pending = NULL;
}

static enum vx_rate_verdict take(struct vx_rate_store *port, struct vx_rate_request *r, uint64_t now_ns) {
    struct vx_redis_store *s = VX_CONTAINER_OF(port, struct vx_redis_store, port);
    struct vx_redis_key key;
    vx_redis_key_make(&key, r->key);
    uint64_t debt_ns = vx_gcra_debt_ns(vx_redis_refused_find(&s->refused, &key), now_ns);
    if (debt_ns && vx_gcra_wait_ns(&r->limit, debt_ns, r->cost)) {
        count(s, VX_REDIS_COUNT_LOCAL_REFUSAL);
        r->debt_ns = debt_ns;
        return VX_RATE_REFUSE;
    }
    if (ask_server(s, r, &key, now_ns)) {
        count(s, VX_REDIS_COUNT_ASKED);
        return VX_RATE_PENDING;
    }
    count(s, VX_REDIS_COUNT_AWAY);
    return blind(s, r, now_ns);
}

static void cancel(struct vx_rate_store *port, struct vx_rate_request *r) {
    (void)port;
    ((struct vx_redis_ask *)r->pending)->request = NULL;
}

/* --- The store itself --------------------------------------------------------------------------------------------- */

static struct vx_slice keep(char **at, struct vx_slice text) {
    struct vx_slice copy = vx_slice(*at, text.len);
    if (text.len)
        memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return copy;
}

/* A copy of what the store looks at, which outlives the configuration that it came from. False: no memory. */
static bool copy_config(struct vx_redis_store *s, const struct vx_config_rate_store *config) {
    size_t hosts_bytes = config->host_count * sizeof *config->hosts;
    size_t bytes = hosts_bytes + config->user.len + config->password.len + config->master.len +
                   config->sentinel_user.len + config->sentinel_password.len;
    for (uint32_t i = 0; i < config->host_count; i++)
        bytes += config->hosts[i].text.len;
    s->memory = malloc(bytes);
    if (!s->memory)
        return false;
    char *at = s->memory + hosts_bytes;
    s->config = *config;
    s->config.hosts = memcpy(s->memory, config->hosts, hosts_bytes);
    s->config.user = keep(&at, config->user);
    s->config.password = keep(&at, config->password);
    s->config.master = keep(&at, config->master);
    s->config.sentinel_user = keep(&at, config->sentinel_user);
    s->config.sentinel_password = keep(&at, config->sentinel_password);
    for (uint32_t i = 0; i < config->host_count; i++)
        s->config.hosts[i].text = keep(&at, config->hosts[i].text);
    return true;
}

static const struct vx_redis_topology *topology_of(enum vx_rate_store_kind kind) {
    return kind == VX_RATE_STORE_SENTINEL  ? &vx_redis_sentinel
           : kind == VX_RATE_STORE_CLUSTER ? &vx_redis_cluster
                                           : &vx_redis_single;
}

struct vx_redis_store *vx_redis_store_new(const struct vx_config_rate_store *config,
                                          const struct vx_redis_store_options *options, uint64_t now_ns) {
    struct vx_redis_store *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->port = (struct vx_rate_store){.prepare = prepare, .take = take, .cancel = cancel};
    s->options = *options;
    s->topology = topology_of(config->kind);
    s->shared = (struct vx_redis_shared){options->net, options->wheel, options->random, &s->config};
    vx_redis_script_name(&s->script);
    if (copy_config(s, config) && s->topology->start(s, now_ns))
        return s;
    vx_redis_store_free(s, now_ns);
    return NULL;
}

void vx_redis_store_stop(struct vx_redis_store *s, uint64_t now_ns) {
    for (uint16_t i = 0; i < s->node_count; i++)
        vx_redis_connection_close(&s->nodes[i]->connection, now_ns);
    s->topology->stop(s, now_ns);
}

void vx_redis_store_free(struct vx_redis_store *s, uint64_t now_ns) {
    if (!s)
        return;
    vx_redis_store_stop(s, now_ns);
    for (uint16_t i = 0; i < s->node_count; i++)
        free(s->nodes[i]);
    while (s->free_asks) {
        struct vx_redis_ask *next = s->free_asks->next;
        free(s->free_asks);
        s->free_asks = next;
    }
    free(s->nodes);
    free(s->memory);
    free(s);
}

struct vx_rate_store *vx_redis_store_port(struct vx_redis_store *s) {
    return &s->port;
}

uint64_t vx_redis_store_count(const struct vx_redis_store *s, enum vx_redis_count what) {
    return s->counts[what];
}
