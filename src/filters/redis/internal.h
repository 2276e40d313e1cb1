/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the Redis store: store.c (questions and answers), sentinel.c and cluster.c (which server to
 * ask). */
#ifndef VX_FILTERS_REDIS_INTERNAL_H
#define VX_FILTERS_REDIS_INTERNAL_H

#include "core/base/arena.h"
#include "filters/redis/refused.h"
#include "filters/redis/store.h"

enum { VX_REDIS_NODES_MAX = 1024, VX_REDIS_NO_NODE = 0xffff };

/* A server that questions may go to. */
struct vx_redis_node {
    struct vx_redis_connection connection;
    struct vx_redis_store *store;
    uint16_t index;
    bool wanted; /* of a cluster: slots or a redirection point here; else the next sweep frees it */
};

/* Which server a question goes to: one that never changes, the master that Sentinels name, or a cluster's map. */
struct vx_redis_topology {
    bool (*start)(struct vx_redis_store *s, uint64_t now_ns); /* false: no memory */
    struct vx_redis_node *(*node_for)(struct vx_redis_store *s, const struct vx_redis_key *key);
    void (*up)(struct vx_redis_store *s, struct vx_redis_node *node, uint64_t now_ns);
    void (*down)(struct vx_redis_store *s, struct vx_redis_node *node, uint64_t now_ns);
    void (*stop)(struct vx_redis_store *s, uint64_t now_ns); /* the nodes are closed */
};

extern const struct vx_redis_topology vx_redis_single, vx_redis_sentinel, vx_redis_cluster;

/* Finding the master. */
struct vx_redis_sentinels {
    struct vx_redis_connection asker;
    struct vx_redis_store *store;
    struct vx_redis_call call;
    uint32_t next;     /* of the configured ones */
    uint32_t failures; /* in a row; the pause before the next one is asked grows with them */
};

/* The map of a cluster. */
struct vx_redis_map {
    struct vx_redis_store *store;
    struct vx_redis_call call;
    struct vx_timer timer;          /* for the next look at the map */
    struct vx_timer sweep;          /* frees nodes that nothing points to any more */
    bool asked_one;                 /* and the answer has not come */
    uint16_t asked;                 /* the node, last */
    uint16_t nodes[VX_REDIS_SLOTS]; /* by slot; VX_REDIS_NO_NODE: unknown */
};

/* One question under way. */
struct vx_redis_ask {
    struct vx_redis_call call,
        asking_call; /* the latter for ASKING, which goes before a question sent elsewhere */
    struct vx_redis_store *store;
    struct vx_rate_request *request; /* NULL: its asker has gone */
    struct vx_redis_node *node;      /* that was asked last */
    struct vx_redis_key key;
    struct vx_redis_ask *next; /* while it is free */
    uint8_t hops;
    bool asking_out; /* ASKING's reply has not come: the memory is needed until then */
    bool over;
};

struct vx_redis_store {
    struct vx_rate_store port;
    struct vx_redis_store_options options;
    struct vx_config_rate_store config; /* a copy; its texts and hosts are in `memory` */
    char *memory;
    struct vx_redis_shared shared;
    const struct vx_redis_topology *topology;
    struct vx_redis_script script;
    struct vx_redis_node **nodes;
    uint16_t node_count;
    const char *trouble; /* the last one; NULL: all is well */
    struct vx_redis_ask *free_asks;
    struct vx_redis_sentinels *sentinels; /* NULL: none */
    struct vx_redis_map *map;             /* NULL: no cluster */
    struct vx_redis_refused refused;
    uint64_t counts[VX_REDIS_COUNT_COUNT];
};

/* store.c */

/* Something that keeps the store from being asked (static text), or NULL: that is over. The log is told of the first. */
void vx_redis_store_report(struct vx_redis_store *s, const char *trouble);

/* The node at this address, made if there is none; not connected. NULL: no memory, or too many. */
struct vx_redis_node *vx_redis_node_at(struct vx_redis_store *s, const struct vx_address *address);

/* Closes and frees the node at this index, whose place the last one takes. Not from inside a connection's event: it may be
 * this node's own. */
void vx_redis_node_free(struct vx_redis_store *s, uint16_t index, uint64_t now_ns);

/* Reads what Redis calls an address: a host in text and a port. An empty host stands for `self`. The text of a name is
 * borrowed. False: it is none. */
bool vx_redis_read_address(struct vx_slice host, uint64_t port, const struct vx_address *self,
                           struct vx_address *out);

/* cluster.c */

/* A reply says that the key's slot is (MOVED), or for this once (ASK), elsewhere. NULL: the reply says nothing of the
 * kind. */
struct vx_redis_node *vx_redis_cluster_redirected(struct vx_redis_store *s, struct vx_redis_node *from,
                                                  struct vx_slice error, bool *for_once, uint64_t now_ns);

#endif
