/* SPDX-License-Identifier: Apache-2.0 */
/* See file.h. */
#include "filters/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool vx_file_fill(int fd, void *to, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = read(fd, (char *)to + done, bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

char *vx_file_read(const char *path, size_t most_bytes, size_t *bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat s;
    if (fd < 0)
        return NULL;
    char *data = NULL;
    errno = EFBIG;
    if (fstat(fd, &s) == 0 && (size_t)s.st_size <= most_bytes) {
        *bytes = (size_t)s.st_size;
        data = malloc(*bytes + 1);
    }
    if (data && !vx_file_fill(fd, data, *bytes)) {
        free(data);
        data = NULL;
        errno = EIO;
    }
    int kept = errno;
    close(fd);
    errno = kept;
    return data;
}
