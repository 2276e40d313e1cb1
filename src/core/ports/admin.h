/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator may ask of a running proxy. The control thread answers (src/proxy/control); the admin service asks it
 * for whoever speaks to the socket, and its client is the same port again, at the far end of that socket
 * (src/admin/service). One thread, all of it. */
#ifndef VX_CORE_PORTS_ADMIN_H
#define VX_CORE_PORTS_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/slice.h"

struct vx_admin_stats {
    uint32_t active_connections, workers, pid;
    uint64_t connections_total, uptime_seconds;
    uint64_t config_version; /* counts up with each configuration taken up, from 1 */
    struct vx_slice config_path;
    struct vx_slice state;   /* as /readyz says */
    struct vx_slice version; /* the program's */
};

struct vx_admin_ban {
    struct vx_slice address; /* a prefix where more than one address is banned */
    uint64_t remaining_ms;
    uint32_t strikes; /* bans in a row, this one included */
    bool manual;      /* asked for by an operator */
};

enum vx_admin_outcome {
    VX_ADMIN_DONE,
    VX_ADMIN_REFUSED, /* the proxy says no, and nothing has changed */
    VX_ADMIN_FAILED,  /* nobody could be asked, or the answer was lost */
};

enum { VX_ADMIN_ROOM = 1024 };

/* What became of a request. The slices are borrowed until the loop goes on. */
struct vx_admin_answer {
    enum vx_admin_outcome outcome;
    struct vx_slice text;        /* for a person: what was done, or why not; of dump(): what was asked for */
    struct vx_admin_stats stats; /* of stats() */
    const struct vx_admin_ban *bans; /* of list_bans() */
    uint32_t ban_count;
    char room[VX_ADMIN_ROOM]; /* for a text that is written for this answer */
};

/* Somebody who waits for an answer that takes longer: lives until `answered`, which comes exactly once, from the loop. */
struct vx_admin_call {
    void (*answered)(struct vx_admin_call *call, const struct vx_admin_answer *answer);
};

enum vx_admin_when {
    VX_ADMIN_NOW,   /* *answer is filled; the call is forgotten */
    VX_ADMIN_LATER, /* call->answered follows; *answer is not used */
};

/* Arguments are borrowed for the call; *answer comes zeroed. */
struct vx_admin_port {
    /* Loads the configuration at `path` (empty: the file in use, read again) and puts it to use. */
    enum vx_admin_when (*reload)(struct vx_admin_port *self, struct vx_slice path, struct vx_admin_call *call,
                                 struct vx_admin_answer *answer);
    enum vx_admin_when (*stats)(struct vx_admin_port *self, struct vx_admin_call *call,
                                struct vx_admin_answer *answer);
    /* Replaces the module of the filter `name` (empty: the only one) by `binary`. */
    enum vx_admin_when (*update_plugin)(struct vx_admin_port *self, struct vx_slice name,
                                        struct vx_slice binary, struct vx_admin_call *call,
                                        struct vx_admin_answer *answer);
    enum vx_admin_when (*list_bans)(struct vx_admin_port *self, struct vx_admin_call *call,
                                    struct vx_admin_answer *answer);
    /* `duration_ms` 0: as configured. */
    enum vx_admin_when (*add_ban)(struct vx_admin_port *self, struct vx_slice address, uint64_t duration_ms,
                                  struct vx_admin_call *call, struct vx_admin_answer *answer);
    enum vx_admin_when (*remove_ban)(struct vx_admin_port *self, struct vx_slice address,
                                     struct vx_admin_call *call, struct vx_admin_answer *answer);
    /* Everything that the proxy's parts say of themselves. */
    enum vx_admin_when (*dump)(struct vx_admin_port *self, struct vx_admin_call *call,
                               struct vx_admin_answer *answer);
};

#endif
