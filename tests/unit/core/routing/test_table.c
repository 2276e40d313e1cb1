/* SPDX-License-Identifier: Apache-2.0 */
/* The match table against the words of table.h: examples for each rule, and random tables against a reference that
 * looks at every route. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/random.h"
#include "core/routing/table.h"

enum { MAX_ROUTES = 10000 };

static void *take(struct vx_chunk_source *self, size_t bytes) {
    (void)self;
    return malloc(bytes);
}

static void give(struct vx_chunk_source *self, void *chunk, size_t bytes) {
    (void)self;
    (void)bytes;
    free(chunk);
}

static struct vx_chunk_source memory = {take, give, 4096};

struct fixture {
    struct vx_arena arena;
    struct vx_config_match matches[MAX_ROUTES];
    struct vx_route_entry entries[MAX_ROUTES];
    uint32_t count;
    const struct vx_route_table *table;
    struct vx_route_duplicate duplicate;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    vx_arena_init(&f->arena, NULL, 0, &memory);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    vx_arena_reset(&f->arena);
    free(f);
    return 0;
}

/* Adds a match; NULL: the key is absent. `headers` is a list of name, value, ... NULL. */
static void add(struct fixture *f, const char *host, const char *path, const char *prefix, const char *method,
                const char *const *headers) {
    struct vx_config_match *m = &f->matches[f->count];
    *m = (struct vx_config_match){
        vx_slice_of(host), vx_slice_of(path), vx_slice_of(prefix), vx_slice_of(method), NULL, 0};
    if (headers) {
        while (headers[2 * m->header_count])
            m->header_count++;
        m->headers = vx_arena_alloc(&f->arena, (m->header_count + 1) * sizeof *m->headers);
        for (uint32_t n = 0; n < m->header_count; n++)
            m->headers[n] =
                (struct vx_config_header_match){vx_slice_of(headers[2 * n]), vx_slice_of(headers[2 * n + 1])};
    }
    f->entries[f->count] = (struct vx_route_entry){m, f->count};
    f->count++;
}

static void build(struct fixture *f) {
    f->table = vx_route_table_build(&f->arena, f->entries, f->count, &f->duplicate);
    assert_non_null(f->table);
}

static struct vx_request request_of(const char *method, const char *host, const char *path,
                                    struct vx_header items[8], const char *const *headers) {
    struct vx_request r = {
        .method = vx_method_of(vx_slice_of(method)),
        .method_text = vx_slice_of(method),
        .host = vx_slice_of(host),
        .path = vx_slice_of(path),
        .headers = {.items = items, .capacity = 8},
    };
    for (uint32_t n = 0; headers && headers[2 * n]; n++) {
        struct vx_slice name = vx_slice_of(headers[2 * n]);
        vx_headers_add(&r.headers, NULL, vx_header_id_of(name), name, vx_slice_of(headers[2 * n + 1]));
    }
    return r;
}

static uint32_t find_with(struct fixture *f, const char *method, const char *host, const char *path,
                          const char *const *headers) {
    struct vx_header items[8];
    struct vx_request r = request_of(method, host, path, items, headers);
    return vx_route_table_find(f->table, &r);
}

static uint32_t find(struct fixture *f, const char *host, const char *path) {
    return find_with(f, "GET", host, path, NULL);
}

static void empty_table_finds_nothing(void **state) {
    struct fixture *f = *state;
    build(f);
    assert_int_equal(find(f, "a.example", "/"), VX_ROUTE_NONE);
    assert_int_equal(f->duplicate.second, VX_ROUTE_NONE);
}

static void absent_keys_take_everything(void **state) {
    struct fixture *f = *state;
    add(f, NULL, NULL, NULL, NULL, NULL);
    build(f);
    assert_int_equal(find(f, "a.example", "/x"), 0);
    assert_int_equal(find(f, "", "/"), 0);
    assert_int_equal(find(f, "a.example", "*"), 0);
}

