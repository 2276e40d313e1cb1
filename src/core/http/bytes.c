/* SPDX-License-Identifier: Apache-2.0 */
/* The table behind bytes.h. */
#include "core/http/bytes.h"

#define TEXT   (VX_BYTE_QUOTED | VX_BYTE_ESCAPED)
#define DELIM  (TEXT | VX_BYTE_REG_NAME)
#define TCHAR  (TEXT | VX_BYTE_TOKEN)
#define BOTH   (TEXT | VX_BYTE_TOKEN | VX_BYTE_REG_NAME)
#define LETTER (BOTH | VX_BYTE_UNRESERVED)

const uint8_t vx_byte_classes[256] = {
    ['\t'] = TEXT,
    [' '] = TEXT,
    ['!'] = BOTH,
    ['"'] = VX_BYTE_ESCAPED,
    ['#'] = TCHAR,
    ['$'] = BOTH,
    ['%'] = TCHAR,
    ['&' ... '\''] = BOTH,
    ['(' ... ')'] = DELIM,
    ['*' ... '+'] = BOTH,
    [','] = DELIM,
    ['-' ... '.'] = LETTER,
    ['/'] = TEXT,
    ['0' ... '9'] = LETTER | VX_BYTE_DIGIT | VX_BYTE_HEX,
    [':'] = TEXT,
    [';'] = DELIM,
    ['<'] = TEXT,
    ['='] = DELIM,
    ['>' ... '@'] = TEXT,
    ['A' ... 'F'] = LETTER | VX_BYTE_UPPER | VX_BYTE_HEX,
    ['G' ... 'Z'] = LETTER | VX_BYTE_UPPER,
    ['['] = TEXT,
    ['\\'] = VX_BYTE_ESCAPED,
    [']'] = TEXT,
    ['^'] = TCHAR,
    ['_'] = LETTER,
    ['`'] = TCHAR,
    ['a' ... 'f'] = LETTER | VX_BYTE_HEX,
    ['g' ... 'z'] = LETTER,
    ['{'] = TEXT,
    ['|'] = TCHAR,
    ['}'] = TEXT,
    ['~'] = LETTER,
    [0x80 ... 0xff] = TEXT,
};
