/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses from and to text. Written out here because the domain has no sockets, and because inet_pton and
 * getaddrinfo take forms (octal, scope names, bare numbers) on which two readers of one text may disagree. */
#include "core/base/address.h"

enum {
    IP4_BYTES = 4,
    IP6_BYTES = 16,
    IP6_GROUPS = 8,
    NAME_MAX_BYTES = 253, /* RFC 1035 §2.3.4, without the root's dot */
    LABEL_MAX_BYTES = 63,
    PREFIX_MAPPED_BITS = 96, /* the ::ffff:0:0 in front of an IPv4-mapped address */
};

static const char why_form[] =
    "an address such as `127.0.0.1:8080`, `[::1]:8080`, `name:8080` or `unix:/path`";
static const char why_port[] = "an address that ends in a port from 1 to 65535, such as `127.0.0.1:8080`";
static const char why_brackets[] = "an IPv6 address in brackets with a port, such as `[::1]:8080`";
static const char why_ip4[] = "an IPv4 address of four numbers from 0 to 255, such as `127.0.0.1:8080`";
static const char why_name[] = "an address whose host name has letters, digits, `-` and `.` only";
static const char why_any[] = "an address; all of this machine's are `0.0.0.0:8080` and `[::]:8080`";
static const char why_scheme[] = "an address without a scheme, such as `name:8080`; TLS is a matter of `tls`";
static const char why_unix[] = "a UNIX socket as `unix:` and a path of 1 to 107 bytes";

static bool is_digit(char c) {
    return (unsigned char)(c - '0') < 10;
}

/* A decimal number without sign and leading zeros, at most `max`. */
static bool parse_decimal(struct vx_slice s, uint32_t max, uint32_t *out) {
    if (s.len == 0 || s.len > 5 || (s.len > 1 && s.ptr[0] == '0'))
        return false;
    uint32_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.ptr[i]))
            return false;
        n = n * 10 + (uint32_t)(s.ptr[i] - '0');
    }
    *out = n;
    return n <= max;
}

static size_t find_byte(struct vx_slice s, char c) {
    const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return at ? (size_t)(at - s.ptr) : s.len;
}

static bool parse_ip4(struct vx_slice s, uint8_t out[IP4_BYTES]) {
    for (int i = 0; i < IP4_BYTES; i++) {
        size_t n = i < IP4_BYTES - 1 ? find_byte(s, '.') : s.len;
        uint32_t byte;
        if (!parse_decimal(vx_slice(s.ptr, n), 255, &byte))
            return false;
        out[i] = (uint8_t)byte;
        if (i < IP4_BYTES - 1) {
            if (n == s.len)
                return false;
            s = vx_slice_skip(s, n + 1);
        }
    }
    return true;
}

static int hex_value(char c) {
    char l = vx_lower(c);
    if (is_digit(l))
        return l - '0';
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

static bool parse_group(struct vx_slice s, uint8_t out[2]) {
    if (s.len == 0 || s.len > 4)
        return false;
    uint32_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        int digit = hex_value(s.ptr[i]);
        if (digit < 0)
            return false;
        n = n << 4 | (uint32_t)digit;
    }
    out[0] = (uint8_t)(n >> 8);
    out[1] = (uint8_t)n;
    return true;
}

/* Moves what stood behind the `::` at byte `gap` of `at` bytes read to the end; or, without one (gap beyond the end),
 * sees that nothing is missing. */
static bool close_gap(uint8_t bytes[IP6_BYTES], size_t at, size_t gap) {
    if (gap > IP6_BYTES)
        return at == IP6_BYTES;
    if (at == IP6_BYTES)
        return false; /* `::` stands for at least one group */
    size_t tail = at - gap;
    memmove(bytes + IP6_BYTES - tail, bytes + gap, tail);
    memset(bytes + gap, 0, IP6_BYTES - at);
    return true;
}

