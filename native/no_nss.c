/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look-ups that glibc answers through NSS, answered "not found" in the statically linked program.
 *
 * A static glibc loads NSS modules with dlopen, from a libc that may not be there or may differ from the one linked in.
 * Vortex resolves names with c-ares and knows ports by number, so nothing calls these; but c-ares, BoringSSL and Rust's
 * standard library hold calls in code that we do not use, and each would draw the real function in. Defining them here
 * keeps the loader and its warnings out of the program, and makes a call by mistake fail the same way everywhere.
 */
#include <errno.h>
#include <netdb.h>
#include <pwd.h>
#include <stddef.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result) {
    (void)node;
    (void)service;
    (void)hints;
    *result = NULL;
    return EAI_FAIL;
}

/* glibc keeps it beside getaddrinfo, so leaving it out would draw both in. */
void freeaddrinfo(struct addrinfo *result) {
    (void)result;
}

struct servent *getservbyname(const char *name, const char *protocol) {
    (void)name;
    (void)protocol;
    return NULL;
}

int getservbyport_r(int port, const char *protocol, struct servent *entry, char *buffer, size_t size,
                    struct servent **result) {
    (void)port;
    (void)protocol;
    (void)entry;
    (void)buffer;
    (void)size;
    *result = NULL;
    return 0;
}

int getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **result) {
    (void)uid;
    (void)entry;
    (void)buffer;
    (void)size;
    *result = NULL;
    return 0;
}
