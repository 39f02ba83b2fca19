# SPDX-License-Identifier: LGPL-2.1-or-later
"""Another command line: opens where kernel-install announced it, is refused where nobody did, and pcr7 can't see it."""
import boot

RESEAL = "diskseal policy reseal --policy "


def test(guest):
    # What PCR 7 doesn't see is a finding, and opens.
    guest.boot()
    guest.expect(0, "", RESEAL + "pcr7")
    guest.power_off()
    guest.cmdline += " unannounced=1"
    guest.install_uki(signed=False)
    guest.boot()
    opened(guest)
    guest.expect(0, "PCR 7 alone sees no kernel and no command line", "diskseal status")

    # The boot chain is sealed to from here on.
    guest.expect(0, "", RESEAL + "distro")
    guest.power_off()
    guest.cmdline += " announced=1"
    uki = guest.uki()
    guest.add_disk("next", len(uki), uki)
    guest.boot()
    opened(guest)
    guest.expect(0, "KEK default is sealed to this boot and to", """
        head -c %d /dev/disk/by-id/virtio-next >/tmp/next.efi
        mkdir -p /etc/kernel /boot/efi/EFI/Linux
        echo layout=uki >/etc/kernel/install.conf
        kernel-install --verbose add $(uname -r) /tmp/next.efi
        """ % len(uki))
    guest.expect(0, "", "cp /boot/efi/EFI/Linux/*.efi /boot/efi/%s && sync" % boot.DEFAULT)
    guest.power_off()
    guest.boot()
    guest.expect(0, "announced=1", "cat /proc/cmdline")
    opened(guest)
    guest.power_off()

    guest.cmdline += " unannounced=2"
    guest.install_uki(signed=False)
    guest.refused("PCR", "Recovery passphrase of root")


def opened(guest):
    guest.expect(0, "", "systemctl start diskseal-complete.service")
    guest.expect(0, '"result":"opened"', "cat /run/diskseal/boot.json")
