/* SPDX-License-Identifier: Apache-2.0 */
/* See field_map.h. */
#include "core/http/field_map.h"

#include "core/http/bytes.h"
#include "core/http/uri.h"

#define BIT(name) (UINT64_C(1) << VX_HEADER_##name)

/* What belongs to a connection, not to a message: writing it has no effect. */
static const uint64_t of_the_hop = BIT(CONNECTION) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) |
                                   BIT(TRANSFER_ENCODING) | BIT(UPGRADE) | BIT(HTTP2_SETTINGS) | BIT(TE) |
                                   BIT(EXPECT);

static const uint64_t unlisted = BIT(HOST) | BIT(CONNECTION) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) |
                                 BIT(TRANSFER_ENCODING) | BIT(UPGRADE) | BIT(HTTP2_SETTINGS);

enum pseudo { PSEUDO_NONE, PSEUDO_AUTHORITY, PSEUDO_PATH, PSEUDO_METHOD, PSEUDO_SCHEME, PSEUDO_STATUS };

static const struct vx_slice pseudo_names[] = {
    [PSEUDO_AUTHORITY] = {":authority", 10}, [PSEUDO_PATH] = {":path", 5},
    [PSEUDO_METHOD] = {":method", 7},        [PSEUDO_SCHEME] = {":scheme", 7},
    [PSEUDO_STATUS] = {":status", 7},
};

static bool has_pseudo(const struct vx_field_map *m, enum pseudo p) {
    return p == PSEUDO_STATUS ? m->response != NULL : m->request != NULL;
}

/* The pseudo field that `name` stands for in this map, PSEUDO_NONE where it is an ordinary name. */
static enum pseudo pseudo_of(const struct vx_field_map *m, struct vx_slice name) {
    if (m->request && vx_slice_ieq(name, VX_SLICE("host")))
        return PSEUDO_AUTHORITY;
    if (!name.len || name.ptr[0] != ':')
        return PSEUDO_NONE;
    for (unsigned p = PSEUDO_AUTHORITY; p <= PSEUDO_STATUS; p++)
        if (has_pseudo(m, p) && vx_slice_eq(name, pseudo_names[p]))
            return p;
    return PSEUDO_NONE;
}

/* Path and query as one. From then on they lie side by side: a plugin may ask again and again. */
static struct vx_slice path_and_query(struct vx_field_map *m) {
    struct vx_request *request = m->request;
    struct vx_slice whole = vx_request_path_and_query(request, m->arena);
    if (!whole.ptr)
        return request->path;
    request->path.ptr = whole.ptr;
    if (request->query.ptr)
        request->query.ptr = whole.ptr + request->path.len + 1;
    return whole;
}

static struct vx_slice status_text(struct vx_field_map *m) {
    uint16_t status = m->response->status;
    m->status_text[0] = (char)('0' + status / 100 % 10);
    m->status_text[1] = (char)('0' + status / 10 % 10);
    m->status_text[2] = (char)('0' + status % 10);
    return vx_slice(m->status_text, 3);
}

static struct vx_slice pseudo_value(struct vx_field_map *m, enum pseudo p) {
    switch (p) {
    case PSEUDO_AUTHORITY:
        return m->request->authority;
    case PSEUDO_PATH:
        return path_and_query(m);
    case PSEUDO_METHOD:
        return m->request->method_text;
    case PSEUDO_SCHEME:
        return m->request->https ? VX_SLICE("https") : VX_SLICE("http");
    case PSEUDO_STATUS:
        return status_text(m);
    case PSEUDO_NONE:
        break;
    }
    return VX_SLICE_NONE;
}

static bool is_listed(const struct vx_header *h) {
    return !(h->flags & VX_HEADER_REMOVED) && !(unlisted >> h->id & 1);
}

bool vx_field_map_next(struct vx_field_map *m, uint32_t *at, struct vx_field *field) {
    for (; *at < PSEUDO_STATUS; ++*at) {
        enum pseudo p = (enum pseudo)(*at + 1);
        if (!has_pseudo(m, p))
            continue;
        *field = (struct vx_field){pseudo_names[p], pseudo_value(m, p)};
        ++*at;
        return true;
    }
    const struct vx_headers *headers = m->headers;
    for (uint32_t i = *at - PSEUDO_STATUS; i < headers->count; i++) {
        const struct vx_header *h = &headers->items[i];
        if (!is_listed(h))
            continue;
        *field = (struct vx_field){vx_header_name(h), vx_header_value(h)};
        *at = i + 1 + PSEUDO_STATUS;
        return true;
    }
    return false;
}

bool vx_field_map_find(struct vx_field_map *m, struct vx_slice name, struct vx_slice *value) {
    enum pseudo p = pseudo_of(m, name);
    if (p != PSEUDO_NONE) {
        *value = pseudo_value(m, p);
        return true;
    }
    const struct vx_header *h = vx_headers_find_name(m->headers, name);
    if (!h || unlisted >> h->id & 1)
        return false;
    *value = vx_header_value(h);
    return true;
}