/* One group, or the IPv4 form of the last two; *at is moved behind it. */
static bool take_group(struct vx_slice s, bool last, uint8_t bytes[IP6_BYTES], size_t *at) {
    if (last && find_byte(s, '.') < s.len) {
        if (*at + IP4_BYTES > IP6_BYTES || !parse_ip4(s, bytes + *at))
            return false;
        *at += IP4_BYTES;
        return true;
    }
    if (*at == IP6_BYTES || !parse_group(s, bytes + *at))
        return false;
    *at += 2;
    return true;
}

/* RFC 4291 §2.2: eight groups, one run of zero groups as `::`, the last 32 bits as IPv4 if so written. */
static bool parse_ip6(struct vx_slice s, uint8_t out[IP6_BYTES]) {
    size_t at = 0, gap = IP6_BYTES + 1; /* gap: where `::` stood */
    memset(out, 0, IP6_BYTES);
    if (vx_slice_starts_with(s, VX_SLICE("::"))) {
        gap = 0;
        s = vx_slice_skip(s, 2);
    }
    while (s.len) {
        size_t n = find_byte(s, ':');
        if (!take_group(vx_slice(s.ptr, n), n == s.len, out, &at))
            return false;
        if (n == s.len)
            break;
        s = vx_slice_skip(s, n + 1);
        if (s.len == 0)
            return false; /* ends in a single colon */
        if (s.ptr[0] == ':') {
            if (gap <= IP6_BYTES)
                return false;
            gap = at;
            s = vx_slice_skip(s, 1);
        }
    }
    return close_gap(out, at, gap);
}

/* As written: a mapped address stays IP6. */
static bool parse_ip_raw(struct vx_slice text, struct vx_address *out) {
    *out = (struct vx_address){.kind = VX_ADDRESS_NONE};
    if (find_byte(text, ':') < text.len) {
        if (!parse_ip6(text, out->ip))
            return false;
        out->kind = VX_ADDRESS_IP6;
        return true;
    }
    if (!parse_ip4(text, out->ip))
        return false;
    out->kind = VX_ADDRESS_IP4;
    return true;
}

bool vx_address_parse_ip(struct vx_slice text, struct vx_address *out) {
    if (!parse_ip_raw(text, out))
        return false;
    vx_address_unmap(out);
    return true;
}

static bool is_label_byte(char c) {
    char l = vx_lower(c);
    return is_digit(c) || (l >= 'a' && l <= 'z') || c == '-' || c == '_';
}

bool vx_address_name_valid(struct vx_slice s) {
    if (s.len && s.ptr[s.len - 1] == '.')
        s.len--;
    if (s.len == 0 || s.len > NAME_MAX_BYTES)
        return false;
    bool digits_only = false;
    while (true) {
        size_t n = find_byte(s, '.');
        if (n == 0 || n > LABEL_MAX_BYTES || s.ptr[0] == '-' || s.ptr[n - 1] == '-')
            return false;
        digits_only = true;
        for (size_t i = 0; i < n; i++) {
            if (!is_label_byte(s.ptr[i]))
                return false;
            digits_only = digits_only && is_digit(s.ptr[i]);
        }
        if (n == s.len)
            break;
        s = vx_slice_skip(s, n + 1);
    }
    /* A name that ends in a number is a mistyped IPv4 address (RFC 1123 §2.1). */
    return !digits_only;
}

static bool parse_unix(struct vx_slice path, struct vx_address *out, const char **why) {
    if (path.len == 0 || path.len > VX_ADDRESS_UNIX_MAX_BYTES || find_byte(path, '\0') < path.len) {
        *why = why_unix;
        return false;
    }
    out->kind = VX_ADDRESS_UNIX;
    out->text = path;
    return true;
}

static bool parse_port(struct vx_slice text, struct vx_address *out, const char **why) {
    uint32_t port;
    if (!parse_decimal(text, UINT16_MAX, &port) || port == 0) {
        *why = why_port;
        return false;
    }
    out->port = (uint16_t)port;
    return true;
}

