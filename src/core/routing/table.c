/* SPDX-License-Identifier: Apache-2.0 */
/* The match table, read side and build side.
 *
 * Routes are sorted into nodes: one node for each (host, exact path) and (host, prefix), its routes in the order in
 * which they win. A host knows the next wider host, a prefix node the next shorter prefix, both worked out when the
 * table is built; so a lookup finds the narrowest host and the longest prefix by hash and from there follows links,
 * and what it costs does not depend on how many routes there are. Hosts are tried from the longest name down and
 * prefixes from the longest segment boundary down, lengths that occur nowhere being skipped by a bitmap.
 *
 * A node with many routes (they differ in method and headers only) is not searched one by one either: each route
 * with headers hangs on its rarest header and value, and only what the request has is looked up. */
#include "core/routing/table.h"

#include "core/base/assert.h"
#include "core/base/hash.h"

#define NONE VX_ROUTE_NONE

enum { LINEAR_ROUTES = 8 }; /* from here on a node's routes are looked up by header */

/* Keys come from the configuration and lookups change nothing, so no secret is needed. */
static const struct vx_hash_key table_key = {0x9e3779b97f4a7c15u, 0xd1b54a32d192ed03u};

/* Open addressing over things that lie elsewhere: the hash's upper half beside index + 1, 0 is empty. */
struct index {
    uint64_t *buckets;
    uint32_t mask;
};

/* Which lengths of a key occur: bit length % 64, and the longest. */
struct lengths {
    uint64_t bits;
    size_t longest;
};

enum host_kind { HOST_EXACT, HOST_WILDCARD, HOST_ANY };

struct host {
    struct vx_slice name; /* of a wildcard from the dot on: `.example.org` */
    enum host_kind kind;
    uint32_t wider; /* the next host to look at, NONE: no more */
    uint32_t root;  /* node of the prefix that takes every path, or NONE */
    bool has_exact;
    struct lengths prefixes;
};

struct node {
    struct vx_slice path; /* exact path or prefix; the prefix that takes every path is empty */
    uint32_t host;
    bool exact;
    uint32_t shorter;      /* node of the next shorter prefix in this host, or NONE */
    uint32_t first, count; /* its routes */
    uint32_t plain;        /* first of its routes without headers, or NONE; used with many routes only */
    uint64_t header_ids;   /* bits of the headers its routes hang on, VX_HEADER_OTHER included */
};

struct header {
    struct vx_slice name, value;
    enum vx_header_id id;
};

struct route {
    const struct vx_config_match *match;
    struct header *headers;
    uint64_t conditions_hash;
    uint32_t index;
    uint32_t next; /* the next one that hangs on the same pair (or has no headers), in winning order */
    uint32_t header_count, conditions;
    enum vx_method method; /* VX_METHOD_OTHER: any, or the match's text */
    /* What it is sorted by. */
    struct vx_slice host, path;
    enum host_kind host_kind;
    bool exact;
};

/* A header with a value that routes of a node ask for. */
struct pair {
    const struct header *header;
    uint32_t node;
    uint32_t uses;
    uint32_t first; /* the routes that hang on it */
};

struct vx_route_table {
    struct host *hosts;
    struct node *nodes;
    struct route *routes;
    struct pair *pairs;
    uint32_t host_count, node_count, route_count, pair_count;
    uint32_t any_host;
    struct index exact_hosts, wildcard_hosts, paths, values;
    struct lengths exacts, wildcards; /* of hosts' names */
    size_t longest_value;             /* among the pairs */
};

static uint32_t index_next(const struct index *x, uint64_t hash, uint32_t *at) {
    for (;; ++*at) {
        uint64_t bucket = x->buckets[(hash + *at) & x->mask];
        if (bucket == 0)
            return NONE;
        if (bucket >> 32 == hash >> 32) {
            ++*at;
            return (uint32_t)bucket - 1;
        }
    }
}

static bool length_occurs(const struct lengths *l, size_t length) {
    return length <= l->longest && l->bits >> (length & 63) & 1;
}

