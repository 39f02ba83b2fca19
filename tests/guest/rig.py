# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a test that boots guests needs from this machine; tools/setup --guest brings all of it."""
import os
import pathlib
import shutil
import signal
import sys

import boot
import initrd
import machine

UNPACKED = pathlib.Path(__file__).parents[2] / "build-guest"  # as tools/setup leaves the kernel
PROGRAMS = ["qemu-system-x86_64", "swtpm", "setpriv", "objcopy", "objdump", "mkfs.fat", "mmd", "mcopy"]
FILES = [initrd.BUSYBOX, boot.STUB, boot.SYSTEMD_BOOT, machine.FIRMWARE / "OVMF_CODE.fd",
         machine.FIRMWARE / "OVMF_VARS.fd"]


class Kernel:
    """A kernel's image and its folder of modules."""

    def __init__(self, folder):
        self.linux = next((folder / "boot").glob("vmlinuz-*")).read_bytes()
        self.modules = folder / "lib/modules"


def begin():
    """The kernel for the guests; or ends the test as skipped, where something is missing."""
    need()
    try:
        return Kernel(UNPACKED)
    except StopIteration:
        skip_without("a kernel in %s" % UNPACKED.name)


def need(*programs):
    """What starts a guest, and these @programs; or ends the test as skipped."""
    # As a shell's trap would: what has a folder or a process of its own ends it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for name in [*PROGRAMS, *programs]:
        if not shutil.which(name):
            skip_without(name)
    for path in FILES:
        if not path.exists():
            skip_without(path)


def skip_without(what):
    skip("%s is missing, which 'tools/setup --guest' installs" % what)


def skip(reason):
    print("SKIP: " + reason)
    sys.exit(77)
