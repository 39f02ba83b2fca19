# SPDX-License-Identifier: LGPL-2.1-or-later
"""Another TPM: the recovery passphrase, as a credential, opens; after policy reseal it opens by itself."""
import image
import says

VARIANTS = ["dracut"]
KEY = "printf %%s '%s' >/run/key && " % image.PASSPHRASE


def test(guest):
    guest.replace_tpm()
    guest.credentials["diskseal.recovery"] = "not the one"
    guest.refused("another TPM", says.ASKS)

    guest.credentials["diskseal.recovery"] = image.PASSPHRASE
    guest.boot()
    guest.credentials.clear()
    guest.expect(0, "another TPM", "journalctl -b -u diskseal-boot")
    guest.expect(0, '"result":"recovered"', "cat /run/diskseal/boot.json")
    says.latched(guest)
    guest.expect(1, "diskseal policy reseal --recovery-key-file", "diskseal doctor")
    # Nobody gave a key for these, and this boot unseals nothing.
    for name in image.DATA:
        guest.expect(0, "", "systemctl is-failed diskseal-disk@%s.service" % name)
    guest.expect(3, "", "diskseal policy reseal")
    guest.expect(0, "", KEY + "diskseal policy reseal --recovery-key-file /run/key")
    guest.power_off()

    guest.boot()
    says.opened(guest)
    guest.expect(0, "was opened by KEK", "diskseal doctor")
    says.data_is_there(guest)
    guest.power_cut()
