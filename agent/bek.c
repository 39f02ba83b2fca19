/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/bek.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/file.h"

#define LABEL "/dev/disk/by-label/BEK\\x20VOLUME" /* as udev writes a space */
#define USUAL "/mnt/azure_bek_disk"               /* where Azure's agent mounts it */
#define PREFIX "LinuxPassPhraseFileName"
#define MOUNTS_MAX (1 << 20)

/* A path in /proc/self/mountinfo has \ooo for white space and backslashes. */
static void unescape(char *path) {
        char *to = path;

        for (const char *from = path; *from; to++) {
                if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] && from[3]) {
                        *to = (char) ((from[1] - '0') * 64 + (from[2] - '0') * 8 + from[3] - '0');
                        from += 4;
                } else
                        *to = *from++;
        }
        *to = '\0';
}

/* Where the device @dev is mounted: fields 3 and 5 of its line (proc(5)). */
static bool find_mount(char *mounts, dev_t dev, char ret[256]) {
        char *line, *rest = mounts;

        while ((line = strsep(&rest, "\n"))) {
                unsigned major_number, minor_number;
                char path[256];

                if (sscanf(line, "%*u %*u %u:%u %*s %255s", &major_number, &minor_number, path) !=
                            3 ||
                    makedev(major_number, minor_number) != dev)
                        continue;
                unescape(path);
                (void) snprintf(ret, 256, "%s", path);
                return true;
        }
        return false;
}

/* The folder to look in. */
static int find_folder(char ret[256], struct refusal *why, struct error *err) {
        _cleanup_(freep) char *mounts = NULL;
        struct stat st;
        size_t size;
        int r;

        if (stat(LABEL, &st) == 0 && S_ISBLK(st.st_mode)) {
                r = file_read("/proc/self/mountinfo", MOUNTS_MAX, &mounts, &size, err);
                if (r < 0)
                        return r;
                if (find_mount(mounts, st.st_rdev, ret))
                        return OUTCOME_DONE;
                refusal_set(why, REFUSAL_NO_KEY,
                            "the volume labelled BEK VOLUME is attached, and isn't mounted");
                refusal_detail(why, "mount -o ro %s /mnt, then --bek=/mnt", LABEL);
                return OUTCOME_REFUSED;
        }
        if (stat(USUAL, &st) == 0 && S_ISDIR(st.st_mode)) {
                (void) snprintf(ret, 256, "%s", USUAL);
                return OUTCOME_DONE;
        }
        refusal_set(why, REFUSAL_NO_KEY, "there's no volume labelled BEK VOLUME here");
        refusal_detail(why, "looked for: %s, %s", LABEL, USUAL);
        return OUTCOME_REFUSED;
}

static int compare(const void *a, const void *b) {
        return strcmp(a, b);
}

int bek_find(const char *folder, struct bek *ret, struct refusal *why, struct error *err) {
        _cleanup_(closedirp) DIR *dir = NULL;
        const struct dirent *item;
        char found[256];
        int r;

        ret->count = 0;
        if (strcmp(folder, BEK_AUTO) == 0) {
                r = find_folder(found, why, err);
                if (r != OUTCOME_DONE)
                        return r;
                folder = found;
        }
        dir = opendir(folder);
        if (!dir)
                return error_errno(err, -errno, "look for passphrase files in %.150s", folder);
        while (ret->count < BEK_FILES_MAX && (item = readdir(dir)))
                if (strncmp(item->d_name, PREFIX, strlen(PREFIX)) == 0 &&
                    (size_t) snprintf(ret->file[ret->count], sizeof(ret->file[0]), "%s/%s", folder,
                                      item->d_name) < sizeof(ret->file[0]))
                        ret->count++;
        if (ret->count == 0)
                return refusal_set(why, REFUSAL_NO_KEY, "there's no file " PREFIX "... in %.150s",
                                   folder);
        qsort(ret->file, ret->count, sizeof(ret->file[0]), compare);
        return OUTCOME_DONE;
}
