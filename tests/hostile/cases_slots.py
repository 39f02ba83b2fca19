# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keyslots, ours and others', and what they cost; tokens."""

import copy

from luks2 import OWN_KEY, b64, digest_of, open_slot, split
from table import DOS, GONE, MAY, REJECT, SAME, Table

slot = Table("keyslot")
cost = Table("kdf")
token = Table("token")


def cases():
    for t in (slot, cost, token):
        yield from t.list


slot.member(lambda c: c.slot, [
    ("slot-type", "type", "x-host", "slot-type"),
    ("slot-type-gone", "type", GONE, "slot-type"),
    ("slot-key-zero", "key_size", 0, "slot-key-size"),
    ("slot-key-32", "key_size", 32, "slot-key-size|slot-area-size|pin"),
    ("slot-key-128", "key_size", 128, "slot-key-size"),
    ("slot-key-negative", "key_size", -1, "slot-key-size"),
    ("slot-key-string", "key_size", "64", "slot-key-size"),
    ("slot-member", "x-host", "\x1b[2J", "slot-members"),
    ("slot-priority-high", "priority", 2, SAME),
    ("slot-priority-ignore", "priority", 0, SAME),
    ("slot-priority-3", "priority", 3, "slot-priority"),
    ("slot-priority-negative", "priority", -1, "slot-priority"),
    ("slot-priority-string", "priority", "2", "slot-priority"),
    ("stripes-one", "af.stripes", 1, "slot-af"),
    ("stripes-zero", "af.stripes", 0, "slot-af"),
    ("stripes-wrap", "af.stripes", (1 << 32) + 4000, "slot-af"),
    ("splitter-type", "af.type", "luks9", "slot-af"),
    ("splitter-hash", "af.hash", "md5", "slot-af"),
    ("splitter-hash-known", "af.hash", "sha256", "slot-af"),
    ("splitter-member", "af.x", 1, "slot-af-members"),
    ("splitter-gone", "af", GONE, "slot-members"),
    ("area-cipher-null", "area.encryption", "cipher_null-ecb", "slot-area-cipher"),
    ("area-cipher-word", "area.encryption", "null", "slot-area-cipher"),
    ("area-cipher-cbc", "area.encryption", "aes-cbc-plain64", "slot-area-cipher"),
    ("area-cipher-table", "area.encryption", "aes-xts-plain64 0 /dev/loop0", "slot-area-cipher"),
    ("area-cipher-long", "area.encryption", "c" * 600, "slot-area-cipher"),
    ("area-key-32", "area.key_size", 32, "slot-area-cipher"),
    ("area-key-huge", "area.key_size", (1 << 31) - 1, "slot-area-cipher"),
    ("area-type", "area.type", "none", "slot-area-cipher"),
    ("area-member", "area.x", 1, "slot-area-members"),
    ("area-over-first", "area.offset", "4096", "slot-area-place"),
    ("area-over-second", "area.offset", "20480", "slot-area-place"),
    ("area-zero", "area.offset", "0", "slot-area-place"),
    ("area-huge", "area.offset", str(1 << 63), "slot-area-place"),
    ("area-wraps", "area.offset", str((1 << 64) - 4096), "slot-area-place"),
    ("area-negative", "area.offset", "-131072", "slot-area-place"),
    ("area-between", "area.offset", lambda v: str(int(v) + 1), "slot-area-place"),
    ("area-512", "area.offset", lambda v: str(int(v) + 512), "slot-area-place"),
    ("area-elsewhere", "area.offset", lambda v: str(int(v) + 8 * (1 << 20)), "pin"),
    ("area-number", "area.offset", lambda v: int(v), "slot-area-place"),
    ("area-short", "area.size", "4096", "slot-area-size"),
    ("area-long", "area.size", lambda v: str(int(v) + 4096), "slot-area-size"),
    ("area-2g", "area.size", str(1 << 31), "slot-area-size"),
    ("area-size-huge", "area.size", str(1 << 63), "slot-area-size"),
    ("area-size-zero", "area.size", "0", "slot-area-size"),
    ("area-gone", "area", GONE, "slot-members"),
])


