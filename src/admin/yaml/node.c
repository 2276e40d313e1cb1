/* SPDX-License-Identifier: Apache-2.0 */
/* See node.h. The events of libyaml drive a stack of open lists and mappings:
 *
 * event                     | what happens
 * scalar, alias             | added to the innermost open value: as a key where a mapping waits for one, else
 * as value list start, mapping start | added likewise, then pushed list end, mapping end     | popped; its
 * anchor becomes known only now, so no alias can refer to what holds it document start            | a second
 * one is refused
 *
 * Invariants: 1. `values` never exceeds VX_YAML_VALUES_MAX, whatever aliases expand to, because an alias
 * counts for all that it stands for. 2. A mapping's item always has a key before it gets a value. 3. Nodes
 * and items live in the arena; only libyaml's own parser is freed here. */
#include "admin/yaml/node.h"

#include <yaml.h>

#include "admin/yaml/fault.h"

struct anchor {
    struct vx_slice name;
    const struct vx_yaml_node *node;
    struct anchor *next;
};

struct frame {
    struct vx_yaml_node *node;
    struct vx_yaml_item **tail;
    struct vx_yaml_item *waiting; /* a mapping's item that has a key and no value yet */
    struct vx_slice anchor;
};

struct builder {
    struct vx_arena *arena;
    struct vx_config_error *error;
    yaml_parser_t parser;
    struct frame stack[VX_YAML_DEPTH_MAX];
    uint32_t depth;
    uint32_t values;
    uint32_t anchor_count;
    uint32_t documents;
    struct anchor *anchors; /* newest first: a name that is used again means the later value */
    const struct vx_yaml_node *root;
};

