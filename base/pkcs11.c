/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/pkcs11.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

#include "base/file.h"

#define LIBRARY "libp11-kit.so.0"
#define SLOTS_MAX 256
#define PIN_MAX 256 /* bytes */
#define TEMPLATE_MAX 8

/* What is used of p11-kit. */
#define FUNCTIONS(F)                                                                               \
        F(p11_kit_module_finalize)                                                                 \
        F(p11_kit_module_get_name)                                                                 \
        F(p11_kit_module_initialize)                                                               \
        F(p11_kit_module_load)                                                                     \
        F(p11_kit_module_release)                                                                  \
        F(p11_kit_modules_finalize_and_release)                                                    \
        F(p11_kit_modules_load_and_initialize)                                                     \
        F(p11_kit_uri_any_unrecognized)                                                            \
        F(p11_kit_uri_free)                                                                        \
        F(p11_kit_uri_get_attributes)                                                              \
        F(p11_kit_uri_get_module_name)                                                             \
        F(p11_kit_uri_get_module_path)                                                             \
        F(p11_kit_uri_get_pin_source)                                                              \
        F(p11_kit_uri_get_pin_value)                                                               \
        F(p11_kit_uri_get_slot_id)                                                                 \
        F(p11_kit_uri_match_module_info)                                                           \
        F(p11_kit_uri_match_slot_info)                                                             \
        F(p11_kit_uri_match_token_info)                                                            \
        F(p11_kit_uri_message)                                                                     \
        F(p11_kit_uri_new)                                                                         \
        F(p11_kit_uri_parse)

#define DECLARE(name) __typeof__(name) *name;

struct pkcs11 {
        void *library;
        struct {
                FUNCTIONS(DECLARE)
        } f;
        P11KitUri *uri;
        CK_FUNCTION_LIST **modules;  /* those of the configuration, or NULL */
        CK_FUNCTION_LIST *single[2]; /* else the one that the URI names, and NULL */
        CK_FUNCTION_LIST *module;    /* the one with the token, borrowed */
        CK_SLOT_ID slot;
        CK_TOKEN_INFO token;
        CK_SESSION_HANDLE session;
        bool has_session;
        CK_OBJECT_HANDLE key;
        bool asks_each_time; /* the PIN again for each signature */
        struct secret *pin;  /* NULL where the token takes it itself, or needs none */
        struct public_parts public;
};

static int error_token(struct error *err, const char *what, CK_RV rv) {
        return error_set(err, -EIO, "%s: PKCS #11 error 0x%lx", what, rv);
}

struct pkcs11 *pkcs11_free(struct pkcs11 *p) {
        if (!p)
                return NULL;
        if (p->has_session)
                (void) p->module->C_CloseSession(p->session);
        if (p->modules)
                p->f.p11_kit_modules_finalize_and_release(p->modules);
        if (p->single[0]) {
                (void) p->f.p11_kit_module_finalize(p->single[0]);
                p->f.p11_kit_module_release(p->single[0]);
        }
        if (p->uri)
                p->f.p11_kit_uri_free(p->uri);
        if (p->library)
                (void) dlclose(p->library);
        secret_free(p->pin);
        free(p);
        return NULL;
}