@slot.case("area-in-data", REJECT, "slot-area-place", "its end lies in the data")
def _(c):
    c.slot["area"]["offset"] = str(int(c.segment["offset"]) - 4096)


def own_slot(c, cipher):
    """Our keyslot is replaced by one that any key opens, to a volume key that the host knows."""
    d = c.digest
    offset = int(c.slot["area"]["offset"])
    c.json["keyslots"][c.number] = open_slot(offset, cipher)
    c.areas[offset] = split(OWN_KEY).ljust(258048, b"\0")
    for n, x in c.json["digests"].items():
        if x is d:
            c.json["digests"][n] = digest_of(OWN_KEY, d["keyslots"], ["0"])


for name, cipher in (("own-key-null", "cipher_null-ecb"), ("own-key-word", "null"),
                     ("own-key-xts", "cipher_null-xts-plain64")):
    slot.case(name, REJECT, "slot-af|slot-area-cipher|slot-kdf", "a volume key of the host's in our keyslot")(
        lambda c, cipher=cipher: own_slot(c, cipher))


@slot.case("own-key-alone", REJECT, "slot-af|slot-area-cipher|slot-kdf", "the same, and no other keyslot")
def _(c):
    own_slot(c, "cipher_null-ecb")
    number = c.number
    c.json["keyslots"] = {number: c.json["keyslots"][number]}
    c.digest["keyslots"] = [number]


def another(c, digest=None, **changes):
    """One more keyslot, open to anybody."""
    number = c.free("keyslots")
    made = open_slot(c.free_area())
    made["area"].update(changes.pop("area", {}))
    made.update(changes)
    c.areas[int(made["area"]["offset"])] = split(OWN_KEY)
    c.json["keyslots"][number] = made
    if digest:
        c.json["digests"][digest] = digest_of(OWN_KEY, [number], ["0"])
    return number


@slot.case("other-digest", REJECT, "digests", "one more keyslot, with a digest of the data")
def _(c):
    another(c, "9", priority=2)


# libcryptsetup loads no header with a keyslot that's of no digest.
@slot.case("other-unbound", MAY, "-", "one more keyslot, of no digest")
def _(c):
    another(c)


@slot.case("other-unbound-flags", MAY, "-", "the same with a high priority, and flags in the config")
def _(c):
    another(c, priority=2)
    c.config["flags"] = ["allow-discards"]


@slot.case("other-in-digest", REJECT, "slot-area-cipher", "one more keyslot, in the list of the data's digest")
def _(c):
    c.digest["keyslots"].append(another(c, priority=2))


@slot.case("other-own-digest", SAME, "-", "one more keyslot, of a digest of nothing")
def _(c):
    c.json["digests"]["9"] = digest_of(OWN_KEY, [another(c)], [])


@slot.case("other-token", REJECT, "slot-area-cipher", "one more keyslot, and our token is of that one")
def _(c):
    c.token["keyslots"] = [another(c, priority=2)]
    c.digest["keyslots"] += c.token["keyslots"]


@slot.case("other-token-number", REJECT, "slot-area-cipher",
           "the same, and our token says so everywhere")
def _(c):
    number = another(c, priority=2)
    c.digest["keyslots"].append(number)
    c.token["keyslots"] = [number]
    c.token["slot"] = int(number)


@slot.case("other-over-ours", REJECT, "slot-area-alone", "another keyslot in the place of ours")
def _(c):
    another(c, area={"offset": c.slot["area"]["offset"]})
    c.areas[int(c.slot["area"]["offset"])] = bytes(258048)


@slot.case("other-over-our-end", REJECT, "slot-area-alone", "another keyslot over the end of ours")
def _(c):
    at = int(c.slot["area"]["offset"]) + int(c.slot["area"]["size"]) - 4096
    c.json["keyslots"][c.free("keyslots")] = open_slot(at)


@slot.case("other-over-metadata", MAY, "-", "another keyslot over the metadata")
def _(c):
    c.json["keyslots"][c.free("keyslots")] = open_slot(0)


