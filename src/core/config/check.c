/* SPDX-License-Identifier: Apache-2.0 */
/* See check.h. */
#include "core/config/check.h"

#include "core/base/address.h"
#include "core/http/bytes.h"
#include "core/http/uri.h"

enum {
    NAME_MAX_BYTES = 128,
    MODEL_MAX_BYTES = 256,
    PATH_MAX_BYTES = 2048,
    LINE_MAX_BYTES = 4096,
    INTERFACE_MAX_BYTES = 15,
    PIN_MAX_BYTES = 200,
};

/* Sets *must for the caller to return. */
static bool must_be(const char **must, const char *what) {
    *must = what;
    return false;
}

static bool all_between(struct vx_slice s, unsigned char low, unsigned char high) {
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < low || (unsigned char)s.ptr[i] > high || s.ptr[i] == 0x7f)
            return false;
    return true;
}

static bool has_byte(struct vx_slice s, char c) {
    return s.len && memchr(s.ptr, c, s.len);
}

bool vx_config_check_name(struct vx_slice text, const char **must) {
    if (text.len == 0 || text.len > NAME_MAX_BYTES || !all_between(text, 0x21, 0xff))
        return must_be(must, "a name of 1 to 128 bytes without white space");
    return true;
}

bool vx_config_check_model(struct vx_slice text, const char **must) {
    if (text.len == 0 || text.len > MODEL_MAX_BYTES || !all_between(text, 0x20, 0xff))
        return must_be(must, "a model's name of 1 to 256 bytes without control characters");
    return true;
}

/* `[...]` with an IPv6 address in it. */
static bool is_bracketed_ip6(struct vx_slice text) {
    struct vx_address a;
    if (text.len < 2 || text.ptr[0] != '[' || text.ptr[text.len - 1] != ']')
        return false;
    struct vx_slice inner = vx_slice(text.ptr + 1, text.len - 2);
    return has_byte(inner, ':') && vx_address_parse_ip(inner, &a);
}

static bool is_host(struct vx_slice text) {
    struct vx_address a;
    return vx_address_name_valid(text) || is_bracketed_ip6(text) ||
           (!has_byte(text, ':') && vx_address_parse_ip(text, &a));
}

bool vx_config_check_host_pattern(struct vx_slice text, const char **must) {
    if (vx_slice_eq(text, VX_SLICE("*")))
        return true;
    if (vx_slice_starts_with(text, VX_SLICE("*.")))
        text = vx_slice_skip(text, 2);
    else if (is_host(text))
        return true;
    if (vx_address_name_valid(text))
        return true;
    return must_be(must, "a host such as `example.org`, `*.example.org` or `*`, without a port");
}

bool vx_config_check_path(struct vx_slice text, const char **must) {
    char memory[PATH_MAX_BYTES + 16];
    struct vx_arena arena;
    struct vx_slice normal;
    if (text.len == 0 || text.ptr[0] != '/')
        return must_be(must, "a path that begins with `/`");
    if (text.len > PATH_MAX_BYTES)
        return must_be(must, "a path of at most 2048 bytes");
    if (has_byte(text, '?') || has_byte(text, '#'))
        return must_be(must, "a path alone, without `?` and `#`");
    if (!all_between(text, 0x21, 0x7e))
        return must_be(must, "a path as requests have it: spaces and letters beyond ASCII percent-encoded");
    vx_arena_init(&arena, memory, sizeof(memory), NULL);
    if (vx_path_normalise(text, false, &arena, &normal) != VX_ERR_NONE || !vx_slice_eq(text, normal))
        return must_be(must,
                       "a path in the form that requests are brought to before they are compared: no `.` and "
                       "`..` segments, no escapes of letters, digits, `-`, `.`, `_` and `~`");
    return true;
}

bool vx_config_check_request_target(struct vx_slice text, const char **must) {
    if (text.len == 0 || text.ptr[0] != '/' || text.len > PATH_MAX_BYTES || has_byte(text, '#') ||
        !all_between(text, 0x21, 0x7e))
        return must_be(must, "a path that begins with `/`, with or without a query");
    return true;
}

static bool is_token(struct vx_slice text) {
    return text.len && vx_bytes_token_len(text.ptr, text.ptr + text.len) == text.len;
}

bool vx_config_check_method(struct vx_slice text, const char **must) {
    bool lower = false;
    for (size_t i = 0; i < text.len; i++)
        lower = lower || (text.ptr[i] >= 'a' && text.ptr[i] <= 'z');
    if (lower || text.len > 32 || !is_token(text))
        return must_be(must, "a method in capital letters, such as `GET`");
    return true;
}

bool vx_config_check_header_name(struct vx_slice text, const char **must) {
    if (text.len > NAME_MAX_BYTES || !is_token(text))
        return must_be(must, "a header name: letters, digits and any of !#$%&'*+-.^_`|~");
    return true;
}

bool vx_config_check_header_value(struct vx_slice text, const char **must) {
    if (text.len > LINE_MAX_BYTES || !all_between(text, 0x20, 0xff) || vx_slice_trim(text).len != text.len)
        return must_be(must, "a header value: no control characters, no spaces around it");
    return true;
}

bool vx_config_check_location(struct vx_slice text, const char **must) {
    size_t scheme = 0;
    while (scheme < text.len && vx_byte_is(text.ptr[scheme], VX_BYTE_TOKEN))
        scheme++;
    bool absolute = scheme && vx_slice_starts_with(vx_slice_skip(text, scheme), VX_SLICE("://"));
    bool good = text.len && text.len <= LINE_MAX_BYTES && all_between(text, 0x21, 0x7e) &&
                (absolute || text.ptr[0] == '/');
    for (size_t i = 0; good && i < text.len; i++)
        good = !has_byte(VX_SLICE("\"<>\\^`{|}"), text.ptr[i]); /* in no URI, RFC 3986 §2 */
    if (!good)
        return must_be(must, "a URL such as `https://example.org/new`, or a path that begins with `/`");
    return true;
}

bool vx_config_check_authority(struct vx_slice text, const char **must) {
    struct vx_address a;
    const char *why;
    if (is_host(text) || (vx_address_parse(text, &a, &why) && a.kind != VX_ADDRESS_UNIX))
        return true;
    return must_be(must, "a host with or without port, such as `example.org` or `example.org:8080`");
}

bool vx_config_check_server_name(struct vx_slice text, const char **must) {
    struct vx_address a;
    if (vx_address_name_valid(text) || vx_address_parse_ip(text, &a))
        return true;
    return must_be(must, "a host name or an IP address, as the certificate has it");
}

bool vx_config_check_interface(struct vx_slice text, const char **must) {
    if (text.len == 0 || text.len > INTERFACE_MAX_BYTES || !all_between(text, 0x21, 0x7e) ||
        has_byte(text, '/') || has_byte(text, ':') || text.ptr[0] == '.')
        return must_be(must, "the name of a network interface, such as `eth0`");
    return true;
}

bool vx_config_check_pin(struct vx_slice text, const char **must) {
    bool path =
        text.len > 1 && text.len <= PIN_MAX_BYTES && text.ptr[0] == '/' && all_between(text, 0x21, 0x7e);
    if (!path && !vx_slice_eq(text, VX_SLICE("off")))
        return must_be(must,
                       "`off`, or the absolute path of a folder in a bpffs, such as `/sys/fs/bpf/vortex`");
    return true;
}
