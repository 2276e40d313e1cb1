/* SPDX-License-Identifier: Apache-2.0 */
/* Ethernet frames for the XDP program, put together header by header; lengths are filled in as they grow. */
#ifndef VX_TESTS_SUPPORT_FRAME_H
#define VX_TESTS_SUPPORT_FRAME_H

#include <stddef.h>
#include <stdint.h>

struct frame {
    uint8_t bytes[2048];
    size_t length;
    size_t type; /* where the EtherType of what comes next goes */
    size_t ip;   /* where the IP header begins */
    size_t next; /* where the number of the next protocol goes */
};

enum { FRAME_FIN = 1, FRAME_SYN = 2, FRAME_RST = 4, FRAME_PSH = 8, FRAME_ACK = 16 };

void frame_begin(struct frame *f);
void frame_tag(struct frame *f, uint16_t type);
/* Addresses as text. */
void frame_ip4(struct frame *f, const char *source, const char *target);
void frame_ip6(struct frame *f, const char *source, const char *target);
/* An IPv6 extension header of `bytes` (a multiple of 8); the rest of it is zero. */
uint8_t *frame_extension(struct frame *f, uint8_t protocol, size_t bytes);
void frame_tcp(struct frame *f, uint8_t flags, uint16_t source_port, uint32_t sequence);
void frame_udp(struct frame *f, uint16_t source_port, size_t payload);
void frame_icmp(struct frame *f, size_t bytes);
/* Zero bytes as payload. */
void frame_payload(struct frame *f, size_t bytes);

#endif
