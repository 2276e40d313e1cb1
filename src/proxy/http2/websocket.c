/* SPDX-License-Identifier: Apache-2.0 */
/* See websocket.h. */
#include "proxy/http2/websocket.h"

#include <openssl/base64.h>
#include <openssl/sha.h>

enum { KEY_BYTES = 16, KEY_TEXT_BYTES = 24, ACCEPT_TEXT_BYTES = 28 };

static const struct vx_slice key_name = VX_SLICE("sec-websocket-key");
static const struct vx_slice accept_name = VX_SLICE("sec-websocket-accept");
static const struct vx_slice guid = VX_SLICE("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");

bool vx_websocket_add_key(struct vx_request *request, struct vx_arena *arena, struct vx_random *random) {
    uint64_t nonce[KEY_BYTES / sizeof(uint64_t)];
    char *text = vx_arena_alloc(arena, KEY_TEXT_BYTES + 1); /* and the NUL that the encoder writes */
    if (!text)
        return false;
    for (size_t i = 0; i < sizeof nonce / sizeof *nonce; i++)
        nonce[i] = vx_random_next(random);
    EVP_EncodeBlock((uint8_t *)text, (const uint8_t *)nonce, sizeof nonce);
    vx_headers_remove_name(&request->headers, key_name);
    return vx_headers_add(&request->headers, arena, VX_HEADER_OTHER, key_name,
                          vx_slice(text, KEY_TEXT_BYTES));
}

bool vx_websocket_add_accept(struct vx_headers *headers, const struct vx_headers *request,
                             struct vx_arena *arena) {
    const struct vx_header *key = vx_headers_find_name(request, key_name);
    if (!key)
        return true;
    uint8_t digest[SHA_DIGEST_LENGTH];
    SHA_CTX sha;
    SHA1_Init(&sha);
    SHA1_Update(&sha, key->value, key->value_len);
    SHA1_Update(&sha, guid.ptr, guid.len);
    SHA1_Final(digest, &sha);
    char *text = vx_arena_alloc(arena, ACCEPT_TEXT_BYTES + 1);
    if (!text)
        return false;
    EVP_EncodeBlock((uint8_t *)text, digest, sizeof digest);
    return vx_headers_add(headers, arena, VX_HEADER_OTHER, accept_name, vx_slice(text, ACCEPT_TEXT_BYTES));
}

void vx_websocket_strip_accept(struct vx_headers *headers) {
    vx_headers_remove_name(headers, accept_name);
}
