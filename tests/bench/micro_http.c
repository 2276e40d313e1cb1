/* SPDX-License-Identifier: Apache-2.0 */
/* What the HTTP/1 codec costs: parsing and writing heads of three sizes, and the pieces around them. Each line is one
 * JSON object: nanoseconds for one operation, or the same as GB of head a second.
 *
 * A benchmark that parses one head over and over teaches the branch predictor that head; `mixed` takes turns among
 * many heads whose fields differ in order and length, which is nearer to traffic. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro.h"
#include "core/base/hash.h"
#include "core/base/histogram.h"
#include "core/base/random.h"
#include "core/base/timer.h"
#include "core/http/chunked.h"
#include "core/http/h1_parse.h"
#include "core/http/h1_write.h"
#include "core/http/json_model.h"
#include "core/http/uri.h"

enum { ROUNDS = 21, ROUND_NS = 10 * 1000 * 1000, HEADS = 64, HEAD_ROOM = 16384 };

static const struct vx_h1_limits limits = {65536, 128, 8192, true};

static const char small[] = "GET / HTTP/1.1\r\n"
                            "Host: 127.0.0.1:8080\r\n"
                            "User-Agent: curl/7.88.1\r\n"
                            "Accept: */*\r\n"
                            "\r\n";

static const char *const browser_fields[] = {
    "Host: www.example.com\r\n",
    "Connection: keep-alive\r\n",
    "sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n",
    "sec-ch-ua-mobile: ?0\r\n",
    "sec-ch-ua-platform: \"Linux\"\r\n",
    "Upgrade-Insecure-Requests: 1\r\n",
    ("User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 "
     "Safari/537.36\r\n"),
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n",
    "Sec-Fetch-Site: same-origin\r\n",
    "Sec-Fetch-Mode: navigate\r\n",
    "Sec-Fetch-Dest: document\r\n",
    "Referer: https://www.example.com/articles/2026/\r\n",
    "Accept-Encoding: gzip, deflate, br, zstd\r\n",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n",
};

enum { BROWSER_FIELDS = sizeof browser_fields / sizeof *browser_fields };

struct head {
    char *bytes;
    size_t len;
};

/* The result of the work, so that no compiler leaves it out. */
static volatile uint64_t sink;

static struct head heads[HEADS];
static char arena_memory[1 << 16];
static char out_memory[1 << 16];

/* Runs `work`, which does one operation n times. `bytes` > 0: also prints GB/s. */
static void measure(const char *name, void (*work)(unsigned n), size_t bytes) {
    double ns[ROUNDS], gb[ROUNDS];
    unsigned n = 16;
    for (;; n *= 2) {
        uint64_t from = micro_cpu_ns();
        work(n);
        if (micro_cpu_ns() - from > ROUND_NS / 2)
            break;
    }
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t from = micro_cpu_ns();
        work(n);
        ns[i] = (double)(micro_cpu_ns() - from) / n;
        gb[i] = (double)bytes / ns[i];
    }
    micro_report(name, "ns", ns, ROUNDS);
    if (bytes) {
        char rate[128];
        snprintf(rate, sizeof rate, "%s rate", name);
        micro_report(rate, "GB/s", gb, ROUNDS);
    }
}

static struct head head_of(const char *text, size_t len) {
    struct head h = {malloc(len), len};
    if (!h.bytes)
        abort();
    memcpy(h.bytes, text, len);
    return h;
}

