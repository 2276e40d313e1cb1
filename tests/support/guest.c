/* SPDX-License-Identifier: Apache-2.0 */
/* See guest.h. */
#include "support/guest.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/file.h"

/* Stands in the place of libc's in programs that this is linked into: cmocka sets handlers for the time of each test, and
 * these would replace Wasmtime's. */
void (*signal(int number, void (*handler)(int)))(int) {
    struct sigaction now = {.sa_handler = handler}, before = {.sa_handler = SIG_DFL};
    if (number != SIGSEGV && number != SIGILL && number != SIGFPE && number != SIGBUS)
        sigaction(number, &now, &before);
    return before.sa_handler;
}

struct vx_slice vx_guest_load(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.wasm", VX_GUESTS, name);
    size_t bytes;
    char *data = vx_test_read_file(path, &bytes);
    return vx_slice(data, bytes);
}

void vx_guest_free(struct vx_slice binary) {
    free((char *)(uintptr_t)binary.ptr);
}
