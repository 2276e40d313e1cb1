/* SPDX-License-Identifier: Apache-2.0 */
/* See cache.h. */
#include "filters/wasm/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wasmtime.h>

#include "filters/file.h"

enum { FILES_KEPT = 128, NAME_BYTES = 2 * VX_WASM_KEY_BYTES };

static const char magic[8] = {'V', 'X', 'W', 'A', 'S', 'M', '0', '1'};

struct file_head {
    char magic[sizeof magic];
    uint8_t key[VX_WASM_KEY_BYTES];
    uint8_t digest[SHA256_DIGEST_LENGTH]; /* of what follows */
    uint64_t bytes;
};

struct vx_wasm_key vx_wasm_cache_key(struct vx_slice binary) {
    struct vx_wasm_key key;
    SHA256_CTX hash;
    SHA256_Init(&hash);
    SHA256_Update(&hash, WASMTIME_VERSION, sizeof WASMTIME_VERSION);
    SHA256_Update(&hash, binary.ptr, binary.len);
    SHA256_Final(key.bytes, &hash);
    return key;
}

static void name_of(char out[NAME_BYTES + 1], const struct vx_wasm_key *key) {
    for (int i = 0; i < VX_WASM_KEY_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", key->bytes[i]);
}

/* As ssh has it for its own files. */
static bool is_private(int folder) {
    struct stat s;
    return fstat(folder, &s) == 0 && (s.st_uid == geteuid() || s.st_uid == 0) &&
           !(s.st_mode & (S_IWGRP | S_IWOTH));
}

/* -1 with errno. */
static int open_folder(const char *dir) {
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || is_private(folder))
        return folder;
    close(folder);
    errno = EPERM;
    return -1;
}

static bool write_all(int fd, const void *from, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(fd, (const char *)from + done, bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static bool is_ours(const struct stat *s) {
    return S_ISREG(s->st_mode) && s->st_uid == geteuid() && !(s->st_mode & (S_IRWXG | S_IRWXO));
}

/* The content behind an open file's head, or NULL when it is not what the head says. */
static uint8_t *read_content(int fd, const struct vx_wasm_key *key, size_t *bytes) {
    struct file_head head;
    struct stat s;
    if (fstat(fd, &s) != 0 || !is_ours(&s) || !vx_file_fill(fd, &head, sizeof head) ||
        memcmp(head.magic, magic, sizeof magic) != 0 || memcmp(head.key, key->bytes, sizeof head.key) != 0 ||
        head.bytes != (uint64_t)s.st_size - sizeof head || head.bytes == 0)
        return NULL;
    uint8_t *content = malloc(head.bytes);
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (content && vx_file_fill(fd, content, head.bytes)) {
        SHA256(content, head.bytes, digest);
        if (memcmp(digest, head.digest, sizeof digest) == 0) {
            *bytes = head.bytes;
            return content;
        }
    }
    free(content);
    return NULL;
}

static bool read_file(int folder, const struct vx_wasm_key *key, uint8_t **content, size_t *bytes) {
    char name[NAME_BYTES + 1];
    name_of(name, key);
    int fd =
        openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); /* nor may a pipe hold it up */
    if (fd < 0)
        return false;
    *content = read_content(fd, key, bytes);
    if (*content)
        futimens(fd, NULL); /* it was used */
    close(fd);
    if (!*content)
        unlinkat(folder, name, 0);
    return *content != NULL;
}

bool vx_wasm_cache_read(const char *dir, const struct vx_wasm_key *key, uint8_t **content, size_t *bytes) {
    int folder = open_folder(dir);
    if (folder < 0)
        return false;
    bool found = read_file(folder, key, content, bytes);
    close(folder);
    return found;
}

void vx_wasm_cache_forget(const char *dir, const struct vx_wasm_key *key) {
    char name[NAME_BYTES + 1];
    int folder = open_folder(dir);
    if (folder < 0)
        return;
    name_of(name, key);
    unlinkat(folder, name, 0);
    close(folder);
}

/* The folder and those above it that are missing. False with errno. */
static bool make_folder(const char *dir) {
    char path[PATH_MAX];
    size_t len = strlen(dir);
    if (len >= sizeof path) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(path, dir, len + 1);
    for (char *at = path + 1; *at; at++)
        if (*at == '/') {
            *at = '\0';
            if (mkdir(path, 0700) != 0 && errno != EEXIST)
                return false;
            *at = '/';
        }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static bool is_cached(const char *name) {
    return strspn(name, "0123456789abcdef") == NAME_BYTES && name[NAME_BYTES] == '\0';
}

/* Removes the file that was used longest ago when there are too many. One file comes, one goes. Takes `folder` over. */
static void prune(int folder) {
    DIR *d = fdopendir(folder);
    if (!d) {
        close(folder);
        return;
    }
    char oldest[NAME_BYTES + 1] = "";
    struct timespec oldest_time = {0};
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        struct stat s;
        if (!is_cached(entry->d_name) || fstatat(folder, entry->d_name, &s, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        bool older = s.st_mtim.tv_sec < oldest_time.tv_sec ||
                     (s.st_mtim.tv_sec == oldest_time.tv_sec && s.st_mtim.tv_nsec < oldest_time.tv_nsec);
        if (count++ == 0 || older) {
            memcpy(oldest, entry->d_name, sizeof oldest);
            oldest_time = s.st_mtim;
        }
    }
    if (count > FILES_KEPT)
        unlinkat(folder, oldest, 0);
    closedir(d);
}

static bool write_file(int folder, const struct vx_wasm_key *key, const uint8_t *content, size_t bytes) {
    char name[NAME_BYTES + 1], temporary[NAME_BYTES + 32];
    name_of(name, key);
    snprintf(temporary, sizeof temporary, "%s.%d", name, (int)getpid());
    struct file_head head = {.bytes = bytes};
    memcpy(head.magic, magic, sizeof magic);
    memcpy(head.key, key->bytes, sizeof head.key);
    SHA256(content, bytes, head.digest);
    unlinkat(folder, temporary, 0); /* what a process of this number left behind */
    int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool written = write_all(fd, &head, sizeof head) && write_all(fd, content, bytes);
    written = close(fd) == 0 && written && renameat(folder, temporary, folder, name) == 0;
    if (!written) {
        int kept = errno;
        unlinkat(folder, temporary, 0);
        errno = kept;
    }
    return written;
}

bool vx_wasm_cache_write(const char *dir, const struct vx_wasm_key *key, const uint8_t *content,
                         size_t bytes) {
    int folder = make_folder(dir) ? open_folder(dir) : -1;
    if (folder < 0)
        return false;
    if (!write_file(folder, key, content, bytes)) {
        int kept = errno;
        close(folder);
        errno = kept;
        return false;
    }
    prune(folder);
    return true;
}

const char *vx_wasm_cache_explain(int error) {
    return error == EPERM ? "others may write to it, or it belongs to somebody else" : strerror(error);
}

size_t vx_wasm_cache_default(char *out, size_t room) {
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n;
    if (xdg && *xdg == '/')
        n = snprintf(out, room, "%s/vortex/wasm", xdg);
    else if (home && *home == '/')
        n = snprintf(out, room, "%s/.cache/vortex/wasm", home);
    else
        n = snprintf(out, room, "/var/cache/vortex/wasm");
    return n > 0 && (size_t)n < room ? (size_t)n : 0;
}