static void hosts(void **state) {
    struct fixture *f = *state;
    add(f, "*", NULL, NULL, NULL, NULL);
    add(f, "*.example.org", NULL, NULL, NULL, NULL);
    add(f, "*.api.example.org", NULL, NULL, NULL, NULL);
    add(f, "www.example.org", NULL, NULL, NULL, NULL);
    add(f, "*.org", NULL, NULL, NULL, NULL);
    build(f);
    assert_int_equal(find(f, "www.example.org", "/"), 3);
    assert_int_equal(find(f, "ww.example.org", "/"), 1);
    assert_int_equal(find(f, "a.b.c.example.org", "/"), 1);
    assert_int_equal(find(f, "v1.api.example.org", "/"), 2);
    assert_int_equal(find(f, "api.example.org", "/"), 1);
    assert_int_equal(find(f, "example.org", "/"), 4);
    assert_int_equal(find(f, "org", "/"), 0);
    assert_int_equal(find(f, "notexample.org", "/"), 4);
    assert_int_equal(find(f, "www.example.org.evil", "/"), 0);
    assert_int_equal(find(f, "", "/"), 0);
    assert_int_equal(find(f, "10.0.0.1", "/"), 0);
}

static void prefixes_by_segment(void **state) {
    struct fixture *f = *state;
    add(f, "*", NULL, "/api", NULL, NULL);
    add(f, "*", NULL, "/api/v1/", NULL, NULL);
    add(f, "*", NULL, "/", NULL, NULL);
    add(f, "*", "/api", NULL, NULL, NULL);
    add(f, "*", NULL, "/a//b", NULL, NULL);
    build(f);
    assert_int_equal(find(f, "h", "/api"), 3);
    assert_int_equal(find(f, "h", "/api/"), 0);
    assert_int_equal(find(f, "h", "/api/x"), 0);
    assert_int_equal(find(f, "h", "/apix"), 2);
    assert_int_equal(find(f, "h", "/ap"), 2);
    assert_int_equal(find(f, "h", "/api/v1"), 0);
    assert_int_equal(find(f, "h", "/api/v1/"), 1);
    assert_int_equal(find(f, "h", "/api/v1/x"), 1);
    assert_int_equal(find(f, "h", "/api/v1x"), 0);
    assert_int_equal(find(f, "h", "/a//b/c"), 4);
    assert_int_equal(find(f, "h", "/a/b/c"), 2);
    assert_int_equal(find(f, "h", "/"), 2);
    assert_int_equal(find(f, "h", "*"), 2);
}

/* The host decides before the path, and the path before the conditions, each only among routes that match. */
static void order_and_falling_back(void **state) {
    static const char *const debug[] = {"x-debug", "1", NULL};
    struct fixture *f = *state;
    add(f, "www.example.org", NULL, "/shop", NULL, NULL);
    add(f, "*.example.org", "/cart", NULL, NULL, NULL);
    add(f, "*", NULL, "/", NULL, NULL);
    add(f, "www.example.org", NULL, "/", "POST", debug);
    build(f);
    /* An exact path of a wider host loses to a prefix of the narrower one, where that matches. */
    assert_int_equal(find(f, "www.example.org", "/shop/1"), 0);
    assert_int_equal(find_with(f, "POST", "www.example.org", "/cart", debug), 3);
    /* Where it does not match, the wider hosts are next. */
    assert_int_equal(find(f, "www.example.org", "/cart"), 1);
    assert_int_equal(find_with(f, "POST", "www.example.org", "/cart", NULL), 1);
    assert_int_equal(find(f, "www.example.org", "/other"), 2);
}

