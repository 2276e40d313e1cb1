/* SPDX-License-Identifier: Apache-2.0 */
/* See guest.h. */
#include "support/guest.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

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
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "no guest at %s\n", path);
        abort();
    }
    fseek(f, 0, SEEK_END);
    size_t bytes = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(bytes + 1);
    if (!data || fread(data, 1, bytes, f) != bytes)
        abort();
    fclose(f);
    return vx_slice(data, bytes);
}

void vx_guest_free(struct vx_slice binary) {
    free((char *)(uintptr_t)binary.ptr);
}
