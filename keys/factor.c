/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/factor.h"

#include <errno.h>
#include <string.h>

#include "base/crypto.h"

#define AUTH_INFO "diskseal/1 pin auth"
#define SALT_INFO "diskseal/1 pin salt"
#define STRETCHED_SIZE 32

#define COST_MEMORY_MIN (64u * 1024) /* KiB */
#define COST_WORK_MIN (3ull * COST_MEMORY_MIN)

bool factor_cost_valid(const struct argon2_cost *cost) {
        return argon2_cost_valid(cost) && cost->memory >= COST_MEMORY_MIN &&
               (uint64_t) cost->memory * cost->time >= COST_WORK_MIN;
}

const char *factor_label(enum factor_kind kind) {
        switch (kind) {
        case FACTOR_PIN: return "diskseal/1 kek pin";
        case FACTOR_KEY: return "diskseal/1 kek key";
        default: return "diskseal/1 kek";
        }
}

int factor_new(enum factor_kind kind, const struct argon2_cost *cost, struct factor *ret,
               struct error *err) {
        struct factor f = { .kind = kind };
        int r;

        if (kind == FACTOR_PIN) {
                f.cost = cost ? *cost : (struct argon2_cost) FACTOR_COST_DEFAULT;
                if (!factor_cost_valid(&f.cost))
                        return error_set(err, -EINVAL,
                                         "a PIN isn't stretched at %u KiB, %u passes, %u lanes",
                                         f.cost.memory, f.cost.time, f.cost.lanes);
                f.salt_size = FACTOR_SALT_MIN;
                r = crypto_random(f.salt, f.salt_size, err);
                if (r < 0)
                        return r;
        }
        *ret = f;
        return 0;
}

static int derive_pin(const struct factor *f, struct secret *pin, struct secret **ret_auth,
                      struct secret **ret_salt, struct error *err) {
        _cleanup_(secret_freep) struct secret *stretched = NULL, *auth = NULL;
        const struct argon2_input in = { .password = pin,
                                         .salt = f->salt,
                                         .salt_size = f->salt_size };
        int r;

        if (f->salt_size < FACTOR_SALT_MIN || f->salt_size > FACTOR_SALT_MAX)
                return error_set(err, -EINVAL, "a PIN's salt of %zu bytes", f->salt_size);
        if ((r = argon2_derive(&in, &f->cost, STRETCHED_SIZE, &stretched, err)) < 0 ||
            (r = crypto_hkdf(stretched, AUTH_INFO, strlen(AUTH_INFO), &auth, err)) < 0 ||
            (r = crypto_hkdf(stretched, SALT_INFO, strlen(SALT_INFO), ret_salt, err)) < 0)
                return r;
        secret_data(auth)[FACTOR_AUTH_SIZE - 1] |= 1;
        *ret_auth = TAKE(auth);
        return FACTOR_DERIVED;
}

static int derive_key(struct secret *key, struct secret **ret_auth, struct secret **ret_salt,
                      struct error *err) {
        _cleanup_(secret_freep) struct secret *salt = NULL;
        int r;

        r = secret_new(secret_size(key), &salt);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a second factor");
        memcpy(secret_data(salt), secret_data(key), secret_size(key));
        *ret_auth = NULL;
        *ret_salt = TAKE(salt);
        return FACTOR_DERIVED;
}

int factor_derive(const struct factor *f, struct secret *input, struct secret **ret_auth,
                  struct secret **ret_salt, struct error *err) {
        switch (f->kind) {
        case FACTOR_NONE:
                *ret_auth = NULL;
                *ret_salt = NULL;
                return FACTOR_DERIVED;
        case FACTOR_PIN:
                return input ? derive_pin(f, input, ret_auth, ret_salt, err) : FACTOR_SHORT;
        case FACTOR_KEY:
                if (!input || secret_size(input) < FACTOR_KEY_MIN)
                        return FACTOR_SHORT;
                if (secret_size(input) > FACTOR_KEY_MAX)
                        return FACTOR_LONG;
                return derive_key(input, ret_auth, ret_salt, err);
        default: return error_set(err, -EINVAL, "a second factor of kind %d", (int) f->kind);
        }
}

/* --- in a token --- */

static int parse_pin(const struct json *factor, struct factor *f, struct error *err) {
        const struct json *cost;
        uint64_t memory, time, lanes;
        int r;

        if ((r = json_get_bytes(factor, "salt", f->salt, sizeof(f->salt), &f->salt_size, err)) <
                    0 ||
            (r = json_get(factor, "argon2id", &cost, err)) < 0 ||
            (r = json_get_uint(cost, "memory", ARGON2_COST_MEMORY_MAX, &memory, err)) < 0 ||
            (r = json_get_uint(cost, "time", ARGON2_COST_TIME_MAX, &time, err)) < 0 ||
            (r = json_get_uint(cost, "lanes", ARGON2_COST_LANES_MAX, &lanes, err)) < 0)
                return r;
        f->cost = (struct argon2_cost){ (uint32_t) memory, (uint32_t) time, (uint32_t) lanes };
        if (f->salt_size < FACTOR_SALT_MIN)
                return error_set(err, -EBADMSG, "a PIN's salt of %zu bytes", f->salt_size);
        if (!factor_cost_valid(&f->cost))
                return error_set(err, -EBADMSG,
                                 "a PIN stretched at %u KiB, %u passes, %u lanes, which is too "
                                 "little",
                                 f->cost.memory, f->cost.time, f->cost.lanes);
        if (json_length(factor) != 3 || json_length(cost) != 3)
                return error_set(err, -EBADMSG, "a PIN with what this version doesn't know");
        return 0;
}

int factor_parse(const struct json *entry, struct factor *ret, struct error *err) {
        struct factor f = { 0 };
        const struct json *factor;
        const char *kind;
        int r;

        if (!json_has(entry, "factor")) {
                *ret = f;
                return 0;
        }
        if ((r = json_get(entry, "factor", &factor, err)) < 0 ||
            (r = json_get_string(factor, "kind", &kind, err)) < 0)
                return r;
        if (strcmp(kind, "pin") == 0) {
                f.kind = FACTOR_PIN;
                r = parse_pin(factor, &f, err);
                if (r < 0)
                        return r;
        } else if (strcmp(kind, "key") == 0 && json_length(factor) == 1)
                f.kind = FACTOR_KEY;
        else
                return error_set(err, -EBADMSG, "a second factor that this version doesn't know");
        *ret = f;
        return 0;
}

bool factor_print(const struct factor *f, struct json *entry) {
        _cleanup_(json_freep) struct json *factor = NULL, *cost = NULL;

        if (f->kind == FACTOR_NONE)
                return true;
        factor = json_new_object();
        if (!json_add_string(factor, "kind", f->kind == FACTOR_PIN ? "pin" : "key"))
                return false;
        if (f->kind == FACTOR_PIN) {
                cost = json_new_object();
                if (!json_add_bytes(factor, "salt", f->salt, f->salt_size) ||
                    !json_add_uint(cost, "memory", f->cost.memory) ||
                    !json_add_uint(cost, "time", f->cost.time) ||
                    !json_add_uint(cost, "lanes", f->cost.lanes) ||
                    !json_add(factor, "argon2id", TAKE(cost)))
                        return false;
        }
        return json_add(entry, "factor", TAKE(factor));
}
