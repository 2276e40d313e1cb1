/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions for our own bugs only; what a peer sent is never asserted. */
#ifndef VX_CORE_BASE_ASSERT_H
#define VX_CORE_BASE_ASSERT_H

/* Reports the broken condition and aborts. The program gives it (the core has no printf); tests give their own. */
_Noreturn void vx_panic(const char *file, int line, const char *condition);

#define VX_UNLIKELY(c) __builtin_expect(!!(c), 0)
#define VX_LIKELY(c)   __builtin_expect(!!(c), 1)

/* Always on: cheap conditions whose breach must stop the program. */
#define VX_CHECK(condition)                                                                                  \
    do {                                                                                                     \
        if (VX_UNLIKELY(!(condition)))                                                                       \
            vx_panic(__FILE__, __LINE__, #condition);                                                        \
    } while (0)

/* On in the sanitizer and simulator builds: invariants too dear for the hot path. */
#ifdef VX_ASSERTIONS
#define VX_ASSERT(condition) VX_CHECK(condition)
#else
#define VX_ASSERT(condition) ((void)0)
#endif

#define VX_CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#endif
