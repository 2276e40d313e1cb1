/* SPDX-License-Identifier: Apache-2.0 */
/* See frame.h. Checksums stay zero: the program does not look at them. */
#include "support/frame.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static void put16(struct frame *f, size_t at, size_t value) {
    f->bytes[at] = (uint8_t)(value >> 8);
    f->bytes[at + 1] = (uint8_t)value;
}

static uint8_t *grow(struct frame *f, size_t bytes) {
    uint8_t *at = f->bytes + f->length;
    if (f->length + bytes > sizeof f->bytes)
        abort();
    memset(at, 0, bytes);
    f->length += bytes;
    if (f->ip && f->bytes[f->ip] >> 4 == 4)
        put16(f, f->ip + 2, f->length - f->ip);
    else if (f->ip)
        put16(f, f->ip + 4, f->length - f->ip - 40);
    return at;
}

void frame_begin(struct frame *f) {
    memset(f, 0, sizeof *f);
    memset(grow(f, 14), 2, 12);
    f->type = 12;
}

void frame_tag(struct frame *f, uint16_t type) {
    put16(f, f->type, type);
    grow(f, 4);
    f->type = f->length - 2;
}

static void begin_ip(struct frame *f, uint16_t type, size_t bytes, uint8_t first) {
    put16(f, f->type, type);
    size_t at = f->length;
    grow(f, bytes)[0] = first;
    f->ip = at;
    grow(f, 0);
}

void frame_ip4(struct frame *f, const char *source, const char *target) {
    begin_ip(f, 0x0800, 20, 0x45);
    uint8_t *ip = f->bytes + f->ip;
    ip[8] = 64;
    f->next = f->ip + 9;
    if (inet_pton(AF_INET, source, ip + 12) != 1 || inet_pton(AF_INET, target, ip + 16) != 1)
        abort();
}

void frame_ip6(struct frame *f, const char *source, const char *target) {
    begin_ip(f, 0x86dd, 40, 0x60);
    uint8_t *ip = f->bytes + f->ip;
    ip[6] = 59;
    ip[7] = 64;
    f->next = f->ip + 6;
    if (inet_pton(AF_INET6, source, ip + 8) != 1 || inet_pton(AF_INET6, target, ip + 24) != 1)
        abort();
}

uint8_t *frame_extension(struct frame *f, uint8_t protocol, size_t bytes) {
    f->bytes[f->next] = protocol;
    f->next = f->length;
    uint8_t *header = grow(f, bytes);
    header[0] = 59;
    header[1] = (uint8_t)(protocol == 51 ? bytes / 4 - 2 : bytes / 8 - 1);
    return header;
}

void frame_tcp(struct frame *f, uint8_t flags, uint16_t source_port, uint32_t sequence) {
    f->bytes[f->next] = 6;
    size_t at = f->length;
    uint8_t *tcp = grow(f, 20);
    put16(f, at, source_port);
    put16(f, at + 2, 8443);
    put16(f, at + 4, sequence >> 16);
    put16(f, at + 6, sequence);
    tcp[12] = 5 << 4;
    tcp[13] = flags;
}

void frame_udp(struct frame *f, uint16_t source_port, size_t payload) {
    f->bytes[f->next] = 17;
    size_t at = f->length;
    grow(f, 8 + payload);
    put16(f, at, source_port);
    put16(f, at + 2, 8443);
    put16(f, at + 4, 8 + payload);
}

void frame_icmp(struct frame *f, size_t bytes) {
    f->bytes[f->next] = f->bytes[f->ip] >> 4 == 4 ? 1 : 58;
    grow(f, bytes);
}

void frame_payload(struct frame *f, size_t bytes) {
    grow(f, bytes);
}
