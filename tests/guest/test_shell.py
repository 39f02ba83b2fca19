# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whoever gets a shell in an initrd, by a command line that is approved of, unseals nothing there or after it."""
import re
import time

import says

VARIANTS = ["initramfs-tools", "dracut"]
BREAK = {"initramfs-tools": ("break=premount", ["(initramfs) "]),
         "dracut": ("rd.break=pre-trigger", ["Press Enter for maintenance", "sh-5."])}


def test(guest):
    word, prompts = BREAK[guest.image.variant]
    # With panic= initramfs-tools gives no shell.
    guest.cmdline = guest.cmdline.replace("panic=-1", word)
    guest.install_uki()
    guest.start()
    for prompt in prompts:
        guest.says(prompt)
        time.sleep(3)  # what's typed before it reads is dropped
        guest.type("")
    guest.type("cat /sys/class/tpm/tpm0/pcr-*/15; echo th''ere")
    guest.says("there")
    values = re.findall(r"^[0-9A-F]{40,}$", guest.console(), re.M)
    assert len(values) == 4 and not any(set(value) in ({"0"}, {"F"}) for value in values), values
    # It goes on, and the disk stays closed.
    guest.type("exit")
    guest.says("root stays locked", says.ASKS)
    guest.power_cut()

    # The same machine opens when nobody stops it.
    guest.cmdline = guest.cmdline.replace(word, "panic=-1")
    guest.install_uki()
    guest.start()
    guest.says("root is open")
    guest.power_cut()
