# SPDX-License-Identifier: LGPL-2.1-or-later
"""The peer: systemd-cryptsetup opens root by a slot for PCR 4; not so with another command line."""
import image

VARIANTS = ["plain"]


def test(guest):
    guest.start()
    assert guest.wait("passphrase") == "passphrase"
    guest.type(image.PASSPHRASE)
    assert guest.wait() == "up"
    guest.expect(0, "New TPM2 token", "PASSWORD='%s' systemd-cryptenroll --tpm2-device=auto "
                 "--tpm2-pcrs=4 /dev/disk/by-id/virtio-root" % image.PASSPHRASE)
    guest.power_off()

    guest.boot()
    guest.expect(0, "crypt", "dmsetup table root")
    guest.power_cut()

    guest.cmdline += " other=1"
    guest.install_uki()
    guest.refused("passphrase")
