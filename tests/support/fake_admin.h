/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy that may be asked things and has nothing behind it: notes what it is asked and answers by script. */
#ifndef VX_TESTS_SUPPORT_FAKE_ADMIN_H
#define VX_TESTS_SUPPORT_FAKE_ADMIN_H

#include "core/ports/admin.h"

struct fake_admin {
    struct vx_admin_port port;
    char asked[256]; /* the last question: method and arguments, each behind a blank */
    unsigned questions;
    struct vx_admin_answer answer;
    bool later;                  /* the answer comes by fake_admin_answer */
    struct vx_admin_call *waits; /* for it */
};

void fake_admin_init(struct fake_admin *a);

/* Answers the question that waits. */
void fake_admin_answer(struct fake_admin *a);

#endif
