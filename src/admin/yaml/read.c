/* SPDX-License-Identifier: Apache-2.0 */
/* Walks a tree of values along the schema: defaults first, then each key in the order of the file, then what is
 * missing, then the mapping's own rules. The first fault ends it. */
#include "admin/yaml/read.h"

#include <stdio.h>

#include "admin/yaml/fault.h"
#include "admin/yaml/json.h"
#include "admin/yaml/scalar.h"
#include "core/config/check.h"

enum { PHRASE_BYTES = 256, KEYS_MAX = 64 };

static bool read_value(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                       const struct vx_yaml_node *node, char *base);
static bool read_mapping(struct vx_yaml_reader *r, const struct vx_yaml_shape *shape,
                         const struct vx_yaml_node *node, char *self, void *parent);

/* --- What is said when a value does not fit ---------------------------------------------------------------------- */

struct wording {
    const char *what, *such_as;
};

static const struct wording wordings[] = {
    [VX_YAML_FLAG] = {"`true` or `false`", ""},
    [VX_YAML_COUNT] = {"a whole number", ""},
    [VX_YAML_DURATION] = {"a duration", ", such as `500ms`, `5s` or `1m`"},
    [VX_YAML_SIZE] = {"a size", ", such as `64KiB`, `1MiB` or a number of bytes"},
    [VX_YAML_PERCENT] = {"a percentage", ", such as `20%`"},
    [VX_YAML_CHOICE] = {"", ""},
    [VX_YAML_FRACTION] = {"a number", ""},
    [VX_YAML_TEXT] = {"text", ""},
    [VX_YAML_PATH] = {"the path of a file", ""},
    [VX_YAML_ADDRESS] = {"an address", ", such as `127.0.0.1:8080`"},
    [VX_YAML_PREFIX] = {"an IP address or a prefix", ", such as `10.0.0.0/8`"},
    [VX_YAML_GROUP] = {"a mapping", ""},
    [VX_YAML_LIST_OF] = {"a list", ""},
    [VX_YAML_CONDITIONS] = {"a mapping of header names to values", ""},
    [VX_YAML_DATA] = {"text, a mapping or a list", ""},
};

/* Appends to `out`, which has PHRASE_BYTES; what does not fit is cut. */
static void add(char *out, const char *text) {
    size_t n = strlen(out);
    snprintf(out + n, PHRASE_BYTES - n, "%s", text);
}

static void add_word(char *out, const char *before, const char *word) {
    add(out, before);
    add(out, "`");
    add(out, word);
    add(out, "`");
}

/* What a value of this row must be. */
static void describe(const struct vx_yaml_key *row, char out[PHRASE_BYTES]) {
    const struct wording *w = &wordings[row->type];
    out[0] = '\0';
    add(out, w->what);
    if (row->low) {
        add(out, " from ");
        add(out, row->low);
        add(out, row->type == VX_YAML_FRACTION ? " to below " : " to ");
        add(out, row->high);
    }
    add(out, w->such_as);
    for (const struct vx_yaml_word *word = row->words; word && word->text; word++) {
        bool alone = word == row->words && row->type == VX_YAML_CHOICE;
        add_word(out, alone ? "" : word[1].text ? ", " : " or ", word->text);
    }
    if (row->can_be_off)
        add(out, ", or `on` or `off`");
}

static struct vx_yaml_quote found(const struct vx_yaml_node *node) {
    if (node->kind == VX_YAML_LIST)
        return vx_yaml_quote(VX_SLICE("a list"));
    if (node->kind == VX_YAML_MAPPING)
        return vx_yaml_quote(VX_SLICE("a mapping"));
    if (vx_yaml_is_null(node))
        return vx_yaml_quote(VX_SLICE("nothing"));
    struct vx_yaml_quote inner = vx_yaml_quote(node->text), q;
    inner.text[sizeof(inner.text) - 8] = '\0';
    snprintf(q.text, sizeof(q.text), node->plain ? "`%s`" : "`\"%s\"`", inner.text);
    return q;
}

static bool must_be(struct vx_yaml_reader *r, const struct vx_yaml_key *row, const struct vx_yaml_node *node,
                    const char *what) {
    uint64_t number;
    bool unit_missing = node->kind == VX_YAML_SCALAR && vx_yaml_read_count(node->text, &number) &&
                        ((row->type == VX_YAML_DURATION && number > 0) || row->type == VX_YAML_PERCENT);
    return vx_yaml_fault(r->error, node->place, "%s`%s` must be %s; found %s%s", row->item ? "each of " : "",
                         row->name, what, found(node).text, unit_missing ? ", which lacks its unit" : "");
}

