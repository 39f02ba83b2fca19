# SPDX-License-Identifier: LGPL-2.1-or-later
"""The power goes at random moments of rotations: each boot opens; what's staged is proven by the next one."""
import subprocess
import time

import image
import says

COUNT = 5
STAGED = "diskseal rotate"
AT_ONCE = "diskseal rotate --retire-now"


def test(guest):
    guest.keep("root")
    guest.boot()
    begun = time.monotonic()
    guest.expect(0, "retired", AT_ONCE)
    seconds = time.monotonic() - begun
    for number in range(guest.count):
        script = guest.random.choice([STAGED, AT_ONCE])
        moment = guest.random.uniform(0, seconds)
        print("%d: %s, cut after %.2f of %.2f s" % (number + 1, script, moment, seconds), flush=True)
        guest.begin(script)
        time.sleep(moment)
        guest.power_cut()
        guest.boot()
        all_open(guest)

    # Whatever the last cut left is through by now.
    says.completed(guest)
    before = version(guest)
    guest.expect(0, "at the next boot", STAGED)
    assert version(guest) == before
    guest.power_off()
    guest.boot()
    all_open(guest)
    says.completed(guest)
    assert version(guest) == before + 1, version(guest)
    guest.expect(0, "keyslot", "diskseal unlock --test data1")
    guest.power_off()

    # The first version, which the disk had before: without the mirror's help it's dead.
    guest.put_back("root")
    subprocess.run(["mdeltree", "-i", guest.disk("esp"), "::diskseal"], check=True)
    guest.refused("unseals it no more", says.ASKS)


def all_open(guest):
    says.opened(guest)
    for name in image.DATA:
        guest.expect(0, "", "systemctl start diskseal-disk@%s.service var-%s.mount" % (name, name))
    says.data_is_there(guest)


def version(guest):
    shown = guest.expect(0, "default v", "diskseal status")
    return int(shown.split("KEK default v")[1].split(",")[0].split()[0])
