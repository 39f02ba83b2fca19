# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of diskseal's boots say of a guest: each holds, or ends the test."""
import image

ASKS = "Recovery passphrase of root"  # on the console, where root stays locked


def opened(guest):
    """The TPM opened root."""
    guest.expect(0, '"result":"opened"', "cat /run/diskseal/boot.json")


def completed(guest):
    """What waited for this boot is through."""
    guest.expect(0, "", "systemctl start diskseal-complete.service")


def data_is_there(guest):
    for name in image.DATA:
        guest.expect(0, "what %s holds" % name, "cat /var/%s/file" % name)


def latched(guest):
    """In every bank."""
    guest.expect(1, "", "cat /sys/class/tpm/tpm0/pcr-*/15 | grep -E '^(0+|F+)$'")
