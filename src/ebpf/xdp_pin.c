/* SPDX-License-Identifier: Apache-2.0 */
/* Pinning: a bpffs keeps maps and links alive without a process. See xdp_internal.h. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ebpf/xdp_internal.h"

static const char usual_mount[] = "/sys/fs/bpf";

static bool is_bpffs(const char *path) {
    struct statfs info;
    return statfs(path, &info) == 0 && (unsigned long)info.f_type == BPF_FS_MAGIC;
}

static bool starts_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

/* `path` and the folders above it. */
static bool make_folders(const char *path) {
    char part[VX_XDP_PATH_BYTES];
    for (const char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        size_t n = slash ? (size_t)(slash - path) : strlen(path);
        memcpy(part, path, n);
        part[n] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return false;
        if (!slash)
            return true;
    }
}

bool vx_xdp_pins_find(struct vx_xdp_pins *pins, const char *folder, const char *interface, char *why,
                      size_t why_size) {
    char path[VX_XDP_PATH_BYTES - 8];
    *pins = (struct vx_xdp_pins){"", ""};
    if (starts_with(folder, usual_mount) && !is_bpffs(usual_mount) &&
        mount("bpf", usual_mount, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
        snprintf(why, why_size, "there is no bpffs on %s and none can be mounted: %s", usual_mount,
                 strerror(errno));
        return false;
    }
    if (snprintf(path, sizeof path, "%s/%s", folder, interface) >= (int)sizeof path || !make_folders(path)) {
        snprintf(why, why_size, "the folder %s cannot be made: %s", folder, strerror(errno));
        return false;
    }
    if (!is_bpffs(path)) {
        rmdir(path);
        snprintf(why, why_size, "%s is in no bpffs; mount one there (mount -t bpf bpf FOLDER)", folder);
        return false;
    }
    snprintf(pins->bans, sizeof pins->bans, "%s/bans", path);
    snprintf(pins->link, sizeof pins->link, "%s/link", path);
    return true;
}

int vx_xdp_pin_open(const char *path) {
    return *path ? bpf_obj_get(path) : -1;
}

bool vx_xdp_pin_put(const char *path, int fd) {
    return (unlink(path) == 0 || errno == ENOENT) && bpf_obj_pin(fd, path) == 0;
}