@slot.case("other-over-data", MAY, "-", "another keyslot over the data")
def _(c):
    c.json["keyslots"][c.free("keyslots")] = open_slot(int(c.segment["offset"]))


@slot.case("other-area-huge", MAY, "-", "another keyslot of 2^63 bytes")
def _(c):
    made = open_slot(c.free_area())
    made["area"]["size"] = str(1 << 63)
    c.json["keyslots"][c.free("keyslots")] = made


@slot.case("other-expensive", REJECT, "slot-kdf|slot-area-cipher", "another keyslot of any cost")
def _(c):
    c.digest["keyslots"].append(another(c, kdf={
        "type": "argon2id", "time": (1 << 31) - 1, "memory": (1 << 32) - 1, "cpus": 4,
        "salt": b64(bytes(32))}))


@slot.case("other-type", MAY, "-", "another keyslot of a type with escapes")
def _(c):
    another(c, type="\x1b[2Jx")


@slot.case("slots-all", MAY, "-", "all 32 keyslots are taken")
def _(c):
    at, end = c.free_area(), 2 * c.first.size + int(c.config["keyslots_size"])
    for n in (str(i) for i in range(32)):
        if n not in c.json["keyslots"] and at < end and c.room() > 500:
            c.json["keyslots"][n] = open_slot(at)
            c.json["keyslots"][n]["area"]["size"] = "4096"
            c.digest["keyslots"].append(n)
            at += 4096


for name, number in (("99", "99"), ("32", "32"), ("zeros", "00"), ("negative", "-1"),
                     ("hex", "0x1"), ("wraps", str(1 << 32)), ("empty", ""), ("terminal", "\x1b[2J")):
    slot.case("slot-number-" + name, REJECT, "keyslots", "a keyslot with the number " + ascii(number))(
        lambda c, number=number: c.json["keyslots"].update(
            {number: open_slot(c.free_area())}))


@slot.case("slot-list", REJECT, "keyslots", "a keyslot that's a list")
def _(c):
    c.json["keyslots"][c.free("keyslots")] = []


@slot.case("slots-none", REJECT, "slot", "no keyslot, but our token")
def _(c):
    c.digest["keyslots"] = []
    c.token["keyslots"] = []
    c.json["keyslots"] = {}


@slot.case("slot-ours-gone", REJECT, "slot", "only our keyslot is gone")
def _(c):
    number = c.number
    c.digest["keyslots"].remove(number)
    c.token["keyslots"] = []
    del c.json["keyslots"][number]


@slot.case("slot-renumbered", REJECT, "slot", "our keyslot has another number, and our token doesn't know")
def _(c):
    number = c.number
    c.json["keyslots"]["30"] = c.json["keyslots"].pop(number)
    c.digest["keyslots"][c.digest["keyslots"].index(number)] = "30"
    c.token["keyslots"] = []


@slot.case("slot-renumbered-both", MAY, "-", "the same, and it does")
def _(c):
    number = c.number
    c.json["keyslots"]["30"] = c.json["keyslots"].pop(number)
    c.digest["keyslots"][c.digest["keyslots"].index(number)] = "30"
    c.token.update(keyslots=["30"], slot=30)


@slot.case("area-noise", REJECT, "tpm", "noise in our keyslot's area")
def _(c):
    c.areas[int(c.slot["area"]["offset"])] = b"noise " * 43008


# --- what a keyslot of ours would cost ---

SALT = b64(bytes(range(32)))


def pbkdf2(**changes):
    return dict({"type": "pbkdf2", "hash": "sha512", "iterations": 1000, "salt": SALT}, **changes)


def argon(**changes):
    return dict({"type": "argon2id", "time": 4, "memory": 65536, "cpus": 4, "salt": SALT}, **changes)