static void conditions(void **state) {
    static const char *const one[] = {"x-version", "2", NULL};
    static const char *const two[] = {"x-version", "2", "user-agent", "curl", NULL};
    static const char *const more[] = {"User-Agent", "curl", "X-Version", "1", "X-Version", "2", NULL};
    static const char *const other[] = {"x-version", "3", NULL};
    struct fixture *f = *state;
    add(f, "*", NULL, "/", NULL, NULL);
    add(f, "*", NULL, "/", "GET", NULL);
    add(f, "*", NULL, "/", NULL, one);
    add(f, "*", NULL, "/", "GET", one);
    add(f, "*", NULL, "/", NULL, two);
    add(f, "*", NULL, "/", "BREW", NULL);
    add(f, "*", NULL, "/x", NULL, NULL);
    build(f);
    assert_int_equal(find_with(f, "POST", "h", "/", NULL), 0);
    assert_int_equal(find_with(f, "GET", "h", "/", NULL), 1);
    assert_int_equal(find_with(f, "POST", "h", "/", one), 2);
    assert_int_equal(find_with(f, "GET", "h", "/", one), 3);
    /* Two conditions each: the earlier one in the file. */
    assert_int_equal(find_with(f, "GET", "h", "/", two), 3);
    assert_int_equal(find_with(f, "POST", "h", "/", two), 4);
    /* Names in any case, and one of several fields is enough. */
    assert_int_equal(find_with(f, "POST", "h", "/", more), 4);
    assert_int_equal(find_with(f, "POST", "h", "/", other), 0);
    assert_int_equal(find_with(f, "BREW", "h", "/", NULL), 5);
    assert_int_equal(find_with(f, "brew", "h", "/", NULL), 0);
    /* The longer prefix wins whatever the conditions. */
    assert_int_equal(find_with(f, "GET", "h", "/x", two), 6);
}

static void removed_headers_do_not_count(void **state) {
    static const char *const header[] = {"x-version", "2", NULL};
    struct fixture *f = *state;
    struct vx_header items[8];
    add(f, "*", NULL, "/", NULL, header);
    build(f);
    struct vx_request r = request_of("GET", "h", "/", items, header);
    assert_int_equal(vx_route_table_find(f->table, &r), 0);
    vx_headers_remove_name(&r.headers, VX_SLICE("x-version"));
    assert_int_equal(vx_route_table_find(f->table, &r), VX_ROUTE_NONE);
}

static void both_path_and_prefix(void **state) {
    struct fixture *f = *state;
    add(f, "*", "/a/b", "/a", NULL, NULL);
    add(f, "*", "/c/b", "/a", NULL, NULL);
    build(f);
    assert_int_equal(find(f, "h", "/a/b"), 0);
    assert_int_equal(find(f, "h", "/a/c"), VX_ROUTE_NONE);
    assert_int_equal(find(f, "h", "/c/b"), VX_ROUTE_NONE);
}

static void duplicates(void **state) {
    static const char *const ab[] = {"a", "1", "b", "2", NULL};
    static const char *const ba[] = {"b", "2", "a", "1", NULL};
    static const char *const ac[] = {"a", "1", "b", "3", NULL};
    struct fixture *f = *state;
    add(f, "h", NULL, "/x", "GET", ab);
    add(f, "h", NULL, "/x", "GET", ac);
    add(f, "h", NULL, "/x/", "GET", ab);
    add(f, "h", "/x", NULL, "GET", ab);
    add(f, "h", NULL, "/x", NULL, ab);
    add(f, "g", NULL, "/x", "GET", ab);
    add(f, "*", NULL, "/", NULL, NULL);
    build(f);
    assert_int_equal(f->duplicate.first, VX_ROUTE_NONE);
    assert_int_equal(f->duplicate.second, VX_ROUTE_NONE);
    add(f, NULL, NULL, NULL, NULL, NULL); /* the same as `*` and `/` */
    add(f, "h", NULL, "/x", "GET", ba);
    build(f);
    assert_int_equal(f->duplicate.first, 6);
    assert_int_equal(f->duplicate.second, 7);
    f->matches[7].host = VX_SLICE("other");
    build(f);
    assert_int_equal(f->duplicate.first, 0);
    assert_int_equal(f->duplicate.second, 8);
}

/* The reference: what table.h says, read route by route. */
static int host_rank(struct vx_slice pattern, struct vx_slice host) {
    if (pattern.len == 0 || vx_slice_eq(pattern, VX_SLICE("*")))
        return 0;
    if (pattern.ptr[0] != '*')
        return vx_slice_eq(pattern, host) ? 1000000 : -1;
    struct vx_slice rest = vx_slice_skip(pattern, 1);
    bool below = host.len > rest.len && memcmp(host.ptr + host.len - rest.len, rest.ptr, rest.len) == 0;
    return below ? (int)pattern.len : -1;
}

