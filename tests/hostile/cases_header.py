# SPDX-License-Identifier: LGPL-2.1-or-later
"""Segments, digests, config, reencryption, the binary header and its two copies."""

import copy

from luks2 import (BINARY, HDR_OFFSET, HDR_SIZE, LABEL, OWN_KEY, SALT, SEQID, SUBSYSTEM, SUM_ALG,
                   UUID, VERSION, b64, compact, digest_of)
from table import DOS, GONE, MAY, REJECT, SAME, Table

control = Table("control")
segment = Table("segment")
digest = Table("digest")
config = Table("config")
reencrypt = Table("reencrypt")
binary = Table("binary")
MIB = 1 << 20


def cases():
    for t in (control, segment, digest, config, reencrypt, binary):
        yield from t.list


@control.case("control", SAME, "-", "the same JSON, printed anew")
def _(c):
    pass


# --- segments ---

segment.member(lambda c: c.segment, [
    ("cipher-null", "encryption", "cipher_null-ecb", "cipher"),
    ("cipher-null-word", "encryption", "null", "cipher"),
    ("cipher-null-mode", "encryption", "null-ecb", "cipher"),
    ("cipher-null-plain64", "encryption", "cipher_null-xts-plain64", "cipher"),
    ("cipher-ecb", "encryption", "aes-ecb", "cipher"),
    ("cipher-cbc", "encryption", "aes-cbc-plain64", "cipher"),
    ("cipher-ctr", "encryption", "aes-ctr-plain64", "cipher"),
    ("cipher-iv-null", "encryption", "aes-xts-null", "cipher"),
    ("cipher-iv-32", "encryption", "aes-xts-plain", "cipher"),
    ("cipher-other", "encryption", "serpent-xts-plain64", "cipher"),
    ("cipher-stream", "encryption", "arc4-ecb", "cipher"),
    ("cipher-kernel-name", "encryption", "capi:xts(aes)-plain64", "cipher"),
    ("cipher-kernel-null", "encryption", "capi:ecb(cipher_null)-plain64", "cipher"),
    ("cipher-case", "encryption", "AES-xts-plain64", "cipher"),
    ("cipher-blank-behind", "encryption", "aes-xts-plain64 ", "cipher"),
    ("cipher-newline-behind", "encryption", "aes-xts-plain64\n", "cipher"),
    ("cipher-table", "encryption", "cipher_null-ecb - 0 /dev/loop0 2048 #", "cipher"),
    ("cipher-table-aes", "encryption", "aes-xts-plain64 00 0 /dev/loop0 0 1 x", "cipher"),
    ("cipher-long", "encryption", "a" * 400 + "-xts-plain64", "cipher"),
    ("cipher-empty", "encryption", "", "cipher"),
    ("cipher-number", "encryption", 5, "cipher"),
    ("cipher-null-value", "encryption", None, "cipher"),
    ("cipher-list", "encryption", ["aes-xts-plain64"], "cipher"),
    ("cipher-gone", "encryption", GONE, "cipher"),
    ("cipher-nul-inside", "encryption", "aes-xts-plain64\0-cipher_null", "cipher"),
    ("cipher-terminal", "encryption", "\x1b]0;owned\x07\x1b[2J\x9b31m", "cipher"),
    ("cipher-utf8", "encryption", "aes\u2011xts\u202eplain64", "cipher"),
    ("type-zero", "type", "zero", "segment-type"),
    ("type-error", "type", "error", "segment-type"),
    ("type-gone", "type", GONE, "segment-type"),
    ("type-number", "type", 1, "segment-type"),
    ("offset-shift", "offset", lambda v: str(int(v) + 4096), "pin"),
    ("offset-zero", "offset", "0", "data-offset"),
    ("offset-in-metadata", "offset", "4096", "data-offset"),
    ("offset-in-keyslots", "offset", lambda v: str(int(v) - 4096), "data-offset"),
    ("offset-huge", "offset", str(1 << 63), "data-offset"),
    ("offset-wraps", "offset", str((1 << 64) + 16 * MIB), "data-offset"),
    ("offset-negative", "offset", "-16777216", "data-offset"),
    ("offset-hex", "offset", "0x1000000", "data-offset"),
    ("offset-blank", "offset", " 16777216", "data-offset"),
    ("offset-plus", "offset", "+16777216", "data-offset"),
    ("offset-zeros", "offset", lambda v: "00" + v, "data-offset|pin"),
    ("offset-letters", "offset", lambda v: v + "x", "data-offset"),
    ("offset-number", "offset", lambda v: int(v), "data-offset"),
    ("offset-between", "offset", lambda v: str(int(v) + 512 + 1), "data-offset"),
    ("offset-long", "offset", "1" * 300, "data-offset"),
    ("size-short", "size", "4096", "segment-size"),
    ("size-zero", "size", "0", "segment-size"),
    ("size-huge", "size", str(1 << 62), "segment-size"),
    ("size-number", "size", 4096, "segment-size"),
    ("size-word", "size", "dynamic ", "segment-size"),
    ("tweak-large", "iv_tweak", str(1 << 40), "iv-tweak"),
    ("tweak-one", "iv_tweak", "1", "iv-tweak"),
    ("tweak-negative", "iv_tweak", "-1", "iv-tweak"),
    ("tweak-zeros", "iv_tweak", "00", "iv-tweak"),
    ("sector-other", "sector_size", lambda v: 512 if v != 512 else 1024, "pin|data-offset"),
    ("sector-1g", "sector_size", 1 << 30, "sector-size"),
    ("sector-zero", "sector_size", 0, "sector-size"),
    ("sector-negative", "sector_size", -4096, "sector-size"),
    ("sector-wraps", "sector_size", (1 << 32) + 4096, "sector-size"),
    ("sector-string", "sector_size", "4096", "sector-size"),
    ("sector-float", "sector_size", 4096.0, "sector-size"),
    ("sector-true", "sector_size", True, "sector-size"),
    ("integrity-hmac", "integrity",
     {"type": "hmac(sha256)", "journal_encryption": "none", "journal_integrity": "none"},
     "segment-members"),
    ("integrity-aead", "integrity",
     {"type": "aead", "journal_encryption": "none", "journal_integrity": "none"},
     "segment-members"),
    ("integrity-none", "integrity", None, "segment-members"),
    ("flags-empty", "flags", [], "segment-members"),
    ("flags-final", "flags", ["backup-final"], "segment-members|segments|digests"),
    ("segment-member", "x-host", "\x1b[31mred", "segment-members"),
])


