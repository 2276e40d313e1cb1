/* SPDX-License-Identifier: Apache-2.0 */
/* Keys for TLS session tickets, one set for all workers and listeners, kept across reloads: a client that
 * comes back to another worker, or after a reload, resumes. A new key every hour; a ticket is taken for a
 * day. */
#ifndef VX_PROXY_TLS_TICKETS_H
#define VX_PROXY_TLS_TICKETS_H

#include <stdbool.h>
#include <stdint.h>

struct vx_tls_tickets;

/* Reference-counted: each vx_tls_server holds it. NULL: no memory. */
struct vx_tls_tickets *vx_tls_tickets_new(uint64_t now_ns);
struct vx_tls_tickets *vx_tls_tickets_hold(struct vx_tls_tickets *k);
void vx_tls_tickets_drop(struct vx_tls_tickets *k);

/* Makes a new key if the newest one is an hour old and forgets those older than a day. `now_ns`:
 * CLOCK_MONOTONIC, as given to _new. Control thread, now and then (every few minutes). */
void vx_tls_tickets_rotate(struct vx_tls_tickets *k, uint64_t now_ns);

#endif
