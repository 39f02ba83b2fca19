/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "luks/internal.h"

/* What each MAC is for goes into its key, so that none can stand in for another. */
#define FOR_HEADER "diskseal/1 header"
#define FOR_VOLUME_KEY "diskseal/1 volume key"
#define FOR_HEADER_BY_VK "diskseal/1 header vk"
#define FOR_LATCH "diskseal/1 latch"
#define FOR_RECOVERED "diskseal/1 latch recovered"

static int mac(struct secret *key, const char *purpose, const void *data, size_t size,
               uint8_t ret[LUKS_MAC_SIZE], struct error *err) {
        _cleanup_(secret_freep) struct secret *derived = NULL;
        int r;

        r = crypto_hkdf(key, purpose, strlen(purpose), &derived, err);
        if (r < 0)
                return r;
        return crypto_hmac(derived, data, size, ret, err);
}

static int mac_header(const struct luks *l, int slot, const struct luks_plan *plan,
                      struct secret *key, uint8_t ret[LUKS_MAC_SIZE], struct error *err) {
        _cleanup_(freep) char *covered = NULL;
        int r;

        r = luks_covered(l, slot, plan, &covered, err);
        if (r < 0)
                return r;
        return mac(key, slot < 0 ? FOR_HEADER_BY_VK : FOR_HEADER, covered, strlen(covered), ret,
                   err);
}

static int mac_volume_key(struct secret *slot_secret, struct secret *volume_key,
                          uint8_t ret[LUKS_MAC_SIZE], struct error *err) {
        return mac(slot_secret, FOR_VOLUME_KEY, secret_data(volume_key), secret_size(volume_key),
                   ret, err);
}

int luks_pin_make(const struct luks *l, const struct luks_pin_keys *keys,
                  const struct luks_plan *plan, struct luks_pin *ret, struct error *err) {
        struct luks_pin pin = { .rules = LUKS_PIN_RULES };
        int r;

        r = mac_header(l, (int) keys->slot, plan, keys->slot_secret, pin.mac, err);
        if (r == 0)
                r = mac_header(l, -1, plan, keys->volume_key, pin.vmac, err);
        if (r == 0)
                r = mac_volume_key(keys->slot_secret, keys->volume_key, pin.vk, err);
        if (r < 0)
                return error_prefix(err, "pin of %.100s", l->facts.device);
        *ret = pin;
        return 0;
}

int luks_latch_value(const struct luks *l, struct secret *volume_key, bool recovered,
                     uint8_t ret[LUKS_MAC_SIZE], struct error *err) {
        uint8_t pin[LUKS_MAC_SIZE], value[LUKS_MAC_SIZE];
        int r = mac_header(l, -1, NULL, volume_key, pin, err);

        if (r == 0)
                r = mac(volume_key, recovered ? FOR_RECOVERED : FOR_LATCH, pin, sizeof(pin), value,
                        err);
        if (r < 0)
                return error_prefix(err, "what to measure of %.100s", l->facts.device);
        memcpy(ret, value, sizeof(value));
        return 0;
}

/* A header whose covered form can't be made isn't the one that was pinned. */
static int refuse_form(struct luks_reason *why, struct error *err) {
        (void) luks_refuse(why, LUKS_REFUSED, "pin", "%s", err->text);
        *err = (struct error){ 0 };
        return LUKS_REFUSED;
}

static int check_rules(const struct luks_pin *pin, struct luks_reason *why) {
        if (pin->rules == LUKS_PIN_RULES)
                return LUKS_OK;
        return luks_refuse(why, LUKS_REFUSED, "pin",
                           "found a pin of version %" PRIu32 ", expected %d", pin->rules,
                           LUKS_PIN_RULES);
}

/* @slot: whose secret @key is; -1: @key is the volume key. */
static int check_header(const struct luks *l, int slot, struct secret *key,
                        const struct luks_pin *pin, struct luks_reason *why, struct error *err) {
        uint8_t now[LUKS_MAC_SIZE];
        int r;

        r = check_rules(pin, why);
        if (r != LUKS_OK)
                return r;
        r = mac_header(l, slot, NULL, key, now, err);
        if (r == -EBADMSG)
                return refuse_form(why, err);
        if (r < 0)
                return error_prefix(err, "pin of %.100s", l->facts.device);
        if (!crypto_equal(now, slot < 0 ? pin->vmac : pin->mac, sizeof(now)))
                return luks_refuse(why, LUKS_REFUSED, "pin",
                                   "the header isn't the one that was pinned%s",
                                   slot < 0 ? " with the volume key" : "");
        return LUKS_OK;
}

int luks_pin_check(const struct luks *l, unsigned slot, struct secret *slot_secret,
                   const struct luks_pin *pin, struct luks_reason *why, struct error *err) {
        return check_header(l, (int) slot, slot_secret, pin, why, err);
}

int luks_pin_check_owner(const struct luks *l, struct secret *volume_key,
                         const struct luks_pin *pin, struct luks_reason *why, struct error *err) {
        return check_header(l, -1, volume_key, pin, why, err);
}

int luks_pin_check_key(const struct luks *l, struct secret *slot_secret, struct secret *volume_key,
                       const struct luks_pin *pin, struct luks_reason *why, struct error *err) {
        uint8_t vk[LUKS_MAC_SIZE];
        int r;

        r = check_rules(pin, why);
        if (r != LUKS_OK)
                return r;
        r = mac_volume_key(slot_secret, volume_key, vk, err);
        if (r < 0)
                return error_prefix(err, "pin of %.100s", l->facts.device);
        if (!crypto_equal(vk, pin->vk, sizeof(vk)))
                return luks_refuse(why, LUKS_REFUSED, "pin",
                                   "the volume key isn't the one that was pinned");
        return luks_pin_check_owner(l, volume_key, pin, why, err);
}
