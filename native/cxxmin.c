/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole C++ runtime that BoringSSL needs when it is built with -fno-exceptions -fno-rtti, so that libstdc++ need
 * not be linked. Hidden: in a dynamically linked test program these must not take the place of the operators that
 * libasan or libstdc++ brings for its own use.
 */
#include <stddef.h>
#include <stdlib.h>

#define HIDDEN __attribute__((visibility("hidden")))

HIDDEN void _ZdlPv(void *p);
HIDDEN void _ZdlPvm(void *p, size_t n);
HIDDEN _Noreturn void __cxa_pure_virtual(void);
HIDDEN _Noreturn void _ZSt24__throw_out_of_range_fmtPKcz(const char *format, ...);

/* operator delete(void *) */
void _ZdlPv(void *p) {
    free(p);
}

/* operator delete(void *, unsigned long) */
void _ZdlPvm(void *p, size_t n) {
    (void)n;
    free(p);
}

_Noreturn void __cxa_pure_virtual(void) {
    abort();
}

/* std::__throw_out_of_range_fmt(char const *, ...) */
_Noreturn void _ZSt24__throw_out_of_range_fmtPKcz(const char *format, ...) {
    (void)format;
    abort();
}
