/* SPDX-License-Identifier: Apache-2.0 */
/* See shared.h. */
#include "filters/proxy_wasm/shared.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "core/base/hash.h"
#include "core/base/list.h"

enum { TABLE_MIN = 64 };

struct entry {
    struct entry *next;
    uint64_t hash;
    struct vx_slice key; /* lies behind the struct */
    char *value;
    size_t value_len;
    uint32_t cas;
};

struct queue {
    struct vx_pwasm_scope *scope;
    struct vx_slice name; /* lies behind the struct */
    uint32_t id;
    struct vx_pwasm_item *first, **last;
    struct vx_pwasm_listener listener;
    uint32_t untold; /* items pushed since the listener was told */
    bool telling;    /* a word is on its way */
};

struct vx_pwasm_scope {
    struct vx_pwasm_shared *shared;
    struct vx_list link;
    uint32_t holds;
    struct entry **table;
    uint32_t table_size, entry_count; /* the size is a power of two */
    size_t bytes;
    struct vx_slice name; /* lies behind the struct */
};

struct vx_pwasm_shared {
    pthread_mutex_t lock;
    struct vx_list scopes;
    struct queue *queues[VX_PWASM_QUEUES_MAX]; /* by (id - 1) % VX_PWASM_QUEUES_MAX */
    uint32_t next_ids[VX_PWASM_QUEUES_MAX];    /* of the queue that comes to each place */
    uint32_t queue_count;                      /* places used so far */
    uint32_t next_cas;
    struct vx_hash_key key;
};

struct vx_pwasm_shared *vx_pwasm_shared_new(void) {
    struct vx_pwasm_shared *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    vx_list_init(&s->scopes);
    for (uint32_t i = 0; i < VX_PWASM_QUEUES_MAX; i++)
        s->next_ids[i] = i + 1;
    if (getrandom(&s->key, sizeof s->key, 0) < 0)
        s->key = (struct vx_hash_key){(uintptr_t)s, 1};
    return s;
}

