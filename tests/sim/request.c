/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of requests, sound ones and those with one of the flaws of SIM_FLAW_LIST. */
#include <string.h>

#include "sim/client.h"

enum { LONG_TARGET_BYTES = 9000, LONG_HEAD_BYTES = 20000 };

static void pad(struct outgoing *o, char c, size_t len) {
    memset(outgoing_extend(o, len), c, len);
}

static void request_line(struct sim *sim, const struct exchange *e, struct outgoing *o) {
    char path[64];
    const char *version = e->http10 ? "1.0" : e->flaw == FLAW_NEW_VERSION ? "2.7" : "1.1";
    exchange_path(e, false, path, sizeof path);
    if (e->flaw == FLAW_GARBAGE) {
        outgoing_text(o, "%s\r\n", sim_chance(sim, 500) ? "what is this" : "\x16\x03\x01");
    } else if (e->flaw == FLAW_CONNECT) {
        outgoing_text(o, "CONNECT sim.example:443 HTTP/1.1\r\n");
    } else if (e->flaw == FLAW_BAD_PATH) {
        outgoing_text(o, "%s /../..%s HTTP/%s\r\n", e->method, path, version);
    } else if (e->flaw == FLAW_LONG_TARGET) {
        outgoing_text(o, "%s %s?q=", e->method, path);
        pad(o, 'q', LONG_TARGET_BYTES);
        outgoing_text(o, " HTTP/%s\r\n", version);
    } else {
        outgoing_text(o, "%s %s?q=%u HTTP/%s%s", e->method, path, e->id, version,
                      e->flaw == FLAW_BARE_LF ? "\n" : "\r\n");
    }
}

static void flawed_fields(const struct exchange *e, struct outgoing *o) {
    switch ((enum sim_flaw)e->flaw) {
    case FLAW_BOTH_LENGTHS:
        outgoing_text(o, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
        break;
    case FLAW_TWO_LENGTHS:
        outgoing_text(o, "Content-Length: 5\r\nContent-Length: 6\r\n");
        break;
    case FLAW_BAD_LENGTH:
        outgoing_text(o, "Content-Length: +5\r\n");
        break;
    case FLAW_OLD_CHUNKED:
        outgoing_text(o, "Transfer-Encoding: chunked\r\n");
        break;
    case FLAW_NOT_CHUNKED_LAST:
        outgoing_text(o, "Transfer-Encoding: chunked, gzip\r\n");
        break;
    case FLAW_FOLDED:
        outgoing_text(o, "X-Folded: one\r\n two\r\n");
        break;
    case FLAW_NUL_BYTE:
        outgoing_bytes(o, "X-Nul: a\0b\r\n", 12);
        break;
    case FLAW_SPACE_BEFORE_COLON:
        outgoing_text(o, "X-Space : yes\r\n");
        break;
    case FLAW_TWO_HOSTS:
        outgoing_text(o, "Host: other.example\r\n");
        break;
    case FLAW_EXPECTS_MORE:
        outgoing_text(o, "Expect: the-unexpected\r\n");
        break;
    case FLAW_LONG_HEAD:
        outgoing_text(o, "X-Long: ");
        pad(o, 'l', LONG_HEAD_BYTES);
        outgoing_text(o, "\r\n");
        break;
    default:
        break;
    }
}

static void connection_fields(const struct exchange *e, struct outgoing *o) {
    if (e->upgrades)
        outgoing_text(o, "Connection: upgrade, x-hop\r\nUpgrade: simproto\r\n");
    else if (e->http10 && e->keeps_alive)
        outgoing_text(o, "Connection: keep-alive, x-hop\r\n");
    else
        outgoing_text(o, "Connection: %sx-hop\r\n", e->keeps_alive ? "" : "close, ");
    outgoing_text(
        o, "X-Hop: mine\r\nKeep-Alive: timeout=1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n");
}

void request_head(struct sim *sim, const struct exchange *e, struct outgoing *o) {
    request_line(sim, e, o);
    if (e->flaw != FLAW_NO_HOST)
        outgoing_text(o, "Host: sim.example\r\n");
    outgoing_text(o, "X-Sim: %u\r\nUser-Agent: sim\r\n", e->id);
    connection_fields(e, o);
    flawed_fields(e, o);
    bool framed = e->flaw != FLAW_NONE && e->flaw <= FLAW_NOT_CHUNKED_LAST;
    if (e->body == BODY_LENGTH && !framed)
        outgoing_text(o, "Content-Length: %llu\r\n", (unsigned long long)e->body_bytes);
    if (e->body == BODY_CHUNKED && !framed)
        outgoing_text(o, "Transfer-Encoding: chunked\r\n%s", e->trailers ? "Trailer: X-Sum\r\n" : "");
    if (e->expects)
        outgoing_text(o, "Expect: 100-continue\r\n");
    if (e->model && e->model_in_body)
        outgoing_text(o, "Content-Type: application/json; charset=utf-8\r\n");
    else if (e->json_without_model)
        outgoing_text(o, "Content-Type: application/vnd.api+json\r\n");
    else if (e->model)
        outgoing_text(o, "X-AI-Model: %s\r\n", e->model);
    outgoing_text(o, "\r\n");
}

static void pattern(const struct exchange *e, uint64_t from, size_t len, struct outgoing *o) {
    char *to = outgoing_extend(o, len);
    for (size_t i = 0; i < len; i++)
        to[i] = (char)exchange_body_byte(e, from + i);
}

void request_body(struct sim *sim, const struct exchange *e, struct outgoing *o) {
    if (e->body == BODY_LENGTH) {
        pattern(e, 0, e->body_bytes, o);
        return;
    }
    static const char *const extensions[] = {"", ";a=b", "; name=\"quoted\"", ";x"};
    uint64_t breaks_at = e->flaw == FLAW_BAD_CHUNK ? e->body_bytes / 2 : UINT64_MAX;
    for (uint64_t at = 0; at < e->body_bytes;) {
        if (at >= breaks_at) {
            outgoing_text(o, "%s", sim_chance(sim, 500) ? "-1\r\n" : "10 0\r\n");
            return;
        }
        uint64_t left = (at < breaks_at && breaks_at < e->body_bytes ? breaks_at : e->body_bytes) - at;
        size_t n = 1 + sim_below(sim, sim_chance(sim, 300) ? 10 : 20000);
        n = n < left ? n : left;
        outgoing_text(o, sim_chance(sim, 500) ? "%zx%s\r\n" : "0%zX%s\r\n", n, extensions[sim_below(sim, 4)]);
        pattern(e, at, n, o);
        outgoing_text(o, "\r\n");
        at += n;
    }
    outgoing_text(o, "0\r\n");
    if (e->trailers)
        outgoing_text(o, "X-Sum: %u\r\nContent-Length: 7\r\n", e->id);
    outgoing_text(o, "\r\n");
}
