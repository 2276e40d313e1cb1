/* SPDX-License-Identifier: Apache-2.0 */
/* See names.h. */
#include "proxy/tls/names.h"

#include <openssl/asn1.h>
#include <openssl/mem.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "core/base/address.h"

static bool add(struct vx_tls_names *n, struct vx_slice name, uint32_t certificate) {
    bool wildcard = vx_slice_starts_with(name, VX_SLICE("*."));
    if (wildcard)
        name = vx_slice_skip(name, 2);
    if (name.len && name.ptr[name.len - 1] == '.')
        name.len--;
    /* A name with a NUL inside is a forgery, one with a '*' elsewhere is nobody's (RFC 9525 §6.3). */
    if (name.len == 0 || memchr(name.ptr, '\0', name.len) || memchr(name.ptr, '*', name.len))
        return true;
    if (n->count == n->room) {
        uint32_t room = n->room ? 2 * n->room : 16;
        struct vx_tls_name *more = realloc(n->entries, room * sizeof *more);
        if (!more)
            return false;
        n->entries = more;
        n->room = room;
    }
    char *text = malloc(name.len);
    if (!text)
        return false;
    for (size_t i = 0; i < name.len; i++)
        text[i] = vx_lower(name.ptr[i]);
    n->entries[n->count++] = (struct vx_tls_name){vx_slice(text, name.len), certificate, wildcard};
    return true;
}

static struct vx_slice string_of(const ASN1_STRING *s) {
    return vx_slice((const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

static bool add_general_name(struct vx_tls_names *n, const GENERAL_NAME *name, uint32_t certificate) {
    if (name->type == GEN_DNS)
        return add(n, string_of(name->d.dNSName), certificate);
    if (name->type != GEN_IPADD)
        return true;
    struct vx_slice bytes = string_of(name->d.iPAddress);
    if (bytes.len != 4 && bytes.len != 16)
        return true;
    struct vx_address a = {.kind = bytes.len == 4 ? VX_ADDRESS_IP4 : VX_ADDRESS_IP6};
    memcpy(a.ip, bytes.ptr, bytes.len);
    char text[VX_ADDRESS_TEXT_MAX];
    size_t len = vx_address_format_ip(&a, text);
    return add(n, vx_slice(text, len), certificate);
}

static bool add_common_name(struct vx_tls_names *n, const X509 *x, uint32_t certificate) {
    const X509_NAME *subject = X509_get_subject_name(x);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0)
        return true;
    uint8_t *utf8;
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (len < 0)
        return true;
    bool ok = add(n, vx_slice((const char *)utf8, (size_t)len), certificate);
    OPENSSL_free(utf8);
    return ok;
}

bool vx_tls_names_add(struct vx_tls_names *n, const X509 *x, uint32_t certificate) {
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    if (!names)
        return add_common_name(n, x, certificate);
    bool ok = true;
    for (size_t i = 0; ok && i < sk_GENERAL_NAME_num(names); i++)
        ok = add_general_name(n, sk_GENERAL_NAME_value(names, i), certificate);
    GENERAL_NAMES_free(names);
    return ok;
}

static int compare_text(struct vx_slice a, struct vx_slice b) {
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare(const void *left, const void *right) {
    const struct vx_tls_name *a = left, *b = right;
    int order = compare_text(a->text, b->text);
    if (order)
        return order;
    if (a->wildcard != b->wildcard)
        return a->wildcard - b->wildcard;
    return (a->certificate > b->certificate) - (a->certificate < b->certificate);
}

void vx_tls_names_sort(struct vx_tls_names *n) {
    if (n->count)
        qsort(n->entries, n->count, sizeof *n->entries, compare);
}

void vx_tls_names_free(struct vx_tls_names *n) {
    for (uint32_t i = 0; i < n->count; i++)
        free((char *)(uintptr_t)n->entries[i].text.ptr);
    free(n->entries);
    *n = (struct vx_tls_names){NULL, 0, 0};
}

/* The first entry of this text and kind; NULL: none. */
static const struct vx_tls_name *first(const struct vx_tls_names *n, struct vx_slice text, bool wildcard) {
    struct vx_tls_name wanted = {text, 0, wildcard};
    uint32_t low = 0, high = n->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare(&n->entries[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == n->count || n->entries[low].wildcard != wildcard || !vx_slice_eq(n->entries[low].text, text))
        return NULL;
    return &n->entries[low];
}

/* What a wildcard has to match: the host without its first label; empty: it has only one. */
static struct vx_slice parent(struct vx_slice host) {
    const char *dot = host.len ? memchr(host.ptr, '.', host.len) : NULL;
    if (!dot || dot == host.ptr)
        return VX_SLICE_NONE;
    return vx_slice_skip(host, (size_t)(dot - host.ptr) + 1);
}

int64_t vx_tls_names_find(const struct vx_tls_names *n, struct vx_slice host) {
    const struct vx_tls_name *found = host.len ? first(n, host, false) : NULL;
    struct vx_slice rest = parent(host);
    if (!found && rest.len)
        found = first(n, rest, true);
    return found ? (int64_t)found->certificate : -1;
}

static bool has(const struct vx_tls_names *n, struct vx_slice text, bool wildcard, uint32_t certificate) {
    const struct vx_tls_name *e = text.len ? first(n, text, wildcard) : NULL;
    for (; e && e < n->entries + n->count && e->wildcard == wildcard && vx_slice_eq(e->text, text); e++)
        if (e->certificate == certificate)
            return true;
    return false;
}

bool vx_tls_names_has(const struct vx_tls_names *n, struct vx_slice host, uint32_t certificate) {
    return has(n, host, false, certificate) || has(n, parent(host), true, certificate);
}

/* Whether each name of `a` is one of `b`. */
static bool within(const struct vx_tls_names *n, uint32_t a, uint32_t b) {
    for (uint32_t i = 0; i < n->count; i++) {
        const struct vx_tls_name *e = &n->entries[i];
        if (e->certificate == a && !has(n, e->text, e->wildcard, b))
            return false;
    }
    return true;
}

bool vx_tls_names_same(const struct vx_tls_names *n, uint32_t a, uint32_t b) {
    return within(n, a, b) && within(n, b, a);
}
