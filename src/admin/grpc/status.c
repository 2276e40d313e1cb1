/* SPDX-License-Identifier: Apache-2.0 */
/* See status.h. */
#include "admin/grpc/status.h"

static const char *const digits[VX_GRPC_CODE_MAX + 1] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                                         "9", "10", "11", "12", "13", "14", "15", "16"};

struct vx_slice vx_grpc_code_text(enum vx_grpc_code code) {
    return vx_slice_of(digits[code]);
}

bool vx_grpc_code_parse(struct vx_slice text, enum vx_grpc_code *code) {
    for (unsigned i = 0; i <= VX_GRPC_CODE_MAX; i++) {
        if (vx_slice_eq(text, vx_slice_of(digits[i]))) {
            *code = (enum vx_grpc_code)i;
            return true;
        }
    }
    return false;
}

size_t vx_grpc_encode_message(char *out, struct vx_slice text) {
    static const char hex[] = "0123456789ABCDEF";
    char *at = out;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= ' ' && c <= '~' && c != '%') {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        }
    }
    return (size_t)(at - out);
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = vx_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t vx_grpc_decode_message(char *out, struct vx_slice text) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int high = text.ptr[i] == '%' && i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
        int low = high >= 0 ? hex_value(text.ptr[i + 2]) : -1;
        if (low >= 0) {
            out[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[n++] = text.ptr[i];
        }
    }
    return n;
}
