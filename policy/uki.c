/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/uki.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/crypto.h"
#include "policy/extend.h"

#define MAGIC_MAX 128

static const struct {
        const char *name;
        unsigned since; /* the first stub that measures it */
} known[UKI_SECTIONS] = {
        [UKI_LINUX] = { ".linux", 0 },     [UKI_OSREL] = { ".osrel", 0 },
        [UKI_CMDLINE] = { ".cmdline", 0 }, [UKI_INITRD] = { ".initrd", 0 },
        [UKI_UCODE] = { ".ucode", 256 },   [UKI_SPLASH] = { ".splash", 0 },
        [UKI_DTB] = { ".dtb", 0 },         [UKI_UNAME] = { ".uname", 254 },
        [UKI_SBAT] = { ".sbat", 254 },     [UKI_PCRSIG] = { ".pcrsig", UINT_MAX },
        [UKI_PCRPKEY] = { ".pcrpkey", 0 },
};

/* Since 257 and 258. Which of them count is decided at boot. */
static const char *const chosen_at_boot[] = { ".profile", ".dtbauto", ".hwids", ".efifw" };

const char *uki_section_name(enum uki_section section) {
        return known[section].name;
}

/* What the firmware has put into memory where the section is. */
static struct uki_part part_of(const struct pe *pe, const struct pe_section *s) {
        size_t size = s->size < s->virtual_size ? s->size : s->virtual_size;

        return (struct uki_part){ pe->data + (size ? s->offset : 0), size, s->virtual_size - size };
}

/* Versions as git describes what is no release: "257~rc2", "254-rc1", "258~devel",
 * "252-143-g0123abc". They may measure as the one before or as the one after. */
static bool is_release(const char *after_number) {
        const char *g = strstr(after_number, "-g");

        if (!strchr(" .-+", after_number[0]) || strncmp(after_number, "-rc", 3) == 0)
                return false;
        return !g || strspn(g + 2, "0123456789abcdef") < 7;
}

static int parse_magic(const struct pe *pe, unsigned *ret, struct error *err) {
        static const char begins[] = "#### LoaderInfo: systemd-stub ", ends[] = " ####";
        const struct pe_section *s = pe_find(pe, ".sdmagic");
        char text[MAGIC_MAX];
        unsigned version = 0;
        struct uki_part part;
        const char *p;
        size_t length;

        if (!s)
                return error_set(err, -EBADMSG, "no systemd-stub is in it (no section .sdmagic)");
        part = part_of(pe, s);
        if (part.size >= sizeof(text))
                return error_set(err, -EBADMSG, "its section .sdmagic has %zu bytes", part.size);
        memcpy(text, part.data, part.size);
        text[part.size] = '\0';
        length = strlen(text);
        for (size_t i = 0; i < part.size; i++)
                if (i < length ? text[i] < ' ' || text[i] > '~' : text[i] != '\0')
                        return error_set(err, -EBADMSG, "its section .sdmagic isn't text");
        if (length < sizeof(begins) + sizeof(ends) || strncmp(text, begins, sizeof(begins) - 1) ||
            strcmp(text + length - strlen(ends), ends) != 0)
                return error_set(err, -EBADMSG, "it's no systemd-stub: '%s'", text);

        for (p = text + strlen(begins); *p >= '0' && *p <= '9' && version < 10000; p++)
                version = version * 10 + (unsigned) (*p - '0');
        if (version < UKI_STUB_OLDEST || version > UKI_STUB_NEWEST || !is_release(p))
                return error_set(err, -EBADMSG,
                                 "what this stub measures isn't known, only that of releases %d "
                                 "to %d: '%s'",
                                 UKI_STUB_OLDEST, UKI_STUB_NEWEST, text);
        *ret = version;
        return 0;
}