static int load_library(struct pkcs11 *p, struct error *err) {
        p->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
        if (!p->library)
                return error_set(err, -EOPNOTSUPP,
                                 "keys in PKCS #11 tokens need %s: install p11-kit", LIBRARY);
#define LOAD(name)                                                                                 \
        p->f.name = (__typeof__(name) *) dlsym(p->library, #name);                                 \
        if (!p->f.name)                                                                            \
                return error_set(err, -EOPNOTSUPP, "%s has no %s()", LIBRARY, #name);
        FUNCTIONS(LOAD)
#undef LOAD
        return 0;
}

static int parse_uri(struct pkcs11 *p, const char *uri, struct error *err) {
        int r;

        p->uri = p->f.p11_kit_uri_new();
        if (!p->uri)
                return error_nomem(err);
        r = p->f.p11_kit_uri_parse(uri, P11_KIT_URI_FOR_ANY, p->uri);
        if (r != P11_KIT_URI_OK)
                return error_set(err, -EBADMSG, "not a PKCS #11 URI (RFC 7512): %s",
                                 p->f.p11_kit_uri_message(r));
        /* p11-kit would leave them out, and more would fit than was meant. */
        if (p->f.p11_kit_uri_any_unrecognized(p->uri))
                return error_set(err, -EBADMSG,
                                 "an attribute of the PKCS #11 URI isn't known (RFC 7512)");
        return 0;
}

static int load_modules(struct pkcs11 *p, struct error *err) {
        const char *path = p->f.p11_kit_uri_get_module_path(p->uri);
        CK_RV rv;

        if (!path) {
                p->modules = p->f.p11_kit_modules_load_and_initialize(0);
                return p->modules ? 0 : error_set(err, -EIO, "p11-kit loads no PKCS #11 modules");
        }
        p->single[0] = p->f.p11_kit_module_load(path, 0);
        if (!p->single[0])
                return error_set(err, -EBADMSG, "module-path= names no PKCS #11 module");
        rv = p->f.p11_kit_module_initialize(p->single[0]);
        if (rv != CKR_OK) {
                p->f.p11_kit_module_release(p->single[0]);
                p->single[0] = NULL;
                return error_token(err, "initialize the PKCS #11 module", rv);
        }
        return 0;
}

/* --- objects --- */

/* The objects of a class, and with further attributes. Return: how many fit, at most 2. */
static int find(struct pkcs11 *p, CK_OBJECT_CLASS class, const CK_ATTRIBUTE *also, CK_ULONG count,
                CK_OBJECT_HANDLE *ret, struct error *err) {
        CK_ATTRIBUTE all[1 + TEMPLATE_MAX] = { { CKA_CLASS, &class, sizeof(class) } };
        CK_OBJECT_HANDLE found[2];
        CK_ULONG n = 0;
        CK_RV rv;

        if (count > TEMPLATE_MAX)
                return error_set(err, -EBADMSG, "too many attributes in the PKCS #11 URI");
        if (count > 0)
                memcpy(all + 1, also, count * sizeof(*also));
        rv = p->module->C_FindObjectsInit(p->session, all, count + 1);
        if (rv != CKR_OK)
                return error_token(err, "search a token", rv);
        rv = p->module->C_FindObjects(p->session, found, ARRAY_SIZE(found), &n);
        (void) p->module->C_FindObjectsFinal(p->session);
        if (rv != CKR_OK || n > ARRAY_SIZE(found))
                return error_token(err, "search a token", rv);
        if (n > 0)
                *ret = found[0];
        return (int) n;
}

/* Return: how many private keys fit the URI, at most 2. */
static int find_key(struct pkcs11 *p, struct error *err) {
        CK_ATTRIBUTE also[TEMPLATE_MAX];
        CK_ULONG given = 0, count = 0;
        const CK_ATTRIBUTE *a = p->f.p11_kit_uri_get_attributes(p->uri, &given);

        for (CK_ULONG i = 0; a && i < given; i++) {
                if (a[i].type != CKA_CLASS) {
                        if (count == TEMPLATE_MAX)
                                return error_set(err, -EBADMSG,
                                                 "too many attributes in the PKCS #11 URI");
                        also[count++] = a[i];
                } else if (a[i].ulValueLen != sizeof(CK_OBJECT_CLASS) ||
                           memcmp(a[i].pValue, &(CK_OBJECT_CLASS){ CKO_PRIVATE_KEY },
                                  sizeof(CK_OBJECT_CLASS)) != 0) {
                        return error_set(err, -EBADMSG,
                                         "the PKCS #11 URI names something else than a private "
                                         "key");
                }
        }
        return find(p, CKO_PRIVATE_KEY, also, count, &p->key, err);
}

/* Return: whether the object has the attribute, and it fits into @max bytes. */
static bool get(struct pkcs11 *p, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *ret,
                size_t max, size_t *ret_size) {
        CK_ATTRIBUTE a = { type, ret, max };

        if (p->module->C_GetAttributeValue(p->session, object, &a, 1) != CKR_OK ||
            a.ulValueLen > max)
                return false;
        *ret_size = a.ulValueLen;
        return true;
}

/* --- the token --- */

static int open_session(struct pkcs11 *p, CK_FUNCTION_LIST *module, CK_SLOT_ID slot,
                        struct error *err) {
        CK_RV rv = module->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &p->session);

        if (rv != CKR_OK)
                return error_token(err, "open a token", rv);
        p->module = module;
        p->has_session = true;
        return 0;
}

static void close_session(struct pkcs11 *p) {
        (void) p->module->C_CloseSession(p->session);
        p->has_session = false;
}

/* A token that needs no login shows what it has, and doesn't count where that's no key for us:
 * p11-kit's own, of trusted certificates, would else fit many a URI. */
static bool could_have_key(struct pkcs11 *p, CK_FUNCTION_LIST *module, CK_SLOT_ID slot,
                           const CK_TOKEN_INFO *info) {
        struct error ignored = { 0 };
        bool has;

        if (!(info->flags & CKF_TOKEN_INITIALIZED))
                return false;
        if (info->flags & CKF_LOGIN_REQUIRED)
                return true;
        if (open_session(p, module, slot, &ignored) < 0)
                return false;
        has = find_key(p, &ignored) > 0;
        close_session(p);
        return has;
}

/* Counts the tokens of a module that fit, and remembers one. */
static void look_at_module(struct pkcs11 *p, CK_FUNCTION_LIST *module, unsigned *count) {
        CK_SLOT_ID slots[SLOTS_MAX], wanted = p->f.p11_kit_uri_get_slot_id(p->uri);
        CK_ULONG n = SLOTS_MAX;
        CK_INFO info;

        if (module->C_GetInfo(&info) != CKR_OK ||
            p->f.p11_kit_uri_match_module_info(p->uri, &info) != 1 ||
            module->C_GetSlotList(CK_TRUE, slots, &n) != CKR_OK)
                return;
        for (CK_ULONG i = 0; i < n && i < SLOTS_MAX; i++) {
                CK_SLOT_INFO slot;
                CK_TOKEN_INFO token;

                if ((wanted != (CK_SLOT_ID) -1 && wanted != slots[i]) ||
                    module->C_GetSlotInfo(slots[i], &slot) != CKR_OK ||
                    p->f.p11_kit_uri_match_slot_info(p->uri, &slot) != 1 ||
                    module->C_GetTokenInfo(slots[i], &token) != CKR_OK ||
                    p->f.p11_kit_uri_match_token_info(p->uri, &token) != 1 ||
                    !could_have_key(p, module, slots[i], &token))
                        continue;
                (*count)++;
                p->module = module;
                p->slot = slots[i];
                p->token = token;
        }
}

static bool is_named(struct pkcs11 *p, CK_FUNCTION_LIST *module) {
        const char *wanted = p->f.p11_kit_uri_get_module_name(p->uri);
        _cleanup_(freep) char *name = NULL;

        if (!wanted)
                return true;
        name = p->f.p11_kit_module_get_name(module);
        return name && strcmp(name, wanted) == 0;
}

static int find_token(struct pkcs11 *p, struct error *err) {
        CK_FUNCTION_LIST **modules = p->modules ? p->modules : p->single;
        unsigned count = 0;

        for (size_t i = 0; modules[i]; i++)
                if (is_named(p, modules[i]))
                        look_at_module(p, modules[i], &count);
        if (count == 0)
                return error_set(err, -EBADMSG, "no PKCS #11 token fits the URI");
        if (count > 1)
                return error_set(err, -EBADMSG,
                                 "several PKCS #11 tokens fit the URI: name one (token=, serial=)");
        return 0;
}

/* --- the PIN --- */

/* A file's last newline isn't part of a PIN. */
static int read_pin(const char *source, struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *file = NULL;
        const char *path = strncmp(source, "file://", 7) == 0 ? source + 7
                           : strncmp(source, "file:", 5) == 0 ? source + 5
                                                              : source;
        size_t size;
        int r;

        if (path[0] != '/')
                return error_set(err, -EBADMSG, "pin-source= isn't the path of a file");
        r = file_read_secret(path, PIN_MAX, &file, err);
        if (r < 0)
                return r;
        size = secret_size(file);
        if (secret_data(file)[size - 1] == '\n')
                size--;
        if (size == 0)
                return error_set(err, -ENODATA, "the file of pin-source= is empty");
        r = secret_new(size, ret);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a PIN");
        memcpy(secret_data(*ret), secret_data(file), size);
        return 0;
}

/* Out of the URI, whose memory nobody would wipe. */
static int take_pin(char *value, struct secret **ret, struct error *err) {
        size_t size = strlen(value);
        int r;

        if (size == 0 || size > PIN_MAX)
                return error_set(err, -EBADMSG, "pin-value= has 1 to %d bytes", PIN_MAX);
        r = secret_new(size, ret);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a PIN");
        memcpy(secret_data(*ret), value, size);
        explicit_bzero(value, size);
        return 0;
}

static int get_pin(struct pkcs11 *p, const struct signer_ask *ask, struct error *err) {
        const char *value = p->f.p11_kit_uri_get_pin_value(p->uri);
        const char *source = p->f.p11_kit_uri_get_pin_source(p->uri);
        int size = (int) sizeof(p->token.label);
        char what[64];

        if (source)
                return read_pin(source, &p->pin, err);
        if (value)
                return take_pin((char *) value, &p->pin, err);
        if (!ask)
                return error_set(err, -EKEYREJECTED,
                                 "the PKCS #11 token wants a PIN: give pin-source=");
        while (size > 0 && p->token.label[size - 1] == ' ')
                size--;
        (void) snprintf(what, sizeof(what), "the token %.*s", size, p->token.label);
        make_printable(what);
        return ask->ask(ask->context, what, &p->pin, err);
}

static int login_as(struct pkcs11 *p, CK_USER_TYPE who, struct error *err) {
        CK_RV rv = p->module->C_Login(p->session, who, p->pin ? secret_data(p->pin) : NULL,
                                      p->pin ? secret_size(p->pin) : 0);

        switch (rv) {
        case CKR_OK:
        case CKR_USER_ALREADY_LOGGED_IN: return 0;
        case CKR_PIN_INCORRECT:
        case CKR_PIN_INVALID:
        case CKR_PIN_LEN_RANGE:
                return error_set(err, -EKEYREJECTED, "the PKCS #11 token refuses the PIN");
        case CKR_PIN_LOCKED:
                return error_set(err, -EKEYREJECTED, "the PIN of the PKCS #11 token is locked");
        default: return error_token(err, "log in to a token", rv);
        }
}

static int login(struct pkcs11 *p, const struct signer_ask *ask, struct error *err) {
        if (!(p->token.flags & CKF_LOGIN_REQUIRED))
                return 0;
        if (p->token.flags & CKF_USER_PIN_LOCKED)
                return error_set(err, -EKEYREJECTED, "the PIN of the PKCS #11 token is locked");
        if (p->token.flags & CKF_USER_PIN_FINAL_TRY)
                return error_set(err, -EKEYREJECTED,
                                 "one wrong PIN more would lock the PKCS #11 token: log in with "
                                 "its own program first");
        if (!(p->token.flags & CKF_PROTECTED_AUTHENTICATION_PATH)) {
                int r = get_pin(p, ask, err);

                if (r < 0)
                        return r;
        }
        return login_as(p, CKU_USER, err);
}

/* --- the key --- */

/* Copies a big-endian number to the end of @max bytes. False where it's larger. */
static bool number(const uint8_t *data, size_t size, uint8_t *ret, size_t max) {
        while (size > 0 && data[0] == 0) {
                data++;
                size--;
        }
        if (size > max)
                return false;
        memset(ret, 0, max - size);
        memcpy(ret + max - size, data, size);
        return true;
}

static bool read_rsa(struct pkcs11 *p, CK_OBJECT_HANDLE object) {
        uint8_t n[sizeof(p->public.n) + 1], e[8], four[4];
        size_t n_size, e_size, zeros = 0;

        if (!get(p, object, CKA_MODULUS, n, sizeof(n), &n_size) ||
            !get(p, object, CKA_PUBLIC_EXPONENT, e, sizeof(e), &e_size) ||
            !number(e, e_size, four, sizeof(four)))
                return false;
        while (zeros < n_size && n[zeros] == 0)
                zeros++;
        p->public.kind = PUBLIC_RSA;
        p->public.size = n_size - zeros;
        p->public.exponent = (uint32_t) four[0] << 24 | (uint32_t) four[1] << 16 |
                             (uint32_t) four[2] << 8 | four[3];
        return number(n + zeros, n_size - zeros, p->public.n, p->public.size);
}

static bool read_ec(struct pkcs11 *p, CK_OBJECT_HANDLE object) {
        static const uint8_t p256[] = { 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
        static const uint8_t p384[] = { 0x06, 5, 0x2b, 0x81, 0x04, 0x00, 0x22 };
        uint8_t params[64], point[200], *at = point;
        size_t size, n;

        if (!get(p, object, CKA_EC_PARAMS, params, sizeof(params), &size))
                return false;
        if (size == sizeof(p256) && memcmp(params, p256, size) == 0)
                n = 32;
        else if (size == sizeof(p384) && memcmp(params, p384, size) == 0)
                n = 48;
        else
                return false;
        if (!get(p, object, CKA_EC_POINT, point, sizeof(point), &size))
                return false;
        /* An OCTET STRING; some modules leave its head away. */
        if (size == 2 + 1 + 2 * n && at[0] == 0x04 && at[1] == 1 + 2 * n) {
                at += 2;
                size -= 2;
        }
        if (size != 1 + 2 * n || at[0] != 0x04)
                return false;
        p->public.kind = PUBLIC_EC;
        p->public.size = n;
        memcpy(p->public.x, at + 1, n);
        memcpy(p->public.y, at + 1 + n, n);
        return true;
}

/* The public half stands in the private key, or in the public key with the same CKA_ID. */
static int read_public(struct pkcs11 *p, struct error *err) {
        CK_KEY_TYPE type = 0;
        CK_OBJECT_HANDLE other = 0;
        CK_BBOOL each = CK_FALSE;
        uint8_t id[256];
        bool (*read)(struct pkcs11 *, CK_OBJECT_HANDLE);
        size_t n;

        if (!get(p, p->key, CKA_KEY_TYPE, &type, sizeof(type), &n) ||
            (type != CKK_RSA && type != CKK_EC))
                return error_set(err, -EOPNOTSUPP, "the key in the token is neither RSA nor EC");
        if (get(p, p->key, CKA_ALWAYS_AUTHENTICATE, &each, sizeof(each), &n))
                p->asks_each_time = each == CK_TRUE;
        read = type == CKK_RSA ? read_rsa : read_ec;
        if (read(p, p->key))
                return 0;
        if (get(p, p->key, CKA_ID, id, sizeof(id), &n) && n > 0) {
                CK_ATTRIBUTE same = { CKA_ID, id, n };
                int r = find(p, CKO_PUBLIC_KEY, &same, 1, &other, err);

                if (r < 0)
                        return r;
                if (r == 1 && read(p, other))
                        return 0;
        }
        return error_set(err, -EOPNOTSUPP,
                         "the token has no public key of this id, or one that is neither RSA of "
                         "at most 4096 bits nor EC on P-256 or P-384");
}

int pkcs11_open(const char *uri, const struct signer_ask *ask, struct pkcs11 **ret,
                struct error *err) {
        _cleanup_(pkcs11_freep) struct pkcs11 *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return error_nomem(err);
        if ((r = load_library(p, err)) < 0 || (r = parse_uri(p, uri, err)) < 0 ||
            (r = load_modules(p, err)) < 0 || (r = find_token(p, err)) < 0 ||
            (r = open_session(p, p->module, p->slot, err)) < 0 || (r = login(p, ask, err)) < 0)
                return r;
        r = find_key(p, err);
        if (r < 0)
                return r;
        if (r == 0)
                return error_set(err, -EBADMSG, "the token has no private key that fits the URI");
        if (r > 1)
                return error_set(err, -EBADMSG,
                                 "several private keys fit the URI: name one (object=, id=)");
        r = read_public(p, err);
        if (r < 0)
                return r;
        *ret = TAKE(p);
        return 0;
}

const struct public_parts *pkcs11_public(const struct pkcs11 *p) {
        return &p->public;
}

int pkcs11_sign(struct pkcs11 *p, const uint8_t hash[SHA256_SIZE], uint8_t ret[SIGNATURE_MAX],
                size_t *ret_size, struct error *err) {
        /* DigestInfo of SHA-256 (RFC 8017, 9.2, note 1): tokens that hash by themselves are few. */
        uint8_t info[19 + SHA256_SIZE] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60,
                                           0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                                           0x01, 0x05, 0x00, 0x04, 0x20 };
        bool rsa = p->public.kind == PUBLIC_RSA;
        CK_MECHANISM how = { rsa ? CKM_RSA_PKCS : CKM_ECDSA, NULL, 0 };
        uint8_t sig[SIGNATURE_MAX];
        CK_ULONG n = sizeof(sig);
        CK_RV rv;

        memcpy(info + 19, hash, SHA256_SIZE);
        rv = p->module->C_SignInit(p->session, &how, p->key);
        if (rv == CKR_OK && p->asks_each_time) {
                int r = login_as(p, CKU_CONTEXT_SPECIFIC, err);

                if (r < 0)
                        return r;
        }
        if (rv == CKR_OK)
                rv = p->module->C_Sign(p->session, rsa ? info : info + 19,
                                       rsa ? sizeof(info) : SHA256_SIZE, sig, &n);
        if (rv != CKR_OK || n > sizeof(sig))
                return error_token(err, "sign by a token", rv);
        memcpy(ret, sig, n);
        *ret_size = n;
        return 0;
}
