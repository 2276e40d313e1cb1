/* SPDX-License-Identifier: Apache-2.0 */
/* See slab.h. Free chunks are listed beside themselves, not inside, so that AddressSanitizer can hold all of a free
 * chunk poisoned and a use after give is seen at once. */
#include "proxy/runtime/slab.h"

#include <stdlib.h>

#include "core/base/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#define VX_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VX_ASAN 1
#endif
#endif

#ifdef VX_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(chunk, bytes)   ASAN_POISON_MEMORY_REGION(chunk, bytes)
#define UNPOISON(chunk, bytes) ASAN_UNPOISON_MEMORY_REGION(chunk, bytes)
#else
#define POISON(chunk, bytes)   ((void)(chunk), (void)(bytes))
#define UNPOISON(chunk, bytes) ((void)(chunk), (void)(bytes))
#endif

static size_t size_of(const struct vx_slab *s, size_t bytes) {
    return bytes <= s->source.chunk_bytes ? s->source.chunk_bytes : bytes;
}

static __attribute__((noinline)) void *take_new(struct vx_slab *s, size_t bytes) {
    void *chunk = malloc(size_of(s, bytes));
    if (!chunk)
        return NULL;
    s->malloc_total++;
    s->taken_total++;
    s->used_bytes += size_of(s, bytes);
    return chunk;
}

static void *take(struct vx_chunk_source *source, size_t bytes) {
    struct vx_slab *s = VX_CONTAINER_OF(source, struct vx_slab, source);
    if (VX_UNLIKELY(bytes > source->chunk_bytes || s->kept_count == 0))
        return take_new(s, bytes);
    void *chunk = s->kept[--s->kept_count];
    UNPOISON(chunk, source->chunk_bytes);
    s->taken_total++;
    s->used_bytes += source->chunk_bytes;
    return chunk;
}

static void give(struct vx_chunk_source *source, void *chunk, size_t bytes) {
    struct vx_slab *s = VX_CONTAINER_OF(source, struct vx_slab, source);
    VX_ASSERT(s->used_bytes >= size_of(s, bytes));
    s->used_bytes -= size_of(s, bytes);
    if (VX_UNLIKELY(bytes > source->chunk_bytes || s->kept_count == s->kept_max)) {
        free(chunk);
        return;
    }
    POISON(chunk, source->chunk_bytes);
    s->kept[s->kept_count++] = chunk;
}

bool vx_slab_init(struct vx_slab *s, size_t chunk_bytes, size_t keep_bytes) {
    VX_CHECK(chunk_bytes > 0 && chunk_bytes % 16 == 0);
    *s = (struct vx_slab){.source = {take, give, chunk_bytes}};
    s->kept_max = (uint32_t)(keep_bytes / chunk_bytes);
    s->kept = calloc(s->kept_max ? s->kept_max : 1, sizeof *s->kept);
    return s->kept != NULL;
}

void vx_slab_free(struct vx_slab *s) {
    for (uint32_t i = 0; i < s->kept_count; i++) {
        UNPOISON(s->kept[i], s->source.chunk_bytes);
        free(s->kept[i]);
    }
    free(s->kept);
    s->kept = NULL;
    s->kept_count = s->kept_max = 0;
}
