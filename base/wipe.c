/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Linked into programs that hold keys: memory is wiped when it's given back, also by the libraries
 * that we use (tpm2-tss, OpenSSL, libcryptsetup and json-c copy what we hand them, and not all of
 * them wipe). The allocator stays glibc's own. Left out of builds with a sanitizer, which bring
 * theirs. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void __libc_free(void *p);

void free(void *p) {
        if (!p)
                return;
        explicit_bzero(p, malloc_usable_size(p));
        __libc_free(p);
}

/* Never in place: what it leaves behind when it moves a block could not be wiped. */
void *realloc(void *p, size_t size) {
        size_t old;
        void *moved;

        if (!p)
                return malloc(size);
        if (size == 0) {
                free(p);
                return NULL;
        }
        moved = malloc(size);
        if (!moved)
                return NULL;
        old = malloc_usable_size(p);
        memcpy(moved, p, old < size ? old : size);
        free(p);
        return moved;
}
