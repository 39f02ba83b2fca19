# SPDX-License-Identifier: LGPL-2.1-or-later
"""Another TPM: the recovery passphrase, as a credential, opens; after policy reseal it opens by itself."""
import image

VARIANTS = ["dracut"]
KEY = "printf %%s '%s' >/run/key && " % image.PASSPHRASE


def test(guest):
    guest.replace_tpm()
    guest.credentials["diskseal.recovery"] = "not the one"
    guest.refused("another TPM", "Recovery passphrase of root")

    guest.credentials["diskseal.recovery"] = image.PASSPHRASE
    guest.boot()
    guest.credentials.clear()
    guest.expect(0, "another TPM", "journalctl -b -u diskseal-boot")
    guest.expect(0, '"result":"recovered"', "cat /run/diskseal/boot.json")
    guest.expect(1, "", "cat /sys/class/tpm/tpm0/pcr-*/15 | grep -E '^(0+|F+)$'")
    guest.expect(1, "diskseal policy reseal --recovery-key-file", "diskseal doctor")
    # Nobody gave a key for these, and this boot unseals nothing.
    for name in image.DATA:
        guest.expect(0, "", "systemctl is-failed diskseal-disk@%s.service" % name)
    guest.expect(3, "", "diskseal policy reseal")
    guest.expect(0, "", KEY + "diskseal policy reseal --recovery-key-file /run/key")
    guest.power_off()

    guest.boot()
    guest.expect(0, '"result":"opened"', "cat /run/diskseal/boot.json")
    guest.expect(0, "was opened by KEK", "diskseal doctor")
    for name in image.DATA:
        guest.expect(0, "what %s holds" % name, "cat /var/%s/file" % name)
    guest.power_cut()
