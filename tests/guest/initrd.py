# SPDX-License-Identifier: LGPL-2.1-or-later
"""Initrds that are the same byte for byte whenever they are made from the same files: PCRs say so."""
import gzip
import hashlib
import pathlib
import re
import stat
import struct

HERE = pathlib.Path(__file__).parent
BUSYBOX = pathlib.Path("/bin/busybox")
# TPM_ALG_ID of each bank that a TPM may have (TPM 2.0 Part 2, 6.3). It ignores those that it hasn't.
BANKS = {"sha1": 0x0004, "sha256": 0x000B, "sha384": 0x000C, "sha512": 0x000D}


def cpio(files):
    """An archive ("newc") of {path: (mode, content)}: no times, no owners, parents before children."""
    out = bytearray()
    for number, (name, (mode, content)) in enumerate(sorted(files.items()), 1):
        out += member(number, name, mode, content)
    return bytes(out + member(0, "TRAILER!!!", 0, b""))


def member(number, name, mode, content):
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return padded(head) + padded(content)


def padded(data):
    return data + bytes(-len(data) % 4)


def with_modules(kernel, names):
    """The kernel's modules of these names with all that they depend on, in the order of loading."""
    files = {path.name.split(".")[0].replace("-", "_"): path
             for path in kernel.modules.rglob("*.ko")}
    order = []

    def add(name):
        content = files[name].read_bytes() if name in files else b""
        depends = re.search(rb"\0depends=([^\0]*)\0", content)
        for other in depends[1].decode().split(",") if depends else []:
            if other:
                add(other.replace("-", "_"))
        if content and (name, content) not in order:
            order.append((name, content))

    for name in names:
        add(name)
    return order


def extend_command(pcr, data):
    """TPM2_PCR_Extend of @pcr by @data's digest, in every bank (TPM 2.0 Part 3, 22.2)."""
    body = struct.pack(">IIIHBHI", pcr, 9, 0x40000009, 0, 0, 0, len(BANKS))
    for bank, number in BANKS.items():
        body += struct.pack(">H", number) + hashlib.new(bank, data).digest()
    return struct.pack(">HII", 0x8002, 10 + len(body), 0x00000182) + body


def build(kernel, job=None, phase=None, files=None, modules=()):
    """An initrd for @kernel: does the shell script @job; extends PCR 11 by the name of a @phase, as
    systemd-pcrphase does; holds @files, {path: content}, and loads the kernel's @modules besides."""
    tree = {"init": (0o755, (HERE / "init").read_bytes()),
            "bin/busybox": (0o755, BUSYBOX.read_bytes())}
    for number, (name, content) in enumerate(
            with_modules(kernel, ["virtio_pci", "virtio_console", *modules])):
        tree["modules/%02d-%s.ko" % (number, name)] = (0o644, content)
    if job:
        tree["job"] = (0o644, job.encode())
    if phase:
        tree["phase"] = (0o644, extend_command(11, phase.encode()))
    for path, content in (files or {}).items():
        tree[path] = (0o755, content)
    members = {}
    for path, (mode, content) in tree.items():
        for parent in list(pathlib.PurePath(path).parents)[:-1]:
            members[str(parent)] = (stat.S_IFDIR | 0o755, b"")
        members[path] = (stat.S_IFREG | mode, content)
    # The kernel opens /dev/console for init before anything is mounted.
    members["dev"] = (stat.S_IFDIR | 0o755, b"")
    return gzip.compress(cpio(members), compresslevel=6, mtime=0)
