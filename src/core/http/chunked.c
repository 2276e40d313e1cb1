/* SPDX-License-Identifier: Apache-2.0 */
/* See chunked.h.
 *
 * Invariants
 *   1. `left` is not 0 exactly in DATA.
 *   2. In DATA nothing is looked at, so a run costs the same whatever its length.
 *   3. Every other byte makes one transition, so any split of the input gives the same result.
 *
 *   state     event                          next
 *   SIZE      hex digit                      SIZE (at most 15 digits)
 *   SIZE      after a digit: other byte      as SIZE_END
 *   SIZE_END  SP HTAB ; CR                   EXT_BWS, EXT_NAME_BWS, SIZE_LF
 *   EXT_...   by the table `extension`       EXT_..., SIZE_LF
 *   SIZE_LF   LF                             DATA, or LAST when the size is 0
 *   DATA      `left` bytes                   DATA_CR
 *   DATA_CR   CR                             DATA_LF
 *   DATA_LF   LF                             SIZE
 *   LAST      CR                             FINAL_LF
 *   LAST      other byte                     (trailers; the byte is not consumed)
 *   FINAL_LF  LF                             (done)
 *   any       anything else                  FAILED
 */
#include "core/http/chunked.h"

#include "core/base/assert.h"
#include "core/http/bytes.h"

/* Fifteen hex digits stay below 2^60: no sum of sizes in the program can overflow. */
enum { SIZE_DIGITS_MAX = 15 };

enum state {
    FAILED,
    SIZE,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    LAST,
    FINAL_LF,
    /* In chunk-ext; BWS is the grammar's "bad white space", where a recipient must accept it. */
    SIZE_END,
    EXT_BWS,
    EXT_NAME_BWS,
    EXT_NAME,
    EXT_NAME_END,
    EXT_VALUE_BWS,
    EXT_VALUE,
    EXT_QUOTED,
    EXT_ESCAPE,
    EXT_QUOTED_END,
    STATES,
};

enum kind { OTHER, TEXT, TOKEN, BLANK, SEMICOLON, EQUALS, DQUOTE, BACKSLASH, CR, KINDS };

static enum kind kind_of(char byte) {
    switch (byte) {
    case '\r':
        return CR;
    case ' ':
    case '\t':
        return BLANK;
    case ';':
        return SEMICOLON;
    case '=':
        return EQUALS;
    case '"':
        return DQUOTE;
    case '\\':
        return BACKSLASH;
    default:
        if (vx_byte_is(byte, VX_BYTE_TOKEN))
            return TOKEN;
        return vx_byte_is(byte, VX_BYTE_QUOTED) ? TEXT : OTHER;
    }
}

#define EVERYTHING_TO(state)                                                                                 \
    [TEXT] = (state), [TOKEN] = (state), [BLANK] = (state), [SEMICOLON] = (state), [EQUALS] = (state)

/* chunk-ext of RFC 9112 §7.1.1; what is not listed is FAILED. */
static const uint8_t extension[STATES][KINDS] = {
    [SIZE_END] = {[BLANK] = EXT_BWS, [SEMICOLON] = EXT_NAME_BWS, [CR] = SIZE_LF},
    [EXT_BWS] = {[BLANK] = EXT_BWS, [SEMICOLON] = EXT_NAME_BWS},
    [EXT_NAME_BWS] = {[BLANK] = EXT_NAME_BWS, [TOKEN] = EXT_NAME},
    [EXT_NAME] = {[TOKEN] = EXT_NAME,
                  [EQUALS] = EXT_VALUE_BWS,
                  [BLANK] = EXT_NAME_END,
                  [SEMICOLON] = EXT_NAME_BWS,
                  [CR] = SIZE_LF},
    [EXT_NAME_END] = {[BLANK] = EXT_NAME_END, [EQUALS] = EXT_VALUE_BWS, [SEMICOLON] = EXT_NAME_BWS},
    [EXT_VALUE_BWS] = {[BLANK] = EXT_VALUE_BWS, [TOKEN] = EXT_VALUE, [DQUOTE] = EXT_QUOTED},
    [EXT_VALUE] = {[TOKEN] = EXT_VALUE, [BLANK] = EXT_BWS, [SEMICOLON] = EXT_NAME_BWS, [CR] = SIZE_LF},
    [EXT_QUOTED] = {EVERYTHING_TO(EXT_QUOTED), [DQUOTE] = EXT_QUOTED_END, [BACKSLASH] = EXT_ESCAPE},
    [EXT_ESCAPE] = {EVERYTHING_TO(EXT_QUOTED), [DQUOTE] = EXT_QUOTED, [BACKSLASH] = EXT_QUOTED},
    [EXT_QUOTED_END] = {[BLANK] = EXT_BWS, [SEMICOLON] = EXT_NAME_BWS, [CR] = SIZE_LF},
};