/* `[ip6]:port` */
static bool parse_bracketed(struct vx_slice text, struct vx_address *out, const char **why) {
    size_t close = find_byte(text, ']');
    *why = why_brackets;
    if (close + 1 >= text.len || text.ptr[close + 1] != ':')
        return false;
    if (!parse_ip6(vx_slice(text.ptr + 1, close - 1), out->ip))
        return false;
    if (!parse_port(vx_slice_skip(text, close + 2), out, why))
        return false;
    out->kind = VX_ADDRESS_IP6;
    vx_address_unmap(out);
    return true;
}

bool vx_address_parse(struct vx_slice text, struct vx_address *out, const char **why) {
    *out = (struct vx_address){.kind = VX_ADDRESS_NONE};
    *why = why_form;
    if (vx_slice_starts_with(text, VX_SLICE("unix:")))
        return parse_unix(vx_slice_skip(text, 5), out, why);
    if (text.len && text.ptr[0] == '[')
        return parse_bracketed(text, out, why);
    size_t colon = find_byte(text, ':');
    if (vx_slice_starts_with(vx_slice_skip(text, colon), VX_SLICE("://"))) {
        *why = why_scheme;
        return false;
    }
    if (colon == text.len) {
        *why = text.len ? why_port : why_form;
        return false;
    }
    struct vx_slice host = vx_slice(text.ptr, colon), port = vx_slice_skip(text, colon + 1);
    if (find_byte(port, ':') < port.len) {
        *why = why_brackets;
        return false;
    }
    if (host.len == 0 || vx_slice_eq(host, VX_SLICE("*"))) {
        *why = why_any;
        return false;
    }
    if (!parse_port(port, out, why))
        return false;
    if (parse_ip4(host, out->ip)) {
        out->kind = VX_ADDRESS_IP4;
        return true;
    }
    if (vx_address_name_valid(host)) {
        out->kind = VX_ADDRESS_NAME;
        out->text = host;
        return true;
    }
    *why = is_digit(host.ptr[host.len - 1]) && is_digit(host.ptr[0]) ? why_ip4 : why_name;
    return false;
}

