# SPDX-License-Identifier: LGPL-2.1-or-later
"""The head of a LUKS2 disk, to be read, altered in any way, and written with good checksums.

Specification: LUKS2 On-Disk Format 1.1. Only what a host could do: it knows no key of the disk."""

import base64
import copy
import hashlib
import json
import os
import struct

BINARY = 4096  # bytes of the binary header, in front of the JSON
# Where its fields stand, and how large they are.
VERSION = (6, 2)
HDR_SIZE = (8, 8)
SEQID = (16, 8)
LABEL = (24, 48)
SUM_ALG = (72, 32)
SALT = (104, 64)
UUID = (168, 40)
SUBSYSTEM = (208, 48)
HDR_OFFSET = (256, 8)
SUM = (448, 64)
STRIPES = 4000

# What an attacker chooses where a volume key is needed.
OWN_KEY = bytes((i * 7 + 1) & 255 for i in range(64))


def b64(data):
    return base64.b64encode(data).decode()


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


class Copy:
    """One of the two copies: its binary header, and the text behind it."""

    def __init__(self, raw):
        self.binary = bytearray(raw[:BINARY])
        self.size = self.number(HDR_SIZE)  # of what is written, whatever the field says later
        self.text = None  # bytes; None: the JSON of the case
        self.sum_good = True
        self.missing = False  # nothing is written

    def number(self, field):
        at, size = field
        return int.from_bytes(self.binary[at : at + size], "big")

    def set_number(self, field, value):
        at, size = field
        self.binary[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "big")

    def set_text(self, field, value):
        at, size = field
        assert len(value) <= size
        self.binary[at : at + size] = value.ljust(size, b"\0")

    def pack(self, text):
        text = self.text if self.text is not None else text
        area = text.ljust(self.size - BINARY, b"\0")
        if len(area) > self.size - BINARY:
            raise ValueError("no room for %d bytes of JSON" % len(text))
        at, size = SUM
        self.binary[at : at + size] = bytes(size)
        alg = bytes(self.binary[SUM_ALG[0] : sum(SUM_ALG)]).split(b"\0")[0].decode("latin1")
        try:
            made = hashlib.new(alg, bytes(self.binary) + area).digest()
        except (ValueError, TypeError):
            made = hashlib.sha256(bytes(self.binary) + area).digest()
        if not self.sum_good:
            made = bytes([made[0] ^ 1]) + made[1:]
        self.binary[at : at + len(made)] = made
        return bytes(self.binary) + area


class Case:
    """A disk that is being altered. @json is written to both copies, unless they have a text."""

    def __init__(self, disk):
        self.json = copy.deepcopy(disk.json)
        self.first = copy.deepcopy(disk.first)
        self.second = copy.deepcopy(disk.second)
        self.areas = dict(disk.areas)  # offset: bytes
        self.size = disk.size
        self.ours = disk.ours
        self.text = None  # bytes instead of @json
        self.patches = []  # (offset, bytes): written last, over anything

    @property
    def both(self):
        return (self.first, self.second)

    @property
    def token(self):
        return self.json["tokens"][self.ours]

    @property
    def number(self):
        """Our keyslot's, as our token names it; else the first one's."""
        return str(self.token["slot"]) if self.ours else min(self.json["keyslots"])

    @property
    def slot(self):
        return self.json["keyslots"][self.number]

    @property
    def segment(self):
        return self.json["segments"]["0"]

    @property
    def digest(self):
        return next(d for d in self.json["digests"].values() if "0" in d["segments"])

    @property
    def config(self):
        return self.json["config"]

    def free(self, collection):
        return next(str(i) for i in range(32) if str(i) not in self.json[collection])

    def free_area(self):
        areas = [k["area"] for k in self.json["keyslots"].values() if isinstance(k, dict)]
        return max(int(a["offset"]) + int(a["size"]) for a in areas)

    def room(self):
        return self.first.size - BINARY - len(compact(self.json)) - 1

    def raw(self, mark, text):
        """The JSON with "@mark@" replaced by what JSON can't say."""
        self.text = compact(self.json).replace(b'"@%s@"' % mark, text)

    def pieces(self):
        text = self.text if self.text is not None else compact(self.json)
        for offset, data in sorted(self.areas.items()):
            yield offset, data
        for at, c in ((0, self.first), (self.first.size, self.second)):
            if not c.missing:
                yield at, c.pack(text)
        yield from self.patches

    def write(self, path):
        with open(path, "wb") as f:
            f.truncate(self.size)
            for offset, data in self.pieces():
                if offset < self.size:
                    f.seek(offset)
                    f.write(data[: self.size - offset])


class Disk:
    """The honest one that all cases begin with."""

    def __init__(self, path):
        with open(path, "rb") as f:
            head = f.read(BINARY)
            if head[:8] != b"LUKS\xba\xbe\0\2":
                raise SystemExit("%s: no LUKS2 disk" % path)
            size = int.from_bytes(head[8:16], "big")
            f.seek(0)
            raw = f.read(2 * size)
            self.first, self.second = Copy(raw), Copy(raw[size:])
            self.json = json.loads(raw[BINARY:size].split(b"\0")[0])
            self.areas = {}
            for k in self.json["keyslots"].values():
                offset = int(k["area"]["offset"])
                f.seek(offset)
                self.areas[offset] = f.read(int(k["area"]["size"]))
        self.size = os.stat(path).st_size
        # None: a disk of others, on which only what alters no token of ours makes sense.
        ours = [n for n, t in self.json["tokens"].items() if t["type"] == "diskseal"]
        self.ours = ours[0] if ours else None


def split(key, hash_name="sha256"):
    """The anti-forensic splitter of LUKS, with filler that anybody can tell."""
    width = hashlib.new(hash_name).digest_size

    def diffuse(block):
        out = b""
        for i in range(0, len(block), width):
            part = block[i : i + width]
            out += hashlib.new(hash_name, struct.pack(">I", i // width) + part).digest()[: len(part)]
        return out

    state, stripes = bytes(len(key)), []
    for i in range(STRIPES - 1):
        stripe = hashlib.shake_128(struct.pack(">I", i)).digest(len(key))
        stripes.append(stripe)
        state = diffuse(bytes(a ^ b for a, b in zip(state, stripe)))
    stripes.append(bytes(a ^ b for a, b in zip(state, key)))
    return b"".join(stripes)


def digest_of(key, keyslots, segments):
    """A digest that libcryptsetup takes @key by."""
    salt = hashlib.sha256(b"any salt").digest()
    return {
        "type": "pbkdf2",
        "keyslots": keyslots,
        "segments": segments,
        "hash": "sha256",
        "iterations": 1000,
        "salt": b64(salt),
        "digest": b64(hashlib.pbkdf2_hmac("sha256", key, salt, 1000, 32)),
    }


def open_slot(offset, cipher="cipher_null-ecb"):
    """A keyslot that any passphrase opens: its area isn't encrypted."""
    return {
        "type": "luks2",
        "key_size": len(OWN_KEY),
        "af": {"type": "luks1", "stripes": STRIPES, "hash": "sha256"},
        "area": {
            "type": "raw",
            "offset": str(offset),
            "size": str(len(OWN_KEY) * STRIPES + 4095 & ~4095),
            "encryption": cipher,
            "key_size": 32,
        },
        "kdf": {"type": "pbkdf2", "hash": "sha256", "iterations": 1000, "salt": b64(bytes(32))},
    }