static bool wrong_value(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                        const struct vx_yaml_node *node) {
    char phrase[PHRASE_BYTES];
    describe(row, phrase);
    return must_be(r, row, node, phrase);
}

/* --- Single values ------------------------------------------------------------------------------------------------ */

static void store(char *base, const struct vx_yaml_key *row, uint64_t value) {
    char *field = base + row->offset;
    switch (row->bytes) {
    case 1:
        *(uint8_t *)field = (uint8_t)value;
        break;
    case 2:
        *(uint16_t *)field = (uint16_t)value;
        break;
    case 4:
        *(uint32_t *)field = (uint32_t)value;
        break;
    case 8:
        *(uint64_t *)field = value;
        break;
    default:
        break; /* only checked */
    }
}

static bool find_word(const struct vx_yaml_key *row, struct vx_slice text, uint64_t *out) {
    for (const struct vx_yaml_word *w = row->words; w && w->text; w++)
        if (vx_slice_eq(text, vx_slice_of(w->text))) {
            *out = w->value;
            return true;
        }
    return false;
}

static bool read_number(enum vx_yaml_type type, struct vx_slice text, uint64_t *out) {
    switch (type) {
    case VX_YAML_COUNT:
        return vx_yaml_read_count(text, out);
    case VX_YAML_DURATION:
        return vx_yaml_read_duration(text, out);
    case VX_YAML_SIZE:
        return vx_yaml_read_size(text, out);
    case VX_YAML_PERCENT:
        return vx_yaml_read_percent(text, out);
    default:
        return false;
    }
}

static bool read_bounded(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                         const struct vx_yaml_node *node, char *base) {
    uint64_t value, low, high;
    if (!find_word(row, node->text, &value)) {
        /* In quotes a whole number is text, as in JSON. */
        if (row->type == VX_YAML_COUNT && !node->plain)
            return wrong_value(r, row, node);
        if (!read_number(row->type, node->text, &value) ||
            !read_number(row->type, vx_slice_of(row->low), &low) ||
            !read_number(row->type, vx_slice_of(row->high), &high) || value < low || value > high)
            return wrong_value(r, row, node);
    }
    store(base, row, value);
    return true;
}

static bool read_fraction(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                          const struct vx_yaml_node *node, char *base) {
    double value, low, high;
    if (!node->plain || !vx_yaml_read_fraction(node->text, &value) ||
        !vx_yaml_read_fraction(vx_slice_of(row->low), &low) ||
        !vx_yaml_read_fraction(vx_slice_of(row->high), &high) || value < low || value >= high)
        return wrong_value(r, row, node);
    *(double *)(base + row->offset) = value;
    return true;
}

static bool read_flag(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                      const struct vx_yaml_node *node, char *base) {
    bool value;
    if (!node->plain || !vx_yaml_read_flag(node->text, &value))
        return wrong_value(r, row, node);
    store(base, row, value);
    return true;
}

static bool read_choice(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                        const struct vx_yaml_node *node, char *base) {
    uint64_t value;
    if (!find_word(row, node->text, &value))
        return wrong_value(r, row, node);
    store(base, row, value);
    return true;
}

/* Empty text is the same as no text, so that a template may leave a value blank. */
static bool read_text(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                      const struct vx_yaml_node *node, char *base) {
    const char *must;
    if (node->text.len == 0 && !row->required && !row->item)
        return true;
    if (!row->check(node->text, &must))
        return must_be(r, row, node, must);
    struct vx_slice copy = vx_arena_copy(r->arena, node->text);
    if (!copy.ptr)
        return vx_yaml_no_memory(r->error);
    *(struct vx_slice *)(base + row->offset) = copy;
    return true;
}

/* An absolute path in the configuration's arena, followed by a NUL that is not counted; ptr NULL: no memory. */
static struct vx_slice absolute(struct vx_yaml_reader *r, struct vx_slice path) {
    bool relative = path.len == 0 || path.ptr[0] != '/';
    size_t head = relative ? r->folder.len + 1 : 0;
    char *out = vx_arena_alloc(r->arena, head + path.len + 1);
    if (!out)
        return VX_SLICE_NONE;
    if (relative) {
        memcpy(out, r->folder.ptr, r->folder.len);
        out[r->folder.len] = '/';
    }
    if (path.len)
        memcpy(out + head, path.ptr, path.len);
    out[head + path.len] = '\0';
    return vx_slice(out, head + path.len);
}

