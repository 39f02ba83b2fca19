# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest boots to running: root in LUKS2, a TPM that measured the UKI, the ESP at its place."""
VARIANTS = ["initramfs-tools", "dracut"]


def test(guest):
    guest.boot()
    guest.expect(0, "running", "systemctl is-system-running --wait || systemctl --failed")
    guest.expect(0, "crypt", "findmnt -n -o SOURCE / && dmsetup table root")
    guest.expect(0, "", "test -c /dev/tpmrm0")
    guest.expect(1, "", "grep -E '^0+$' /sys/class/tpm/tpm0/pcr-sha256/11")
    guest.expect(0, "vfat", "touch /boot/efi/new && findmnt -n -o FSTYPE /boot/efi")
    guest.expect(0, "Usage", "diskseal --help")
    guest.expect(2, "unknown option", "diskseal --none-such")
    guest.power_off()