void vx_chunked_init(struct vx_chunked *c) {
    *c = (struct vx_chunked){.state = SIZE};
}

static enum state step_extension(struct vx_chunked *c, enum state s, char byte) {
    enum state next = (enum state)extension[s][kind_of(byte)];
    if (next != SIZE_LF && ++c->extension_bytes > VX_CHUNK_EXTENSION_BYTES)
        return FAILED;
    return next;
}

static enum state step_size(struct vx_chunked *c, char byte) {
    int digit = vx_byte_hex(byte);
    if (digit < 0)
        return c->digits ? step_extension(c, SIZE_END, byte) : FAILED;
    if (c->digits == SIZE_DIGITS_MAX)
        return FAILED;
    c->digits++;
    c->size = c->size << 4 | (unsigned)digit;
    return SIZE;
}

static enum state begin_data(struct vx_chunked *c, char byte) {
    if (byte != '\n')
        return FAILED;
    c->left = c->size;
    c->size = 0;
    c->digits = 0;
    return c->left ? DATA : LAST;
}

/* One byte outside chunk data. */
static enum state step(struct vx_chunked *c, char byte) {
    switch ((enum state)c->state) {
    case SIZE:
        return step_size(c, byte);
    case SIZE_LF:
        return begin_data(c, byte);
    case DATA_CR:
        return byte == '\r' ? DATA_LF : FAILED;
    case DATA_LF:
        return byte == '\n' ? SIZE : FAILED;
    case FAILED:
        return FAILED;
    default:
        return step_extension(c, (enum state)c->state, byte);
    }
}

static enum vx_chunked_result take_data(struct vx_chunked *c, struct vx_slice in, size_t at,
                                        struct vx_slice *data, size_t *consumed) {
    size_t n = in.len - at;
    if (n > c->left)
        n = (size_t)c->left;
    *data = vx_slice(in.ptr + at, n);
    *consumed = at + n;
    vx_chunked_skip(c, n);
    return VX_CHUNKED_DATA;
}

enum vx_chunked_result vx_chunked_decode(struct vx_chunked *c, struct vx_slice in, struct vx_slice *data,
                                         size_t *consumed) {
    *data = VX_SLICE_NONE;
    for (size_t i = 0; i < in.len; i++) {
        *consumed = i;
        if (c->state == DATA)
            return take_data(c, in, i, data, consumed);
        if (c->state == LAST && in.ptr[i] != '\r')
            return VX_CHUNKED_TRAILERS;
        if (c->state == LAST) {
            c->state = FINAL_LF;
        } else if (c->state == FINAL_LF) {
            *consumed = i + 1;
            return in.ptr[i] == '\n' ? VX_CHUNKED_DONE : VX_CHUNKED_ERROR;
        } else {
            c->state = (uint8_t)step(c, in.ptr[i]);
            if (c->state == FAILED)
                return VX_CHUNKED_ERROR;
        }
    }
    *consumed = in.len;
    return VX_CHUNKED_MORE;
}

void vx_chunked_skip(struct vx_chunked *c, uint64_t n) {
    VX_CHECK(n <= c->left);
    c->left -= n;
    if (n && c->left == 0)
        c->state = DATA_CR;
}

size_t vx_chunk_head(char out[18], uint64_t n) {
    static const char digits[] = "0123456789abcdef";
    unsigned count = n ? (67u - (unsigned)__builtin_clzll(n)) / 4 : 1;
    for (unsigned i = count; i-- > 0; n >>= 4)
        out[i] = digits[n & 15];
    out[count] = '\r';
    out[count + 1] = '\n';
    return count + 2;
}