struct vx_slice vx_yaml_lower(struct vx_yaml_reader *r, struct vx_slice text) {
    char *out = vx_arena_alloc(r->arena, text.len ? text.len : 1);
    for (size_t i = 0; out && i < text.len; i++)
        out[i] = vx_lower(text.ptr[i]);
    return vx_slice(out, text.len);
}

static bool has_control(struct vx_slice text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < 0x20)
            return true;
    return false;
}

/* The file will be looked at when all values are right. ptr NULL: there was no memory for the path. */
static bool note_path(struct vx_yaml_reader *r, struct vx_slice path, struct vx_place place,
                      enum vx_yaml_path_use use) {
    struct vx_yaml_path *entry = path.ptr ? vx_arena_alloc(r->scratch, sizeof(*entry)) : NULL;
    if (!entry)
        return vx_yaml_no_memory(r->error);
    *entry = (struct vx_yaml_path){.path = path, .place = place, .use = use};
    *r->last_path = entry;
    r->last_path = &entry->next;
    return true;
}

static bool read_path(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                      const struct vx_yaml_node *node, char *base) {
    struct vx_slice *field = (struct vx_slice *)(base + row->offset);
    uint64_t unused;
    if (node->text.len == 0 && !row->required)
        return true;
    if (node->text.len == 0 || node->text.len > 4000 || has_control(node->text))
        return wrong_value(r, row, node);
    if (find_word(row, node->text, &unused)) {
        *field = vx_arena_copy(r->arena, node->text);
        return field->ptr || vx_yaml_no_memory(r->error);
    }
    *field = absolute(r, node->text);
    return note_path(r, *field, node->place, row->use);
}

static bool read_address(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                         const struct vx_yaml_node *node, char *base) {
    struct vx_address a;
    const char *must;
    if (!vx_address_parse(node->text, &a, &must))
        return must_be(r, row, node, must);
    if (a.kind == VX_ADDRESS_NAME && row->no_names)
        return must_be(r, row, node,
                       "an IP address with a port, or `unix:` and a path, as no name is looked up");
    if (a.kind == VX_ADDRESS_UNIX && a.text.ptr[0] != '@') {
        a.text = absolute(r, a.text);
        if (a.text.ptr && a.text.len > VX_ADDRESS_UNIX_MAX_BYTES)
            return must_be(r, row, node, "a UNIX socket whose absolute path has at most 107 bytes");
        /* Those that take no name are our own to listen on. */
        if (row->no_names && !note_path(r, a.text, node->place, VX_YAML_WRITE_FILE))
            return false;
    } else if (a.text.len) {
        a.text = vx_arena_copy(r->arena, a.text);
    }
    if (a.kind >= VX_ADDRESS_UNIX && !a.text.ptr)
        return vx_yaml_no_memory(r->error);
    *(struct vx_address *)(base + row->offset) = a;
    return true;
}

static bool read_prefix(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                        const struct vx_yaml_node *node, char *base) {
    if (!vx_prefix_parse(node->text, (struct vx_prefix *)(base + row->offset)))
        return wrong_value(r, row, node);
    return true;
}

/* --- Mappings and lists ------------------------------------------------------------------------------------------- */

static void clear_list(const struct vx_yaml_key *row, char *base) {
    memset(base + row->offset, 0, sizeof(void *));
    memset(base + row->count - 1, 0, sizeof(uint32_t));
}

static void clear_group(const struct vx_yaml_shape *shape, char *base) {
    for (uint32_t i = 0; i < shape->key_count; i++) {
        const struct vx_yaml_key *row = &shape->keys[i];
        if (row->type == VX_YAML_GROUP) {
            clear_group(row->shape, base + row->offset);
        } else if (row->type == VX_YAML_LIST_OF) {
            clear_list(row, base);
        } else {
            memset(base + row->offset, 0, row->bytes);
        }
    }
}

