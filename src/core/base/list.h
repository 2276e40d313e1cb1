/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked list with a sentinel. An unlinked node points to itself, so unlinking twice is harmless. */
#ifndef VX_CORE_BASE_LIST_H
#define VX_CORE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/assert.h"

struct vx_list {
    struct vx_list *next, *prev;
};

static inline void vx_list_init(struct vx_list *l) {
    l->next = l->prev = l;
}

static inline bool vx_list_empty(const struct vx_list *l) {
    return l->next == l;
}

static inline void vx_list_insert_before(struct vx_list *at, struct vx_list *node) {
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void vx_list_push_back(struct vx_list *head, struct vx_list *node) {
    vx_list_insert_before(head, node);
}

static inline void vx_list_push_front(struct vx_list *head, struct vx_list *node) {
    vx_list_insert_before(head->next, node);
}

static inline void vx_list_remove(struct vx_list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    vx_list_init(node);
}

/* How many nodes there are; looks at each. */
static inline uint32_t vx_list_length(const struct vx_list *l) {
    uint32_t n = 0;
    for (const struct vx_list *at = l->next; at != l; at = at->next)
        n++;
    return n;
}

/* The first node taken off, or NULL when the list is empty. */
static inline struct vx_list *vx_list_pop_front(struct vx_list *head) {
    if (vx_list_empty(head))
        return NULL;
    struct vx_list *node = head->next;
    vx_list_remove(node);
    return node;
}

#endif
