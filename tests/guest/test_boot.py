# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest boots to running: diskseal opens its root and two data disks, and nobody unseals after it."""
import base64
import subprocess

import image
import says

VARIANTS = ["initramfs-tools", "dracut"]
ZSTD = b"\x28\xb5\x2f\xfd"  # Zstandard frame (RFC 8878, 3.1.1)
KEK = 32  # bytes
CLOSED = "PCR 15: system identity"


def test(guest):
    guest.add_disk("initrd", len(guest.initrd), guest.initrd)
    guest.boot()
    runs(guest)
    is_nowhere(guest, [*handed_over(guest), volume_key(guest), image.PASSPHRASE.encode()])
    if guest.image.variant == "initramfs-tools":
        is_small(guest)
    print(guest.expect(0, "", "systemd-analyze; cat /run/diskseal/boot.json"))
    is_latched(guest)
    guest.power_cut()


def runs(guest):
    guest.expect(0, "running", "systemctl is-system-running --wait || systemctl --failed")
    guest.expect(0, "crypt", "findmnt -n -o SOURCE / && dmsetup table root")
    guest.expect(0, "vfat", "touch /boot/efi/new && findmnt -n -o FSTYPE /boot/efi")
    guest.expect(0, "what root holds", "cat /var/file")
    says.data_is_there(guest)
    for name in image.DATA:
        guest.expect(0, "", "systemctl is-active diskseal-disk@%s.service" % name)
    says.opened(guest)
    guest.expect(0, "", "diskseal doctor")


def handed_over(guest):
    """The KEKs in root's keyring: the PCRs of the boot stand behind each."""
    found = [base64.b64decode(line) for line in guest.expect(
        0, "", "for key in $(keyctl rlist @u); do keyctl pipe $key | base64 -w 0; echo; done").split()]
    assert [len(key) for key in found] == [KEK + 15 * 32], found
    return [key[:KEK] for key in found]


def volume_key(guest):
    path = guest.folder / "volume-key"
    subprocess.run(["cryptsetup", "luksDump", "--batch-mode", "--dump-volume-key", "--volume-key-file", path,
                    "--key-file", "-", guest.disk("root")], input=image.PASSPHRASE.encode(), check=True,
                   stdout=subprocess.DEVNULL)
    return path.read_bytes()


def is_nowhere(guest, keys):
    """Not in the kernel's log, the initrd, or anywhere on the ESP; as bytes, or in a usual form."""
    log = guest.expect(0, "diskseal: root is open", "dmesg").encode()
    initrd = subprocess.run(["zstd", "-dc"], input=guest.initrd[guest.initrd.index(ZSTD):], check=True,
                            capture_output=True).stdout
    assert b"diskseal-boot" in initrd
    places = {"log": log, "console": guest.console().encode(), "initrd": initrd,
              "esp": guest.disk("esp").read_bytes()}
    for key in keys:
        for form in key, key.hex().encode(), key.hex().upper().encode(), base64.b64encode(key):
            for name, content in places.items():
                assert form not in content, "a key is in the " + name


def is_small(guest):
    """Beside what Debian's cryptsetup brings there."""
    without = guest.image.other("installed").initrd.stat().st_size
    added = len(guest.initrd) - without
    print("initrd: %d bytes, %d of them diskseal's" % (len(guest.initrd), added))
    assert 0 < added < 3 << 20


def is_latched(guest):
    """Without what the boot handed over nobody has a key; and the next kernel gets none either."""
    says.latched(guest)
    guest.expect(0, "", "diskseal unlock --test data1")
    guest.expect(0, "", "keyctl clear @u")
    for disk in ["root", *image.DATA]:
        guest.expect(3, CLOSED, "diskseal --state-dir=/run/none --config-dir=/run/none "
                     "unlock --test /dev/disk/by-id/virtio-" + disk)
        guest.expect(3, CLOSED, "diskseal unlock --test " + disk)

    guest.expect(0, "", "head -c %d /dev/disk/by-id/virtio-initrd >/run/initrd && kexec --load /vmlinuz "
                 "--initrd=/run/initrd --append='%s other=1'" % (len(guest.initrd), guest.cmdline))
    guest.replaced("kexec --exec")
    guest.says("root stays locked", says.ASKS)