/* @seen: bit n: part n came already, be it empty. */
static int parse_part(const struct pe *pe, const struct pe_section *s, uint32_t *seen,
                      struct uki *uki, struct error *err) {
        for (size_t i = 0; i < ARRAY_SIZE(chosen_at_boot); i++)
                if (strcmp(s->name, chosen_at_boot[i]) == 0)
                        return error_set(err, -EBADMSG,
                                         "its section %s has the stub choose at boot what counts",
                                         s->name);
        for (unsigned i = 0; i < UKI_SECTIONS; i++) {
                if (strncmp(s->name, known[i].name, strlen(known[i].name)) != 0)
                        continue;
                if (strcmp(s->name, known[i].name) != 0)
                        return error_set(err, -EBADMSG,
                                         "its section %s can be taken for the section %s", s->name,
                                         known[i].name);
                if (s->virtual_size == 0 && s->size > 0)
                        return error_set(err, -EBADMSG, "its section %s has no size in memory",
                                         s->name);
                if (*seen & (1u << i))
                        return error_set(err, -EBADMSG, "it has two sections %s", s->name);
                *seen |= 1u << i;
                /* To the stub, an empty section isn't there. */
                if (s->virtual_size > 0)
                        uki->part[i] = part_of(pe, s);
        }
        return 0;
}

int uki_parse(const struct pe *pe, struct uki *ret, struct error *err) {
        struct uki uki = { .machine = pe->machine };
        uint32_t seen = 0;
        int r;

        r = parse_magic(pe, &uki.version, err);
        for (unsigned i = 0; i < pe->sections && r == 0; i++)
                r = parse_part(pe, &pe->section[i], &seen, &uki, err);
        if (r < 0)
                return r;
        if (!uki.part[UKI_LINUX].data)
                return error_set(err, -EBADMSG, "no kernel is in it (no section .linux)");
        if (uki.part[UKI_LINUX].zeros > 0)
                return error_set(err, -EBADMSG, "its section .linux is cut off");
        *ret = uki;
        return 0;
}

static int measure(enum pcr_bank bank, const struct chunk *chunks, size_t n,
                   uint8_t pcr[PCR_SIZE_MAX], struct error *err) {
        uint8_t digest[PCR_SIZE_MAX];
        int r;

        r = crypto_hash(bank, chunks, n, digest, err);
        return r < 0 ? r : pcr_extend(bank, pcr, digest, err);
}

int uki_pcr11(const struct uki *uki, enum pcr_bank bank, const char *const *phases,
              uint8_t ret[PCR_SIZE_MAX], struct error *err) {
        uint8_t pcr[PCR_SIZE_MAX] = { 0 };
        int r = 0;

        for (unsigned i = 0; i < UKI_SECTIONS && r == 0; i++) {
                const struct uki_part *p = &uki->part[i];
                /* The name with its NUL. */
                const struct chunk name = { known[i].name, strlen(known[i].name) + 1 };
                const struct chunk content[] = { { p->data, p->size }, { NULL, p->zeros } };

                if (!p->data || uki->version < known[i].since)
                        continue;
                r = measure(bank, &name, 1, pcr, err);
                if (r == 0)
                        r = measure(bank, content, ARRAY_SIZE(content), pcr, err);
        }
        for (; phases && *phases && r == 0; phases++)
                r = measure(bank, &(struct chunk){ *phases, strlen(*phases) }, 1, pcr, err);
        if (r < 0)
                return r;
        memcpy(ret, pcr, pcr_size(bank));
        return 0;
}

int uki_kernel(const struct uki *uki, struct pe *ret, struct error *err) {
        struct pe kernel;
        int r;

        r = pe_parse(uki->part[UKI_LINUX].data, uki->part[UKI_LINUX].size, &kernel, err);
        if (r < 0)
                return error_prefix(err, "its kernel");
        if (kernel.machine != uki->machine)
                return error_set(err, -EBADMSG, "its kernel is for machine %#x, its stub for %#x",
                                 kernel.machine, uki->machine);
        *ret = kernel;
        return 0;
}

bool uki_kernel_measured(const struct uki *uki, const struct pe *kernel, bool secure_boot) {
        /* Since 258 the stub loads the kernel by itself. Kernels before 5.8 count as version 0: the
         * stub hands over to them without the firmware. */
        return uki->version < 258 && kernel->image_version >= 1 && !secure_boot;
}
