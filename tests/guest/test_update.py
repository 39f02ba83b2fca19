# SPDX-License-Identifier: LGPL-2.1-or-later
"""Another command line opens where it's signed; under pcr7, set by policy reseal, unsigned, and that is a finding."""
import says


def test(guest):
    guest.cmdline += " announced=1"
    guest.install_uki()
    guest.boot()
    guest.expect(0, "announced=1", "cat /proc/cmdline")
    says.completed(guest)
    says.opened(guest)

    # Behind the latch: the next boot proves it, and needs an initrd that knows of it.
    guest.expect(0, "at the next boot", "diskseal policy reseal --policy pcr7")
    guest.update_initrd()
    guest.power_off()
    guest.cmdline += " unannounced=1"
    guest.install_uki(signed=False)
    guest.boot()
    guest.expect(0, "unannounced=1", "cat /proc/cmdline")
    says.completed(guest)
    says.opened(guest)
    guest.expect(0, "PCR 7 alone sees no kernel and no command line", "diskseal status")
    guest.power_cut()
