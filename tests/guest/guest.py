# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest that runs: a whole Debian, driven through a serial port. What a test can do with one is the
methods without an underscore; README.md has examples."""
import base64
import contextlib
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import boot
import machine

# Seconds: twenty times what a machine needs that does nothing else.
BOOT = 600
RUN = 300
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>78]|\r")


class Failed(Exception):
    """Something that must hold doesn't."""


def copy(path, to):
    """A copy of a disk, or of a folder: it has its holes, or even its blocks, in common with the
    first."""
    subprocess.run(["rm", "-rf", to], check=True)
    subprocess.run(["cp", "-rT", "--reflink=auto", "--sparse=always", path, to], check=True)


def taken(stream):
    """What has come; nothing where it ended."""
    try:
        return stream.recv(65536)
    except ConnectionError:
        return b""


class Guest(machine.Machine):
    """A machine with the disks of an image.Image, and more where a test wants them.
    All that it has are files in self.folder: the disks, the TPM's state in tpm/, vars (the
    firmware's). As long as it's off they are the test's to change."""

    SIZE = ["-m", "1024", "-smp", "2"]

    def __init__(self, folder, of, seed=None):
        super().__init__(folder)
        self.disks = list(of.disks)
        self.count = 1  # of what a test repeats: run --count
        self.random = random.Random(seed)
        self.credentials = {}  # {name: text}: systemd's, by way of the firmware's tables
        self.linux = of.linux.read_bytes()
        self.initrd = of.initrd.read_bytes()
        self.cmdline = of.cmdline
        self.image, self.signer = of, of.signer
        self._sections = None  # of the last UKI that was signed; none: the image's
        for name, path in of.disks.items():
            copy(path, self.disk(name))
        if of.tpm:
            shutil.copytree(of.tpm, self.folder / "tpm", dirs_exist_ok=True)
            shutil.copy(of.vars, self.folder / "vars")
        self._qemu = None

    # --- while it's off ---

    def disk(self, name):
        """The file that is this disk."""
        return self.folder / name

    def add_disk(self, name, size, content=b""):
        """Another one of @size bytes, zero behind the @content: /dev/disk/by-id/virtio-NAME."""
        with open(self.disk(name), "wb") as file:
            file.write(content)
            file.truncate((size + 511) & ~511)
        self.disks.append(name)

    def keep(self, *names):
        """Copies disks, "tpm" or "vars" (what the firmware keeps), for put_back()."""
        for name in names:
            copy(self.folder / name, self.folder / ("kept-" + name))

    def put_back(self, *names):
        """As they were at keep()."""
        for name in names:
            copy(self.folder / ("kept-" + name), self.folder / name)

    def blank(self, name):
        """Makes a disk all zero."""
        size = self.disk(name).stat().st_size
        with open(self.disk(name), "wb") as file:
            file.truncate(size)

    def put(self, name, content):
        """Writes a file to the ESP."""
        boot.put(self.disk("esp"), name, content)

    def install_uki(self, signed=True):
        """Puts a UKI of self.linux, self.initrd and self.cmdline on the ESP, as an update would; or,
        where it's not to be @signed, with the signatures of the last one that was."""
        if signed:
            self._sections = self.signer.sections(self.linux, self.initrd, self.cmdline)
        self.put(boot.DEFAULT, self.uki())

    def uki(self):
        """One of self.linux, self.initrd and self.cmdline, with the signatures of the last that was
        signed."""
        return boot.uki(self.linux, self.initrd, self.cmdline, self._signed())

    def _signed(self):
        return self._sections or self.image.sections()

    def start(self):
        """Switches it on, and returns at once."""
        if self._qemu:
            raise Failed("it's on already")
        begun = time.monotonic()
        tpm, tpm_end = socket.socketpair()
        self._console, console_end = socket.socketpair()
        self._agent, agent_end = socket.socketpair()
        with tpm, tpm_end, console_end, agent_end, open(self.folder / "log", "wb") as log:
            self._tpm = self.start_tpm(tpm, log)
            ends = [end.fileno() for end in (tpm_end, console_end, agent_end)]
            self._qemu = subprocess.Popen(machine.TIED + self._command(*ends), pass_fds=ends,
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        (self.folder / "console").write_bytes(b"")
        self._begun = begun
        self._said = b""  # on the console
        self._heard = b""  # of the agent
        self.seconds = None  # from start to up

    def _command(self, tpm, console, agent):
        first = {"esp": ",bootindex=0"}
        words = self.hardware(tpm)
        for name in self.disks:
            words += machine.disk(name, self.disk(name), "serial=" + name + first.get(name, ""))
        for name, text in self.credentials.items():
            value = "io.systemd.credential:%s=%s" % (name, text)
            words += ["-smbios", "type=11,value=" + value.replace(",", ",,")]
        return [*words, "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
                "-chardev", "socket,id=console,fd=%d" % console, "-serial", "chardev:console",
                "-chardev", "socket,id=agent,fd=%d" % agent,
                "-device", "virtserialport,chardev=agent,name=agent"]

    # --- while it's on ---

    def boot(self, timeout=BOOT):
        """Switches it on, and returns when it runs scripts: self.seconds tells how long that took."""
        self.start()
        found = self.wait(timeout=timeout)
        if found != "up":
            raise Failed("it should come up, and is " + found)

    def refused(self, *words, timeout=BOOT):
        """Switches it on: it has to say all of these @words on its console, and not to come up. It is
        off afterwards."""
        self.start()
        self.says(*words, timeout=timeout)
        self.power_cut()

    def says(self, *words, timeout=BOOT):
        """Returns when the last of these @words is on the console, before it's up. The others have to
        be there then."""
        found = self.wait(words[-1], timeout=timeout)
        for text in words:
            if text not in self.console():
                raise Failed("it should say '%s', and is, or says: %s" % (text, found))

    def replaced(self, script):
        """Runs a script that ends this system and starts another, as kexec does. Then it's as after
        start()."""
        self._said = b""
        self.seconds = None
        self._begun = time.monotonic()
        self._ask(script)

    def wait(self, *words, timeout=BOOT):
        """What comes first: "up", which is when it runs scripts; "off"; or one of these @words on its
        console."""
        found = []

        def look():
            said = self.console()
            found[:] = [text for text in words if text in said]
            if self.seconds is not None:
                found.append("up")
            elif self._heard.startswith(b"0 0\n"):
                self._heard = self._heard[4:]
                self.seconds = time.monotonic() - self._begun
                found.append("up")
            if not self._qemu:
                found.append("off")
            return found

        self._until(look, timeout, "neither up nor off, nor does it say any of %s" % (words,))
        return found[0]

    def run(self, script, timeout=RUN):
        """(exit status, what it wrote) of a script for sh in the guest, run by root. It has to leave
        nothing in the background that holds its output open."""
        self._ask(script)

        def answer():
            head, found, output = self._heard.partition(b"\n")
            return (head, output) if found and len(output) >= int(head.split()[1]) else None

        head, output = self._until(answer, timeout, "it doesn't end: " + script)
        self._heard = b""
        return int(head.split()[0]), output.decode(errors="replace")

    def begin(self, script):
        """Has a script run, and returns at once: for a cut of the power."""
        self._ask(script)

    def expect(self, status, text, script, timeout=RUN):
        """Runs a script, which must end with this @status and write this @text, among others. Returns
        what it wrote."""
        found, output = self.run(script, timeout)
        if found != status or text not in output:
            raise Failed("exit status %d, not %d with '%s': %s\n%s"
                         % (found, status, text, script, output))
        return output

    def state(self):
        """What diskseal knows in the guest: a tar of its folders."""
        text = self.expect(0, "", "tar -c -C / etc/diskseal var/lib/diskseal | base64 -w 0")
        return base64.b64decode(text.splitlines()[-1])

    def update_initrd(self):
        """Makes its initrd anew, as update-initramfs would in the guest, only faster. install_uki()
        puts it in place, once it's off."""
        self.initrd = self.image.make_initrd(self.state())

    def signatures(self):
        """Puts what the UKI brought to where systemd's initrd puts it, and diskseal's."""
        sections = self._signed()
        self.expect(0, "", "mkdir -p /run/systemd && cd /run/systemd" + "".join(
            "\ncat >tpm2-pcr-%s <<'END'\n%s\nEND" % (name, sections[section].decode())
            for name, section in [("public-key.pem", ".pcrpkey"), ("signature.json", ".pcrsig")]))

    def console(self):
        """What it wrote to its console since it was switched on, without colours."""
        return ANSI.sub("", self._said.decode(errors="replace"))

    def type(self, line):
        """Types a line on its console."""
        self._console.sendall(line.encode() + b"\n")

    def power_cut(self):
        """Switches it off at once. What it wrote to its disks and its TPM stays."""
        if self._qemu:
            self._qemu.send_signal(signal.SIGKILL)
            self._gone()

    def power_off(self, timeout=BOOT):
        """Shuts it down, and returns when it's off."""
        self._ask("systemctl poweroff --no-block")  # it may be off before it answers
        self._until(lambda: not self._qemu, timeout, "it doesn't switch itself off")

    def interact(self, keys, screen):
        """Connects its console to these file descriptors until it's off, or Ctrl-] is typed."""
        while self._pump(3600, keys):
            new, self._said = self._said, b""
            os.write(screen, new)
            if self._typed == b"\x1d":
                return
            self._console.sendall(self._typed)

    # --- how ---

    def _ask(self, script):
        if not self._qemu:
            raise Failed("it's off, and doesn't run: " + script)
        data = script.encode()
        self._agent.settimeout(RUN)
        self._agent.sendall(b"%d\n%s" % (len(data), data))

    def _until(self, done, timeout, otherwise):
        """Waits until done() returns something true, and returns that."""
        end = time.monotonic() + timeout
        while not (result := done()):
            left = end - time.monotonic()
            if left <= 0:
                raise Failed("after %d s: %s" % (timeout, otherwise))
            if not self._pump(left) and not (result := done()):
                raise Failed("it's off: " + otherwise)
            if result:
                break
        return result

    def _pump(self, timeout, keys=None):
        """Takes what comes from the guest, or @keys. False: it's off."""
        if not self._qemu:
            return False
        sources = [self._console, self._agent] + ([keys] if keys is not None else [])
        ready = select.select(sources, [], [], timeout)[0]
        said = taken(self._console) if self._console in ready else None
        heard = taken(self._agent) if self._agent in ready else None
        self._typed = os.read(keys, 4096) if keys in ready else b""
        if said:
            self._hear(said)
        self._heard += heard or b""
        if said == b"" or heard == b"":
            self._gone()
        return bool(self._qemu)

    def _hear(self, said):
        self._said += said
        with open(self.folder / "console", "ab") as file:
            file.write(said)

    def _gone(self):
        """QEMU has closed its ends. What it still had to say is taken, and both processes end."""
        self._qemu.wait()
        with contextlib.suppress(ConnectionError):
            while more := self._console.recv(65536):
                self._hear(more)
        self._tpm.kill()
        self._tpm.wait()
        self._console.close()
        self._agent.close()
        self._qemu = None