static int path_rank(const struct vx_config_match *m, struct vx_slice path) {
    if (m->path.len)
        return vx_slice_eq(m->path, path) ? 1000000 : -1;
    struct vx_slice p = m->path_prefix;
    if (p.len <= 1)
        return 0;
    if (!vx_slice_starts_with(path, p))
        return -1;
    return p.ptr[p.len - 1] == '/' || path.len == p.len || path.ptr[p.len] == '/' ? (int)p.len : -1;
}

static bool headers_hold(const struct vx_config_match *m, const struct vx_request *r) {
    for (uint32_t i = 0; i < m->header_count; i++) {
        bool found = false;
        for (uint32_t j = 0; j < r->headers.count; j++)
            found |= vx_slice_ieq(vx_header_name(&r->headers.items[j]), m->headers[i].name) &&
                     vx_slice_eq(vx_header_value(&r->headers.items[j]), m->headers[i].value);
        if (!found)
            return false;
    }
    return true;
}

static uint32_t reference_find(const struct fixture *f, const struct vx_request *r) {
    int best[3] = {-1, -1, -1};
    uint32_t found = VX_ROUTE_NONE;
    for (uint32_t i = 0; i < f->count; i++) {
        const struct vx_config_match *m = &f->matches[i];
        int rank[3] = {host_rank(m->host, r->host), path_rank(m, r->path),
                       (int)(m->header_count + (m->method.len > 0))};
        if (rank[0] < 0 || rank[1] < 0 || !headers_hold(m, r))
            continue;
        if (m->method.len && !vx_slice_eq(m->method, r->method_text))
            continue;
        for (int k = 0; k < 3; k++) {
            if (rank[k] < best[k])
                break;
            if (rank[k] > best[k]) {
                memcpy(best, rank, sizeof best);
                found = i;
                break;
            }
        }
    }
    return found;
}

#define ANY_OF(list) (list)[vx_random_below(random, sizeof(list) / sizeof *(list))]

static const char *const some_hosts[] = {"*",         "a",     "b.a",   "*.a",     "*.b.a", "c.b.a",
                                         "*.c.b.a",   "x.y",   "*.y",   "d.c.b.a", NULL,    "xa",
                                         "*.d.c.b.a", "b.a.b", "*.a.b", "y"};
static const char *const some_paths[] = {"/",     "/a",         "/a/",  "/a/b",  "/a/b/", "/a/b/c",  "/ab",
                                         "/ab/c", "/b",         "/b/a", "//",    "/a//",  "/a//b",   "/c/d/e",
                                         "/c/",   "/c/d/e/f/g", "/A",   "/a/bc", "/a%2f", "/a/b/c/d"};
static const char *const some_methods[] = {"GET", "POST", "HEAD", "PURGE", "LOCK"};
static const char *const some_names[] = {"x-a", "x-b", "x-c", "user-agent", "cookie"};
static const char *const some_values[] = {"1", "2", "3"};

static void random_headers(struct vx_random *random, const char *headers[9], uint32_t most) {
    uint32_t n = vx_random_below(random, most + 1);
    for (uint32_t i = 0; i < n; i++) {
        headers[2 * i] = ANY_OF(some_names);
        headers[2 * i + 1] = ANY_OF(some_values);
    }
    headers[2 * n] = NULL;
}

static void random_table(struct fixture *f, struct vx_random *random, uint32_t count) {
    const char *headers[9] = {NULL};
    for (uint32_t i = 0; i < count; i++) {
        const char *path = NULL, *prefix = NULL, *method = NULL;
        uint32_t kind = vx_random_below(random, 8);
        if (kind < 3)
            path = ANY_OF(some_paths);
        else if (kind < 7)
            prefix = ANY_OF(some_paths);
        if (vx_random_below(random, 3) == 0)
            method = ANY_OF(some_methods);
        random_headers(random, headers, 2);
        add(f, ANY_OF(some_hosts), path, prefix, method, headers);
    }
}