static uint32_t find_host(const struct vx_route_table *t, const struct index *x, struct vx_slice name) {
    uint64_t hash = vx_hash_fast(&table_key, name);
    uint32_t at = 0, i;
    while ((i = index_next(x, hash, &at)) != NONE)
        if (vx_slice_eq(t->hosts[i].name, name))
            return i;
    return NONE;
}

/* The longest wildcard that takes `name`, `*` if there is none. Something has to stand before the dot, so a wildcard's
 * own name gives the next wider one. */
static inline uint32_t find_wildcard(const struct vx_route_table *t, struct vx_slice name) {
    if (!t->wildcards.longest)
        return t->any_host;
    size_t start = name.len > t->wildcards.longest ? name.len - t->wildcards.longest : 0;
    for (size_t i = start > 1 ? start : 1; i < name.len; i++) {
        if (name.ptr[i] != '.' || !length_occurs(&t->wildcards, name.len - i))
            continue;
        uint32_t host = find_host(t, &t->wildcard_hosts, vx_slice_skip(name, i));
        if (host != NONE)
            return host;
    }
    return t->any_host;
}

static uint64_t path_hash(uint32_t host, bool exact, struct vx_slice path) {
    return vx_hash_fast(&table_key, path) ^ vx_hash_word(&table_key, (uint64_t)host << 1 | exact);
}

static uint32_t find_path(const struct vx_route_table *t, uint32_t host, bool exact, struct vx_slice path) {
    uint64_t hash = path_hash(host, exact, path);
    uint32_t at = 0, i;
    while ((i = index_next(&t->paths, hash, &at)) != NONE) {
        const struct node *n = &t->nodes[i];
        if (n->host == host && n->exact == exact && vx_slice_eq(n->path, path))
            return i;
    }
    return NONE;
}

/* The longest prefix of `host` that takes `path` and is at most `limit` bytes long. It ends at a segment boundary:
 * before a `/`, after one, or at the end of the path. */
static inline uint32_t find_prefix(const struct vx_route_table *t, uint32_t host, struct vx_slice path,
                                   size_t limit) {
    const struct host *h = &t->hosts[host];
    if (!h->prefixes.longest)
        return h->root;
    size_t length = path.len < h->prefixes.longest ? path.len : h->prefixes.longest;
    for (length = length < limit ? length : limit; length > 0; length--) {
        if (length < path.len && path.ptr[length] != '/' && path.ptr[length - 1] != '/')
            continue;
        if (!length_occurs(&h->prefixes, length))
            continue;
        uint32_t node = find_path(t, host, false, vx_slice(path.ptr, length));
        if (node != NONE)
            return node;
    }
    return h->root;
}

static bool field_is(const struct vx_header *field, const struct header *wanted) {
    return field->id == wanted->id && !(field->flags & VX_HEADER_REMOVED) &&
           vx_slice_eq(vx_header_value(field), wanted->value) &&
           (wanted->id != VX_HEADER_OTHER || vx_slice_ieq(vx_header_name(field), wanted->name));
}

static bool has_header(const struct vx_headers *headers, const struct header *wanted) {
    if (wanted->id != VX_HEADER_OTHER && !vx_headers_has(headers, wanted->id))
        return false;
    for (uint32_t i = 0; i < headers->count; i++)
        if (field_is(&headers->items[i], wanted))
            return true;
    return false;
}

static inline bool conditions_hold(const struct route *r, const struct vx_request *request) {
    if (!r->conditions)
        return true;
    if (r->match->method.len > 0) {
        if (r->method != request->method)
            return false;
        if (r->method == VX_METHOD_OTHER && !vx_slice_eq(r->match->method, request->method_text))
            return false;
    }
    for (uint32_t i = 0; i < r->header_count; i++)
        if (!has_header(&request->headers, &r->headers[i]))
            return false;
    return true;
}

/* The first route of a chain, which is in winning order, that holds and is before `best`; else `best`. */
static uint32_t best_of_chain(const struct vx_route_table *t, uint32_t route, uint32_t best,
                              const struct vx_request *request) {
    for (; route < best; route = t->routes[route].next)
        if (conditions_hold(&t->routes[route], request))
            return route;
    return best;
}

