/* SPDX-License-Identifier: Apache-2.0 */
/* See grpc.h. */
#include "core/http/grpc.h"

#include "core/base/decimal.h"
#include "core/http/bytes.h"

enum { TIMEOUT_DIGITS_MAX = 8 };

static const struct {
    uint64_t ns;
    char letter;
} units[] = {
    {UINT64_C(1), 'n'},          {UINT64_C(1000), 'u'},        {UINT64_C(1000000), 'm'},
    {UINT64_C(1000000000), 'S'}, {UINT64_C(60000000000), 'M'}, {UINT64_C(3600000000000), 'H'},
};

enum { UNITS = sizeof units / sizeof *units };

bool vx_grpc_is_call(const struct vx_request *request) {
    static const struct vx_slice grpc = {"application/grpc", 16};
    const struct vx_header *type = vx_headers_find(&request->headers, VX_HEADER_CONTENT_TYPE);
    if (request->version < VX_HTTP_2 || !type || type->value_len < grpc.len ||
        !vx_slice_ieq(vx_slice(type->value, grpc.len), grpc))
        return false;
    char next = type->value_len == grpc.len ? ';' : type->value[grpc.len];
    return next == ';' || next == '+' || next == ' ';
}

bool vx_grpc_read_timeout(struct vx_slice text, uint64_t *ns) {
    uint64_t n = 0;
    if (text.len < 2 || text.len > TIMEOUT_DIGITS_MAX + 1)
        return false;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (!vx_byte_is(text.ptr[i], VX_BYTE_DIGIT))
            return false;
        n = n * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    for (size_t i = 0; i < UNITS; i++) {
        if (text.ptr[text.len - 1] != units[i].letter)
            continue;
        *ns = n > UINT64_MAX / units[i].ns ? UINT64_MAX : n * units[i].ns;
        return true;
    }
    return false;
}

size_t vx_grpc_write_timeout(char out[VX_GRPC_TIMEOUT_MAX_BYTES], uint64_t ns) {
    char digits[VX_DECIMAL_MAX_BYTES];
    size_t unit = 0;
    while (unit + 1 < UNITS && ns / units[unit].ns > 99999999)
        unit++;
    uint64_t value = ns / units[unit].ns;
    value = value > 99999999 ? 99999999 : value ? value : 1;
    struct vx_slice text = vx_decimal(value, digits);
    memcpy(out, text.ptr, text.len);
    out[text.len] = units[unit].letter;
    return text.len + 1;
}

uint8_t vx_grpc_read_status(struct vx_slice text) {
    unsigned status = 0;
    if (text.len == 0 || text.len > 2)
        return VX_GRPC_UNKNOWN;
    for (size_t i = 0; i < text.len; i++) {
        if (!vx_byte_is(text.ptr[i], VX_BYTE_DIGIT))
            return VX_GRPC_UNKNOWN;
        status = status * 10 + (unsigned)(text.ptr[i] - '0');
    }
    return status < VX_GRPC_STATUS_COUNT ? (uint8_t)status : VX_GRPC_UNKNOWN;
}

struct vx_slice vx_grpc_status_text(uint8_t status) {
    static const char digits[] = "012345678910111213141516";
    return status < 10 ? vx_slice(digits + status, 1) : vx_slice(digits + 10 + (status - 10) * 2, 2);
}

uint8_t vx_grpc_status_of_http(uint16_t status) {
    switch (status) {
    case 400:
        return VX_GRPC_INTERNAL;
    case 401:
        return VX_GRPC_UNAUTHENTICATED;
    case 403:
        return VX_GRPC_PERMISSION_DENIED;
    case 404:
        return VX_GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return VX_GRPC_UNAVAILABLE;
    default:
        return VX_GRPC_UNKNOWN;
    }
}
