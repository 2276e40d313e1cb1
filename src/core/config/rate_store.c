/* SPDX-License-Identifier: Apache-2.0 */
/* See rate_store.h. */
#include "core/config/rate_store.h"

enum { HOSTS_MAX = 64, HOST_MAX_BYTES = 300, REDIS_PORT = 6379, SENTINEL_PORT = 26379, DATABASE_MAX = 65535 };

/* What a URL says, still as slices of its text. */
struct parts {
    enum vx_rate_store_kind kind;
    bool tls;
    struct vx_slice user, password; /* percent-encoded */
    struct vx_slice hosts, master;
    uint32_t database;
};

struct scheme {
    struct vx_slice text;
    enum vx_rate_store_kind kind;
    bool tls;
};

static const struct scheme schemes[] = {
    {{"redis://", 8}, VX_RATE_STORE_REDIS, false},
    {{"rediss://", 9}, VX_RATE_STORE_REDIS, true},
    {{"redis+sentinel://", 17}, VX_RATE_STORE_SENTINEL, false},
    {{"rediss+sentinel://", 18}, VX_RATE_STORE_SENTINEL, true},
    {{"redis+cluster://", 16}, VX_RATE_STORE_CLUSTER, false},
    {{"rediss+cluster://", 17}, VX_RATE_STORE_CLUSTER, true},
};

static bool must_be(const char **must, const char *what) {
    *must = what;
    return false;
}

/* What stands before the first `c`, which is taken off *text with it; all of it when there is none. */
static struct vx_slice take_until(struct vx_slice *text, char c, bool *found) {
    size_t n = 0;
    while (n < text->len && text->ptr[n] != c)
        n++;
    struct vx_slice head = vx_slice(text->ptr, n);
    *found = n < text->len;
    *text = vx_slice_skip(*text, *found ? n + 1 : n);
    return head;
}

static int hex(char c) {
    char l = vx_lower(c);
    if (l >= '0' && l <= '9')
        return l - '0';
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

static bool well_encoded(struct vx_slice s) {
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return false;
        if (s.ptr[i] == '%' && (s.len - i < 3 || hex(s.ptr[i + 1]) < 0 || hex(s.ptr[i + 2]) < 0))
            return false;
    }
    return true;
}

/* Into memory of `s.len` bytes. */
static struct vx_slice decode(struct vx_slice s, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '%') {
            out[n++] = s.ptr[i];
            continue;
        }
        out[n++] = (char)(hex(s.ptr[i + 1]) * 16 + hex(s.ptr[i + 2]));
        i += 2;
    }
    return vx_slice(out, n);
}

/* A host that may lack its port. The text of a name is a slice of `text`. */
static bool read_host(struct vx_slice text, uint16_t port, struct vx_address *out) {
    static const char *const endings[] = {":6379", ":26379"};
    char whole[HOST_MAX_BYTES];
    const char *unused;
    if (vx_address_parse(text, out, &unused))
        return out->kind != VX_ADDRESS_UNIX;
    struct vx_slice ending = vx_slice_of(endings[port == SENTINEL_PORT]);
    if (text.len + ending.len > sizeof whole)
        return false;
    memcpy(whole, text.ptr, text.len);
    memcpy(whole + text.len, ending.ptr, ending.len);
    if (!vx_address_parse(vx_slice(whole, text.len + ending.len), out, &unused) ||
        out->kind == VX_ADDRESS_UNIX)
        return false;
    if (out->kind == VX_ADDRESS_NAME)
        out->text = vx_slice(text.ptr, out->text.len);
    return true;
}

/* The comma-separated hosts, to `out` unless it is NULL; 0: one of them is none, or there are too many. */
static uint32_t read_hosts(const struct parts *p, struct vx_address *out) {
    struct vx_slice rest = p->hosts;
    uint32_t count = 0;
    bool more = true;
    while (more) {
        struct vx_address address;
        struct vx_slice host = take_until(&rest, ',', &more);
        uint16_t port = p->kind == VX_RATE_STORE_SENTINEL ? SENTINEL_PORT : REDIS_PORT;
        if (count == HOSTS_MAX || !read_host(host, port, &address))
            return 0;
        if (out)
            out[count] = address;
        count++;
    }
    return count;
}