/* Writing */

static bool is_name(struct vx_slice name) {
    return name.len && name.len <= UINT16_MAX &&
           vx_bytes_token_len(name.ptr, name.ptr + name.len) == name.len;
}

static bool is_value(struct vx_slice value) {
    return !value.len || vx_bytes_are_value(value.ptr, value.ptr + value.len);
}

/* Takes `bytes` off what may still be written. */
static bool take_room(struct vx_field_map *m, size_t bytes) {
    if (bytes > VX_FIELD_MAP_BYTES_MAX || m->written > VX_FIELD_MAP_BYTES_MAX - bytes)
        return false;
    m->written += bytes;
    return true;
}

/* The list may still be shared with the message as it came, which the log tells: the first edit takes a copy. */
static bool make_own(struct vx_field_map *m) {
    struct vx_headers *h = m->headers;
    if (m->changed)
        return true;
    struct vx_headers own = {0};
    if (!vx_headers_reserve(&own, m->arena, h->count + (size_t)4))
        return false;
    if (h->count)
        memcpy(own.items, h->items, h->count * sizeof *own.items);
    own.count = h->count;
    own.present = h->present;
    *h = own;
    m->changed = true;
    return true;
}

static enum vx_field_result begin_write(struct vx_field_map *m, size_t bytes) {
    if (!take_room(m, bytes) || !make_own(m))
        return VX_FIELD_NO_MEMORY;
    m->routing = m->routing || m->request;
    return VX_FIELD_DONE;
}

static enum vx_field_result append(struct vx_field_map *m, struct vx_slice name, struct vx_slice value) {
    char *copy = vx_arena_alloc(m->arena, name.len + value.len);
    if (!copy)
        return VX_FIELD_NO_MEMORY;
    for (size_t i = 0; i < name.len; i++)
        copy[i] = vx_lower(name.ptr[i]);
    if (value.len)
        memcpy(copy + name.len, value.ptr, value.len);
    bool added = vx_headers_add(m->headers, m->arena, vx_header_id_of(name), vx_slice(copy, name.len),
                                vx_slice(copy + name.len, value.len));
    return added ? VX_FIELD_DONE : VX_FIELD_NO_MEMORY;
}

static enum vx_field_result of_error(enum vx_error_code code) {
    if (code == VX_ERR_OUT_OF_MEMORY)
        return VX_FIELD_NO_MEMORY;
    return code == VX_ERR_NONE ? VX_FIELD_DONE : VX_FIELD_BAD;
}

static enum vx_field_result set_authority(struct vx_field_map *m, struct vx_slice value) {
    struct vx_slice host;
    enum vx_error_code code = vx_host_normalise(value, m->arena, &host, NULL);
    if (code != VX_ERR_NONE)
        return of_error(code);
    struct vx_slice name = vx_header_id_name(VX_HEADER_HOST);
    vx_headers_remove(m->headers, VX_HEADER_HOST);
    if (!vx_headers_add(m->headers, m->arena, VX_HEADER_HOST, name, value))
        return VX_FIELD_NO_MEMORY;
    m->request->authority = value;
    m->request->host = host;
    return VX_FIELD_DONE;
}

static enum vx_field_result set_path(struct vx_field_map *m, struct vx_slice value) {
    struct vx_request_target target;
    struct vx_slice path;
    if (vx_request_target_split(value, &target) != VX_ERR_NONE || target.form != VX_TARGET_ORIGIN)
        return VX_FIELD_BAD;
    enum vx_error_code code = vx_path_normalise(target.path, m->merge_slashes, m->arena, &path);
    if (code != VX_ERR_NONE)
        return of_error(code);
    m->request->path = path;
    m->request->query = target.query;
    return VX_FIELD_DONE;
}

/* CONNECT would turn the connection to the backend into something else. */
static enum vx_field_result set_method(struct vx_field_map *m, struct vx_slice value) {
    if (!is_name(value) || vx_method_of(value) == VX_METHOD_CONNECT)
        return VX_FIELD_BAD;
    m->request->method = vx_method_of(value);
    m->request->method_text = value;
    return VX_FIELD_DONE;
}

static enum vx_field_result set_scheme(struct vx_field_map *m, struct vx_slice value) {
    bool https = vx_slice_ieq(value, VX_SLICE("https"));
    if (!https && !vx_slice_ieq(value, VX_SLICE("http")))
        return VX_FIELD_BAD;
    m->request->https = https;
    return VX_FIELD_DONE;
}

