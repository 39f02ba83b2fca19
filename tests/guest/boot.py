# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a firmware boots: unified kernel images, and the EFI system partition that holds them."""
import pathlib
import subprocess
import tempfile

EFI = pathlib.Path("/usr/lib/systemd/boot/efi")
STUB = EFI / "linuxx64.efi.stub"
SYSTEMD_BOOT = EFI / "systemd-bootx64.efi"
DEFAULT = "EFI/BOOT/BOOTX64.EFI"  # what a firmware starts that knows of nothing else
ESP_ID = "E5B0-07ED"  # of the file system
OS_RELEASE = b'ID=diskseal-test\nPRETTY_NAME="diskseal test"\n'


def stub_end():
    """Where the last section of the stub ends in memory."""
    table = subprocess.run(["objdump", "-h", STUB], check=True, capture_output=True, text=True)
    rows = [line.split() for line in table.stdout.splitlines()]
    return max(int(row[2], 16) + int(row[3], 16)
               for row in rows if len(row) == 7 and row[0].isdigit())


def uki(linux, initrd, cmdline, more=None):
    """A unified kernel image of these parts, and the sections @more. The kernel is the last section:
    it's unpacked in place, and would overwrite what follows."""
    sections = {".osrel": OS_RELEASE, ".uname": b"0.0-test", ".cmdline": cmdline.encode(),
                ".initrd": initrd, **(more or {}), ".linux": linux}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        command = ["objcopy"]
        address = stub_end()
        for name, content in sections.items():
            address = (address + 0xFFF) & ~0xFFF
            (folder / name).write_bytes(content)
            command += ["--add-section", "%s=%s" % (name, folder / name),
                        "--change-section-vma", "%s=0x%x" % (name, address)]
            address += len(content)
        subprocess.run(command + [STUB, folder / "uki"], check=True)
        return (folder / "uki").read_bytes()


class Signer:
    """Approves of UKIs by a key of its own, in the file @key."""

    # In the initrd; then in the system, whoever measured on the way there.
    PHASES = ["enter-initrd", *(":".join(first + last)
                                for first in ([], ["enter-initrd"], ["enter-initrd", "leave-initrd"])
                                for last in (["sysinit"], ["sysinit", "ready"]))]

    def __init__(self, program, key):
        self._program, self._key = program, key
        if not key.exists():
            subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt",
                            "rsa_keygen_bits:2048", "-out", key], check=True)

    def sections(self, linux, initrd, cmdline):
        """What a UKI of these parts has besides, as ukify puts it there: the public key, and
        signatures of PCR 11."""
        public = subprocess.run(["openssl", "pkey", "-in", self._key, "-pubout"], check=True,
                                capture_output=True).stdout
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "uki"
            path.write_bytes(uki(linux, initrd, cmdline, {".pcrpkey": public}))
            phases = [word for phase in self.PHASES for word in ("--phase", phase)]
            signatures = path.with_name("signatures")
            subprocess.run([self._program, "--quiet", "policy", "sign", "--key", self._key, "--uki",
                            path, *phases, "--output", signatures], check=True)
            return {".pcrpkey": public, ".pcrsig": signatures.read_bytes()}


def esp(files, path, room=4 << 20):
    """Writes a FAT file system of {path: content}, and @room bytes, to the image @path."""
    size = sum(len(content) for content in files.values())
    with open(path, "wb") as image:
        image.truncate((size + room) & ~0xFFFFF)
    subprocess.run(["mkfs.fat", "-n", "ESP", "-i", ESP_ID.replace("-", ""), path], check=True, stdout=subprocess.DEVNULL)
    folders = {str(parent) for name in files for parent in list(pathlib.PurePath(name).parents)[:-1]}
    subprocess.run(["mmd", "-i", path] + ["::" + folder for folder in sorted(folders)], check=True)
    for name, content in files.items():
        put(path, name, content)


def put(path, name, content):
    """Writes a file to the FAT file system @path."""
    subprocess.run(["mcopy", "-o", "-i", path, "-", "::" + name], check=True, input=content)


def entry(linux, initrd, cmdline):
    """The files with which systemd-boot starts a kernel and its initrd."""
    text = "title test\nlinux /linux.efi\ninitrd /initrd\noptions %s\n" % cmdline
    return {DEFAULT: SYSTEMD_BOOT.read_bytes(), "linux.efi": linux, "initrd": initrd,
            "loader/loader.conf": b"timeout 0\n", "loader/entries/test.conf": text.encode()}