cost.member(lambda c: c.slot, [
    ("kdf-once", "kdf.iterations", 1, "slot-kdf"),
    ("kdf-negative", "kdf.iterations", -1000, "slot-kdf"),
    ("kdf-wraps", "kdf.iterations", (1 << 32) + 1000, "slot-kdf"),
    ("kdf-string", "kdf.iterations", "1000", "slot-kdf"),
    ("kdf-float", "kdf.iterations", 1e3, "slot-kdf"),
    ("kdf-more", "kdf.iterations", 1001, "slot-kdf"),
    ("kdf-type", "kdf.type", "x-host", "slot-kdf"),
    ("kdf-type-terminal", "kdf.type", "\x1b[2J", "slot-kdf"),
    ("kdf-hash-unknown", "kdf.hash", "md4", "slot-kdf"),
    ("kdf-hash-other", "kdf.hash", "sha256", "slot-kdf"),
    ("kdf-hash-long", "kdf.hash", "h" * 500, "slot-kdf"),
    ("kdf-salt-none", "kdf.salt", "", "slot-kdf-salt"),
    ("kdf-salt-33", "kdf.salt", b64(bytes(33)), "slot-kdf-salt"),
    ("kdf-salt-long", "kdf.salt", b64(bytes(2048)), "slot-kdf-salt"),
    ("kdf-salt-other", "kdf.salt", SALT, "pin"),
    ("kdf-salt-noise", "kdf.salt", "!" * 44, "slot-kdf-salt"),
    ("kdf-member", "kdf.x", 1, "text"),
    ("kdf-gone", "kdf", GONE, "slot-members"),
    ("argon-small", "kdf", argon(), "slot-kdf"),
    ("argon-zero", "kdf", argon(time=0, memory=0, cpus=0), "slot-kdf"),
    ("argon-negative", "kdf", argon(memory=-1), "slot-kdf"),
])
for name, kdf in (("pbkdf2-31", pbkdf2(iterations=(1 << 31) - 1)),
                  ("pbkdf2-32", pbkdf2(iterations=(1 << 32) - 1)),
                  ("pbkdf2-64", pbkdf2(iterations=(1 << 64) - 1)),
                  ("argon-4g", argon(memory=4 << 20)), ("argon-max", argon(memory=(1 << 32) - 1)),
                  ("argon-time", argon(time=(1 << 31) - 1)), ("argon-cpus", argon(cpus=1 << 20))):
    cost.case("dos-" + name, DOS, "slot-kdf", ascii(kdf)[:70])(
        lambda c, kdf=kdf: c.slot.update(kdf=dict(kdf)))


# --- tokens ---