@segment.case("linear", REJECT, "segment-type", "the data in clear")
def _(c):
    c.json["segments"]["0"] = {"type": "linear", "offset": c.segment["offset"], "size": "dynamic"}


@segment.case("linear-no-digest", REJECT, "segment-type|digests", "the same, bound to no digest")
def linear_no_digest(c):
    d = c.digest
    c.json["segments"]["0"] = {"type": "linear", "offset": c.segment["offset"], "size": "dynamic"}
    d["segments"] = []


@segment.case("linear-behind", REJECT, "segments", "all but the first MiB in clear")
def _(c):
    at = int(c.segment["offset"])
    c.segment["size"] = str(MIB)
    c.json["segments"]["1"] = {"type": "linear", "offset": str(at + MIB), "size": "dynamic"}


@segment.case("null-behind", REJECT, "segments", "all but the first MiB with a null cipher")
def _(c):
    more = copy.deepcopy(c.segment)
    c.segment["size"] = str(MIB)
    more.update(offset=str(int(more["offset"]) + MIB), encryption="cipher_null-ecb")
    c.json["segments"]["1"] = more
    c.digest["segments"].append("1")


@segment.case("numbered-1", REJECT, "segments", "the only segment is number 1")
def _(c):
    d = c.digest
    c.json["segments"] = {"1": c.segment}
    d["segments"] = ["1"]