static enum vx_field_result set_status(struct vx_field_map *m, struct vx_slice value) {
    if (value.len != 3 || value.ptr[0] < '2' || value.ptr[0] > '5' ||
        !vx_byte_is(value.ptr[1], VX_BYTE_DIGIT) || !vx_byte_is(value.ptr[2], VX_BYTE_DIGIT))
        return VX_FIELD_BAD;
    m->response->status =
        (uint16_t)((value.ptr[0] - '0') * 100 + (value.ptr[1] - '0') * 10 + (value.ptr[2] - '0'));
    m->response->reason = VX_SLICE_NONE; /* the one that goes with it */
    return VX_FIELD_DONE;
}

/* `value` is the caller's: what is kept of it is copied first. */
static enum vx_field_result set_pseudo(struct vx_field_map *m, enum pseudo p, struct vx_slice value) {
    struct vx_slice copy = vx_arena_copy(m->arena, value);
    if (!copy.ptr)
        return VX_FIELD_NO_MEMORY;
    if (!has_pseudo(m, p))
        return VX_FIELD_BAD;
    switch (p) {
    case PSEUDO_AUTHORITY:
        return set_authority(m, copy);
    case PSEUDO_PATH:
        return set_path(m, copy);
    case PSEUDO_METHOD:
        return set_method(m, copy);
    case PSEUDO_SCHEME:
        return set_scheme(m, copy);
    case PSEUDO_STATUS:
        return set_status(m, copy);
    case PSEUDO_NONE:
        break;
    }
    return VX_FIELD_BAD;
}

enum vx_field_result vx_field_map_add(struct vx_field_map *m, struct vx_slice name, struct vx_slice value) {
    enum pseudo p = pseudo_of(m, name);
    value = vx_slice_trim(value);
    if ((p == PSEUDO_NONE && !is_name(name)) || !is_value(value))
        return VX_FIELD_BAD;
    enum vx_field_result begun = begin_write(m, name.len + value.len);
    if (begun != VX_FIELD_DONE)
        return begun;
    if (p != PSEUDO_NONE)
        return set_pseudo(m, p, value);
    if (of_the_hop >> vx_header_id_of(name) & 1)
        return VX_FIELD_DONE;
    return append(m, name, value);
}

enum vx_field_result vx_field_map_replace(struct vx_field_map *m, struct vx_slice name,
                                          struct vx_slice value) {
    struct vx_header *first = vx_headers_find_name(m->headers, name);
    if (!first || pseudo_of(m, name) != PSEUDO_NONE || of_the_hop >> first->id & 1)
        return vx_field_map_add(m, name, value);
    value = vx_slice_trim(value);
    if (!is_value(value))
        return VX_FIELD_BAD;
    size_t index = (size_t)(first - m->headers->items);
    enum vx_field_result begun = begin_write(m, name.len + value.len);
    struct vx_slice copy = begun == VX_FIELD_DONE ? vx_arena_copy(m->arena, value) : VX_SLICE_NONE;
    if (!copy.ptr)
        return VX_FIELD_NO_MEMORY;
    vx_headers_remove_name(m->headers, name);
    first = &m->headers->items[index];
    first->flags = 0; /* there again, and no longer as it was received */
    first->value = copy.ptr;
    first->value_len = (uint32_t)copy.len;
    return VX_FIELD_DONE;
}

enum vx_field_result vx_field_map_remove(struct vx_field_map *m, struct vx_slice name) {
    if (pseudo_of(m, name) != PSEUDO_NONE || of_the_hop >> vx_header_id_of(name) & 1 ||
        !vx_headers_find_name(m->headers, name))
        return VX_FIELD_DONE;
    enum vx_field_result begun = begin_write(m, 0);
    if (begun == VX_FIELD_DONE)
        vx_headers_remove_name(m->headers, name);
    return begun;
}

static void remove_listed(struct vx_headers *h) {
    for (uint16_t i = 0; i < h->count; i++)
        if (is_listed(&h->items[i]) && !(of_the_hop >> h->items[i].id & 1))
            h->items[i].flags |= VX_HEADER_REMOVED;
}

enum vx_field_result vx_field_map_assign(struct vx_field_map *m, const struct vx_field *fields,
                                         uint32_t count) {
    if (count > VX_FIELD_MAP_PAIRS_MAX)
        return VX_FIELD_BAD;
    struct vx_headers headers = *m->headers;
    struct vx_field_map before = *m;
    struct vx_request request = m->request ? *m->request : (struct vx_request){0};
    struct vx_response response = m->response ? *m->response : (struct vx_response){0};
    m->changed = false; /* once more a list of its own: this one may be wanted back */
    enum vx_field_result result = begin_write(m, 0);
    if (result == VX_FIELD_DONE)
        remove_listed(m->headers);
    for (uint32_t i = 0; i < count && result == VX_FIELD_DONE; i++)
        result = vx_field_map_add(m, fields[i].name, fields[i].value);
    if (result == VX_FIELD_DONE)
        return result;
    if (m->request)
        *m->request = request;
    if (m->response)
        *m->response = response;
    *m->headers = headers;
    *m = before;
    return result;
}
