/* SPDX-License-Identifier: Apache-2.0 */
/* From text to a tree: places, aliases, what is refused as YAML and what is bounded. */
#include "admin/yaml/node.h"

#include <stdlib.h>

#include "core/base/heap.h"
#include "yaml_test.h"

struct tree {
    struct vx_heap heap;
    struct vx_arena arena;
    char first[64];
    struct vx_config_error error;
    const struct vx_yaml_node *root;
};

static void read_tree(struct tree *t, struct vx_slice text) {
    t->heap = vx_heap(malloc, free, 4096);
    vx_arena_init(&t->arena, t->first, sizeof(t->first), &t->heap.source);
    t->root = vx_yaml_read_tree(text, &t->arena, &t->error);
}

static void refuse(const char *marked, const char *says) {
    static char text[64 * 1024];
    struct tree t;
    assert_true(strlen(marked) < sizeof(text));
    memcpy(text, marked, strlen(marked) + 1);
    struct vx_place place = take_mark(text);
    read_tree(&t, vx_slice_of(text));
    if (t.root)
        fail_msg("accepted: %s", text);
    if (!strstr(t.error.text, says))
        fail_msg("`%s` does not say `%s`: %s", t.error.text, says, text);
    if (t.error.place.line != place.line || t.error.place.column != place.column)
        fail_msg("at %u:%u, not %u:%u: %s\n%s", t.error.place.line, t.error.place.column, place.line,
                 place.column, t.error.text, text);
    vx_arena_reset(&t.arena);
}

static void assert_place(const struct vx_yaml_node *node, uint32_t line, uint32_t column) {
    assert_int_equal(node->place.line, line);
    assert_int_equal(node->place.column, column);
}

static void kinds_and_places(void **state) {
    (void)state;
    struct tree t;
    read_tree(&t, VX_SLICE("a: 1\nb:\n  - 'x'\n  - { c: \"y\" }\nd: [ ]\n\xc3\xa4: \xc3\xb6 # comment\n"));
    assert_non_null(t.root);
    assert_int_equal(t.root->kind, VX_YAML_MAPPING);
    assert_int_equal(t.root->count, 4);
    assert_int_equal(t.root->values, 13);
    const struct vx_yaml_node *a = vx_yaml_find(t.root, "a"), *b = vx_yaml_find(t.root, "b");
    assert_true(a->kind == VX_YAML_SCALAR && a->plain);
    assert_slice(a->text, "1");
    assert_place(a, 1, 4);
    assert_true(b->kind == VX_YAML_LIST && b->count == 2);
    const struct vx_yaml_node *x = b->items->value, *inner = b->items->next->value;
    assert_false(x->plain);
    assert_null(b->items->key);
    assert_place(x, 3, 5);
    assert_place(inner, 4, 5);
    assert_place(vx_yaml_find(inner, "c"), 4, 10);
    assert_int_equal(vx_yaml_find(t.root, "d")->count, 0);
    assert_place(vx_yaml_find(t.root, "\xc3\xa4"), 6, 4);
    assert_null(vx_yaml_find(t.root, "e"));
    vx_arena_reset(&t.arena);
}

static void null_values(void **state) {
    (void)state;
    struct tree t;
    read_tree(&t, VX_SLICE("[~, null, NULL, '', \"null\", 0, {a: }]"));
    static const bool null[] = {true, true, true, false, false, false, false};
    size_t i = 0;
    for (const struct vx_yaml_item *item = t.root->items; item; item = item->next)
        assert_int_equal(vx_yaml_is_null(item->value), null[i++]);
    assert_int_equal(i, 7);
    vx_arena_reset(&t.arena);
}

static void aliases_are_shared(void **state) {
    (void)state;
    struct tree t;
    read_tree(&t, VX_SLICE("a: &x {k: v}\nb: *x\nc: &x 5\nd: *x\n"));
    assert_ptr_equal(vx_yaml_find(t.root, "a"), vx_yaml_find(t.root, "b"));
    assert_ptr_equal(vx_yaml_find(t.root, "c"), vx_yaml_find(t.root, "d"));
    assert_place(vx_yaml_find(t.root, "b"), 1, 4);
    assert_int_equal(t.root->values, 1 + 4 + 3 + 3 + 1 + 1);
    vx_arena_reset(&t.arena);
}

static void byte_order_mark_is_no_column(void **state) {
    (void)state;
    struct tree t;
    read_tree(&t, VX_SLICE("\xef\xbb\xbf"
                           "a: 1\nb: 2\n"));
    assert_non_null(t.root);
    assert_place(vx_yaml_find(t.root, "a"), 1, 4);
    assert_place(vx_yaml_find(t.root, "b"), 2, 4);
    vx_arena_reset(&t.arena);
}

static void structure(void **state) {
    (void)state;
    refuse("", "the file is empty");
    refuse("# nothing\n", "the file is empty");
    refuse("---\na: 1\n@@---\nb: 2\n", "second document");
    refuse("a: 1\n...\n@@b: 2\n", "nothing after it");
    refuse("? @@[a]\n: 1\n", "a key must be plain text");
    refuse("@@{a: 1}: 1\n", "a key must be plain text");
    refuse("a: {@@<<: {b: 1}}\n", "merge keys");
    refuse("a: @@!!str 1\n", "tags are not supported");
    refuse("a: @@!x {b: 1}\n", "tags are not supported");
    refuse("a: @@*b\n", "needs an anchor `&b`");
    refuse("a: *@@.example.org\n", "begins with one of them needs quotes");
    refuse("{a: *@@, b: c}\n", "begins with one of them needs quotes");
    refuse("a: &b [ @@*b ]\n", "not around it");
    refuse("a: &b { c: [ @@*b ] }\n", "not around it");
}