static bool read_group(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                       const struct vx_yaml_node *node, char *base) {
    static const struct vx_yaml_node nothing = {.kind = VX_YAML_MAPPING};
    struct vx_yaml_node empty = nothing;
    bool on = true;
    if (node->kind != VX_YAML_MAPPING) {
        if (!row->can_be_off || node->kind != VX_YAML_SCALAR || !node->plain ||
            !vx_yaml_read_flag(node->text, &on))
            return wrong_value(r, row, node);
        if (!on) {
            if (!row->shape->apart)
                clear_group(row->shape, base + row->offset);
            return true;
        }
        empty.place = node->place;
        node = &empty;
    }
    if (row->present)
        *(bool *)(base + row->present - 1) = true;
    if (!row->shape->apart)
        return read_mapping(r, row->shape, node, base + row->offset, base);
    char *self = vx_arena_alloc(r->scratch, row->shape->bytes);
    if (!self)
        return vx_yaml_no_memory(r->error);
    memset(self, 0, row->shape->bytes);
    return read_mapping(r, row->shape, node, self, base);
}

/* An array of `node->count` zeroed elements whose address and length are stored as the row says. */
static char *new_array(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                       const struct vx_yaml_node *node, size_t element_bytes, char *base) {
    char phrase[PHRASE_BYTES];
    uint64_t most = 0;
    vx_yaml_read_count(vx_slice_of(row->high), &most);
    if (node->count > most) {
        snprintf(phrase, sizeof(phrase), "at most %s long", row->high);
        must_be(r, row, node, phrase);
        return NULL;
    }
    size_t bytes = node->count * element_bytes;
    char *array = vx_arena_alloc(r->arena, bytes ? bytes : 1);
    if (!array) {
        vx_yaml_no_memory(r->error);
        return NULL;
    }
    memset(array, 0, bytes);
    memcpy(base + row->offset, &array, sizeof(array));
    *(uint32_t *)(base + row->count - 1) = node->count;
    return array;
}

/* `node` itself, or the list that it alone stands for. */
static const struct vx_yaml_node *as_list(const struct vx_yaml_key *row, const struct vx_yaml_node *node,
                                          struct vx_yaml_node *list, struct vx_yaml_item *item) {
    if (!row->lone || node->kind != VX_YAML_SCALAR)
        return node;
    *item = (struct vx_yaml_item){.value = (struct vx_yaml_node *)node};
    *list = (struct vx_yaml_node){.kind = VX_YAML_LIST, .place = node->place, .count = 1, .items = item};
    return list;
}

static bool read_list(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                      const struct vx_yaml_node *node, char *base) {
    const struct vx_yaml_key *element = row->element;
    struct vx_yaml_node list;
    struct vx_yaml_item lone;
    node = as_list(row, node, &list, &lone);
    if (node->kind != VX_YAML_LIST)
        return wrong_value(r, row, node);
    if (row->required && node->count == 0)
        return vx_yaml_fault(r->error, node->place, "`%s` is empty; there must be at least one", row->name);
    char *at = new_array(r, row, node, row->bytes, base);
    if (!at)
        return false;
    for (const struct vx_yaml_item *item = node->items; item; item = item->next, at += row->bytes) {
        const struct vx_yaml_node *value = item->value;
        if (element->type != VX_YAML_GROUP) {
            if (!read_value(r, element, value, at))
                return false;
        } else if (value->kind != VX_YAML_MAPPING) {
            return wrong_value(r, element, value);
        } else if (!read_mapping(r, element->shape, value, at, base)) {
            return false;
        }
    }
    return true;
}

static bool read_condition(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                           const struct vx_yaml_item *item, struct vx_config_header_match *out) {
    const char *must;
    if (!vx_config_check_header_name(item->key->text, &must))
        return vx_yaml_fault(r->error, item->key->place, "a key of `%s` must be %s; found %s", row->name,
                             must, found(item->key).text);
    if (item->value->kind != VX_YAML_SCALAR || vx_yaml_is_null(item->value))
        return vx_yaml_fault(r->error, item->value->place, "the value of a header must be text; found %s",
                             found(item->value).text);
    if (!vx_config_check_header_value(item->value->text, &must))
        return vx_yaml_fault(r->error, item->value->place, "the value of a header must be %s; found %s", must,
                             found(item->value).text);
    out->name = vx_yaml_lower(r, item->key->text);
    out->value = vx_arena_copy(r->arena, item->value->text);
    return (out->name.ptr && out->value.ptr) || vx_yaml_no_memory(r->error);
}

