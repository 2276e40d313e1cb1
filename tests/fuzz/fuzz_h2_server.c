/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the real HTTP/2 server connection, with the echo backend as its handler: frames and HPACK as the input has
 * them, cut as it says, a client that stops reading or breaks off. Whatever it does, nothing is leaked (fake_net_free
 * looks), no invariant breaks, and what is sent is whole frames.
 *
 * The input is a run of records: a frame's type, its flags, its stream, how many bytes of payload follow, and those. So a
 * mutation mostly leaves the frames frames. Types from 0xf0 up are not frames but what else may happen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/handlers/echo.h"
#include "proxy/http2/server.h"
#include "support/fake_transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FRAME_HEAD_BYTES = 9,
    RECORD_HEAD_BYTES = 4,
    WAIT = 0xf0,   /* time passes */
    DEAF = 0xf1,   /* the client takes no more than some bytes */
    LISTEN = 0xf2, /* it takes what there is */
    RAW = 0xf3,    /* the payload is no frame */
    BREAK = 0xf4,  /* the connection breaks */
    DRAIN = 0xf5,  /* the proxy wants to end */
};

static void send_frame(struct fake_transport *t, const uint8_t *record, const uint8_t *payload, size_t len) {
    uint8_t frame[FRAME_HEAD_BYTES + UINT8_MAX] = {0};
    frame[2] = (uint8_t)len;
    frame[3] = record[0];
    frame[4] = record[1];
    frame[8] = record[2];
    if (len)
        memcpy(frame + FRAME_HEAD_BYTES, payload, len);
    /* In two pieces now and then: a frame's head may come apart from its payload, and within it. */
    size_t cut = record[2] % 5 == 4 ? record[1] % (FRAME_HEAD_BYTES + len) : 0;
    if (cut)
        fake_send_bytes(t, (const char *)frame, cut);
    if (!t->closed)
        fake_send_bytes(t, (const char *)frame + cut, FRAME_HEAD_BYTES + len - cut);
}

static void play(struct fake_net *net, struct vx_http_server *server, struct fake_transport *t,
                 const uint8_t *record, const uint8_t *payload, size_t len) {
    switch (record[0]) {
    case WAIT:
        fake_net_advance(net, FAKE_MS(record[1] * 50));
        break;
    case DEAF:
        t->room = record[1];
        break;
    case LISTEN:
        fake_give_room(t, SIZE_MAX);
        break;
    case RAW:
        fake_send_bytes(t, (const char *)payload, len);
        break;
    case BREAK:
        fake_break(t);
        break;
    case DRAIN:
        vx_http_server_drain(server);
        fake_net_round(net);
        break;
    default:
        send_frame(t, record, payload, len);
        break;
    }
}

/* What the proxy sent is whole frames, but for what waited when it was cut. */
static void check_sent(const struct fake_transport *t, bool whole) {
    const uint8_t *at = (const uint8_t *)t->out;
    size_t left = t->out_len;
    while (left >= FRAME_HEAD_BYTES) {
        size_t n = FRAME_HEAD_BYTES + ((size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2]);
        if (n > left)
            break;
        at += n;
        left -= n;
    }
    assert_true(left == 0 || !whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct vx_echo echo;
    struct fake_net net;
    struct vx_http_server server;
    fake_net_init(&net);
    vx_echo_init(&echo, &net.rt.wheel, 80);
    vx_http_server_init(&server, &net.rt, &echo.handler);
    server.limits = (struct vx_h1_limits){.header_bytes = 4096, .headers = 32, .uri_bytes = 1000};
    server.timeouts = (struct vx_config_timeouts){
        .header_ns = FAKE_S(10), .idle_ns = FAKE_S(75), .body_ns = FAKE_S(20), .write_ns = FAKE_S(20)};
    server.concurrent_streams = 20;
    server.glitches_a_minute = 50;
    struct fake_transport *t = fake_transport_new(&net);
    vx_http_server_accept(&server, &t->base);
    fake_send_bytes(t, VX_H2_PREFACE.ptr, VX_H2_PREFACE.len);
    bool cut = false;
    while (size >= RECORD_HEAD_BYTES && !t->closed) {
        const uint8_t *record = data, *payload = data + RECORD_HEAD_BYTES;
        size_t len = record[3] < size - RECORD_HEAD_BYTES ? record[3] : size - RECORD_HEAD_BYTES;
        cut = cut || record[0] == DEAF || record[0] == BREAK;
        play(&net, &server, t, record, payload, len);
        data = payload + len;
        size -= RECORD_HEAD_BYTES + len;
    }
    if (!t->closed)
        fake_net_advance(&net, FAKE_S(30));
    check_sent(t, !cut);
    vx_http_server_close_all(&server);
    fake_net_free(&net);
    return 0;
}
