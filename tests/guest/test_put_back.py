# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root disk from before 1 and 5 rotations boots by the mirror and catches up; after kek forget it asks."""
import says

ROTATE = "diskseal rotate --retire-now"


def test(guest):
    guest.keep("root")
    guest.boot()
    guest.expect(0, "retired", ROTATE)
    guest.power_off()

    guest.put_back("root")
    guest.boot()
    catches_up(guest, 2)
    for _ in range(4):
        guest.expect(0, "retired", ROTATE)
    guest.power_off()

    guest.put_back("root")
    guest.boot()
    catches_up(guest, 6)
    guest.expect(0, "", "diskseal kek forget default --all --yes")
    guest.power_off()

    guest.put_back("root")
    guest.refused("unseals it no more", says.ASKS)


def catches_up(guest, version):
    says.opened(guest)
    says.completed(guest)
    guest.expect(0, "default v%d" % version, "diskseal status")
