# SPDX-License-Identifier: LGPL-2.1-or-later
"""A virtual machine with a TPM and a UEFI firmware that measures: QEMU, OVMF and swtpm."""
import io
import pathlib
import shutil
import socket
import subprocess
import tarfile
import time

FIRMWARE = pathlib.Path("/usr/share/OVMF")
# Whoever starts these may be killed: they go with it.
TIED = ["setpriv", "--pdeathsig", "KILL"]

# All that can be emulated, but for what a kernel takes for fast, and is slow here: "rep movsb", byte by
# byte, and a fifth level of page tables. A whole system is up in 33 s with it, 40 s without.
CPU = "max,-erms,-fsrm,-la57"


def disk(name, path, device, drive=""):
    """QEMU's arguments for a disk that is the file @path, with options of its @device and @drive."""
    return ["-drive", "if=none,id=%s,format=raw,file=%s%s" % (name, path, drive),
            "-device", "virtio-blk-pci,drive=%s,%s" % (name, device)]


class Machine:
    """Its TPM and its firmware's variables stay in @folder from one boot to the next."""

    SIZE = ["-m", "512", "-smp", "1"]  # PCR 0 depends on both

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "tpm").mkdir(parents=True)
        shutil.copy(FIRMWARE / "OVMF_VARS.fd", self.folder / "vars")

    def replace_tpm(self):
        """By one that knows nothing of what the first one held."""
        shutil.rmtree(self.folder / "tpm")
        (self.folder / "tpm").mkdir()

    def boot(self, image, disks=(), timeout=600):
        """Boots from an ESP's image until the guest switches off, with @disks: files in @folder, whose
        names are the disks' serials. Returns what it sent back, {name: bytes}. The seconds that it
        took are in self.seconds."""
        begun = time.monotonic()
        ours, theirs = socket.socketpair()
        with ours, theirs, open(self.folder / "log", "wb") as log:
            tpm = self.start_tpm(ours, log)
            try:
                subprocess.run(TIED + self.command(image, theirs.fileno(), disks), timeout=timeout,
                               pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=log,
                               stderr=log, check=True)
            except subprocess.SubprocessError as error:
                raise RuntimeError("%s\n%s" % (error, self.said())) from error
            finally:
                tpm.kill()
                tpm.wait()
        self.seconds = time.monotonic() - begun
        return self.results()

    def start_tpm(self, control, log):
        """swtpm, steered through the socket @control."""
        return subprocess.Popen(
            TIED + ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=%s/tpm" % self.folder,
                    "--ctrl", "type=unixio,clientfd=%d" % control.fileno()],
            pass_fds=[control.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def command(self, image, tpm, disks):
        folder = self.folder
        more = [word for name in disks for word in disk(name, folder / name, "serial=" + name)]
        return [*self.hardware(tpm), *disk("esp", image, "bootindex=0", ",readonly=on"),
                "-chardev", "file,id=console,path=%s/console" % folder,
                "-serial", "chardev:console", "-device", "virtio-serial-pci",
                "-chardev", "file,id=results,path=%s/results" % folder,
                "-device", "virtserialport,chardev=results,name=results", *more]

    def hardware(self, tpm):
        """What every guest has: @tpm is the other end of swtpm's socket."""
        return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
                "-no-reboot", "-M", "q35", "-accel", "tcg", "-cpu", CPU, *self.SIZE,
                "-drive", "if=pflash,format=raw,readonly=on,file=%s/OVMF_CODE.fd" % FIRMWARE,
                "-drive", "if=pflash,format=raw,file=%s/vars" % self.folder,
                "-chardev", "socket,id=tpm,fd=%d" % tpm,
                "-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm"]

    def results(self):
        try:
            with tarfile.open(self.folder / "results") as tar:
                return {pathlib.PurePath(entry.name).name: tar.extractfile(entry).read()
                        for entry in tar if entry.isfile()}
        except tarfile.TarError as error:
            raise RuntimeError("no results (%s)\n%s" % (error, self.said())) from error

    def console(self):
        """What the guest wrote there."""
        return (self.folder / "console").read_text(errors="replace")

    def said(self):
        """The end of what QEMU, swtpm and the guest wrote, for whoever looks for the fault."""
        text = ""
        for name in ("log", "console"):
            path = self.folder / name
            lines = path.read_text(errors="replace").splitlines() if path.exists() else []
            text += "".join("  %s: %s\n" % (name, line) for line in lines[-20:])
        return text