static struct vx_place place_of(yaml_mark_t mark) {
    return (struct vx_place){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

const struct vx_yaml_node *vx_yaml_find(const struct vx_yaml_node *mapping, const char *key) {
    struct vx_slice wanted = vx_slice_of(key);
    for (const struct vx_yaml_item *item = mapping->items; item; item = item->next)
        if (item->key && vx_slice_eq(item->key->text, wanted))
            return item->value;
    return NULL;
}

bool vx_yaml_is_null(const struct vx_yaml_node *node) {
    return node->kind == VX_YAML_SCALAR && node->plain &&
           (node->text.len == 0 || vx_slice_eq(node->text, VX_SLICE("~")) ||
            vx_slice_ieq(node->text, VX_SLICE("null")));
}

/* --- What libyaml finds wrong, in words for people
 * ------------------------------------------------------------- */

struct saying {
    const char *theirs, *ours;
};

static const struct saying sayings[] = {
    {"mapping values are not allowed in this context",
     "a `:` cannot stand here; check the indentation, or quote the text that it belongs to"},
    {"did not find expected key",
     "this line does not stand below the keys it belongs to; check its indentation"},
    {"did not find expected '-' indicator",
     "a list item must begin with `-` in the column of the items above it"},
    {"could not find expected ':'", "a key must be followed by `:` and a space"},
    {"did not find expected ',' or '}'", "a `,` or the closing `}` is missing"},
    {"did not find expected ',' or ']'", "a `,` or the closing `]` is missing"},
    {"block sequence entries are not allowed in this context",
     "a list item cannot begin here; put it on its own line"},
    {"found unexpected end of stream", "the quote that begins here is never closed"},
    {"found unknown escape character",
     "this escape is unknown; in double quotes a backslash is written `\\\\`"},
    {"did not find expected node content",
     "a value must stand here; text that begins with a sign needs quotes"},
    {"did not find expected alphabetic or numeric character",
     "`*` and `&` begin the names of anchors; text that begins with one of them needs quotes"},
    {"did not find expected <document start>", "there must be one mapping and nothing after it"},
};

static const char *say(const char *theirs) {
    for (size_t i = 0; i < sizeof(sayings) / sizeof(*sayings); i++)
        if (strcmp(theirs, sayings[i].theirs) == 0)
            return sayings[i].ours;
    return NULL;
}

/* libyaml counts characters, not bytes. */
static char byte_at(struct vx_slice text, yaml_mark_t mark) {
    size_t characters = 0;
    for (size_t i = 0; i < text.len; i++)
        if (((unsigned char)text.ptr[i] & 0xc0) != 0x80 && characters++ == mark.index)
            return text.ptr[i];
    return '\0';
}

static bool fault_of_parser(struct builder *b, struct vx_slice text) {
    const yaml_parser_t *p = &b->parser;
    const char *theirs = p->problem ? p->problem : "";
    yaml_mark_t mark = p->problem_mark;
    if (p->error == YAML_MEMORY_ERROR)
        return vx_yaml_no_memory(b->error);
    if (strcmp(theirs, "found unexpected end of stream") == 0)
        mark = p->context_mark;
    if (strcmp(theirs, "found character that cannot start any token") == 0) {
        if (byte_at(text, mark) == '\t')
            return vx_yaml_fault(b->error, place_of(mark), "a tab cannot indent; use spaces");
        return vx_yaml_fault(b->error, place_of(mark), "text cannot begin like this; put it in quotes");
    }
    const char *ours = say(theirs);
    if (ours)
        return vx_yaml_fault(b->error, place_of(mark), "%s", ours);
    return vx_yaml_fault(b->error, place_of(mark), "this is not valid YAML: %s%s%s",
                         p->context ? p->context : "", p->context ? ", " : "", theirs);
}

/* --- Characters
 * ------------------------------------------------------------------------------------------------ */

/* The length of the UTF-8 character at the front of `s` (RFC 3629) and its number; 0 when it is none. */
static size_t read_character(struct vx_slice s, uint32_t *out) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)s.ptr[0];
    size_t n = first < 0x80   ? 1
               : first < 0xc2 ? 0
               : first < 0xe0 ? 2
               : first < 0xf0 ? 3
               : first < 0xf5 ? 4
                              : 0;
    if (n == 0 || n > s.len)
        return 0;
    uint32_t c = n == 1 ? first : first & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        unsigned char next = (unsigned char)s.ptr[i];
        if ((next & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (next & 0x3f);
    }
    *out = c;
    return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

/* YAML 1.1 §5.1. */
static bool is_printable(uint32_t c) {
    if (c < 0x20)
        return c == '\t' || c == '\n' || c == '\r';
    return (c < 0x7f || c >= 0xa0 || c == 0x85) && c != 0xfeff && c != 0xfffe && c != 0xffff;
}

static bool is_break(uint32_t c) {
    return c == '\n' || c == 0x85 || c == 0x2028 || c == 0x2029;
}

/* libyaml would refuse the same, but without the place. */
static bool check_characters(struct vx_slice text, struct vx_config_error *error) {
    struct vx_place place = {1, 1};
    while (text.len) {
        uint32_t c;
        size_t n = read_character(text, &c);
        if (n == 0)
            return vx_yaml_fault(error, place, "this is not UTF-8 text; save the file as UTF-8");
        if (!is_printable(c))
            return vx_yaml_fault(error, place, "the control character U+%04X cannot stand here; remove it",
                                 c);
        text = vx_slice_skip(text, n);
        if (is_break(c) || (c == '\r' && !(text.len && text.ptr[0] == '\n')))
            place = (struct vx_place){place.line + 1, 1};
        else
            place.column++;
    }
    return true;
}

/* --- The tree
 * -------------------------------------------------------------------------------------------------- */

static struct vx_slice copy_text(struct builder *b, const yaml_char_t *text, size_t len) {
    char *copy = vx_arena_alloc(b->arena, len + 1);
    if (!copy)
        return VX_SLICE_NONE;
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return vx_slice(copy, len);
}

static struct vx_yaml_node *new_node(struct builder *b, enum vx_yaml_kind kind, struct vx_place place) {
    struct vx_yaml_node *node = vx_arena_alloc(b->arena, sizeof(*node));
    if (node)
        *node = (struct vx_yaml_node){.kind = kind, .place = place, .values = 1};
    else
        vx_yaml_no_memory(b->error);
    return node;
}

static bool count_values(struct builder *b, struct vx_place place, uint32_t more) {
    if (more > VX_YAML_VALUES_MAX - b->values)
        return vx_yaml_fault(b->error, place,
                             "the file has more than %d values, those behind aliases included",
                             VX_YAML_VALUES_MAX);
    b->values += more;
    return true;
}

static bool remember_anchor(struct builder *b, struct vx_slice name, const struct vx_yaml_node *node) {
    if (!name.len)
        return true;
    if (b->anchor_count == VX_YAML_ANCHORS_MAX)
        return vx_yaml_fault(b->error, node->place, "there are more than %d anchors", VX_YAML_ANCHORS_MAX);
    struct anchor *anchor = vx_arena_alloc(b->arena, sizeof(*anchor));
    if (!anchor)
        return vx_yaml_no_memory(b->error);
    *anchor = (struct anchor){name, node, b->anchors};
    b->anchors = anchor;
    b->anchor_count++;
    return true;
}

static bool check_key(struct builder *b, const struct vx_yaml_node *key, struct vx_place place) {
    if (key->kind != VX_YAML_SCALAR)
        return vx_yaml_fault(b->error, place, "a key must be plain text, not a list or a mapping");
    if (key->plain && vx_slice_eq(key->text, VX_SLICE("<<")))
        return vx_yaml_fault(
            b->error, place,
            "merge keys (`<<`) are not supported; write the keys out, or alias a whole value");
    return true;
}

/* Puts a finished or just opened value where it belongs. */
static bool add_value(struct builder *b, const struct vx_yaml_node *node, struct vx_place place) {
    if (!count_values(b, place, node->values))
        return false;
    if (b->depth == 0) {
        b->root = node;
        return true;
    }
    struct frame *f = &b->stack[b->depth - 1];
    if (f->waiting) {
        f->waiting->value = node;
        f->waiting = NULL;
        return true;
    }
    struct vx_yaml_item *item = vx_arena_alloc(b->arena, sizeof(*item));
    if (!item)
        return vx_yaml_no_memory(b->error);
    *item = (struct vx_yaml_item){.value = node};
    if (f->node->kind == VX_YAML_MAPPING) {
        if (!check_key(b, node, place))
            return false;
        *item = (struct vx_yaml_item){.key = node};
        f->waiting = item;
    }
    *f->tail = item;
    f->tail = &item->next;
    f->node->count++;
    return true;
}

static bool refuse_tag(struct builder *b, const yaml_char_t *tag, struct vx_place place) {
    if (!tag)
        return true;
    struct vx_yaml_quote q = vx_yaml_quote(vx_slice_of((const char *)tag));
    return vx_yaml_fault(b->error, place, "tags are not supported; remove `%s`", q.text);
}

static bool take_scalar(struct builder *b, const yaml_event_t *e) {
    struct vx_place place = place_of(e->start_mark);
    struct vx_yaml_node *node = new_node(b, VX_YAML_SCALAR, place);
    if (!node || !refuse_tag(b, e->data.scalar.tag, place))
        return false;
    node->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->text = copy_text(b, e->data.scalar.value, e->data.scalar.length);
    if (!node->text.ptr)
        return vx_yaml_no_memory(b->error);
    const char *anchor = (const char *)e->data.scalar.anchor;
    struct vx_slice name = VX_SLICE_NONE;
    if (anchor) {
        name = copy_text(b, e->data.scalar.anchor, strlen(anchor));
        if (!name.ptr)
            return vx_yaml_no_memory(b->error);
    }
    return add_value(b, node, place) && remember_anchor(b, name, node);
}

static bool take_start(struct builder *b, const yaml_event_t *e) {
    bool mapping = e->type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *tag = mapping ? e->data.mapping_start.tag : e->data.sequence_start.tag;
    const yaml_char_t *anchor = mapping ? e->data.mapping_start.anchor : e->data.sequence_start.anchor;
    struct vx_place place = place_of(e->start_mark);
    if (b->depth == VX_YAML_DEPTH_MAX)
        return vx_yaml_fault(b->error, place, "this is nested more than %d levels deep", VX_YAML_DEPTH_MAX);
    if (!refuse_tag(b, tag, place))
        return false;
    struct vx_yaml_node *node = new_node(b, mapping ? VX_YAML_MAPPING : VX_YAML_LIST, place);
    if (!node || !add_value(b, node, place))
        return false;
    struct frame f = {.node = node, .tail = &node->items};
    if (anchor) {
        f.anchor = copy_text(b, anchor, strlen((const char *)anchor));
        if (!f.anchor.ptr)
            return vx_yaml_no_memory(b->error);
    }
    b->stack[b->depth++] = f;
    return true;
}

static bool take_end(struct builder *b) {
    struct frame *f = &b->stack[--b->depth];
    for (const struct vx_yaml_item *item = f->node->items; item; item = item->next)
        f->node->values += item->value->values + (item->key ? 1 : 0);
    return remember_anchor(b, f->anchor, f->node);
}

static bool take_alias(struct builder *b, const yaml_event_t *e) {
    struct vx_slice name = vx_slice_of((const char *)e->data.alias.anchor);
    for (const struct anchor *a = b->anchors; a; a = a->next)
        if (vx_slice_eq(a->name, name))
            return add_value(b, a->node, place_of(e->start_mark));
    struct vx_yaml_quote q = vx_yaml_quote(name);
    return vx_yaml_fault(b->error, place_of(e->start_mark),
                         "the alias `*%s` needs an anchor `&%s` before it, and not around it", q.text,
                         q.text);
}

static bool take_event(struct builder *b, const yaml_event_t *e) {
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->documents++)
            return vx_yaml_fault(b->error, place_of(e->start_mark),
                                 "a second document begins here; a configuration is one document");
        return true;
    case YAML_SCALAR_EVENT:
        return take_scalar(b, e);
    case YAML_ALIAS_EVENT:
        return take_alias(b, e);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return take_start(b, e);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return take_end(b);
    default:
        return true;
    }
}

