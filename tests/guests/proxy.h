/* SPDX-License-Identifier: Apache-2.0 */
/* The Proxy-WASM ABI for guests in C: imports as the host has them, an allocator, strings. */
#ifndef VX_TESTS_GUESTS_PROXY_H
#define VX_TESTS_GUESTS_PROXY_H

#include "guest.h"

#define NULL ((void *)0)

IMPORT(proxy_log) int32_t proxy_log(int32_t level, const char *p, size_t n);
IMPORT(proxy_get_log_level) int32_t proxy_get_log_level(uint32_t *level);
IMPORT(proxy_get_current_time_nanoseconds) int32_t proxy_get_current_time_nanoseconds(uint64_t *ns);
IMPORT(proxy_set_tick_period_milliseconds) int32_t proxy_set_tick_period_milliseconds(uint32_t ms);
IMPORT(proxy_set_effective_context) int32_t proxy_set_effective_context(uint32_t id);
IMPORT(proxy_done) int32_t proxy_done(void);
IMPORT(proxy_call_foreign_function)
int32_t proxy_call_foreign_function(const char *name, size_t nn, const char *args, size_t an, char **p,
                                    size_t *n);
IMPORT(proxy_get_property) int32_t proxy_get_property(const char *path, size_t pn, char **p, size_t *n);
IMPORT(proxy_set_property) int32_t proxy_set_property(const char *path, size_t pn, const char *p, size_t n);
IMPORT(proxy_get_header_map_pairs) int32_t proxy_get_header_map_pairs(int32_t map, char **p, size_t *n);
IMPORT(proxy_set_header_map_pairs) int32_t proxy_set_header_map_pairs(int32_t map, const char *p, size_t n);
IMPORT(proxy_get_header_map_value)
int32_t proxy_get_header_map_value(int32_t map, const char *k, size_t kn, char **p, size_t *n);
IMPORT(proxy_add_header_map_value)
int32_t proxy_add_header_map_value(int32_t map, const char *k, size_t kn, const char *v, size_t vn);
IMPORT(proxy_replace_header_map_value)
int32_t proxy_replace_header_map_value(int32_t map, const char *k, size_t kn, const char *v, size_t vn);
IMPORT(proxy_remove_header_map_value)
int32_t proxy_remove_header_map_value(int32_t map, const char *k, size_t kn);
IMPORT(proxy_get_header_map_size) int32_t proxy_get_header_map_size(int32_t map, size_t *n);
IMPORT(proxy_get_buffer_bytes)
int32_t proxy_get_buffer_bytes(int32_t type, size_t start, size_t most, char **p, size_t *n);
IMPORT(proxy_get_buffer_status) int32_t proxy_get_buffer_status(int32_t type, size_t *n, uint32_t *flags);
IMPORT(proxy_set_buffer_bytes)
int32_t proxy_set_buffer_bytes(int32_t type, size_t start, size_t size, const char *p, size_t n);
IMPORT(proxy_continue_stream) int32_t proxy_continue_stream(int32_t type);
IMPORT(proxy_close_stream) int32_t proxy_close_stream(int32_t type);
IMPORT(proxy_send_local_response)
int32_t proxy_send_local_response(int32_t code, const char *d, size_t dn, const char *b, size_t bn,
                                  const char *h, size_t hn, int32_t grpc);
IMPORT(proxy_http_call)
int32_t proxy_http_call(const char *u, size_t un, const char *h, size_t hn, const char *b, size_t bn,
                        const char *t, size_t tn, uint32_t timeout_ms, uint32_t *id);
IMPORT(proxy_grpc_call)
int32_t proxy_grpc_call(const char *u, size_t un, const char *s, size_t sn, const char *m, size_t mn,
                        const char *h, size_t hn, const char *b, size_t bn, uint32_t timeout_ms,
                        uint32_t *id);
IMPORT(proxy_grpc_stream)
int32_t proxy_grpc_stream(const char *u, size_t un, const char *s, size_t sn, const char *m, size_t mn,
                          const char *h, size_t hn, uint32_t *id);