/* A browser's request; `order` 0 keeps the browser's own order, others shuffle and vary it. */
static struct head browser_head(uint64_t order, unsigned extra_fields) {
    static char text[HEAD_ROOM];
    struct vx_random random = {order};
    unsigned index[BROWSER_FIELDS];
    size_t n = 0;
    for (unsigned i = 0; i < BROWSER_FIELDS; i++)
        index[i] = i;
    for (unsigned i = BROWSER_FIELDS - 1; order && i > 0; i--) {
        unsigned k = vx_random_below(&random, i + 1), t = index[i];
        index[i] = index[k];
        index[k] = t;
    }
    n += (size_t)snprintf(text, sizeof text, "GET /articles/2026/11/%.*s?page=2 HTTP/1.1\r\n",
                          order ? (int)vx_random_below(&random, 32) : 16, "how-a-proxy-reads-a-request-head");
    for (unsigned i = 0; i < BROWSER_FIELDS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", browser_fields[index[i]]);
    for (unsigned i = 0; i < extra_fields; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "X-Custom-Field-%u: %064u\r\n", i, i);
    n += (size_t)snprintf(text + n, sizeof text - n, "\r\n");
    return head_of(text, n);
}

static void parse_one(const struct head *h, struct vx_arena *arena, struct vx_request *req) {
    struct vx_h1_parser parser;
    struct vx_error error;
    size_t head_bytes;
    vx_arena_reset(arena);
    vx_h1_parser_init(&parser);
    if (vx_h1_parse_request(&parser, &limits, vx_slice(h->bytes, h->len), arena, req, &head_bytes, &error) !=
        VX_H1_DONE)
        abort();
    sink += head_bytes + req->path.len;
}

static void work_parse(unsigned n, unsigned different) {
    struct vx_arena arena;
    struct vx_request req;
    vx_arena_init(&arena, arena_memory, sizeof arena_memory, NULL);
    for (unsigned i = 0; i < n; i++)
        parse_one(&heads[i % different], &arena, &req);
}

static void work_parse_same(unsigned n) {
    work_parse(n, 1);
}

static void work_parse_mixed(unsigned n) {
    work_parse(n, HEADS);
}

static void work_write(unsigned n) {
    struct vx_arena arena;
    struct vx_request req;
    struct vx_h1_request_write how = {.framing = VX_BODY_NONE};
    vx_arena_init(&arena, arena_memory, sizeof arena_memory, NULL);
    parse_one(&heads[0], &arena, &req);
    vx_headers_strip_hop_by_hop(&req.headers);
    vx_headers_add(&req.headers, &arena, VX_HEADER_X_FORWARDED_FOR, VX_SLICE("x-forwarded-for"),
                   VX_SLICE("192.0.2.1"));
    vx_headers_add(&req.headers, &arena, VX_HEADER_VIA, VX_SLICE("via"), VX_SLICE("1.1 vortex"));
    for (unsigned i = 0; i < n; i++)
        sink += vx_h1_write_request_head(out_memory, sizeof out_memory, &req, &how);
}

static const char response[] = "HTTP/1.1 200 OK\r\n"
                               "Server: nginx/1.22.1\r\n"
                               "Date: Mon, 23 Nov 2026 02:10:00 GMT\r\n"
                               "Content-Type: application/json; charset=utf-8\r\n"
                               "Content-Length: 1024\r\n"
                               "Connection: keep-alive\r\n"
                               "ETag: \"6741a2c8-400\"\r\n"
                               "\r\n";

static void work_response(unsigned n) {
    struct vx_arena arena;
    struct vx_response resp;
    struct vx_error error;
    vx_arena_init(&arena, arena_memory, sizeof arena_memory, NULL);
    for (unsigned i = 0; i < n; i++) {
        struct vx_h1_parser parser;
        size_t head_bytes;
        vx_arena_reset(&arena);
        vx_h1_parser_init(&parser);
        if (vx_h1_parse_response(&parser, &limits, vx_slice(response, sizeof response - 1), &arena,
                                 VX_METHOD_GET, &resp, &head_bytes, &error) != VX_H1_DONE)
            abort();
        sink += head_bytes;
    }
}

static void work_write_response(unsigned n) {
    struct vx_arena arena;
    struct vx_response resp;
    struct vx_error error;
    struct vx_h1_parser parser;
    size_t head_bytes;
    struct vx_h1_response_write how = {.framing = VX_BODY_LENGTH, .body_bytes = 1024};
    vx_arena_init(&arena, arena_memory, sizeof arena_memory, NULL);
    vx_h1_parser_init(&parser);
    vx_h1_parse_response(&parser, &limits, vx_slice(response, sizeof response - 1), &arena, VX_METHOD_GET,
                         &resp, &head_bytes, &error);
    vx_headers_strip_hop_by_hop(&resp.headers);
    for (unsigned i = 0; i < n; i++)
        sink += vx_h1_write_response_head(out_memory, sizeof out_memory, &resp, &how);
}

static void work_path(unsigned n) {
    struct vx_arena arena;
    struct vx_slice out;
    vx_arena_init(&arena, arena_memory, sizeof arena_memory, NULL);
    for (unsigned i = 0; i < n; i++) {
        vx_arena_reset(&arena);
        sink += vx_path_normalise(VX_SLICE("/a/./b/../c/%7euser//x%2fy"), true, &arena, &out) + out.len;
    }
}

/* 16 chunks of 64 bytes. */
static void work_chunked(unsigned n) {
    static char body[16 * 70 + 5];
    size_t len = 0;
    for (int i = 0; i < 16; i++)
        len += (size_t)snprintf(body + len, sizeof body - len, "40\r\n%064d\r\n", i);
    memcpy(body + len, "0\r\n\r\n", 5);
    for (unsigned i = 0; i < n; i++) {
        struct vx_chunked c;
        struct vx_slice in = vx_slice(body, sizeof body), data;
        size_t consumed;
        vx_chunked_init(&c);
        while (vx_chunked_decode(&c, in, &data, &consumed) == VX_CHUNKED_DATA) {
            sink += data.len;
            in = vx_slice_skip(in, consumed);
        }
    }
}

enum { JSON_BYTES = 16384 };

static void work_json(unsigned n) {
    static char body[JSON_BYTES];
    static const char head[] = "{\"model\": \"gpt-4\", \"messages\": [{\"role\": \"user\", \"content\": \"";
    static const char tail[] = "\"}]}";
    struct vx_arena arena;
    struct vx_slice model;
    vx_arena_init(&arena, arena_memory, sizeof arena_memory, NULL);
    memset(body, 'x', sizeof body);
    memcpy(body, head, sizeof head - 1);
    memcpy(body + sizeof body - (sizeof tail - 1), tail, sizeof tail - 1);
    for (unsigned i = 0; i < n; i++) {
        if (vx_json_model(vx_slice(body, sizeof body), &arena, &model) != VX_JSON_MODEL_FOUND)
            abort();
        sink += model.len;
    }
}

static void work_histogram(unsigned n) {
    static struct vx_histogram histogram;
    struct vx_random random = {1};
    for (unsigned i = 0; i < n; i++)
        vx_histogram_record(&histogram, vx_random_next(&random) >> 34);
}

static const struct vx_hash_key hash_key = {0x0123456789abcdefu, 0xfedcba9876543210u};

/* A host name whose bytes and length the compiler does not know, or it would work the hash out itself. */
static struct vx_slice host_name(void) {
    struct vx_slice name = VX_SLICE("www.example.com");
    __asm__ volatile("" : "+r"(name.ptr), "+r"(name.len));
    return name;
}

static void work_hash_sip(unsigned n) {
    for (unsigned i = 0; i < n; i++)
        sink += vx_hash_sip(&hash_key, host_name());
}

static void work_hash_fast(unsigned n) {
    for (unsigned i = 0; i < n; i++)
        sink += vx_hash_fast(&hash_key, host_name());
}

static void never(struct vx_timer *t, uint64_t at_ns) {
    (void)t;
    (void)at_ns;
}

/* As a busy connection does: its idle time is renewed at each request, and the loop asks for the next event. */
static void work_timer(unsigned n) {
    static struct vx_timer_wheel wheel;
    static struct vx_timer timers[1024];
    uint64_t now = 1000000000;
    vx_timer_wheel_init(&wheel, now);
    for (unsigned i = 0; i < 1024; i++)
        vx_timer_init(&timers[i], never);
    for (unsigned i = 0; i < n; i++) {
        now += 2000;
        vx_timer_set(&wheel, &timers[i % 1024], now + UINT64_C(75000000000));
        if (i % 8 == 0)
            vx_timer_wheel_run(&wheel, now);
    }
    for (unsigned i = 0; i < 1024; i++)
        vx_timer_remove(&wheel, &timers[i]);
}

static void measure_heads(void) {
    heads[0] = head_of(small, sizeof small - 1);
    measure("http1 parse small request", work_parse_same, heads[0].len);
    measure("http1 write small request", work_write, 0);
    free(heads[0].bytes);
    heads[0] = browser_head(0, 0);
    measure("http1 parse medium request", work_parse_same, heads[0].len);
    measure("http1 write medium request", work_write, 0);
    free(heads[0].bytes);
    heads[0] = browser_head(0, 60);
    measure("http1 parse large request", work_parse_same, heads[0].len);
    measure("http1 write large request", work_write, 0);
    free(heads[0].bytes);
    size_t total = 0;
    for (unsigned i = 0; i < HEADS; i++) {
        heads[i] = browser_head(i + 1, 0);
        total += heads[i].len;
    }
    measure("http1 parse mixed requests", work_parse_mixed, total / HEADS);
    for (unsigned i = 0; i < HEADS; i++)
        free(heads[i].bytes);
}

int main(void) {
    measure_heads();
    measure("http1 parse response", work_response, sizeof response - 1);
    measure("http1 write response", work_write_response, 0);
    measure("path normalise, much to do", work_path, 0);
    measure("chunked decode, 16 chunks of 64 bytes", work_chunked, 0);
    measure("json model in 16 KiB", work_json, JSON_BYTES);
    measure("histogram record", work_histogram, 0);
    measure("siphash-1-3 of a host name", work_hash_sip, 0);
    measure("table hash of a host name", work_hash_fast, 0);
    measure("timer renewed, with its share of the loop", work_timer, 0);
    return 0;
}