static bool take_events(struct builder *b, struct vx_slice text) {
    bool good = true, ended = false;
    while (good && !ended) {
        yaml_event_t e;
        if (!yaml_parser_parse(&b->parser, &e))
            return fault_of_parser(b, text);
        ended = e.type == YAML_STREAM_END_EVENT;
        good = take_event(b, &e);
        yaml_event_delete(&e);
    }
    return good;
}

const struct vx_yaml_node *vx_yaml_read_tree(struct vx_slice text, struct vx_arena *arena,
                                             struct vx_config_error *error) {
    struct builder b = {.arena = arena, .error = error};
    if (vx_slice_starts_with(text, VX_SLICE("\xef\xbb\xbf")))
        text = vx_slice_skip(text, 3); /* libyaml would count it as a column */
    if (!check_characters(text, error))
        return NULL;
    if (!yaml_parser_initialize(&b.parser)) {
        vx_yaml_no_memory(error);
        return NULL;
    }
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)(text.len ? text.ptr : ""), text.len);
    bool good = take_events(&b, text);
    yaml_parser_delete(&b.parser);
    if (!good)
        return NULL;
    if (!b.root)
        vx_yaml_fault(error, (struct vx_place){1, 1},
                      "the file is empty; it must have `listeners` and `routes`");
    return b.root;
}
