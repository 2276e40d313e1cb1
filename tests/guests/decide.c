/* SPDX-License-Identifier: Apache-2.0 */
/* An `execute` filter that does what the request's header x-do says: a status is returned, a word is one of the ways in
 * which such a guest can behave. Without the header it lets the request pass. */
#include "guest.h"

IMPORT(proxy_get_header_map_value)
int32_t proxy_get_header_map_value(int32_t map, const char *k, size_t kn, char **p, size_t *n);
IMPORT(proxy_add_header_map_value)
int32_t proxy_add_header_map_value(int32_t map, const char *k, size_t kn, const char *v, size_t vn);
IMPORT(proxy_send_local_response)
int32_t proxy_send_local_response(int32_t code, const char *d, size_t dn, const char *b, size_t bn,
                                  const char *h, size_t hn, int32_t grpc);
IMPORT(proxy_http_call)
int32_t proxy_http_call(const char *u, size_t un, const char *h, size_t hn, const char *b, size_t bn,
                        const char *t, size_t tn, uint32_t timeout_ms, uint32_t *id);
IMPORT(proxy_set_tick_period_milliseconds) int32_t proxy_set_tick_period_milliseconds(uint32_t ms);

enum { PASS = 200 };

static char room[1024];
static int runs;

EXPORT(proxy_on_memory_allocate) void *proxy_on_memory_allocate(size_t n) {
    return n <= sizeof room ? room : (void *)0;
}

static int is(const char *p, size_t n, const char *word) {
    size_t i = 0;
    while (i < n && word[i] && p[i] == word[i])
        i++;
    return i == n && !word[i];
}

static int32_t number(const char *p, size_t n) {
    int32_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (p[i] - '0');
    return value;
}

__attribute__((noinline)) static int deep(volatile int n) {
    volatile char frame[4096];
    frame[0] = (char)n;
    return n < 0 ? 0 : deep(n + 1) + frame[0];
}

static int32_t grow(void) {
    while (__builtin_wasm_memory_grow(0, 1) != (size_t)-1)
        ;
    return PASS;
}

/* What an execute filter has no use for must do no harm. */
static int32_t linger(void) {
    static const char pairs[] = "\3\0\0\0\7\0\0\0\3\0\0\0\5\0\0\0\1\0\0\0\12\0\0\0\1\0\0\0"
                                ":method\0GET\0:path\0/\0:authority\0a";
    uint32_t id;
    proxy_set_tick_period_milliseconds(1);
    proxy_http_call("api", 3, pairs, sizeof pairs, 0, 0, 0, 0, 1000, &id);
    return PASS;
}

EXPORT(execute) int32_t execute(void) {
    char *p;
    size_t n;
    runs++;
    if (proxy_get_header_map_value(0, "x-do", 4, &p, &n) != 0)
        return PASS;
    if (is(p, n, "trap"))
        __builtin_trap();
    if (is(p, n, "loop"))
        for (volatile int i = 0;; i++)
            ;
    if (is(p, n, "deep"))
        return deep(0);
    if (is(p, n, "grow"))
        return grow();
    if (is(p, n, "linger"))
        return linger();
    if (is(p, n, "runs"))
        return runs == 1 ? PASS : 500;
    if (is(p, n, "add"))
        return proxy_add_header_map_value(0, "x-added", 7, "yes", 3) == 0 ? PASS : 500;
    if (is(p, n, "answer"))
        return proxy_send_local_response(418, 0, 0, "teapot", 6, 0, 0, -1) == 0 ? PASS : 500;
    return number(p, n);
}