token.member(lambda c: c.token, [
    ("token-type", "type", "x-host", "no-token"),
    ("token-type-longer", "type", "diskseal ", "no-token"),
    ("token-type-nul", "type", "diskseal\0", "no-token"),
    ("token-version", "v", 2, "token"),
    ("token-version-string", "v", "1", "token"),
    ("token-name-other", "name", "b", "unwrap"),
    ("token-name-path", "name", "../../../etc/x", "token"),
    ("token-name-terminal", "name", "\x1b[2Ja", "token"),
    ("token-name-long", "name", "a" * 33, "token"),
    ("token-name-empty", "name", "", "token"),
    ("token-name-nul", "name", "a\0b", "token"),
    ("token-role", "role", "os", "unwrap"),
    ("token-role-unknown", "role", "x-host\x1b[2J", "token"),
    ("token-epoch", "epoch", 4294967295, MAY),
    ("token-epoch-wraps", "epoch", 1 << 32, "token"),
    ("token-epoch-negative", "epoch", -1, "token"),
    ("token-state", "state", "x\x1b[2J", "token"),
    ("token-pending", "state", "pending", "no-token"),
    ("token-slot-32", "slot", 32, "token"),
    ("token-slot-negative", "slot", -1, "token"),
    ("token-slot-huge", "slot", 1 << 64, "text"),
    ("token-slots-none", "keyslots", [], MAY),
    ("token-slots-unknown", "keyslots", ["31"], "load|token"),
    ("token-slots-number", "keyslots", [0], "load|token"),
    ("token-slots-twice", "keyslots", lambda v: v + v, "token"),
    ("token-member", "x-host", {"a": ["\x1b[2J"]}, SAME),
    ("kek-none", "keks", [], "token"),
    ("kek-three", "keks", lambda v: v * 3, "token"),
    ("kek-twice", "keks", lambda v: v + v, MAY),
    ("kek-object", "keks", {"0": {}}, "token"),
    ("kek-name", "keks.0.name", "other", "tpm|token"),
    ("kek-name-path", "keks.0.name", "../x", "token"),
    ("kek-version", "keks.0.version", 7, "tpm"),
    ("kek-version-zero", "keks.0.version", 0, "token"),
    ("kek-version-huge", "keks.0.version", 4294967295, "token"),
    ("kek-provider", "keks.0.provider", "x-host\x1b[2J", "token"),
    ("kek-private", "keks.0.tpm.private", lambda v: v[:60] + "AAAA" + v[64:], "tpm"),
    ("kek-private-cut", "keks.0.tpm.private", lambda v: v[:60], "token|tpm"),
    ("kek-private-empty", "keks.0.tpm.private", "", "token|tpm"),
    ("kek-private-long", "keks.0.tpm.private", b64(b"\x0f\xff" + bytes(4095)), "token"),
    ("kek-public-cut", "keks.0.tpm.public", lambda v: v[:24], "token|tpm"),
    ("kek-public-noise", "keks.0.tpm.public", b64(b"\0\x4e" + b"n" * 78), "token|tpm"),
    ("kek-storage-key", "keks.0.tpm.srk", b64(b"\0\x0b" + bytes(32)), "tpm"),
    ("kek-policy-none", "keks.0.tpm.policy", [], "token|tpm"),
    ("kek-policy-pcr", "keks.0.tpm.policy.0.pcr.pcrs", [8], "token|tpm"),
    ("kek-policy-no-pcr", "keks.0.tpm.policy.0.pcr.pcrs", [], "token|tpm"),
    ("kek-policy-many", "keks.0.tpm.policy", lambda v: v * 40, "token|tpm"),
    ("kek-policy-bank", "keks.0.tpm.policy.0.pcr.bank", "sha1", "token|tpm"),
    ("kek-policy-unknown", "keks.0.tpm.policy", lambda v: v + [{"x-host": {}}], "token|tpm"),
    ("kek-creation-pcr", "keks.0.tpm.creation.pcrs.7", "00" * 32, "token|tpm"),
    ("kek-creation-ticket", "keks.0.tpm.creation.ticket", "", "token|tpm"),
    ("wrap-algorithm", "keks.0.wrap.alg", "none", "token"),
    ("wrap-iv-short", "keks.0.wrap.iv", "AAAA", "token"),
    ("wrap-text", "keks.0.wrap.ct", b64(bytes(32)), "unwrap"),
    ("wrap-text-long", "keks.0.wrap.ct", b64(bytes(65)), "token"),
    ("wrap-tag", "keks.0.wrap.tag", b64(bytes(16)), "unwrap"),
    ("wrap-tag-short", "keks.0.wrap.tag", b64(bytes(4)), "token"),
    ("pin-gone", "pin", GONE, "token"),
    ("pin-rules", "pin.rules", 2, "token"),
    ("pin-mac", "pin.mac", b64(bytes(32)), "pin"),
    ("pin-mac-short", "pin.mac", "", "token"),
    ("pin-second-mac", "pin.vmac", b64(bytes(32)), "pin"),
    ("pin-volume-key", "pin.vk", b64(bytes(32)), "pin"),
    ("pin-next-noise", "next", {"rules": 1, "mac": b64(bytes(32)), "vmac": b64(bytes(32)),
                                "vk": b64(bytes(32))}, MAY),
])


@token.case("token-gone", REJECT, "no-token", "our token is gone")
def _(c):
    del c.json["tokens"][c.ours]


@token.case("tokens-gone", REJECT, "no-token", "all tokens are gone")
def _(c):
    c.json["tokens"] = {}


@token.case("token-noise", REJECT, "token", "every string in our token is another")
def _(c):
    c.json["tokens"][c.ours] = {k: "host" if isinstance(v, str) and k != "type" else v
                                for k, v in c.token.items()}
    c.token["name"] = "\x1b[31mhost"