static uint64_t pair_hash(uint32_t node, enum vx_header_id id, size_t name_len, struct vx_slice value) {
    uint64_t name = (uint64_t)node << 32 | (uint64_t)id << 16 | (name_len & 0xffff);
    return vx_hash_fast(&table_key, value) ^ vx_hash_word(&table_key, name);
}

static uint32_t best_by_header(const struct vx_route_table *t, uint32_t node,
                               const struct vx_request *request) {
    const struct node *n = &t->nodes[node];
    uint32_t best = best_of_chain(t, n->plain, NONE, request);
    for (uint32_t f = 0; f < request->headers.count; f++) {
        const struct vx_header *field = &request->headers.items[f];
        if (!(n->header_ids >> field->id & 1) || field->value_len > t->longest_value)
            continue;
        uint64_t hash =
            pair_hash(node, (enum vx_header_id)field->id, field->name_len, vx_header_value(field));
        uint32_t at = 0, i;
        while ((i = index_next(&t->values, hash, &at)) != NONE)
            if (t->pairs[i].node == node && field_is(field, t->pairs[i].header))
                best = best_of_chain(t, t->pairs[i].first, best, request);
    }
    return best;
}

/* The index of the node's best route whose conditions hold. */
static inline uint32_t find_in_node(const struct vx_route_table *t, uint32_t node,
                                    const struct vx_request *request) {
    const struct node *n = &t->nodes[node];
    if (n->count > LINEAR_ROUTES) {
        uint32_t best = best_by_header(t, node, request);
        return best == NONE ? NONE : t->routes[best].index;
    }
    for (uint32_t i = n->first; i < n->first + n->count; i++)
        if (conditions_hold(&t->routes[i], request))
            return t->routes[i].index;
    return NONE;
}

static uint32_t find_in_host(const struct vx_route_table *t, uint32_t host,
                             const struct vx_request *request) {
    uint32_t node = t->hosts[host].has_exact ? find_path(t, host, true, request->path) : NONE;
    uint32_t route = node == NONE ? NONE : find_in_node(t, node, request);
    if (route != NONE)
        return route;
    for (node = find_prefix(t, host, request->path, SIZE_MAX); node != NONE; node = t->nodes[node].shorter) {
        route = find_in_node(t, node, request);
        if (route != NONE)
            return route;
    }
    return NONE;
}

uint32_t vx_route_table_find(const struct vx_route_table *t, const struct vx_request *request) {
    uint32_t host = NONE;
    if (length_occurs(&t->exacts, request->host.len))
        host = find_host(t, &t->exact_hosts, request->host);
    if (host == NONE)
        host = find_wildcard(t, request->host);
    for (; host != NONE; host = t->hosts[host].wider) {
        uint32_t route = find_in_host(t, host, request);
        if (route != NONE)
            return route;
    }
    return NONE;
}

/* From here on: building. */

static bool index_alloc(struct vx_arena *arena, struct index *x, uint32_t entries) {
    uint32_t buckets = 4;
    while (buckets < entries * 2)
        buckets *= 2;
    x->mask = buckets - 1;
    x->buckets = vx_arena_alloc(arena, buckets * sizeof *x->buckets);
    if (x->buckets)
        memset(x->buckets, 0, buckets * sizeof *x->buckets);
    return x->buckets != NULL;
}

static void index_put(struct index *x, uint64_t hash, uint32_t i) {
    while (x->buckets[hash & x->mask])
        hash = (hash & ~(uint64_t)0xffffffff) | (uint32_t)(hash + 1);
    x->buckets[hash & x->mask] = hash >> 32 << 32 | (i + 1);
}

static void length_add(struct lengths *l, size_t length) {
    l->bits |= (uint64_t)1 << (length & 63);
    if (length > l->longest)
        l->longest = length;
}

