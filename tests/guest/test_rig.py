# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a test changes is what its guest then has: disks, TPM, kernel image, credentials, power."""
DATA = "/dev/disk/by-id/virtio-data1"
PCR11 = "cat /sys/class/tpm/tpm0/pcr-sha256/11"
TPM = "tpm2_nvread -T device:/dev/tpmrm0 -C o 0x1500016"


def test(guest):
    guest.add_disk("data1", 32 << 20)
    guest.credentials["told"] = "one, two"
    guest.boot()
    first = guest.expect(0, "", PCR11)
    guest.expect(0, "one, two", "systemd-creds --system cat told")
    guest.expect(1, "", "grep other=1 /proc/cmdline")
    guest.expect(3, "gone", "echo gone >&2; exit 3")
    guest.expect(0, "", "tpm2_nvdefine -T device:/dev/tpmrm0 -C o -s 4 0x1500016 && "
                 "echo -n kept | tpm2_nvwrite -T device:/dev/tpmrm0 -C o -i - 0x1500016")
    guest.expect(0, "", "echo kept >/kept && sync && mke2fs -q " + DATA)
    guest.power_cut()

    guest.cmdline += " other=1"
    guest.install_uki()
    guest.credentials.clear()
    guest.boot()
    guest.expect(0, "kept", "cat /kept")
    guest.expect(0, "kept", TPM)
    guest.expect(0, "ext2", "blkid " + DATA)
    guest.expect(0, "other=1", "cat /proc/cmdline")
    guest.expect(1, "", "systemd-creds --system cat told")
    second = guest.expect(0, "", PCR11)
    assert first != second, "PCR 11 doesn't see the command line"
    guest.power_off()

    guest.replace_tpm()
    guest.blank("data1")
    guest.boot()
    guest.expect(1, "", TPM)
    guest.expect(2, "", "blkid " + DATA)
    guest.expect(0, second, PCR11)
    guest.power_cut()

    guest.blank("root")
    guest.refused("aiting for encrypted source device")
