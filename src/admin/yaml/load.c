/* SPDX-License-Identifier: Apache-2.0 */
/* From a file to a configuration: text, tree, values, rules, and last the files that the values name. */
#include "admin/yaml/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/yaml/fault.h"
#include "admin/yaml/read.h"
#include "core/base/heap.h"

enum { CHUNK_BYTES = 64 * 1024, FILE_MAX_BYTES = 64 * 1024 * 1024, PATH_BYTES = 4096, FIRST_BYTES = 4096 };

static const struct vx_place file_start = {1, 1};

/* --- Memory ------------------------------------------------------------------------------------------------------- */

struct owned_config {
    struct vx_config config;
    struct vx_heap heap;
    char first[FIRST_BYTES]; /* of the arena */
};

static struct vx_config *new_config(const char *path) {
    struct owned_config *owned = calloc(1, sizeof(*owned));
    if (!owned)
        return NULL;
    owned->heap = vx_heap(malloc, free, CHUNK_BYTES);
    vx_arena_init(&owned->config.arena, owned->first, sizeof(owned->first), &owned->heap.source);
    owned->config.path = vx_arena_copy(&owned->config.arena, vx_slice_of(path));
    if (owned->config.path.ptr)
        return &owned->config;
    vx_config_free(&owned->config);
    return NULL;
}

void vx_config_free(struct vx_config *config) {
    if (!config)
        return;
    vx_arena_reset(&config->arena);
    free((char *)config - offsetof(struct owned_config, config));
}

/* --- The files it names ------------------------------------------------------------------------------------------- */

static bool check_readable(const struct vx_yaml_path *p, struct vx_config_error *error) {
    struct stat info;
    if (stat(p->path.ptr, &info) == 0 && S_ISDIR(info.st_mode))
        return vx_yaml_fault(error, p->place, "%.300s is a folder; give the path of a file", p->path.ptr);
    /* Not opened: that would wait for ever on a named pipe. */
    if (access(p->path.ptr, R_OK) == 0)
        return true;
    return vx_yaml_fault(error, p->place, "cannot read %.300s: %s%s", p->path.ptr, strerror(errno),
                         errno == ENOENT ? "; relative paths start at the folder of the configuration file"
                                         : "");
}

static bool check_writable(const struct vx_yaml_path *p, struct vx_config_error *error) {
    struct stat info;
    char folder[PATH_BYTES + 1];
    bool wants_folder = p->use == VX_YAML_FOLDER;
    if (stat(p->path.ptr, &info) == 0) {
        if (S_ISDIR(info.st_mode) != wants_folder)
            return vx_yaml_fault(error, p->place, "%.300s is a %s; give the path of a %s", p->path.ptr,
                                 wants_folder ? "file" : "folder", wants_folder ? "folder" : "file");
        return true;
    }
    const char *slash = strrchr(p->path.ptr, '/');
    int len = (int)(slash - p->path.ptr);
    snprintf(folder, sizeof(folder), "%.*s", len ? len : 1, p->path.ptr);
    if (stat(folder, &info) == 0 && S_ISDIR(info.st_mode))
        return true;
    return vx_yaml_fault(error, p->place, "the folder %.300s is missing; make it, or give another path",
                         folder);
}

static bool check_files(const struct vx_yaml_path *paths, struct vx_config_error *error) {
    for (const struct vx_yaml_path *p = paths; p; p = p->next)
        if (!(p->use == VX_YAML_READ_FILE ? check_readable : check_writable)(p, error))
            return false;
    return true;
}

/* --- From text to configuration ----------------------------------------------------------------------------------- */