@token.case("token-bound-elsewhere", REJECT, "token|slot-area-cipher", "our token is bound to another keyslot")
def _(c):
    c.token["keyslots"] = ["1" if c.number == "0" else "0"]
    if c.token["keyslots"][0] not in c.json["keyslots"]:
        c.digest["keyslots"].append(another(c))


@token.case("token-newer-damaged", REJECT, "token", "one more of ours, newer, and not whole")
def _(c):
    made = copy.deepcopy(c.token)
    made.update(epoch=c.token["epoch"] + 1, keks=[])
    c.json["tokens"][c.free("tokens")] = made


@token.case("token-newer-altered", REJECT, "unwrap", "one more of ours, newer, with other bytes")
def _(c):
    made = copy.deepcopy(c.token)
    made["epoch"] += 5
    made["keks"][0]["wrap"]["ct"] = b64(bytes(32))
    c.json["tokens"][c.free("tokens")] = made


@token.case("token-twice", SAME, "-", "the same token again, with a higher epoch")
def _(c):
    c.json["tokens"][c.free("tokens")] = dict(c.token, epoch=c.token["epoch"] + 1)


@token.case("token-older-noise", MAY, "-", "one more of ours with a lower epoch, that opens nothing")
def _(c):
    made = copy.deepcopy(c.token)
    made["epoch"] = 0
    made["keks"][0]["wrap"]["ct"] = b64(bytes(32))
    c.json["tokens"][c.free("tokens")] = made


@token.case("token-also-pending", MAY, "-", "one more of ours that's pending")
def _(c):
    c.json["tokens"][c.free("tokens")] = dict(c.token, state="pending", keyslots=[], epoch=9)


for name, made in (
        ("keyring", {"type": "luks2-keyring", "key_description": "cryptsetup:any-other"}),
        ("systemd", {"type": "systemd-tpm2", "tpm2-blob": b64(bytes(200)), "tpm2-pcrs": [],
                     "tpm2-policy-hash": "00" * 32}),
        ("clevis", {"type": "clevis", "jwe": {"protected": "x"}}),
        ("recovery", {"type": "systemd-recovery"}),
        ("terminal", {"type": "\x1b]0;owned\x07\x1b[2J"}),
        ("path", {"type": "../../../tmp/x"})):
    token.case("foreign-" + name, SAME, "-", "one more token: " + ascii(made["type"]))(
        lambda c, made=made: c.json["tokens"].update(
            {c.free("tokens"): dict(made, keyslots=[c.number])}))


@token.case("foreign-terminal-member", MAY, "-", "a token with escapes in a member's name")
def _(c):
    c.json["tokens"][c.free("tokens")] = {"type": "x", "keyslots": [], "\x1b[2J\r\n": "\x9b31m"}


@token.case("escrow-fake", REJECT, "pin", "a token of escrow that we didn't write")
def _(c):
    c.json["tokens"][c.free("tokens")] = {
        "type": "diskseal-escrow", "keyslots": [], "v": 1, "created": "2026-01-01T00:00:00Z",
        "recipients": ["00" * 32], "cms": b64(b"\x30\x80" + bytes(40))}


@token.case("tokens-all", MAY, "-", "all 32 tokens are taken")
def _(c):
    for i in range(32):
        c.json["tokens"].setdefault(str(i), {"type": "x-host", "keyslots": []})


@token.case("tokens-full", MAY, "-", "all 32 tokens, as large as the area has room for")
def _(c):
    free = [str(i) for i in range(32) if str(i) not in c.json["tokens"]]
    each = c.room() // len(free) - 60
    for n in free:
        c.json["tokens"][n] = {"type": "x-host", "keyslots": [], "p": "p" * each}


for name, number in (("99", "99"), ("negative", "-1"), ("zeros", "007")):
    token.case("token-number-" + name, REJECT, "tokens", "a token with the number " + number)(
        lambda c, number=number: c.json["tokens"].update({number: {"type": "x", "keyslots": []}}))


@token.case("token-string", REJECT, "tokens", "a token that's a string")
def _(c):
    c.json["tokens"][c.free("tokens")] = "diskseal"