static bool is_mapped(const uint8_t ip[IP6_BYTES]) {
    static const uint8_t head[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(ip, head, sizeof(head)) == 0;
}

void vx_address_unmap(struct vx_address *a) {
    if (a->kind != VX_ADDRESS_IP6 || !is_mapped(a->ip))
        return;
    memmove(a->ip, a->ip + 12, IP4_BYTES);
    memset(a->ip + IP4_BYTES, 0, IP6_BYTES - IP4_BYTES);
    a->kind = VX_ADDRESS_IP4;
}

static void clear_bits_after(uint8_t *ip, uint32_t bits) {
    for (uint32_t i = 0; i < IP6_BYTES; i++) {
        uint32_t keep = bits > i * 8 ? bits - i * 8 : 0;
        if (keep < 8)
            ip[i] &= (uint8_t)(0xff00u >> keep);
    }
}

bool vx_prefix_parse(struct vx_slice text, struct vx_prefix *out) {
    size_t slash = find_byte(text, '/');
    *out = (struct vx_prefix){.bits = 0};
    struct vx_address *a = &out->address;
    if (!parse_ip_raw(vx_slice(text.ptr, slash), a))
        return false;
    uint32_t most = a->kind == VX_ADDRESS_IP4 ? 32 : 128, bits = most;
    if (slash < text.len && !parse_decimal(vx_slice_skip(text, slash + 1), most, &bits))
        return false;
    if (a->kind == VX_ADDRESS_IP6 && is_mapped(a->ip) && bits >= PREFIX_MAPPED_BITS) {
        vx_address_unmap(a);
        bits -= PREFIX_MAPPED_BITS;
    }
    clear_bits_after(a->ip, bits);
    out->bits = (uint8_t)bits;
    return true;
}

bool vx_prefix_contains(const struct vx_prefix *p, const struct vx_address *a) {
    struct vx_address plain = *a;
    vx_address_unmap(&plain);
    if (plain.kind != p->address.kind || (plain.kind != VX_ADDRESS_IP4 && plain.kind != VX_ADDRESS_IP6))
        return false;
    size_t whole = p->bits / 8;
    if (memcmp(plain.ip, p->address.ip, whole) != 0)
        return false;
    uint8_t rest = p->bits % 8;
    return rest == 0 || (uint8_t)((plain.ip[whole] ^ p->address.ip[whole]) >> (8 - rest)) == 0;
}

bool vx_address_eq(const struct vx_address *a, const struct vx_address *b) {
    if (a->kind != b->kind || a->port != b->port)
        return false;
    switch (a->kind) {
    case VX_ADDRESS_IP4:
        return memcmp(a->ip, b->ip, IP4_BYTES) == 0;
    case VX_ADDRESS_IP6:
        return memcmp(a->ip, b->ip, IP6_BYTES) == 0;
    case VX_ADDRESS_UNIX:
        return vx_slice_eq(a->text, b->text);
    case VX_ADDRESS_NAME:
        return vx_slice_ieq(a->text, b->text);
    default:
        return true;
    }
}

/* Text under construction; what does not fit is dropped. */
struct writer {
    char *at, *end;
};

static void put(struct writer *w, struct vx_slice s) {
    size_t room = (size_t)(w->end - w->at), n = s.len < room ? s.len : room;
    if (n)
        memcpy(w->at, s.ptr, n);
    w->at += n;
}

static void put_number(struct writer *w, uint32_t n, uint32_t base) {
    char digits[10];
    size_t at = sizeof(digits);
    do {
        digits[--at] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n);
    put(w, vx_slice(digits + at, sizeof(digits) - at));
}

static void put_ip4(struct writer *w, const uint8_t ip[IP4_BYTES]) {
    for (int i = 0; i < IP4_BYTES; i++) {
        if (i)
            put(w, VX_SLICE("."));
        put_number(w, ip[i], 10);
    }
}

/* RFC 5952 §4: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals)
 * as `::`; §5: a mapped address with its IPv4 part in dotted form. */
static void put_ip6(struct writer *w, const uint8_t ip[IP6_BYTES]) {
    if (is_mapped(ip)) {
        put(w, VX_SLICE("::ffff:"));
        put_ip4(w, ip + 12);
        return;
    }
    int run_at = -1, run_len = 1;
    for (int i = 0; i < IP6_GROUPS; i++) {
        int n = 0;
        while (i + n < IP6_GROUPS && ip[2 * (i + n)] == 0 && ip[2 * (i + n) + 1] == 0)
            n++;
        if (n > run_len) {
            run_at = i;
            run_len = n;
        }
    }
    for (int i = 0; i < IP6_GROUPS; i++) {
        if (i == run_at) {
            put(w, VX_SLICE("::"));
            i += run_len - 1;
            continue;
        }
        if (i && i != run_at + run_len)
            put(w, VX_SLICE(":"));
        put_number(w, (uint32_t)ip[2 * i] << 8 | ip[2 * i + 1], 16);
    }
}

static void put_host(struct writer *w, const struct vx_address *a, bool with_port) {
    switch (a->kind) {
    case VX_ADDRESS_IP4:
        put_ip4(w, a->ip);
        break;
    case VX_ADDRESS_IP6:
        put(w, with_port ? VX_SLICE("[") : VX_SLICE_NONE);
        put_ip6(w, a->ip);
        put(w, with_port ? VX_SLICE("]") : VX_SLICE_NONE);
        break;
    case VX_ADDRESS_UNIX:
        put(w, VX_SLICE("unix:"));
        put(w, a->text);
        break;
    default:
        put(w, a->text);
        break;
    }
}

static size_t format(const struct vx_address *a, bool with_port, char *out) {
    struct writer w = {out, out + VX_ADDRESS_TEXT_MAX - 1};
    put_host(&w, a, with_port);
    if (with_port && a->kind != VX_ADDRESS_UNIX && a->kind != VX_ADDRESS_NONE) {
        put(&w, VX_SLICE(":"));
        put_number(&w, a->port, 10);
    }
    *w.at = '\0';
    return (size_t)(w.at - out);
}

size_t vx_address_format(const struct vx_address *a, char *out) {
    return format(a, true, out);
}

size_t vx_address_format_ip(const struct vx_address *a, char *out) {
    return format(a, false, out);
}