@segment.case("numbered-twice", REJECT, "segments", "segments 0 and 00")
def _(c):
    c.json["segments"]["00"] = dict(c.segment, encryption="cipher_null-ecb")


@segment.case("numbered-wraps", REJECT, "segments", "segments 0 and 2^32")
def _(c):
    c.json["segments"][str(1 << 32)] = dict(c.segment, encryption="cipher_null-ecb")


@segment.case("segments-none", REJECT, "segments", "no segment, and none in the digest")
def _(c):
    d = c.digest
    c.json["segments"] = {}
    d["segments"] = []


@segment.case("opal", REJECT, "segment-type|segment-members", "encryption is left to the drive")
def _(c):
    c.json["segments"]["0"] = {
        "type": "hw-opal", "offset": c.segment["offset"], "size": str(MIB),
        "opal_segment_number": 1, "opal_key_size": 32, "opal_segment_size": str(MIB)}


@segment.case("opal-crypt", REJECT, "segment-type|segment-members", "the drive, under a null cipher")
def _(c):
    c.segment.update(type="hw-opal-crypt", encryption="cipher_null-ecb", opal_segment_number=1,
                     opal_key_size=32, opal_segment_size=str(MIB), size=str(MIB))


# --- digests ---

digest.member(lambda c: c.digest, [
    ("digest-once", "iterations", 1, "digest-iterations"),
    ("digest-negative", "iterations", -1000, "digest-iterations"),
    ("digest-wraps", "iterations", (1 << 32) + 1000, "digest-iterations"),
    ("digest-string", "iterations", "1000", "digest-iterations"),
    ("digest-float", "iterations", 1000.5, "digest-iterations"),
    ("digest-cheaper", "iterations", lambda v: v + 1, "pin"),
    ("digest-type", "type", "x-host", "digest-type"),
    ("digest-no-type", "type", GONE, "digest-type"),
    ("digest-unbound", "segments", [], "digests"),
    ("digest-two-segments", "segments", ["0", "1"], "digest-segments"),
    ("digest-same-twice", "segments", ["0", "0"], "digest-segments"),
    ("digest-segment-number", "segments", [0], "digests|digest-segments"),
    ("digest-segments-object", "segments", {"0": "0"}, "digests"),
    ("digest-cut", "digest", lambda v: v[:4], "digest-value"),
    ("digest-empty", "digest", "", "digest-value"),
    ("digest-gone", "digest", GONE, "digest-members"),
    ("digest-line-breaks", "digest", lambda v: v[:8] + "\n" + v[8:], "digest-value"),
    ("digest-list", "digest", [], "digest-value"),
    ("digest-hash-sha1", "hash", "sha1", "digest-hash"),
    ("digest-hash-unknown", "hash", "md4\x1b[0m", "digest-hash"),
    ("digest-salt-none", "salt", "", "digest-salt"),
    ("digest-salt-short", "salt", "AAAA", "digest-salt"),
    ("digest-salt-long", "salt", b64(bytes(4096)), "digest-salt"),
    ("digest-salt-other", "salt", b64(bytes(32)), "pin"),
    ("digest-member", "x-host", 1, "digest-members"),
    ("digest-slots-none", "keyslots", [], "slot-digest"),
    ("digest-slots-gone", "keyslots", GONE, "digest-members"),
    ("digest-slots-unknown", "keyslots", lambda v: v + ["29"], MAY),
    ("digest-slots-terminal", "keyslots", lambda v: v + ["\x1b[2J"], MAY),
])


@digest.case("digest-dos", DOS, "digest-iterations", "2^31 - 1 iterations")
def _(c):
    c.digest["iterations"] = (1 << 31) - 1


@digest.case("digest-swapped", REJECT, "pin", "of a volume key that the host chose")
def _(c):
    for n, d in c.json["digests"].items():
        if d is c.digest:
            c.json["digests"][n] = digest_of(OWN_KEY, d["keyslots"], ["0"])
            return


@digest.case("digest-second", REJECT, "digests", "two digests of the data")
def _(c):
    c.json["digests"]["7"] = digest_of(OWN_KEY, [], ["0"])