IMPORT(proxy_grpc_send) int32_t proxy_grpc_send(uint32_t id, const char *p, size_t n, int32_t end);
IMPORT(proxy_grpc_cancel) int32_t proxy_grpc_cancel(uint32_t id);
IMPORT(proxy_grpc_close) int32_t proxy_grpc_close(uint32_t id);
IMPORT(proxy_get_status) int32_t proxy_get_status(uint32_t *code, char **p, size_t *n);
IMPORT(proxy_set_shared_data)
int32_t proxy_set_shared_data(const char *k, size_t kn, const char *v, size_t vn, uint32_t cas);
IMPORT(proxy_get_shared_data)
int32_t proxy_get_shared_data(const char *k, size_t kn, char **p, size_t *n, uint32_t *cas);
IMPORT(proxy_register_shared_queue)
int32_t proxy_register_shared_queue(const char *p, size_t n, uint32_t *id);
IMPORT(proxy_resolve_shared_queue)
int32_t proxy_resolve_shared_queue(const char *vm, size_t vn, const char *p, size_t n, uint32_t *id);
IMPORT(proxy_enqueue_shared_queue) int32_t proxy_enqueue_shared_queue(uint32_t id, const char *p, size_t n);
IMPORT(proxy_dequeue_shared_queue) int32_t proxy_dequeue_shared_queue(uint32_t id, char **p, size_t *n);
IMPORT(proxy_define_metric) int32_t proxy_define_metric(int32_t type, const char *p, size_t n, uint32_t *id);
IMPORT(proxy_increment_metric) int32_t proxy_increment_metric(uint32_t id, int64_t delta);
IMPORT(proxy_record_metric) int32_t proxy_record_metric(uint32_t id, uint64_t value);
IMPORT(proxy_get_metric) int32_t proxy_get_metric(uint32_t id, uint64_t *value);

enum { OK = 0, NOT_FOUND = 1, BAD_ARGUMENT = 2, INVALID_MEMORY = 6, EMPTY = 7, CAS_MISMATCH = 8 };
enum { CONTINUE = 0, PAUSE = 1 };
enum { REQUEST_HEADERS, REQUEST_TRAILERS, RESPONSE_HEADERS, RESPONSE_TRAILERS, CALL_HEADERS = 6 };
enum { REQUEST_BODY, RESPONSE_BODY, CALL_BODY = 4, GRPC_MESSAGE, VM_CONFIG, PLUGIN_CONFIG };

/* Memory: from a place of our own, given back all at once when a callback begins. */

enum { HEAP_BYTES = 512 * 1024 };
static char heap[HEAP_BYTES];
static size_t heap_used;

EXPORT(proxy_on_memory_allocate) void *proxy_on_memory_allocate(size_t n) {
    size_t bytes = (n + 15) & ~(size_t)15;
    if (n > HEAP_BYTES || bytes > HEAP_BYTES - heap_used)
        return NULL;
    void *p = heap + heap_used;
    heap_used += bytes;
    return p;
}

EXPORT(proxy_abi_version_0_2_1) void proxy_abi_version_0_2_1(void) {
}

/* Strings */

struct text {
    char *p;
    size_t n;
};

static size_t length(const char *s) {
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

static int same(struct text t, const char *s) {
    size_t n = length(s);
    if (t.n != n)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (t.p[i] != s[i])
            return 0;
    return 1;
}

static int begins(struct text t, const char *s) {
    size_t n = length(s);
    return t.n >= n && same((struct text){t.p, n}, s);
}

static struct text digits(uint64_t n) {
    static char room[24];
    size_t at = sizeof room;
    do
        room[--at] = (char)('0' + n % 10);
    while (n /= 10);
    return (struct text){room + at, sizeof room - at};
}

static struct text header(int map, const char *name) {
    struct text t = {NULL, 0};
    if (proxy_get_header_map_value(map, name, length(name), &t.p, &t.n) != OK)
        t.n = 0;
    return t;
}

static void add(int map, const char *name, const char *p, size_t n) {
    proxy_add_header_map_value(map, name, length(name), p, n);
}

static void say(const char *s) {
    proxy_log(2, s, length(s));
}

/* One list of pairs, written in order. */
struct pairs {
    char room[1024];
    size_t lengths_at, text_at;
};

static void pairs_begin(struct pairs *p, uint32_t count) {
    *(uint32_t *)(void *)p->room = count;
    p->lengths_at = 4;
    p->text_at = 4 + count * 8;
}

static void pairs_put(struct pairs *p, const char *name, const char *value, size_t n) {
    uint32_t *lengths = (uint32_t *)(void *)(p->room + p->lengths_at);
    lengths[0] = length(name);
    lengths[1] = n;
    p->lengths_at += 8;
    for (size_t i = 0; i <= lengths[0]; i++)
        p->room[p->text_at++] = name[i];
    for (size_t i = 0; i < n; i++)
        p->room[p->text_at++] = value[i];
    p->room[p->text_at++] = 0;
}

void *memset(void *p, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

__attribute__((no_builtin("memset"))) void *memset(void *p, int c, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((volatile char *)p)[i] = (char)c;
    return p;
}

__attribute__((no_builtin("memcpy"))) void *memcpy(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

#endif
