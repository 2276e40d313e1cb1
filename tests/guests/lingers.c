/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin that asks for time when it is done with. What it does with it stands in its configuration:
 *   tick         says proxy_done from its third tick
 *   call NAME    sends its last words to the route NAME, and says proxy_done when they are answered
 *   never        nothing
 *   trap         traps in its next tick
 *   trap-at-once traps in proxy_on_done
 *   trap-delete  asks for no time, and traps in proxy_on_delete
 *   streams      asks for no time, and says proxy_done for all streams that are waited for when it is asked
 *   none         asks for no time
 * A stream whose request has `x-linger` asks for time too, and is done with the next tick, or with `x-linger: never` is not. */
#include "proxy.h"

enum { STREAMS = 2048 };

static struct text mode;
static char mode_room[64];
static uint32_t streams[STREAMS];
static uint32_t stream_count, ticks, ending;

EXPORT(proxy_on_configure) int proxy_on_configure(uint32_t root, size_t n) {
    struct text config = {NULL, 0};
    (void)root;
    heap_used = 0;
    proxy_get_buffer_bytes(PLUGIN_CONFIG, 0, n, &config.p, &config.n);
    for (size_t i = 0; i < config.n && i < sizeof mode_room; i++)
        mode_room[i] = config.p[i];
    mode = (struct text){mode_room, config.n};
    return 1;
}

static void last_words(struct text upstream) {
    struct pairs p;
    uint32_t id;
    pairs_begin(&p, 3);
    pairs_put(&p, ":method", "POST", 4);
    pairs_put(&p, ":path", "/last-words", 11);
    pairs_put(&p, ":authority", "collector", 9);
    if (proxy_http_call(upstream.p, upstream.n, p.room, p.text_at, "so long", 7, NULL, 0, 5000, &id) != OK)
        say("the last words were refused");
}

static void say_done(uint32_t context) {
    if (proxy_set_effective_context(context) != OK || proxy_done() != OK || proxy_done() != NOT_FOUND)
        say("proxy_done is not right");
}

static void streams_done(void) {
    while (stream_count)
        say_done(streams[--stream_count]);
}

static int end_root(void) {
    ending = 1;
    say("done");
    if (proxy_done() != NOT_FOUND)
        say("there was something to be done before it was asked for");
    if (same(mode, "trap-at-once"))
        __builtin_trap();
    if (begins(mode, "call "))
        last_words((struct text){mode.p + 5, mode.n - 5});
    if (same(mode, "tick") || same(mode, "trap"))
        proxy_set_tick_period_milliseconds(20);
    if (same(mode, "streams"))
        streams_done();
    return same(mode, "none") || same(mode, "streams") || same(mode, "trap-delete");
}

EXPORT(proxy_on_request_headers) int proxy_on_request_headers(uint32_t id, uint32_t n, int end) {
    (void)id;
    (void)n;
    (void)end;
    heap_used = 0;
    add(REQUEST_HEADERS, "x-lingers", mode.p, mode.n);
    return CONTINUE;
}

EXPORT(proxy_on_done) int proxy_on_done(uint32_t id) {
    heap_used = 0;
    if (id == 1)
        return end_root();
    struct text linger = header(REQUEST_HEADERS, "x-linger");
    if (!linger.n)
        return 1;
    if (!same(linger, "never") && stream_count < STREAMS) {
        streams[stream_count++] = id;
        proxy_set_tick_period_milliseconds(20);
    }
    return 0;
}

EXPORT(proxy_on_tick) void proxy_on_tick(uint32_t root) {
    (void)root;
    heap_used = 0;
    streams_done();
    if (!ending)
        return;
    if (same(mode, "trap"))
        __builtin_trap();
    if (++ticks == 3 && same(mode, "tick"))
        say_done(1);
}

EXPORT(proxy_on_http_call_response)
void on_http_call_response(uint32_t root, uint32_t id, uint32_t n, size_t body, uint32_t trailers) {
    (void)root;
    (void)id;
    (void)n;
    (void)body;
    (void)trailers;
    heap_used = 0;
    struct text status = header(CALL_HEADERS, ":status");
    say(same(status, "200") ? "heard" : "not heard");
    say_done(1);
}

EXPORT(proxy_on_delete) void proxy_on_delete(uint32_t id) {
    if (id == 1 && same(mode, "trap-delete"))
        __builtin_trap();
    say(id == 1 ? "deleted" : "stream deleted");
}
