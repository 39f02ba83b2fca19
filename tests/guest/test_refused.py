# SPDX-License-Identifier: LGPL-2.1-or-later
"""Refused, each with its reason and nothing written: changed command line, initrd, kernel, TPM, disk."""
import pathlib
import subprocess

import boot
import guest as guests
import image
import initrd

HEADERS = pathlib.Path(__file__).parents[1] / "hostile/make-headers"
ASKS = "Recovery passphrase of "  # root, or the device, where the header has no say
ALL = ["esp", "root", "tpm"]


def test(guest):
    assert b"what root holds" not in guest.disk("root").read_bytes()
    guest.keep(*ALL)
    parts = guest.cmdline, guest.initrd, guest.linux

    def refused(what, *words):
        """And the disk stays as it is; then everything is as it was."""
        was = guest.folder / "was"
        guests.copy(guest.disk("root"), was)
        guest.refused(*words)
        subprocess.run(["cmp", guest.disk("root"), was], check=True)
        print("refused: %s" % what, flush=True)
        guest.put_back(*ALL)
        guest.cmdline, guest.initrd, guest.linux = parts

    guest.cmdline += " init=/bin/sh"
    guest.install_uki(signed=False)
    refused("another command line", "no signature at hand is for PCR 11 as it is", ASKS)
    guest.initrd += initrd.cpio({"evil": (0o100644, b"")})
    guest.install_uki(signed=False)
    refused("another initrd", "no signature at hand is for PCR 11 as it is", ASKS)
    guest.linux += bytes(512)
    guest.install_uki(signed=False)
    refused("another kernel", "no signature at hand is for PCR 11 as it is", ASKS)
    guest.replace_tpm()
    refused("another TPM", "another TPM", ASKS)
    guest.blank("root")
    refused("blank root", "no disk with UUID")
    attackers(guest)
    refused("an attacker's disk", "with signatures by another key", ASKS)
    for name, words in hostile(guest, "root", ["cipher-null", "digest-cheaper"]):
        refused("root's header: " + name, words, ASKS)

    refusals = dict(zip(image.DATA, ["linear", "digest-cheaper"]))
    for disk, name in refusals.items():
        refusals[disk] = next(hostile(guest, disk, [name]))[1]
    guest.boot()
    for disk, words in refusals.items():
        guest.expect(0, words, "journalctl -b -u diskseal-disk@%s" % disk)
        guest.expect(0, "", "test ! -e /dev/mapper/%s && systemctl is-failed diskseal-disk@%s.service"
                     % (disk, disk))
        print("refused: %s's header, %s" % (disk, words))


def attackers(guest):
    """The root disk becomes one that is sound in all that stands on it: made in this very machine, by
    another system, under the same kind of policy, with a key of the attacker's."""
    evil = guests.Guest(guest.folder / "evil", guest.image.other("installed"))
    evil.signer = boot.Signer(guest.image.program, evil.folder / "key")
    evil.add_disk("evil", 64 << 20)
    evil.install_uki()
    guests.copy(guest.folder / "tpm", evil.folder / "tpm")
    evil.boot()
    evil.signatures()
    evil.expect(0, "root opens", """
        set -e
        disk=/dev/disk/by-id/virtio-evil
        echo -n evil >/run/evil
        cryptsetup luksFormat --batch-mode --uuid %s --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
                $disk /run/evil
        diskseal adopt $disk --name root --role os --policy uki --key-file /run/evil
        diskseal unlock --test root
        """ % image.ROOT_UUID)
    evil.power_cut()
    guests.copy(evil.folder / "tpm", guest.folder / "tpm")
    guests.copy(evil.disk("evil"), guest.disk("root"))


def hostile(guest, disk, names):
    """Gives the disk one header after the other: (name, by what it should be refused)."""
    folder = guest.folder / "headers"
    subprocess.run([HEADERS, guest.disk(disk), folder, *names], check=True)
    for line in (folder / "MANIFEST.tsv").read_text().splitlines():
        name, _, _, words, _ = line.split("\t")
        with open(guest.disk(disk), "r+b") as file:
            file.write((folder / (name + ".img")).read_bytes()[:16 << 20])
        yield name, words
