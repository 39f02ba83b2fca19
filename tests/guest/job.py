# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jobs that a guest does in an initrd and nothing else: a file of shell functions, behind those that
all have in common, and which of them."""
import pathlib
import sys

import boot
import initrd

HERE = pathlib.Path(__file__).parent
CMDLINE = "console=ttyS0 panic=-1 no_timer_check"


class Job:
    """The functions of @name, a file beside this one, with these kernel modules and files."""

    def __init__(self, kernel, name, modules, files):
        self.kernel, self.modules, self.files = kernel, modules, files
        self.text = (HERE / "job-lib").read_text() + (HERE / name).read_text()

    def image(self, path, function):
        """Writes the ESP that boots to do @function to @path."""
        tree = initrd.build(self.kernel, job=self.text + function + "\necho done\n",
                            modules=self.modules, files=self.files)
        boot.esp({boot.DEFAULT: boot.uki(self.kernel.linux, tree, CMDLINE)}, path)
        return path

    def run(self, guest, function, disks):
        """One boot of @guest with @disks. Ends the test where the function fails."""
        results = guest.boot(self.image(guest.folder / "esp", function), disks=disks)
        said = results["output"].decode(errors="replace")
        print("%s: %.1f s" % (function, guest.seconds), flush=True)
        if said != "done\n" or results["status"] != b"0\n":
            sys.exit("%s: %s\n%s" % (function, said, guest.said()))