static bool read_conditions(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                            const struct vx_yaml_node *node, char *base) {
    if (node->kind != VX_YAML_MAPPING)
        return wrong_value(r, row, node);
    char *array = new_array(r, row, node, sizeof(struct vx_config_header_match), base);
    if (!array)
        return false;
    struct vx_config_header_match *at = (struct vx_config_header_match *)array;
    for (const struct vx_yaml_item *item = node->items; item; item = item->next, at++) {
        if (!read_condition(r, row, item, at))
            return false;
        for (const struct vx_yaml_item *before = node->items; before != item; before = before->next)
            if (vx_slice_ieq(before->key->text, item->key->text))
                return vx_yaml_fault(r->error, item->key->place,
                                     "the header `%s` is asked for twice; keep one",
                                     vx_yaml_quote(item->key->text).text);
    }
    return true;
}

static bool read_data(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                      const struct vx_yaml_node *node, char *base) {
    struct vx_slice data =
        node->kind == VX_YAML_SCALAR ? vx_arena_copy(r->arena, node->text) : vx_yaml_to_json(node, r->arena);
    if (!data.ptr)
        return vx_yaml_no_memory(r->error);
    *(struct vx_slice *)(base + row->offset) = data;
    return true;
}

static bool read_value(struct vx_yaml_reader *r, const struct vx_yaml_key *row,
                       const struct vx_yaml_node *node, char *base) {
    static bool (*const readers[])(struct vx_yaml_reader *, const struct vx_yaml_key *,
                                   const struct vx_yaml_node *, char *) = {
        [VX_YAML_FLAG] = read_flag,         [VX_YAML_COUNT] = read_bounded,
        [VX_YAML_DURATION] = read_bounded,  [VX_YAML_SIZE] = read_bounded,
        [VX_YAML_PERCENT] = read_bounded,   [VX_YAML_CHOICE] = read_choice,
        [VX_YAML_FRACTION] = read_fraction, [VX_YAML_TEXT] = read_text,
        [VX_YAML_PATH] = read_path,         [VX_YAML_ADDRESS] = read_address,
        [VX_YAML_PREFIX] = read_prefix,     [VX_YAML_GROUP] = read_group,
        [VX_YAML_LIST_OF] = read_list,      [VX_YAML_CONDITIONS] = read_conditions,
        [VX_YAML_DATA] = read_data,
    };
    if (vx_yaml_is_null(node))
        return vx_yaml_fault(r->error, node->place, "%s`%s` has no value; give it one, or remove it",
                             row->item ? "an item of " : "", row->name);
    if (row->type < VX_YAML_GROUP && node->kind != VX_YAML_SCALAR)
        return wrong_value(r, row, node);
    if (row->place)
        *(struct vx_place *)(base + row->place - 1) = node->place;
    return readers[row->type](r, row, node, base);
}

/* --- The keys of a mapping ---------------------------------------------------------------------------------------- */

static bool apply_defaults(struct vx_yaml_reader *r, const struct vx_yaml_shape *shape, char *base) {
    for (uint32_t i = 0; i < shape->key_count; i++) {
        const struct vx_yaml_key *row = &shape->keys[i];
        if (row->type == VX_YAML_GROUP && !row->shape->apart) {
            if (!apply_defaults(r, row->shape, base + row->offset))
                return false;
        } else if (row->standard) {
            struct vx_yaml_node value = {
                .kind = VX_YAML_SCALAR, .plain = true, .text = vx_slice_of(row->standard)};
            if (!read_value(r, row, &value, base))
                return false;
        }
    }
    return true;
}

static bool asks_for_nothing(const struct vx_yaml_node *node, const char *switch_key) {
    bool on;
    if (node->kind == VX_YAML_SCALAR)
        return vx_yaml_is_null(node) || node->text.len == 0 ||
               (node->plain && vx_yaml_read_flag(node->text, &on) && !on);
    if (node->kind == VX_YAML_MAPPING && switch_key) {
        const struct vx_yaml_node *value = vx_yaml_find(node, switch_key);
        return !value || asks_for_nothing(value, NULL);
    }
    return node->kind == VX_YAML_LIST && node->count == 0;
}