/* Tables from a single route to so many that most nodes are looked up by header. */
static void random_tables_agree_with_the_reference(void **state) {
    static const uint32_t sizes[] = {1, 3, 10, 40, 200, 3000};
    struct fixture *f = *state;
    struct vx_random generator = {20261123}, *random = &generator;
    uint32_t found = 0;
    for (uint32_t round = 0; round < 120; round++) {
        f->count = 0;
        random_table(f, random, sizes[round % 6]);
        build(f);
        for (uint32_t i = 0; i < 300; i++) {
            const char *headers[9] = {NULL};
            struct vx_header items[8];
            random_headers(random, headers, 4);
            const char *host = ANY_OF(some_hosts);
            host = host && host[0] == '*' ? "z.d.c.b.a" : host;
            struct vx_request r = request_of(ANY_OF(some_methods), host, ANY_OF(some_paths), items, headers);
            uint32_t expected = reference_find(f, &r);
            assert_int_equal(vx_route_table_find(f->table, &r), expected);
            found += expected != VX_ROUTE_NONE;
        }
        vx_arena_reset(&f->arena);
    }
    assert_in_range(found, 10000, 36000);
}

/* Ten thousand routes on one prefix, told apart by header, and the same by host and by path: each finds itself. */
static void ten_thousand_routes(void **state) {
    static char text[MAX_ROUTES][40];
    struct fixture *f = *state;
    struct vx_header items[8];
    for (int shape = 0; shape < 3; shape++) {
        f->count = 0;
        for (uint32_t i = 0; i < MAX_ROUTES; i++) {
            snprintf(text[i], sizeof text[i], shape == 1 ? "/team/%u" : "n%u.example", i);
            const char *headers[] = {"x-tenant", text[i], NULL};
            add(f, shape == 0 ? text[i] : "h", NULL, shape == 1 ? text[i] : "/", NULL,
                shape == 2 ? headers : NULL);
        }
        build(f);
        assert_int_equal(f->duplicate.second, VX_ROUTE_NONE);
        for (uint32_t i = 0; i < MAX_ROUTES; i++) {
            const char *headers[] = {"X-Tenant", text[i], NULL};
            struct vx_request r =
                request_of("GET", shape == 0 ? text[i] : "h", shape == 1 ? text[i] : "/q", items, headers);
            assert_int_equal(vx_route_table_find(f->table, &r), i);
        }
        vx_arena_reset(&f->arena);
    }
}

/* Paths and hosts far longer than anything configured, made to have as many boundaries as possible. */
static void long_requests(void **state) {
    static char path[60001], host[60001];
    struct fixture *f = *state;
    struct vx_header items[8];
    add(f, "*.a.a", NULL, "/a/a/", NULL, NULL);
    add(f, "*", NULL, "/", NULL, NULL);
    build(f);
    for (int i = 0; i < 60000; i++) {
        path[i] = i % 2 ? 'a' : '/';
        host[i] = i % 2 ? '.' : 'a';
    }
    host[59999] = 'b';
    struct vx_request r = request_of("GET", host, path, items, NULL);
    assert_int_equal(vx_route_table_find(f->table, &r), 1);
    r.host = vx_slice(host, 59999);
    assert_int_equal(vx_route_table_find(f->table, &r), 0);
}

static void out_of_memory(void **state) {
    static char small[20000];
    struct fixture *f = *state;
    struct vx_random random = {3};
    random_table(f, &random, 40);
    bool built = false;
    for (size_t bytes = 0; bytes <= sizeof small; bytes += 8) {
        struct vx_arena arena;
        vx_arena_init(&arena, small, bytes, NULL);
        bool now = vx_route_table_build(&arena, f->entries, f->count, NULL) != NULL;
        assert_true(now || !built);
        built = now;
    }
    assert_true(built);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(empty_table_finds_nothing),
        TEST(absent_keys_take_everything),
        TEST(hosts),
        TEST(prefixes_by_segment),
        TEST(order_and_falling_back),
        TEST(conditions),
        TEST(removed_headers_do_not_count),
        TEST(both_path_and_prefix),
        TEST(duplicates),
        TEST(random_tables_agree_with_the_reference),
        TEST(ten_thousand_routes),
        TEST(long_requests),
        TEST(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