@digest.case("digest-of-our-slot", REJECT, "slot-digest", "our keyslot has another digest besides")
def _(c):
    c.json["digests"]["7"] = digest_of(OWN_KEY, [c.number], [])


@digest.case("digest-idle", SAME, "-", "a digest of nothing, of any cost")
def _(c):
    c.json["digests"]["7"] = dict(digest_of(OWN_KEY, [], []), iterations=(1 << 31) - 1)


@digest.case("digest-renumbered", MAY, "-", "the digest has another number")
def _(c):
    number = next(n for n, d in c.json["digests"].items() if d is c.digest)
    c.json["digests"]["31"] = c.json["digests"].pop(number)


@digest.case("digest-small-key", REJECT, "cipher|digest-value", "no digest value, a keyslot of 4 bytes")
def small_key(c):
    c.digest["digest"] = ""
    c.slot["key_size"] = 4
    c.segment["encryption"] = "blowfish-cbc-plain64"


@digest.case("digest-byte-key", REJECT, "cipher|digest-value", "the same, of one byte")
def _(c):
    small_key(c)
    c.slot["key_size"] = 1
    c.segment["encryption"] = "arc4-ecb"


@digest.case("digests-none", REJECT, "digests", "no digest at all")
def _(c):
    c.json["digests"] = {}


# --- config ---

config.member(lambda c: c.config, [
    ("config-discards", "flags", ["allow-discards"], SAME),
    ("config-flags", "flags", ["allow-discards", "no-journal", "same-cpu-crypt",
                               "submit-from-crypt-cpus", "no-read-workqueue",
                               "no-write-workqueue"], SAME),
    ("config-flags-unknown", "flags", ["x-host", "\x1b[2J"], MAY),
    ("config-flags-number", "flags", 5, MAY),
    ("config-flags-nested", "flags", [["allow-discards"], {}], MAY),
    ("config-json-size", "json_size", lambda v: str(2 * int(v)), "json-size"),
    ("config-json-size-zero", "json_size", "0", "json-size"),
    ("config-json-size-number", "json_size", lambda v: int(v), "json-size"),
    ("config-json-size-blank", "json_size", lambda v: v + " ", "json-size"),
    ("config-area-huge", "keyslots_size", str((128 << 20) + 4096), "keyslots-size"),
    ("config-area-max", "keyslots_size", str((1 << 64) - 4096), "keyslots-size"),
    ("config-area-over-data", "keyslots_size", lambda v: str(int(v) + 4096), "data-offset"),
    ("config-area-smaller", "keyslots_size", lambda v: str(int(v) - 4096), "pin"),
    ("config-area-zero", "keyslots_size", "0", "slot-area-place|keyslots-size"),
    ("config-area-negative", "keyslots_size", "-4096", "keyslots-size"),
    ("config-area-between", "keyslots_size", lambda v: str(int(v) - 1), "keyslots-size|pin"),
    ("config-member", "x-host", "\x1b[31m", "config-members"),
    ("config-requires-none", "requirements", {"mandatory": []}, SAME),
    ("config-requires-unknown", "requirements", {"mandatory": ["x-host"]}, "requirements"),
    ("config-requires-terminal", "requirements", {"mandatory": ["\x1b[2J"]}, "requirements"),
    ("config-requires-nested", "requirements", {"mandatory": [["online-reencrypt"]]},
     "requirements"),
    ("config-requires-object", "requirements", {"mandatory": {"x": []}}, "requirements"),
    ("config-requires-list", "requirements", ["mandatory"], "requirements"),
    ("config-requires-string", "requirements", "", "requirements"),
    ("config-requires-optional", "requirements", {"optional": ["x-host"]}, "requirements"),
    ("config-requires-many", "requirements", {"mandatory": ["x"] * 900}, "requirements"),
    ("config-requires-inline", "requirements", {"mandatory": ["inline-hw-tags"]}, "requirements"),
])


@config.case("config-gone", REJECT, "members", "no config at all")
def _(c):
    del c.json["config"]