/* A key of a feature that this version lacks: refused where it asks for something. */
static bool check_unbuilt(struct vx_yaml_reader *r, const struct vx_yaml_unbuilt *u,
                          const struct vx_yaml_item *item) {
    if (u->value) {
        if (item->value->kind != VX_YAML_SCALAR || !vx_slice_eq(item->value->text, vx_slice_of(u->value)))
            return true;
        return vx_yaml_fault(r->error, item->key->place,
                             "`%s: %s` is not available in this version; remove it", u->key, u->value);
    }
    return asks_for_nothing(item->value, u->switch_key) ||
           vx_yaml_fault(r->error, item->key->place, "`%s` is not available in this version; remove it",
                         u->key);
}

static bool unknown_key(struct vx_yaml_reader *r, const struct vx_yaml_shape *shape,
                        const struct vx_yaml_node *key) {
    const char *names[KEYS_MAX];
    char known[PHRASE_BYTES] = "";
    uint32_t count = shape->key_count < KEYS_MAX ? shape->key_count : KEYS_MAX;
    for (uint32_t i = 0; i < count; i++) {
        names[i] = shape->keys[i].name;
        add_word(known, i ? ", " : "", names[i]);
    }
    const char *near = vx_yaml_nearest(key->text, names, count);
    struct vx_yaml_quote shown = vx_yaml_quote(key->text);
    if (near)
        return vx_yaml_fault(r->error, key->place, "unknown key `%s` in %s; did you mean `%s`?", shown.text,
                             shape->noun, near);
    return vx_yaml_fault(r->error, key->place, "unknown key `%s` in %s; it may have %s", shown.text,
                         shape->noun, known);
}

/* Each key is known, so a mapping has few items before a repeated one: looking back costs little. */
static bool refuse_repeated(struct vx_yaml_reader *r, const struct vx_yaml_node *node,
                            const struct vx_yaml_item *item) {
    for (const struct vx_yaml_item *before = node->items; before != item; before = before->next)
        if (vx_slice_eq(before->key->text, item->key->text))
            return vx_yaml_fault(r->error, item->key->place, "`%s` stands twice, first in line %u; keep one",
                                 vx_yaml_quote(item->key->text).text, before->key->place.line);
    return true;
}

static const struct vx_yaml_key *find_row(const struct vx_yaml_shape *shape, struct vx_slice key) {
    for (uint32_t i = 0; i < shape->key_count; i++)
        if (vx_slice_eq(key, vx_slice_of(shape->keys[i].name)))
            return &shape->keys[i];
    return NULL;
}

static bool read_item(struct vx_yaml_reader *r, const struct vx_yaml_shape *shape,
                      const struct vx_yaml_item *item, char *self) {
    const struct vx_yaml_unbuilt *u = vx_yaml_find_unbuilt(shape, item->key->text);
    const struct vx_yaml_key *row = find_row(shape, item->key->text);
    if (u && !check_unbuilt(r, u, item))
        return false;
    if (!row)
        return u || unknown_key(r, shape, item->key);
    if (!read_value(r, row, item->value, self))
        return false;
    /* Groups, which may be `off`, say so themselves. */
    if (row->present && row->type != VX_YAML_GROUP)
        *(bool *)(self + row->present - 1) = true;
    return true;
}

static bool read_mapping(struct vx_yaml_reader *r, const struct vx_yaml_shape *shape,
                         const struct vx_yaml_node *node, char *self, void *parent) {
    if (!apply_defaults(r, shape, self))
        return false;
    if (shape->place)
        *(struct vx_place *)(self + shape->place - 1) = node->place;
    for (const struct vx_yaml_item *item = node->items; item; item = item->next)
        if (!refuse_repeated(r, node, item) || !read_item(r, shape, item, self))
            return false;
    for (uint32_t i = 0; i < shape->key_count; i++)
        if (shape->keys[i].required && !vx_yaml_find(node, shape->keys[i].name))
            return vx_yaml_fault(r->error, node->place, "`%s` is missing in %s", shape->keys[i].name,
                                 shape->noun);
    return !shape->finish || shape->finish(r, self, parent, node);
}

bool vx_yaml_read_root(struct vx_yaml_reader *r, const struct vx_yaml_node *root, struct vx_config *config) {
    r->paths = NULL;
    r->last_path = &r->paths;
    if (root->kind != VX_YAML_MAPPING)
        return vx_yaml_fault(r->error, root->place,
                             "the file must be a mapping with `listeners` and `routes`");
    return read_mapping(r, &vx_yaml_root, root, (char *)config, NULL);
}