static void syntax(void **state) {
    (void)state;
    refuse("a:\n@@\tb: 1\n", "a tab cannot indent");
    refuse("\xc3\xa4:\n@@\tb: 1\n", "a tab cannot indent");
    refuse("a: @@`b`\n", "put it in quotes");
    refuse("\xc3\xa4\xc3\xb6\xc3\xbc: @@@b\n", "put it in quotes");
    refuse("a: b@@: c\n", "a `:` cannot stand here");
    refuse("a:\n    b: 1\n  @@c: 2\n", "check its indentation");
    refuse("a: @@'b\nc: d\n", "never closed");
    refuse("a: @@\"b\nc: d\n", "never closed");
    refuse("a: [1, 2\nb@@: 3\n", "`]` is missing");
    refuse("a: {b: 1\nc@@: 3\n", "`}` is missing");
    refuse("a: \"@@\\q\"\n", "escape is unknown");
    refuse("a:\n  - b\n  @@c: d\n", "a list item must begin with `-`");
    refuse("a: b\nc\n@@", "must be followed by `:`");
    refuse("a: [@@:80]\n", "needs quotes");
    refuse("a: @@- b\n", "a list item cannot begin here");
}

static void characters(void **state) {
    (void)state;
    refuse("a: x\nb: y@@\x01z\n", "control character U+0001");
    refuse("\xc3\xa4: @@\x7f\n", "control character U+007F");
    refuse("a: @@\xef\xbb\xbf\n", "control character U+FEFF");
    refuse("a: @@\xff\n", "not UTF-8");
    refuse("a: @@\xc3", "not UTF-8");
    refuse("a: @@\xc0\xaf\n", "not UTF-8");
    refuse("a: @@\xe0\x80\x80\n", "not UTF-8");
    refuse("a: @@\xed\xa0\x80\n", "not UTF-8");
    refuse("a: @@\xf4\x90\x80\x80\n", "not UTF-8");
    refuse("a: \xe2\x82\xac\n@@\x80\n", "not UTF-8");
    refuse("a: b\r\nc: @@\x02\n", "control character U+0002");
    struct tree t;
    read_tree(&t, VX_SLICE("\xff\xfe\x61\x00\x3a\x00")); /* UTF-16 */
    assert_null(t.root);
    assert_non_null(strstr(t.error.text, "save the file as UTF-8"));
    vx_arena_reset(&t.arena);
    read_tree(&t, VX_SLICE("a: b\0c\n"));
    assert_null(t.root);
    assert_non_null(strstr(t.error.text, "control character U+0000"));
    assert_int_equal(t.error.place.column, 5);
    vx_arena_reset(&t.arena);
}

static void depth_is_bounded(void **state) {
    (void)state;
    char text[3 * VX_YAML_DEPTH_MAX + 8] = "";
    for (int i = 0; i < VX_YAML_DEPTH_MAX; i++)
        text[i] = '[';
    memcpy(text + VX_YAML_DEPTH_MAX, "@@[", 4);
    refuse(text, "nested more than 32 levels");
    for (int i = 0; i < VX_YAML_DEPTH_MAX; i++)
        text[VX_YAML_DEPTH_MAX + i] = ']';
    text[2 * VX_YAML_DEPTH_MAX] = '\0';
    struct tree t;
    read_tree(&t, vx_slice_of(text));
    assert_non_null(t.root);
    vx_arena_reset(&t.arena);
}

/* Ten lines that stand for 10^10 values. */
static void billion_laughs(void **state) {
    (void)state;
    static char text[4096];
    size_t n = (size_t)snprintf(text, sizeof(text), "a0: &a0 x\n");
    for (int i = 1; i <= 10; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s*a%d", k ? ", " : "", i - 1);
        n += (size_t)snprintf(text + n, sizeof(text) - n, "]\n");
    }
    struct tree t;
    read_tree(&t, vx_slice(text, n));
    assert_null(t.root);
    assert_non_null(strstr(t.error.text, "more than 1000000 values"));
    assert_int_equal(t.error.place.line, 7);
    vx_arena_reset(&t.arena);
}

static void anchors_are_bounded(void **state) {
    (void)state;
    static char text[32 * 1024];
    size_t n = 0;
    for (int i = 0; i <= VX_YAML_ANCHORS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "- &a%d x\n", i);
    struct tree t;
    read_tree(&t, vx_slice(text, n));
    assert_null(t.root);
    assert_non_null(strstr(t.error.text, "more than 1000 anchors"));
    assert_int_equal(t.error.place.line, VX_YAML_ANCHORS_MAX + 1);
    vx_arena_reset(&t.arena);
}

/* The arena's end is an error like any other, at whatever allocation it comes. */
static void memory_can_end(void **state) {
    (void)state;
    static const char text[] = "a: &x {b: [c, 'd'], e: f}\ng: *x\n";
    bool done = false;
    for (size_t bytes = 8; !done; bytes += 8) {
        static char first[8192];
        struct vx_arena arena;
        struct vx_config_error error;
        assert_true(bytes < sizeof(first));
        vx_arena_init(&arena, first, bytes, NULL);
        done = vx_yaml_read_tree(VX_SLICE(text), &arena, &error) != NULL;
        if (!done)
            assert_non_null(strstr(error.text, "not enough memory"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_and_places),   cmocka_unit_test(null_values),
        cmocka_unit_test(aliases_are_shared), cmocka_unit_test(byte_order_mark_is_no_column),
        cmocka_unit_test(structure),          cmocka_unit_test(syntax),
        cmocka_unit_test(characters),         cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(billion_laughs),     cmocka_unit_test(anchors_are_bounded),
        cmocka_unit_test(memory_can_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
