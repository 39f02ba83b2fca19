# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a firmware boots: unified kernel images, and the EFI system partition that holds them."""
import pathlib
import subprocess
import tempfile

EFI = pathlib.Path("/usr/lib/systemd/boot/efi")
STUB = EFI / "linuxx64.efi.stub"
SYSTEMD_BOOT = EFI / "systemd-bootx64.efi"
DEFAULT = "EFI/BOOT/BOOTX64.EFI"  # what a firmware starts that knows of nothing else
OS_RELEASE = b'ID=diskseal-test\nPRETTY_NAME="diskseal test"\n'


def stub_end():
    """Where the last section of the stub ends in memory."""
    table = subprocess.run(["objdump", "-h", STUB], check=True, capture_output=True, text=True)
    rows = [line.split() for line in table.stdout.splitlines()]
    return max(int(row[2], 16) + int(row[3], 16)
               for row in rows if len(row) == 7 and row[0].isdigit())


def uki(linux, initrd, cmdline):
    """A unified kernel image of these parts, unsigned. The kernel is the last section: it's unpacked
    in place, and would overwrite what follows."""
    sections = {".osrel": OS_RELEASE, ".uname": b"0.0-test", ".cmdline": cmdline.encode(),
                ".initrd": initrd, ".linux": linux}
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


def esp(files, path, room=4 << 20):
    """Writes a FAT file system of {path: content}, and @room bytes, to the image @path."""
    size = sum(len(content) for content in files.values())
    with open(path, "wb") as image:
        image.truncate((size + room) & ~0xFFFFF)
    subprocess.run(["mkfs.fat", "-n", "ESP", path], check=True, stdout=subprocess.DEVNULL)
    folders = {str(parent) for name in files for parent in list(pathlib.PurePath(name).parents)[:-1]}
    subprocess.run(["mmd", "-i", path] + ["::" + folder for folder in sorted(folders)], check=True)
    for name, content in files.items():
        subprocess.run(["mcopy", "-i", path, "-", "::" + name], check=True, input=content)


def entry(linux, initrd, cmdline):
    """The files with which systemd-boot starts a kernel and its initrd."""
    text = "title test\nlinux /linux.efi\ninitrd /initrd\noptions %s\n" % cmdline
    return {DEFAULT: SYSTEMD_BOOT.read_bytes(), "linux.efi": linux, "initrd": initrd,
            "loader/loader.conf": b"timeout 0\n", "loader/entries/test.conf": text.encode()}