static bool read_database(struct vx_slice text, uint32_t *out) {
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned char)text.ptr[i] - (unsigned)'0';
        if (digit > 9 || (*out = *out * 10 + digit) > DATABASE_MAX)
            return false;
    }
    return true;
}

/* What follows the hosts: `/database`, `/master/database`, or nothing. */
static bool read_path(struct vx_slice path, struct parts *p, const char **must) {
    bool more;
    if (p->kind == VX_RATE_STORE_CLUSTER)
        return path.len == 0 || must_be(must, "a URL without a database: a Redis cluster has only one");
    if (p->kind == VX_RATE_STORE_SENTINEL) {
        p->master = take_until(&path, '/', &more);
        if (!p->master.len || !well_encoded(p->master))
            return must_be(must, "a URL that names the master, as `redis+sentinel://host:26379/mymaster`");
    }
    return read_database(path, &p->database) ||
           must_be(must, "a URL whose path ends in the number of a database");
}

/* Takes `user:password@` off the front. A password may not hold a bare `@` or `/`. */
static bool read_credentials(struct vx_slice *authority, struct parts *p, const char **must) {
    struct vx_slice rest = *authority;
    bool has_credentials, has_password;
    struct vx_slice credentials = take_until(&rest, '@', &has_credentials);
    if (!has_credentials)
        return true;
    p->user = take_until(&credentials, ':', &has_password);
    p->password = credentials;
    *authority = rest;
    return (p->password.len && well_encoded(p->user) && well_encoded(p->password)) ||
           must_be(must, "a URL with a password behind the user, as `redis://user:password@host:6379`; "
                         "percent-encode what is neither letter nor digit");
}

static bool read_parts(struct vx_slice text, struct parts *p, const char **must) {
    bool has_path, known = false;
    *p = (struct parts){.kind = VX_RATE_STORE_MEMORY};
    if (vx_slice_eq(text, VX_SLICE("memory")))
        return true;
    for (unsigned i = 0; i < sizeof schemes / sizeof *schemes && !known; i++) {
        if (!vx_slice_starts_with(text, schemes[i].text))
            continue;
        known = true;
        p->kind = schemes[i].kind;
        p->tls = schemes[i].tls;
        text = vx_slice_skip(text, schemes[i].text.len);
    }
    if (!known)
        return must_be(must,
                       "`memory` or a URL that begins with `redis://`, `rediss://`, `redis+sentinel://` "
                       "or `redis+cluster://`");
    p->hosts = take_until(&text, '/', &has_path);
    if (!read_credentials(&p->hosts, p, must) || !read_path(text, p, must))
        return false;
    uint32_t count = read_hosts(p, NULL);
    if (count == 0 || (count > 1 && p->kind == VX_RATE_STORE_REDIS))
        return must_be(must,
                       p->kind == VX_RATE_STORE_REDIS
                           ? "a URL with one host, as `redis://127.0.0.1:6379`"
                           : "a URL with up to 64 hosts, as `redis+cluster://10.0.0.1:6379,10.0.0.2:6379`");
    return true;
}

bool vx_config_check_store(struct vx_slice text, const char **must) {
    struct parts parts;
    return read_parts(text, &parts, must);
}

bool vx_config_complete_store(struct vx_config_rate_store *store, struct vx_arena *arena) {
    struct parts p;
    const char *unused;
    if (!read_parts(store->url, &p, &unused))
        return false;
    store->kind = p.kind;
    store->tls = p.tls;
    store->master = p.master;
    store->database = p.database;
    if (p.kind == VX_RATE_STORE_MEMORY)
        return true;
    char *text = vx_arena_alloc(arena, p.user.len + p.password.len + 1);
    store->hosts = vx_arena_alloc(arena, HOSTS_MAX * sizeof *store->hosts);
    if (!text || !store->hosts)
        return false;
    store->user = decode(p.user, text);
    store->password = decode(p.password, text + p.user.len);
    store->host_count = read_hosts(&p, store->hosts);
    return true;
}
