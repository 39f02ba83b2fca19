/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a rotation cannot do without: for each disk two commits (stage, retire), each of them both
 * copies of 64 KiB of metadata as libcryptsetup writes them, flushed one after the other, and once
 * more by us. rotate-minimum IMAGE… */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define COPY 65536

int main(int argc, char **argv) {
        for (int i = 1; i < argc; i++) {
                int fd = open(argv[i], O_RDWR | O_DIRECT);
                char *old = aligned_alloc(4096, 2 * COPY);

                if (fd < 0 || !old || pread(fd, old, 2 * COPY, 0) != 2 * COPY)
                        return 1;
                for (int write = 0; write < 4; write++) {
                        off_t at = write % 2 * COPY;

                        if (pwrite(fd, old + at, 4096, at) != 4096 ||
                            pwrite(fd, old + at + 4096, COPY - 4096, at + 4096) != COPY - 4096 ||
                            pwrite(fd, old + at, 4096, at) != 4096 || fsync(fd) < 0 ||
                            (write % 2 && fsync(fd) < 0))
                                return 1;
                }
                free(old);
                close(fd);
        }
        return 0;
}