/* The folder of `path` as an absolute one, without a slash at its end. */
static bool find_folder(const char *path, struct vx_arena *scratch, struct vx_slice *out,
                        struct vx_config_error *error) {
    const char *slash = strrchr(path, '/');
    struct vx_slice folder = vx_slice(path, slash ? (size_t)(slash - path) : 0);
    if (path[0] == '/') {
        *out = folder;
        return true;
    }
    char here[PATH_BYTES];
    if (!getcwd(here, sizeof(here)))
        return vx_yaml_fault(error, file_start, "the current folder cannot be found: %s", strerror(errno));
    size_t here_len = strcmp(here, "/") == 0 ? 0 : strlen(here);
    char *whole = vx_arena_alloc(scratch, here_len + folder.len + 1);
    if (!whole)
        return vx_yaml_no_memory(error);
    memcpy(whole, here, here_len);
    *out = vx_slice(whole, here_len);
    if (folder.len) {
        whole[here_len] = '/';
        memcpy(whole + here_len + 1, folder.ptr, folder.len);
        out->len += 1 + folder.len;
    }
    return true;
}

static bool read_config(struct vx_config *config, const char *path, struct vx_slice text, bool look_at_files,
                        struct vx_config_error *error) {
    struct vx_heap heap = vx_heap(malloc, free, CHUNK_BYTES);
    struct vx_arena scratch;
    char first[FIRST_BYTES];
    vx_arena_init(&scratch, first, sizeof(first), &heap.source);
    struct vx_yaml_reader reader = {.arena = &config->arena, .scratch = &scratch, .error = error};
    const struct vx_yaml_node *root = NULL;
    bool good = find_folder(path, &scratch, &reader.folder, error) &&
                (root = vx_yaml_read_tree(text, &scratch, error)) != NULL &&
                vx_yaml_read_root(&reader, root, config) && vx_config_validate(config, &scratch, error) &&
                (!look_at_files || check_files(reader.paths, error));
    vx_arena_reset(&scratch);
    return good;
}

static struct vx_config *parse(const char *path, struct vx_slice text, bool look_at_files,
                               struct vx_config_error *error) {
    struct vx_config *config = new_config(path);
    if (!config) {
        vx_yaml_no_memory(error);
        return NULL;
    }
    if (read_config(config, path, text, look_at_files, error))
        return config;
    vx_config_free(config);
    return NULL;
}

struct vx_config *vx_yaml_parse(const char *path, struct vx_slice text, struct vx_config_error *error) {
    return parse(path, text, false, error);
}

/* --- From a file to text ------------------------------------------------------------------------------------------ */

/* Reads to the end, as a pipe has no size to ask for. *text is malloc'd. */
static bool read_all(int fd, char **text, size_t *len, struct vx_config_error *error) {
    size_t room = 0;
    *text = NULL;
    *len = 0;
    while (true) {
        if (*len == room) {
            char *larger = room < FILE_MAX_BYTES ? realloc(*text, room + room / 2 + CHUNK_BYTES) : NULL;
            if (!larger)
                return room < FILE_MAX_BYTES
                           ? vx_yaml_no_memory(error)
                           : vx_yaml_fault(error, file_start, "the file is larger than 64MiB");
            *text = larger;
            room += room / 2 + CHUNK_BYTES;
        }
        ssize_t n = read(fd, *text + *len, room - *len);
        if (n == 0)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vx_yaml_fault(error, file_start, "cannot read the file: %s", strerror(errno));
        *len += (size_t)n;
    }
}

struct vx_config *vx_yaml_load(const char *path, struct vx_config_error *error) {
    struct vx_config *config = NULL;
    char *text;
    size_t len;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        vx_yaml_fault(error, file_start, "cannot open the file: %s", strerror(errno));
        return NULL;
    }
    if (read_all(fd, &text, &len, error))
        config = parse(path, vx_slice(text, len), true, error);
    free(text);
    close(fd);
    return config;
}

size_t vx_config_error_format(const char *path, const struct vx_config_error *error, char *out, size_t size) {
    int n = error->place.line ? snprintf(out, size, "%s:%u:%u: %s", path, error->place.line,
                                         error->place.column, error->text)
                              : snprintf(out, size, "%s: %s", path, error->text);
    if (n < 0) {
        out[0] = '\0';
        return 0;
    }
    return (size_t)n < size ? (size_t)n : size - 1;
}
