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

/* `dir/HEX` followed by `suffix`. False: longer than a path may be. */
static bool path_of(char *out, size_t room, const char *dir, const struct vx_wasm_key *key,
                    const char *suffix) {
    char name[NAME_BYTES + 1];
    for (int i = 0; i < VX_WASM_KEY_BYTES; i++)
        snprintf(name + 2 * i, 3, "%02x", key->bytes[i]);
    int n = snprintf(out, room, "%s/%s%s", dir, name, suffix);
    return n > 0 && (size_t)n < room;
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

bool vx_wasm_cache_read(const char *dir, const struct vx_wasm_key *key, uint8_t **content, size_t *bytes) {
    char path[PATH_MAX];
    if (!path_of(path, sizeof path, dir, key, ""))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); /* nor may a pipe hold it up */
    if (fd < 0)
        return false;
    *content = read_content(fd, key, bytes);
    if (*content)
        futimens(fd, NULL); /* it was used */
    close(fd);
    if (!*content)
        unlink(path);
    return *content != NULL;
}

void vx_wasm_cache_forget(const char *dir, const struct vx_wasm_key *key) {
    char path[PATH_MAX];
    if (path_of(path, sizeof path, dir, key, ""))
        unlink(path);
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

/* Removes the file that was used longest ago when there are too many. One file comes, one goes. */
static void prune(const char *dir) {
    DIR *d = opendir(dir);
    if (!d)
        return;
    char oldest[NAME_BYTES + 1] = "";
    struct timespec oldest_time = {0};
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        struct stat s;
        if (!is_cached(entry->d_name) || fstatat(dirfd(d), entry->d_name, &s, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        bool older = s.st_mtim.tv_sec < oldest_time.tv_sec ||
                     (s.st_mtim.tv_sec == oldest_time.tv_sec && s.st_mtim.tv_nsec < oldest_time.tv_nsec);
        if (count++ == 0 || older) {
            memcpy(oldest, entry->d_name, sizeof oldest);
            oldest_time = s.st_mtim;
        }
    }
    if (count > FILES_KEPT)
        unlinkat(dirfd(d), oldest, 0);
    closedir(d);
}

bool vx_wasm_cache_write(const char *dir, const struct vx_wasm_key *key, const uint8_t *content,
                         size_t bytes) {
    char path[PATH_MAX], temporary[PATH_MAX];
    char suffix[32];
    snprintf(suffix, sizeof suffix, ".%d", (int)getpid());
    if (!make_folder(dir))
        return false;
    if (!path_of(path, sizeof path, dir, key, "") ||
        !path_of(temporary, sizeof temporary, dir, key, suffix)) {
        errno = ENAMETOOLONG;
        return false;
    }
    struct file_head head = {.bytes = bytes};
    memcpy(head.magic, magic, sizeof magic);
    memcpy(head.key, key->bytes, sizeof head.key);
    SHA256(content, bytes, head.digest);
    unlink(temporary); /* what a process of this number left behind */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool written = write_all(fd, &head, sizeof head) && write_all(fd, content, bytes);
    written = close(fd) == 0 && written && rename(temporary, path) == 0;
    if (!written) {
        int kept = errno;
        unlink(temporary);
        errno = kept;
        return false;
    }
    prune(dir);
    return true;
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
