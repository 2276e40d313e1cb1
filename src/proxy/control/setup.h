/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration with the certificates and filters it names, loaded and checked: what `vortex check` tests and a reload swaps in.
 * Reference-counted by the control thread alone. */
#ifndef VX_PROXY_CONTROL_SETUP_H
#define VX_PROXY_CONTROL_SETUP_H

#include "core/ports/filter.h"
#include "proxy/tls/client.h"
#include "proxy/tls/server.h"

/* One of the engine's filters, held once for all setups that have it. */
struct vx_setup_filter {
    struct vx_filter *filter;
    uint32_t holders;
    bool pushed; /* its module is not the one of its file */
};

struct vx_setup {
    struct vx_config *config;
    struct vx_tls_server **servers;  /* by listener; NULL: plain */
    struct vx_tls_client **clients;  /* by route; NULL: plain */
    uint64_t *client_identities;     /* by route: differs when settings or files do; 0: plain HTTP/1 */
    struct vx_tls_client *store_tls; /* of rate limits; NULL: plain */
    uint64_t store_identity;         /* differs when anything about the store does; 0: the table in memory */
    struct vx_filter_engine *engine;
    struct vx_filter **filters;      /* by filter of the configuration */
    struct vx_setup_filter **loaded; /* the same, with who holds them */
    struct vx_setup *origin;         /* whose configuration and certificates these are; often itself */
    uint32_t holders;                /* of all of it */
    uint32_t keepers;                /* of all but the filters; the holders together count one */
    uint32_t sharers;                /* setups whose origin this is */
};

/* Reads the configuration at `path` and everything it names; compiles and starts its filters, but for those that are
 * running already (`filters` NULL: a configuration that names some is refused). NULL: *error says what is wrong and where. Control thread, blocks on files, and for seconds on a large
 * filter. */
struct vx_setup *vx_setup_load(const char *path, struct vx_tls_tickets *tickets,
                               struct vx_filter_engine *filters, struct vx_config_error *error);

/* The same setup, but for the module of filter `index`, which is `binary`, compiled and started. NULL: *error says what is
 * wrong with it. Control thread. */
struct vx_setup *vx_setup_with_filter(struct vx_setup *from, uint32_t index, struct vx_slice binary,
                                      struct vx_config_error *error);

struct vx_setup *vx_setup_hold(struct vx_setup *s);
void vx_setup_drop(struct vx_setup *s); /* NULL is allowed */

/* The same without the filters: the last vx_setup_drop() lets go of them. */
struct vx_setup *vx_setup_keep(struct vx_setup *s);
void vx_setup_release(struct vx_setup *s);

#endif
