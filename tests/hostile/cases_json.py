# SPDX-License-Identifier: LGPL-2.1-or-later
"""What two readers of JSON may take for different things."""

import copy

from luks2 import BINARY, compact
from table import GONE, MAY, REJECT, SAME, Table

text = Table("json")


def cases():
    yield from text.list


def null_segments(c):
    made = copy.deepcopy(c.json["segments"])
    made["0"]["encryption"] = "cipher_null-ecb"
    return compact(made)


@text.case("twice-segments", REJECT, "cipher", "segments twice, the second with a null cipher")
def _(c):
    c.text = compact(c.json)[:-1] + b',"segments":' + null_segments(c) + b"}"


@text.case("twice-segments-first", MAY, "-", "segments twice, the first with a null cipher")
def _(c):
    c.text = b'{"segments":' + null_segments(c) + b"," + compact(c.json)[1:]


def behind(c, part, member):
    """One more member at the end of an object, whatever it has already."""
    whole, old = compact(c.json), compact(part)
    assert whole.count(old) == 1
    c.text = whole.replace(old, old[:-1] + b"," + member + b"}")


@text.case("twice-cipher", REJECT, "cipher", "the cipher twice")
def _(c):
    behind(c, c.segment, b'"encryption":"cipher_null-ecb"')


@text.case("twice-escaped", REJECT, "cipher", "the cipher twice, once written with an escape")
def _(c):
    behind(c, c.segment, b'"encrypt\\u0069on":"cipher_null-ecb"')


@text.case("twice-nul", REJECT, "cipher|segment-members|json", "a member's name that ends in NUL")
def _(c):
    behind(c, c.segment, b'"encryption\\u0000":"cipher_null-ecb"')


@text.case("twice-case", REJECT, "segment-members", "a member's name in another case")
def _(c):
    behind(c, c.segment, b'"Encryption":"cipher_null-ecb"')


@text.case("twice-slot", REJECT, "slot-area-cipher|text", "our keyslot's area twice")
def _(c):
    behind(c, c.slot, b'"area":' + compact(dict(c.slot["area"], encryption="cipher_null-ecb")))


@text.case("twice-digest", REJECT, "digest-iterations", "iterations twice")
def _(c):
    behind(c, c.digest, b'"iterations":1')


@text.case("twice-token", REJECT, "text", "our token's name twice")
def _(c):
    behind(c, c.token, b'"name":"b"')


@text.case("twice-same", REJECT, "text", "the cipher twice, the same")
def _(c):
    behind(c, c.segment, b'"encryption":"aes-xts-plain64"')


@text.case("escaped-value", REJECT, "text", "the honest cipher, all in escapes")
def _(c):
    name = b"".join(b"\\u%04x" % x for x in b"aes-xts-plain64")
    c.text = compact(c.json).replace(
        compact(c.segment), compact(c.segment).replace(b"aes-xts-plain64", name))


@text.case("escaped-nul", REJECT, "cipher", "a NUL behind the cipher")
def _(c):
    c.segment["encryption"] = "aes-xts-plain64\0"


@text.case("comment", MAY, "-", "a comment")
def _(c):
    c.text = b"{/* \x1b[2J */" + compact(c.json)[1:]


@text.case("comment-hides", MAY, "-", "a comment that looks like the end of one string")
def _(c):
    c.text = b'{/* "segments":' + null_segments(c) + b", */" + compact(c.json)[1:]


@text.case("quotes-single", MAY, "-", "single quotes")
def _(c):
    c.text = compact(c.json).replace(b'"type":"crypt"', b"'type':'crypt'")


@text.case("comma-behind", MAY, "-", "a comma too many")
def _(c):
    c.text = compact(c.json)[:-1] + b",}"


@text.case("blanks", REJECT, "text", "blanks and newlines between all")
def _(c):
    c.text = compact(c.json).replace(b'"config":', b'\n\t "config" :\r\n ')


@text.case("blank-first", MAY, "-", "a newline in front")
def _(c):
    c.text = b"\n" + compact(c.json)


@text.case("byte-order-mark", REJECT, "load|json", "a byte order mark in front")
def _(c):
    c.text = b"\xef\xbb\xbf" + compact(c.json)


@text.case("nul-first", REJECT, "load|json", "a NUL in front")
def _(c):
    c.text = b"\0" + compact(c.json)


@text.case("nul-inside", REJECT, "load|json", "a NUL in the middle")
def _(c):
    c.text = compact(c.json).replace(b'"config"', b'\0"config"')


@text.case("second-behind-nul", MAY, "-", "a second, evil header behind the first one's NUL")
def _(c):
    c.text = compact(c.json) + b"\0" + compact({"segments": {"0": {"type": "linear"}}})


@text.case("second-behind", MAY, "-", "a second object right behind the first one")
def _(c):
    c.text = compact(c.json) + b"{}"


@text.case("noise-at-end", MAY, "-", "noise at the end of the area")
def _(c):
    made = compact(c.json)
    c.text = made.ljust(c.first.size - BINARY - 16, b"\0") + b"\x1b[2J" * 4


@text.case("no-end", REJECT, "load|json", "text up to the last byte, no NUL")
def _(c):
    made = compact(c.json)
    c.text = made[:-1].ljust(c.first.size - BINARY, b" ")