# --- reencryption that nobody began ---

reencrypt.member(lambda c: c.config, [
    ("reencrypt-online", "requirements", {"mandatory": ["online-reencrypt"]}, "requirements"),
    ("reencrypt-online-2", "requirements", {"mandatory": ["online-reencrypt-v2"]}, "requirements"),
    ("reencrypt-offline", "requirements", {"mandatory": ["offline-reencrypt"]}, "requirements"),
])


def half_done(c, mode):
    """The segments of a reencryption that stopped after a MiB; one side of it is in clear."""
    at, crypt, d = int(c.segment["offset"]), c.segment, c.digest
    clear = {"type": "linear", "offset": str(at), "size": "dynamic"}
    rest = dict(crypt, offset=str(at + MIB), iv_tweak=str(MIB // 512))
    done = dict(clear, size=str(MIB), flags=["in-reencryption"])
    before, after = dict(crypt, flags=["backup-previous"]), dict(clear, flags=["backup-final"])
    if mode == "encrypt":
        done, rest = dict(crypt, size=str(MIB), flags=["in-reencryption"]), dict(
            clear, offset=str(at + MIB))
        before, after = dict(clear, flags=["backup-previous"]), dict(crypt, flags=["backup-final"])
    c.json["segments"] = {"0": done, "1": rest, "2": before, "3": after}
    d["segments"] = [n for n, s in c.json["segments"].items() if s["type"] == "crypt"]
    c.json["keyslots"][c.free("keyslots")] = {
        "type": "reencrypt", "key_size": 1, "mode": mode, "direction": "forward",
        "area": {"type": "none", "offset": str(c.free_area()), "size": "4096"}}


@reencrypt.case("reencrypt-decrypts", REJECT, "requirements", "a decryption that was cut off")
def _(c):
    half_done(c, "decrypt")
    c.config["requirements"] = {"mandatory": ["online-reencrypt-v2"]}


@reencrypt.case("reencrypt-encrypts", REJECT, "requirements", "a first encryption that was cut off")
def _(c):
    half_done(c, "encrypt")
    c.config["requirements"] = {"mandatory": ["online-reencrypt-v2"]}


@reencrypt.case("reencrypt-unsaid", REJECT, "segments", "the same without its requirement")
def _(c):
    half_done(c, "decrypt")


@reencrypt.case("reencrypt-keyslot", MAY, "-", "only the keyslot of a reencryption")
def _(c):
    c.json["keyslots"][c.free("keyslots")] = {
        "type": "reencrypt", "key_size": 1, "mode": "decrypt", "direction": "forward",
        "area": {"type": "checksum", "offset": str(c.free_area()), "size": "4096",
                 "hash": "sha256", "sector_size": 512}}


# --- the binary header ---


def null_cipher(c):
    evil = copy.deepcopy(c.json)
    evil["segments"]["0"]["encryption"] = "cipher_null-ecb"
    return compact(evil)


@binary.case("copy-second-newer", REJECT, "cipher", "the second copy is newer, and has a null cipher")
def _(c):
    c.second.text = null_cipher(c)
    c.second.set_number(SEQID, c.first.number(SEQID) + 1)


@binary.case("copy-first-newer", REJECT, "cipher", "the first copy is")
def _(c):
    c.first.text = null_cipher(c)
    c.first.set_number(SEQID, c.second.number(SEQID) + 1)


@binary.case("copy-older-evil", MAY, "-", "the older of both has a null cipher")
def _(c):
    c.second.text = null_cipher(c)
    c.first.set_number(SEQID, c.second.number(SEQID) + 1)


@binary.case("copy-same-id", REJECT, "copies", "one id, and the first has a null cipher")
def _(c):
    c.first.text = null_cipher(c)


@binary.case("copy-same-id-second", REJECT, "copies", "one id, and the second has a null cipher")
def _(c):
    c.second.text = null_cipher(c)


@binary.case("copy-uuid", REJECT, "copies", "the copies have different UUIDs")
def _(c):
    c.second.set_text(UUID, b"00000000-0000-4000-8000-000000000000")


@binary.case("copy-label", REJECT, "copies", "the copies have different labels")
def _(c):
    c.second.set_text(LABEL, b"other")


@binary.case("copy-far-apart", REJECT, "copies", "ids that are two apart")
def _(c):
    c.second.set_number(SEQID, c.first.number(SEQID) + 2)


@binary.case("copy-second-broken", SAME, "-", "a bad checksum in the second copy")
def _(c):
    c.second.sum_good = False


@binary.case("copy-first-broken", SAME, "-", "a bad checksum in the first copy")
def _(c):
    c.first.sum_good = False


@binary.case("copy-first-broken-evil", REJECT, "cipher", "the good copy has a null cipher")
def _(c):
    c.first.sum_good = False
    c.second.text = null_cipher(c)


@binary.case("copies-broken", REJECT, "copies", "bad checksums in both")
def _(c):
    c.first.sum_good = c.second.sum_good = False


@binary.case("copy-second-gone", SAME, "-", "zeros where the second copy was")
def _(c):
    c.second.missing = True


@binary.case("copy-second-early", REJECT, "cipher|copies|uuid|json-size|load",
             "the first copy is gone, and a small second one stands before the real one")
def _(c):
    c.first.missing = True
    small = copy.deepcopy(c.second)
    small.size = 16384
    small.set_number(HDR_SIZE, 16384)
    small.set_number(HDR_OFFSET, 16384)
    evil = copy.deepcopy(c.json)
    evil["segments"]["0"]["encryption"] = "cipher_null-ecb"
    evil["config"]["json_size"] = str(16384 - BINARY)
    c.patches.append((16384, small.pack(compact(evil))))


@binary.case("copy-decoy-first", REJECT, "copies", "a file system stands over the first copy")
def _(c):
    c.first.missing = True
    c.patches.append((1024 + 56, b"\x53\xef"))
    c.patches.append((1024, b"\x80\0\0\0\0\2\0\0" + bytes(16) + b"\2\0\0\0"))
    c.patches.append((1024 + 76, b"\1\0\0\0"))


@binary.case("decoy-partitions", MAY, "-", "a partition table in the padding of the binary header")
def _(c):
    for x in c.both:
        x.binary[512:520] = b"EFI PART"


@binary.case("decoy-file-system", MAY, "-", "an ext4 magic in the padding of the binary header")
def _(c):
    for x in c.both:
        x.binary[1080:1082] = b"\x53\xef"


@binary.case("padding-differs", MAY, "-", "padding that isn't zero, in one copy")
def _(c):
    c.second.binary[3000:3010] = b"not zeroes"


@binary.case("salt-zero", SAME, "-", "the salts of both copies are zeros")
def _(c):
    for x in c.both:
        x.set_text(SALT, b"")


def both(name, expect, by, words, field, value):
    def alter(c):
        for x in c.both:
            if isinstance(value, int):
                x.set_number(field, value)
            else:
                x.set_text(field, value)

    binary.case(name, expect, by, words)(alter)


both("id-back", SAME, "-", "both ids are 1", SEQID, 1)
both("id-zero", MAY, "-", "both ids are 0", SEQID, 0)
both("id-last", REJECT, "copies", "both ids are 2^64 - 1", SEQID, (1 << 64) - 1)
both("id-half", REJECT, "copies", "both ids are 2^63", SEQID, 1 << 63)
both("sum-sha1", REJECT, "copies", "checksums by SHA-1", SUM_ALG, b"sha1")
both("sum-sha512", REJECT, "copies", "checksums by SHA-512", SUM_ALG, b"sha512")
both("sum-upper", REJECT, "copies", "checksums by \"SHA256\"", SUM_ALG, b"SHA256")
both("sum-none", REJECT, "copies", "checksums by \"none\"", SUM_ALG, b"none")
both("sum-long", REJECT, "copies", "the checksum's name has no end", SUM_ALG, b"s" * 32)
both("sum-behind-nul", MAY, "-", "something behind the checksum's name", SUM_ALG, b"sha256\0evil")
both("version-3", REJECT, "version", "version 3", VERSION, 3)
both("version-1", REJECT, "none", "version 1", VERSION, 1)
both("version-0", REJECT, "version", "version 0", VERSION, 0)
both("uuid-endless", REJECT, "uuid", "40 bytes and no NUL", UUID, b"a" * 40)
both("uuid-terminal", REJECT, "uuid", "an escape sequence", UUID, b"\x1b]0;owned\x07\x1b[2J\x1b[31m")
both("uuid-newlines", REJECT, "uuid", "lines of its own", UUID, b"\r\n  All is well.\r\n")
both("uuid-upper", REJECT, "uuid", "in upper case", UUID, b"0F3A8F0E-6D0B-4F0E-9D57-1C2A3B4C5D6E")
both("uuid-empty", REJECT, "uuid", "none", UUID, b"")
both("uuid-path", REJECT, "uuid", "a path", UUID, b"../../../../etc/passwd")
both("uuid-other", REJECT, "unwrap", "another", UUID, b"0f3a8f0e-6d0b-4f0e-9d57-1c2a3b4c5d6e")
both("label-terminal", SAME, "-", "an escape sequence in the label", LABEL, b"\x1b[2J\x07\r\nlabel")
both("label-endless", MAY, "-", "a label of 48 bytes without NUL", LABEL, b"\x9b" * 48)
both("subsystem-terminal", SAME, "-", "the same in the subsystem", SUBSYSTEM, b"\x1b]0;x\x07")
both("subsystem-endless", MAY, "-", "a subsystem of 48 bytes without NUL", SUBSYSTEM, b"s" * 48)
both("size-field-zero", REJECT, "copies", "a header of 0 bytes", HDR_SIZE, 0)
both("size-field-binary", REJECT, "copies", "a header without JSON", HDR_SIZE, BINARY)
both("size-field-odd", REJECT, "copies", "a size that's no power of two", HDR_SIZE, 16384 + 4096)
both("size-field-8m", REJECT, "copies", "a header of 8 MiB", HDR_SIZE, 8 * MIB)
both("size-field-huge", REJECT, "copies", "a header of 2^63 bytes", HDR_SIZE, 1 << 63)
both("offset-field-same", REJECT, "copies|none", "both copies say that they stand at 4096",
     HDR_OFFSET, 4096)


@binary.case("size-field-double", REJECT, "copies", "a header of twice its size")
def _(c):
    for x in c.both:
        x.set_number(HDR_SIZE, 2 * x.size)


@binary.case("offset-field-second", SAME, "-", "the second copy says that it stands at 0")
def _(c):
    c.second.set_number(HDR_OFFSET, 0)


@binary.case("offset-field-far", MAY, "-", "the second copy says that it stands behind the end")
def _(c):
    c.second.set_number(HDR_OFFSET, 1 << 40)


@binary.case("magic-swapped", REJECT, "none|copies", "each copy has the other one's magic")
def _(c):
    c.first.binary[:4], c.second.binary[:4] = b"SKUL", b"LUKS"


@binary.case("cut-behind-metadata", REJECT, "keyslots-size|data-offset", "the device ends there")
def _(c):
    c.size = 2 * c.first.size


@binary.case("cut-in-second", REJECT, "copies|keyslots-size", "the device ends in the second copy")
def _(c):
    c.size = c.first.size + BINARY


@binary.case("cut-at-data", REJECT, "data-offset", "the device ends where the data begins")
def _(c):
    c.size = int(c.segment["offset"])


@binary.case("blank", REJECT, "none", "zeros")
def _(c):
    c.first.missing = c.second.missing = True
    c.areas = {}


@binary.case("random", REJECT, "none", "noise")
def _(c):
    import hashlib

    c.first.missing = c.second.missing = True
    c.areas = {0: hashlib.shake_128(b"noise").digest(4 * c.first.size)}
