/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration may say, as tables: one row a key with its type, the field it fills, its default and its
 * bounds. The tables are in schema.c; read.c follows them, and the tests hold docs/configuration.md against them. */
#ifndef VX_ADMIN_YAML_SCHEMA_H
#define VX_ADMIN_YAML_SCHEMA_H

#include "admin/yaml/node.h"
#include "core/config/model.h"

enum vx_yaml_type {
    VX_YAML_FLAG,     /* bool */
    VX_YAML_COUNT,    /* whole number, into an unsigned field of any width; so are the next four */
    VX_YAML_DURATION, /* to ns */
    VX_YAML_SIZE,     /* to bytes */
    VX_YAML_PERCENT,
    VX_YAML_CHOICE,     /* one of the words */
    VX_YAML_FRACTION,   /* double; `high` itself is excluded */
    VX_YAML_TEXT,       /* struct vx_slice */
    VX_YAML_PATH,       /* struct vx_slice, made absolute */
    VX_YAML_ADDRESS,    /* struct vx_address */
    VX_YAML_PREFIX,     /* struct vx_prefix */
    VX_YAML_GROUP,      /* a mapping as `shape` says; its fields lie at `offset` */
    VX_YAML_LIST_OF,    /* pointer to an array of what `element` says; `high` bounds its length */
    VX_YAML_CONDITIONS, /* a mapping of header names to values, as struct vx_config_header_match array */
    VX_YAML_DATA        /* struct vx_slice: text as it is; a mapping or list as JSON */
};

enum vx_yaml_path_use {
    VX_YAML_READ_FILE,  /* must be there and readable */
    VX_YAML_WRITE_FILE, /* its folder must be there */
    VX_YAML_FOLDER,     /* the same, and it may be a folder itself, but no file */
};

struct vx_yaml_word {
    const char *text;
    uint64_t value;
};

struct vx_yaml_shape;

struct vx_yaml_key {
    const char *name;
    enum vx_yaml_type type;
    uint32_t bytes; /* of the field, or of one element of the array; 0: the value is checked and not stored */
    bool item;      /* stands for each item of the list of this name */
    bool required;  /* an error when absent; all other keys may be left out */
    bool lone;      /* a list of one item may be that item alone */
    bool can_be_off; /* a group that may be `off`, all its fields zero, or `on`, all as by default */
    bool no_names;   /* an address that must not be a host name */
    enum vx_yaml_path_use use;
    uint32_t offset;
    const char *standard; /* the default, as it would stand in the file; NULL: zero */
    const char *low, *high;
    /* The choice, or words beside a number or a path; a NULL text ends it. */
    const struct vx_yaml_word *words;
    const struct vx_yaml_shape *shape;
    const struct vx_yaml_key *element;
    bool (*check)(struct vx_slice text, const char **must); /* of text; *must says what it must be */
    /* Offsets plus one, 0: none, of what is filled beside the field: an array's length, the place of the value,
     * whether the key is there. */
    uint32_t count, place, present;
};

struct vx_yaml_reader;

struct vx_yaml_shape {
    const char *noun; /* "a listener" */
    const struct vx_yaml_key *keys;
    uint32_t key_count;
    uint32_t bytes; /* of the struct, where it is a list's element or stands apart */
    uint32_t place; /* offset plus one of where the place of the mapping goes; 0: nowhere */
    bool apart;     /* read into a struct of its own, from which `finish` carries over */
    /* Rules within this mapping, and defaults that depend on other keys. `self` was filled from `node`; `parent` is
     * what the mapping stands in. May be NULL. False: the error is set. */
    bool (*finish)(struct vx_yaml_reader *r, void *self, void *parent, const struct vx_yaml_node *node);
};

/* A key whose feature does not exist in this version. */
struct vx_yaml_unbuilt {
    const struct vx_yaml_shape *shape;
    const char *key;
    /* The only word refused; NULL: all but what asks for nothing (`false`, an empty list). */
    const char *value;
    const char *switch_key; /* a mapping asks for nothing when this key in it does */
};

/* The whole file. */
extern const struct vx_yaml_shape vx_yaml_root;

/* The row about `key` in `shape`, or NULL. */
const struct vx_yaml_unbuilt *vx_yaml_find_unbuilt(const struct vx_yaml_shape *shape, struct vx_slice key);

#endif