void vx_pwasm_shared_free(struct vx_pwasm_shared *s) {
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* A struct with a copy of `text` behind it, which *copy then names. */
static void *with_text(size_t bytes, struct vx_slice text, struct vx_slice *copy) {
    char *p = calloc(1, bytes + text.len + 1);
    if (!p)
        return NULL;
    if (text.len)
        memcpy(p + bytes, text.ptr, text.len);
    *copy = vx_slice(p + bytes, text.len);
    return p;
}

/* Scopes */

static struct vx_pwasm_scope *find_scope(struct vx_pwasm_shared *s, struct vx_slice name) {
    for (struct vx_list *at = s->scopes.next; at != &s->scopes; at = at->next) {
        struct vx_pwasm_scope *scope = VX_CONTAINER_OF(at, struct vx_pwasm_scope, link);
        if (vx_slice_eq(scope->name, name))
            return scope;
    }
    return NULL;
}

static struct vx_pwasm_scope *make_scope(struct vx_pwasm_shared *s, struct vx_slice name) {
    struct vx_slice copy;
    struct vx_pwasm_scope *scope = with_text(sizeof *scope, name, &copy);
    struct entry **table = scope ? calloc(TABLE_MIN, sizeof(struct entry *)) : NULL;
    if (!table) {
        free(scope);
        return NULL;
    }
    scope->shared = s;
    scope->name = copy;
    scope->table = table;
    scope->table_size = TABLE_MIN;
    vx_list_push_back(&s->scopes, &scope->link);
    return scope;
}

struct vx_pwasm_scope *vx_pwasm_scope_hold(struct vx_pwasm_shared *s, struct vx_slice name) {
    pthread_mutex_lock(&s->lock);
    struct vx_pwasm_scope *scope = find_scope(s, name);
    if (!scope)
        scope = make_scope(s, name);
    if (scope)
        scope->holds++;
    pthread_mutex_unlock(&s->lock);
    return scope;
}

static void free_queue(struct queue *q) {
    for (struct vx_pwasm_item *i = q->first, *next; i; i = next) {
        next = i->next;
        free(i);
    }
    free(q);
}

static void free_scope(struct vx_pwasm_scope *scope) {
    struct vx_pwasm_shared *s = scope->shared;
    for (uint32_t i = 0; i < s->queue_count; i++)
        if (s->queues[i] && s->queues[i]->scope == scope) {
            free_queue(s->queues[i]);
            s->queues[i] = NULL;
        }
    for (uint32_t i = 0; i < scope->table_size; i++)
        for (struct entry *e = scope->table[i], *next; e; e = next) {
            next = e->next;
            free(e->value);
            free(e);
        }
    vx_list_remove(&scope->link);
    free(scope->table);
    free(scope);
}

void vx_pwasm_scope_drop(struct vx_pwasm_scope *scope) {
    struct vx_pwasm_shared *s = scope->shared;
    pthread_mutex_lock(&s->lock);
    if (--scope->holds == 0)
        free_scope(scope);
    pthread_mutex_unlock(&s->lock);
}

/* Values */

static struct entry **find_entry(struct vx_pwasm_scope *scope, struct vx_slice key, uint64_t hash) {
    struct entry **at = &scope->table[hash & (scope->table_size - 1)];
    while (*at && ((*at)->hash != hash || !vx_slice_eq((*at)->key, key)))
        at = &(*at)->next;
    return at;
}

static bool copy_out(const char *data, size_t len, struct vx_pwasm_value *out) {
    out->len = len;
    out->data = len ? malloc(len) : NULL;
    if (len && out->data)
        memcpy(out->data, data, len);
    return !len || out->data;
}

enum vx_pwasm_status vx_pwasm_shared_get(struct vx_pwasm_scope *scope, struct vx_slice key,
                                         struct vx_pwasm_value *value) {
    struct vx_pwasm_shared *s = scope->shared;
    enum vx_pwasm_status status = VX_PWASM_NOT_FOUND;
    pthread_mutex_lock(&s->lock);
    const struct entry *e = *find_entry(scope, key, vx_hash_fast(&s->key, key));
    if (e) {
        status = copy_out(e->value, e->value_len, value) ? VX_PWASM_OK : VX_PWASM_INTERNAL_FAILURE;
        value->cas = e->cas;
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* Doubles the table; without memory it stays as it is, only slower. */
static void grow(struct vx_pwasm_scope *scope) {
    uint32_t size = scope->table_size * 2;
    struct entry **table = calloc(size, sizeof(struct entry *));
    if (!table)
        return;
    for (uint32_t i = 0; i < scope->table_size; i++)
        for (struct entry *e = scope->table[i], *next; e; e = next) {
            next = e->next;
            e->next = table[e->hash & (size - 1)];
            table[e->hash & (size - 1)] = e;
        }
    free(scope->table);
    scope->table = table;
    scope->table_size = size;
}

static bool has_room(const struct vx_pwasm_scope *scope, size_t gone, size_t more) {
    return more <= VX_PWASM_SCOPE_BYTES_MAX && scope->bytes - gone + more <= VX_PWASM_SCOPE_BYTES_MAX;
}

/* Puts `value`, a copy that is the entry's from then on, at `at`. False: no memory or no room. */
static bool put_entry(struct vx_pwasm_scope *scope, struct entry **at, struct vx_slice key, uint64_t hash,
                      const struct vx_pwasm_value *value) {
    struct entry *e = *at;
    size_t old = e ? e->value_len : 0, more = e ? value->len : key.len + sizeof *e + value->len;
    if (!has_room(scope, old, more))
        return false;
    if (!e) {
        struct vx_slice copy;
        e = with_text(sizeof *e, key, &copy);
        if (!e)
            return false;
        e->key = copy;
        e->hash = hash;
        *at = e;
        scope->entry_count++;
    }
    free(e->value);
    e->value = value->data;
    e->value_len = value->len;
    if (++scope->shared->next_cas == 0)
        scope->shared->next_cas = 1;
    e->cas = scope->shared->next_cas;
    scope->bytes += more - old;
    return true;
}

enum vx_pwasm_status vx_pwasm_shared_set(struct vx_pwasm_scope *scope, struct vx_slice key,
                                         struct vx_slice value, uint32_t cas) {
    struct vx_pwasm_shared *s = scope->shared;
    struct vx_pwasm_value copy = {0};
    if (!copy_out(value.ptr, value.len, &copy))
        return VX_PWASM_INTERNAL_FAILURE;
    enum vx_pwasm_status status = VX_PWASM_OK;
    pthread_mutex_lock(&s->lock);
    uint64_t hash = vx_hash_fast(&s->key, key);
    struct entry **at = find_entry(scope, key, hash);
    if (cas && *at && (*at)->cas != cas)
        status = VX_PWASM_CAS_MISMATCH;
    else if (!put_entry(scope, at, key, hash, &copy))
        status = VX_PWASM_INTERNAL_FAILURE;
    if (scope->entry_count > scope->table_size)
        grow(scope);
    pthread_mutex_unlock(&s->lock);
    if (status != VX_PWASM_OK)
        free(copy.data);
    return status;
}

/* Queues */

static struct queue *find_queue(const struct vx_pwasm_shared *s, const struct vx_pwasm_scope *scope,
                                struct vx_slice name) {
    for (uint32_t i = 0; i < s->queue_count; i++) {
        struct queue *q = s->queues[i];
        if (q && q->scope == scope && vx_slice_eq(q->name, name))
            return q;
    }
    return NULL;
}

static struct queue *queue_of(const struct vx_pwasm_shared *s, uint32_t id) {
    struct queue *q = s->queues[(id - 1) % VX_PWASM_QUEUES_MAX];
    return q && q->id == id ? q : NULL;
}

static struct queue *make_queue(struct vx_pwasm_shared *s, struct vx_pwasm_scope *scope,
                                struct vx_slice name) {
    uint32_t slot = 0;
    while (slot < s->queue_count && s->queues[slot])
        slot++;
    struct vx_slice copy;
    struct queue *q = slot < VX_PWASM_QUEUES_MAX ? with_text(sizeof *q, name, &copy) : NULL;
    if (!q)
        return NULL;
    q->scope = scope;
    q->name = copy;
    q->last = &q->first;
    q->id = s->next_ids[slot];
    s->next_ids[slot] += VX_PWASM_QUEUES_MAX;
    /* Four million queues later in one place its numbers begin anew. */
    if (s->next_ids[slot] < VX_PWASM_QUEUES_MAX)
        s->next_ids[slot] = slot + 1;
    s->queues[slot] = q;
    if (slot == s->queue_count)
        s->queue_count++;
    return q;
}

bool vx_pwasm_queue_register(struct vx_pwasm_scope *scope, struct vx_slice name,
                             struct vx_pwasm_listener listener, uint32_t *id) {
    struct vx_pwasm_shared *s = scope->shared;
    pthread_mutex_lock(&s->lock);
    struct queue *q = find_queue(s, scope, name);
    if (!q)
        q = make_queue(s, scope, name);
    if (q) {
        q->listener = listener;
        q->telling = false; /* a word to the one before does not reach this one */
        *id = q->id;
    }
    pthread_mutex_unlock(&s->lock);
    return q != NULL;
}

bool vx_pwasm_queue_find(struct vx_pwasm_shared *s, struct vx_slice scope_name, struct vx_slice name,
                         uint32_t *id) {
    pthread_mutex_lock(&s->lock);
    const struct vx_pwasm_scope *scope = find_scope(s, scope_name);
    const struct queue *q = scope ? find_queue(s, scope, name) : NULL;
    if (q)
        *id = q->id;
    pthread_mutex_unlock(&s->lock);
    return q != NULL;
}

static bool append(struct queue *q, struct vx_slice bytes) {
    size_t more = sizeof(struct vx_pwasm_item) + bytes.len;
    struct vx_pwasm_item *i = has_room(q->scope, 0, more) ? malloc(more) : NULL;
    if (!i)
        return false;
    i->next = NULL;
    i->len = bytes.len;
    if (bytes.len)
        memcpy(i->data, bytes.ptr, bytes.len);
    *q->last = i;
    q->last = &i->next;
    q->scope->bytes += more;
    q->untold++;
    return true;
}

enum vx_pwasm_status vx_pwasm_queue_push(struct vx_pwasm_shared *s, uint32_t id, struct vx_slice item,
                                         struct vx_pwasm_listener *tell) {
    enum vx_pwasm_status status = VX_PWASM_OK;
    *tell = (struct vx_pwasm_listener){0};
    pthread_mutex_lock(&s->lock);
    struct queue *q = queue_of(s, id);
    if (!q) {
        status = VX_PWASM_NOT_FOUND;
    } else if (!append(q, item)) {
        status = VX_PWASM_INTERNAL_FAILURE;
    } else if (!q->telling) {
        *tell = q->listener;
        q->telling = q->listener.vm != 0;
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

void vx_pwasm_queue_untold(struct vx_pwasm_shared *s, uint32_t id) {
    pthread_mutex_lock(&s->lock);
    struct queue *q = queue_of(s, id);
    if (q)
        q->telling = false;
    pthread_mutex_unlock(&s->lock);
}

bool vx_pwasm_queue_tell(struct vx_pwasm_shared *s, uint32_t id, struct vx_pwasm_listener listener) {
    bool tell = false;
    pthread_mutex_lock(&s->lock);
    struct queue *q = queue_of(s, id);
    if (q && q->listener.vm == listener.vm) {
        tell = q->untold > 0;
        q->untold -= tell;
        q->telling = tell;
    }
    pthread_mutex_unlock(&s->lock);
    return tell;
}

static size_t bytes_of(const struct vx_pwasm_item *item) {
    return sizeof *item + item->len;
}

enum vx_pwasm_status vx_pwasm_queue_pop(struct vx_pwasm_shared *s, uint32_t id, struct vx_pwasm_item **item) {
    enum vx_pwasm_status status = VX_PWASM_NOT_FOUND;
    pthread_mutex_lock(&s->lock);
    struct queue *q = queue_of(s, id);
    if (q && q->first) {
        status = VX_PWASM_OK;
        *item = q->first;
        q->first = (*item)->next;
        if (!q->first)
            q->last = &q->first;
        q->scope->bytes -= bytes_of(*item);
    } else if (q) {
        status = VX_PWASM_EMPTY;
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

void vx_pwasm_queue_unpop(struct vx_pwasm_shared *s, uint32_t id, struct vx_pwasm_item *item) {
    pthread_mutex_lock(&s->lock);
    struct queue *q = queue_of(s, id);
    if (q) {
        item->next = q->first;
        if (!q->first)
            q->last = &item->next;
        q->first = item;
        q->scope->bytes += bytes_of(item);
    }
    pthread_mutex_unlock(&s->lock);
    if (!q)
        free(item);
}