@text.case("full", MAY, "-", "blanks up to the last byte, then the end")
def _(c):
    made = compact(c.json)
    c.text = made[:-1].ljust(c.first.size - BINARY - 1, b" ") + b"}"


for name, made in (("empty", b""), ("object", b"{}"), ("list", b"[]"), ("null", b"null"),
                   ("number", b"2"), ("string", b'"segments"'), ("unfinished", b'{"segments":{'),
                   ("noise", bytes(range(1, 256)) * 8), ("brackets", b"[" * 12000),
                   ("braces", b'{"a":' * 2000)):
    text.case("text-" + name, REJECT, "load|json|members", "instead of a header: " + name)(
        lambda c, made=made: setattr(c, "text", made))


@text.case("deep-token", REJECT, "json", "40 lists in each other, in a token")
def _(c):
    c.json["tokens"][c.free("tokens")] = {"type": "x", "keyslots": [], "p": "@deep@"}
    c.raw(b"deep", b"[" * 40 + b"]" * 40)


@text.case("deep-31", REJECT, "json", "just below the depth that json-c takes")
def _(c):
    c.json["tokens"][c.free("tokens")] = {"type": "x", "keyslots": [], "p": "@deep@"}
    c.raw(b"deep", b"[" * 27 + b"]" * 27)


@text.case("deep-thousand", REJECT, "load|json", "a thousand lists in each other")
def _(c):
    c.json["tokens"][c.free("tokens")] = {"type": "x", "keyslots": [], "p": "@deep@"}
    c.raw(b"deep", b"[" * 1000 + b"]" * 1000)


@text.case("numbers", MAY, "-", "numbers that no type holds, in a foreign token")
def _(c):
    c.json["tokens"][c.free("tokens")] = {"type": "x", "keyslots": [], "p": "@n@"}
    c.raw(b"n", b"[1e308,1e999,-0,-0.0,18446744073709551616,-9223372036854775809," + b"9" * 400 +
          b"]")


@text.case("numbers-strange", MAY, "-", "NaN, Infinity and true, in a foreign token")
def _(c):
    c.json["tokens"][c.free("tokens")] = {"type": "x", "keyslots": [], "p": "@n@"}
    c.raw(b"n", b"[NaN,-Infinity,true,null]")


@text.case("number-exponent", REJECT, "sector-size", "a sector size of 4.096e3")
def _(c):
    c.segment["sector_size"] = "@n@"
    c.raw(b"n", b"4.096e3")


@text.case("number-400-digits", REJECT, "sector-size", "a sector size of 400 digits")
def _(c):
    c.segment["sector_size"] = "@n@"
    c.raw(b"n", b"4" * 400)


@text.case("number-iterations-digits", REJECT, "digest-iterations", "iterations of 400 digits")
def _(c):
    c.digest["iterations"] = "@n@"
    c.raw(b"n", b"1" * 400)


@text.case("not-utf8", MAY, "-", "bytes that aren't UTF-8, in a foreign token")
def _(c):
    c.json["tokens"][c.free("tokens")] = {"type": "x", "keyslots": [], "p": "@u@"}
    c.raw(b"u", b'"\xff\xfe\xc0\xaf\xed\xa0\x80"')


@text.case("not-utf8-cipher", REJECT, "cipher|json|load", "the same in the cipher")
def _(c):
    c.segment["encryption"] = "@u@"
    c.raw(b"u", b'"aes-xts-plain64\xff\xc1\x9b2J"')


@text.case("surrogates", MAY, "-", "half of a surrogate pair, in a foreign token")
def _(c):
    c.json["tokens"][c.free("tokens")] = {"type": "x", "keyslots": [], "p": "@u@"}
    c.raw(b"u", b'"\\ud800 \\udc00\\ud800"')


@text.case("long-string", MAY, "-", "one string that fills the area")
def _(c):
    c.json["tokens"][c.free("tokens")] = {"type": "x", "keyslots": [], "p": ""}
    c.json["tokens"][c.free("tokens")] = {"type": "y", "keyslots": [], "p": "p" * (c.room() - 60)}


@text.case("long-key", MAY, "-", "one name that fills the area")
def _(c):
    c.json["tokens"][c.free("tokens")] = {"type": "y", "keyslots": [], "n" * (c.room() - 60): 1}


@text.case("many-members", MAY, "-", "a token with as many members as there is room for")
def _(c):
    room = c.room() - 100
    c.json["tokens"][c.free("tokens")] = dict(
        {"type": "y", "keyslots": []}, **{"%05d" % i: 0 for i in range(room // 10)})


text.member(lambda c: c.json, [
    ("top-member", "x-host", {"a": 1}, "members"),
    ("top-member-terminal", "\x1b[2J\x1b]0;owned\x07", 1, "members"),
    ("top-member-long", "m" * 3000, 1, "members"),
    ("top-no-tokens", "tokens", GONE, "members"),
    ("top-no-keyslots", "keyslots", GONE, "members"),
    ("top-no-segments", "segments", GONE, "members"),
    ("top-no-digests", "digests", GONE, "members"),
    ("top-tokens-list", "tokens", [], "tokens|no-token"),
    ("top-keyslots-list", "keyslots", [], "keyslots"),
    ("top-segments-list", "segments", [{"type": "crypt"}], "segments"),
    ("top-segments-null", "segments", None, "members|segments"),
    ("top-digests-string", "digests", "x", "digests"),
    ("top-config-string", "config", "x", "config-members"),
])
