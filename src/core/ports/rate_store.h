/* SPDX-License-Identifier: Apache-2.0 */
/* Where the debts of rate-limited keys are kept: in memory, or on a Redis that several proxies share. One store a
 * worker; adapters for the same table or server share what they must beneath it. */
#ifndef VX_CORE_PORTS_RATE_STORE_H
#define VX_CORE_PORTS_RATE_STORE_H

#include "core/base/slice.h"
#include "core/limit/gcra.h"

enum vx_rate_verdict {
    VX_RATE_PENDING,      /* not known yet; `decided` follows */
    VX_RATE_PASS,         /* counted */
    VX_RATE_REFUSE,       /* over the limit; not counted */
    VX_RATE_PASS_BLIND,   /* the store is away, and the configuration lets requests pass meanwhile */
    VX_RATE_REFUSE_BLIND, /* the store is away, and the configuration refuses requests meanwhile */
};

/* One question. The asker owns it and fills the first part; everything stays as it is until the answer. */
struct vx_rate_request {
    struct vx_gcra limit;
    struct vx_slice key; /* see core/limit/key.h */
    uint32_t cost;       /* >= 1 */
    /* Called from the loop, once, after take() has returned VX_RATE_PENDING: verdict and debt_ns are filled. */
    void (*decided)(struct vx_rate_request *request, uint64_t now_ns);

    /* The answer. */
    enum vx_rate_verdict verdict;
    uint64_t debt_ns; /* of the key, this request counted if it passed; 0 when blind */

    /* The store's own. */
    void *pending;
    uint64_t hash;
};

struct vx_rate_store {
    /* Before take(), once, with the key filled in: what the store has to fetch for it can be under way meanwhile. */
    void (*prepare)(struct vx_rate_store *self, struct vx_rate_request *request);
    /* Decides at once, or returns VX_RATE_PENDING and decides later. The return value is the request's verdict. */
    enum vx_rate_verdict (*take)(struct vx_rate_store *self, struct vx_rate_request *request,
                                 uint64_t now_ns);
    /* A pending request's asker goes away: it is not told any more. It may have been counted. */
    void (*cancel)(struct vx_rate_store *self, struct vx_rate_request *request);
};

#endif