static int compare_slices(struct vx_slice a, struct vx_slice b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static int compare_nodes(const struct route *a, const struct route *b) {
    if (a->host_kind != b->host_kind)
        return a->host_kind < b->host_kind ? -1 : 1;
    int c = compare_slices(a->host, b->host);
    if (c)
        return c;
    if (a->exact != b->exact)
        return a->exact ? -1 : 1;
    return compare_slices(a->path, b->path);
}

static int compare_routes(const struct route *a, const struct route *b) {
    int c = compare_nodes(a, b);
    if (c)
        return c;
    if (a->conditions != b->conditions)
        return a->conditions > b->conditions ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* Merge sort from the bottom up, in place of qsort, which may allocate. The result is in one of the two arrays. */
static struct route *sort(struct route *from, struct route *to, uint32_t count) {
    for (uint32_t width = 1; width < count; width *= 2) {
        for (uint32_t low = 0; low < count; low += 2 * width) {
            uint32_t middle = count - low < width ? count : low + width;
            uint32_t high = count - middle < width ? count : middle + width;
            uint32_t a = low, b = middle;
            for (uint32_t i = low; i < high; i++)
                to[i] = a < middle && (b >= high || compare_routes(&from[a], &from[b]) <= 0) ? from[a++]
                                                                                             : from[b++];
        }
        struct route *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

static void set_host(struct route *r, struct vx_slice host) {
    r->host = host;
    if (host.len == 0 || vx_slice_eq(host, VX_SLICE("*"))) {
        r->host_kind = HOST_ANY;
        r->host = VX_SLICE_NONE;
    } else if (vx_slice_starts_with(host, VX_SLICE("*."))) {
        r->host_kind = HOST_WILDCARD;
        r->host = vx_slice_skip(host, 1);
    }
}

/* True when `prefix` takes `path`. */
static bool prefix_takes(struct vx_slice prefix, struct vx_slice path) {
    if (prefix.len == 0 || vx_slice_eq(prefix, VX_SLICE("/")))
        return true;
    return vx_slice_starts_with(path, prefix) &&
           (path.len == prefix.len || prefix.ptr[prefix.len - 1] == '/' || path.ptr[prefix.len] == '/');
}

static bool fill_route(struct vx_arena *arena, struct route *r, const struct vx_route_entry *entry) {
    const struct vx_config_match *m = entry->match;
    *r = (struct route){.match = m, .index = entry->index, .next = NONE, .header_count = m->header_count};
    set_host(r, m->host);
    r->exact = m->path.len > 0;
    r->path = r->exact ? m->path : m->path_prefix;
    if (!r->exact && vx_slice_eq(r->path, VX_SLICE("/")))
        r->path = VX_SLICE_NONE;
    r->conditions = m->header_count + (m->method.len > 0);
    r->method = m->method.len ? vx_method_of(m->method) : VX_METHOD_OTHER;
    r->conditions_hash = vx_hash_fast(&table_key, m->method);
    if (m->header_count == 0)
        return true;
    r->headers = vx_arena_alloc(arena, m->header_count * sizeof *r->headers);
    if (!r->headers)
        return false;
    for (uint32_t i = 0; i < m->header_count; i++) {
        struct vx_slice name = m->headers[i].name, value = m->headers[i].value;
        r->headers[i] = (struct header){name, value, vx_header_id_of(name)};
        /* A sum: the order in which headers are written says nothing. */
        r->conditions_hash +=
            vx_hash_word(&table_key, vx_hash_fast(&table_key, name)) ^ vx_hash_fast(&table_key, value);
    }
    return true;
}

static bool fill_routes(struct vx_arena *arena, struct vx_route_table *t,
                        const struct vx_route_entry *entries, uint32_t count) {
    struct route *routes = vx_arena_alloc(arena, (count + 1) * sizeof *routes);
    struct route *spare = vx_arena_alloc(arena, (count + 1) * sizeof *routes);
    if (!routes || !spare)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const struct vx_config_match *m = entries[i].match;
        if (m->path.len && !prefix_takes(m->path_prefix, m->path))
            continue; /* asks for an exact path and a prefix that it does not have: never matches */
        if (!fill_route(arena, &routes[t->route_count++], &entries[i]))
            return false;
    }
    t->routes = sort(routes, spare, t->route_count);
    return true;
}

static bool same_host(const struct route *a, const struct route *b) {
    return a->host_kind == b->host_kind && vx_slice_eq(a->host, b->host);
}

/* Cuts the sorted routes into hosts and nodes. */
static void fill_nodes(struct vx_route_table *t) {
    for (uint32_t i = 0; i < t->route_count; i++) {
        const struct route *r = &t->routes[i];
        if (i == 0 || !same_host(r, r - 1)) {
            if (r->host_kind == HOST_ANY)
                t->any_host = t->host_count;
            t->hosts[t->host_count++] =
                (struct host){.name = r->host, .kind = r->host_kind, .wider = NONE, .root = NONE};
        }
        uint32_t host = t->host_count - 1;
        if (i == 0 || compare_nodes(r, r - 1) != 0) {
            if (r->exact)
                t->hosts[host].has_exact = true;
            else if (r->path.len == 0)
                t->hosts[host].root = t->node_count;
            else
                length_add(&t->hosts[host].prefixes, r->path.len);
            t->nodes[t->node_count++] = (struct node){
                .path = r->path, .host = host, .exact = r->exact, .shorter = NONE, .first = i, .plain = NONE};
        }
        t->nodes[t->node_count - 1].count++;
    }
}

static bool link_hosts(struct vx_arena *arena, struct vx_route_table *t) {
    if (!index_alloc(arena, &t->exact_hosts, t->host_count) ||
        !index_alloc(arena, &t->wildcard_hosts, t->host_count))
        return false;
    for (uint32_t i = 0; i < t->host_count; i++) {
        struct host *h = &t->hosts[i];
        if (h->kind == HOST_EXACT) {
            index_put(&t->exact_hosts, vx_hash_fast(&table_key, h->name), i);
            length_add(&t->exacts, h->name.len);
        }
        if (h->kind != HOST_WILDCARD)
            continue;
        index_put(&t->wildcard_hosts, vx_hash_fast(&table_key, h->name), i);
        length_add(&t->wildcards, h->name.len);
    }
    for (uint32_t i = 0; i < t->host_count; i++)
        if (t->hosts[i].kind != HOST_ANY)
            t->hosts[i].wider = find_wildcard(t, t->hosts[i].name);
    return true;
}

static bool link_nodes(struct vx_arena *arena, struct vx_route_table *t) {
    if (!index_alloc(arena, &t->paths, t->node_count))
        return false;
    for (uint32_t i = 0; i < t->node_count; i++)
        index_put(&t->paths, path_hash(t->nodes[i].host, t->nodes[i].exact, t->nodes[i].path), i);
    for (uint32_t i = 0; i < t->node_count; i++) {
        struct node *n = &t->nodes[i];
        if (!n->exact && n->path.len > 0)
            n->shorter = find_prefix(t, n->host, n->path, n->path.len - 1);
    }
    return true;
}

static uint32_t find_pair(const struct vx_route_table *t, uint32_t node, const struct header *h,
                          uint64_t hash) {
    uint32_t at = 0, i;
    while ((i = index_next(&t->values, hash, &at)) != NONE) {
        const struct header *other = t->pairs[i].header;
        if (t->pairs[i].node == node && vx_slice_eq(other->name, h->name) &&
            vx_slice_eq(other->value, h->value))
            return i;
    }
    return NONE;
}

/* Counts how many routes of the node ask for each header and value. */
static void count_pairs(struct vx_route_table *t, uint32_t node) {
    const struct node *n = &t->nodes[node];
    for (uint32_t i = n->first; i < n->first + n->count; i++) {
        for (uint32_t j = 0; j < t->routes[i].header_count; j++) {
            const struct header *h = &t->routes[i].headers[j];
            uint64_t hash = pair_hash(node, h->id, h->name.len, h->value);
            uint32_t pair = find_pair(t, node, h, hash);
            if (pair == NONE) {
                pair = t->pair_count++;
                t->pairs[pair] = (struct pair){.header = h, .node = node, .first = NONE};
                index_put(&t->values, hash, pair);
                if (h->value.len > t->longest_value)
                    t->longest_value = h->value.len;
            }
            t->pairs[pair].uses++;
        }
    }
}

/* Hangs each route on the rarest of its headers, the last route first, so that chains are in winning order. */
static void hang_routes(struct vx_route_table *t, uint32_t node) {
    struct node *n = &t->nodes[node];
    for (uint32_t i = n->first + n->count; i-- > n->first;) {
        struct route *r = &t->routes[i];
        uint32_t rarest = NONE;
        for (uint32_t j = 0; j < r->header_count; j++) {
            const struct header *h = &r->headers[j];
            uint32_t pair = find_pair(t, node, h, pair_hash(node, h->id, h->name.len, h->value));
            VX_CHECK(pair != NONE);
            if (rarest == NONE || t->pairs[pair].uses < t->pairs[rarest].uses)
                rarest = pair;
        }
        uint32_t *chain = rarest == NONE ? &n->plain : &t->pairs[rarest].first;
        r->next = *chain;
        *chain = i;
        if (rarest != NONE)
            n->header_ids |= (uint64_t)1 << t->pairs[rarest].header->id;
    }
}

static bool link_headers(struct vx_arena *arena, struct vx_route_table *t) {
    uint32_t headers = 0;
    for (uint32_t i = 0; i < t->node_count; i++) {
        const struct node *n = &t->nodes[i];
        for (uint32_t j = n->first; n->count > LINEAR_ROUTES && j < n->first + n->count; j++)
            headers += t->routes[j].header_count;
    }
    t->pairs = vx_arena_alloc(arena, (headers + 1) * sizeof *t->pairs);
    if (!t->pairs || !index_alloc(arena, &t->values, headers))
        return false;
    for (uint32_t i = 0; i < t->node_count; i++) {
        if (t->nodes[i].count <= LINEAR_ROUTES)
            continue;
        count_pairs(t, i);
        hang_routes(t, i);
    }
    return true;
}

/* True when each header `a` asks for is asked for by `b`. */
static bool headers_within(const struct route *a, const struct route *b) {
    for (uint32_t i = 0; i < a->header_count; i++) {
        bool found = false;
        for (uint32_t j = 0; j < b->header_count && !found; j++)
            found = vx_slice_eq(a->headers[i].name, b->headers[j].name) &&
                    vx_slice_eq(a->headers[i].value, b->headers[j].value);
        if (!found)
            return false;
    }
    return true;
}

static bool same_conditions(const struct route *a, const struct route *b) {
    return a->conditions_hash == b->conditions_hash && a->conditions == b->conditions &&
           vx_slice_eq(a->match->method, b->match->method) && headers_within(a, b) && headers_within(b, a);
}

static struct vx_route_duplicate find_duplicate(const struct vx_route_table *t) {
    struct vx_route_duplicate d = {NONE, NONE};
    for (uint32_t i = 0; i < t->node_count; i++) {
        const struct node *n = &t->nodes[i];
        for (uint32_t a = n->first; a < n->first + n->count; a++) {
            for (uint32_t b = a + 1;
                 b < n->first + n->count && t->routes[b].conditions == t->routes[a].conditions; b++)
                if (t->routes[b].index < d.second && same_conditions(&t->routes[a], &t->routes[b]))
                    d = (struct vx_route_duplicate){t->routes[a].index, t->routes[b].index};
        }
    }
    return d;
}

const struct vx_route_table *vx_route_table_build(struct vx_arena *arena,
                                                  const struct vx_route_entry *entries, uint32_t count,
                                                  struct vx_route_duplicate *duplicate) {
    struct vx_route_table *t = vx_arena_alloc(arena, sizeof *t);
    if (!t)
        return NULL;
    *t = (struct vx_route_table){.any_host = NONE};
    if (!fill_routes(arena, t, entries, count))
        return NULL;
    t->hosts = vx_arena_alloc(arena, (t->route_count + 1) * sizeof *t->hosts);
    t->nodes = vx_arena_alloc(arena, (t->route_count + 1) * sizeof *t->nodes);
    if (!t->hosts || !t->nodes)
        return NULL;
    fill_nodes(t);
    if (!link_hosts(arena, t) || !link_nodes(arena, t) || !link_headers(arena, t))
        return NULL;
    if (duplicate)
        *duplicate = find_duplicate(t);
    return t;
}
