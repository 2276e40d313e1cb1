/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin that answers what the request's `x-ask` asks for: names of properties, their parts joined with dots, separated by
 * commas. Each becomes a field of the response, and when the stream ends a line of the log. Numbers are written in
 * decimal, `-` stands for what is not there. */
#include "proxy.h"

EXPORT(proxy_on_configure) int proxy_on_configure(uint32_t root, size_t n) {
    (void)root;
    (void)n;
    return 1;
}

static int is_text(struct text t) {
    for (size_t i = 0; i < t.n; i++)
        if (t.p[i] < ' ' || t.p[i] == 0x7f)
            return 0;
    return 1;
}

/* The value of a property as text. */
static struct text value_of(struct text name) {
    static char path[256];
    struct text value = {NULL, 0};
    for (size_t i = 0; i < name.n; i++)
        path[i] = name.p[i] == '.' ? '\0' : name.p[i];
    if (proxy_get_property(path, name.n, &value.p, &value.n) != OK)
        return (struct text){"-", 1};
    if (is_text(value))
        return value;
    uint64_t number = 0;
    memcpy(&number, value.p, value.n < 8 ? value.n : 8);
    return digits(number);
}

static void show(struct text name, struct text value, int end) {
    static char line[1024];
    size_t n = 0;
    if (!end) {
        proxy_add_header_map_value(RESPONSE_HEADERS, name.p, name.n, value.p, value.n);
        return;
    }
    for (size_t i = 0; i < name.n; i++)
        line[n++] = name.p[i];
    line[n++] = '=';
    for (size_t i = 0; i < value.n && n < sizeof line; i++)
        line[n++] = value.p[i];
    proxy_log(2, line, n);
}

static void answer(int end) {
    heap_used = 0;
    struct text ask = header(REQUEST_HEADERS, "x-ask");
    while (ask.n) {
        struct text name = {ask.p, 0};
        while (name.n < ask.n && ask.p[name.n] != ',')
            name.n++;
        show(name, value_of(name), end);
        size_t used = name.n < ask.n ? name.n + 1 : name.n;
        ask = (struct text){ask.p + used, ask.n - used};
    }
}

EXPORT(proxy_on_response_headers) int proxy_on_response_headers(uint32_t id, uint32_t n, int end) {
    (void)id;
    (void)n;
    (void)end;
    answer(0);
    return CONTINUE;
}

EXPORT(proxy_on_log) void proxy_on_log(uint32_t id) {
    struct text status = {NULL, 0};
    (void)id;
    answer(1);
    int32_t got = proxy_get_header_map_value(RESPONSE_HEADERS, ":status", 7, &status.p, &status.n);
    if (got == NOT_FOUND)
        say("there was no response");
    else if (got != OK)
        __builtin_trap(); /* as SDKs do */
}
