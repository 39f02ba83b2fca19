# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian 12 with the package under test, as disks of a guest: made once, kept in build-guest.

  base-KEY/                 a tree of Debian's packages alone: a minute or two
  image-KEY/ours/           what lies over that: the package, guest/tree, what units are enabled
            root            ext4 of both, in LUKS2; PASSPHRASE opens it
            linux           Debian's kernel
            key             approves of UKIs
            initrd.VARIANT  made in the guest's own tree, as an update there would
            esp.VARIANT     a FAT file system, with a UKI of those
            enrolled/       what a boot of the variant "installed" left, in which enroll was run: disks, TPM,
                            the firmware's variables, and state/, which is for initrds

KEY is a hash of what goes in: what changes is made anew. Needs root, for the owners of files and for
mounts, which are in a namespace of their own."""
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import boot
import guest as guests
import machine
import rig

HERE = pathlib.Path(__file__).parent
CACHE = rig.UNPACKED
# What is mounted by these is gone with them, however they end.
APART = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
PROGRAMS = ["mmdebstrap", "meson", "unshare", "chroot", "mke2fs", "cryptsetup", "apt-get"]
DEBIAN = "bookworm"
PACKAGES = [
    # A system that boots from an encrypted disk, by either of Debian's ways.
    "systemd", "systemd-sysv", "udev", "dbus", "kmod", "cryptsetup", "cryptsetup-initramfs",
    "initramfs-tools", "dracut-core", "linux-image-cloud-amd64", "busybox", "e2fsprogs", "zstd",
    "systemd-boot-efi",
    # For tests.
    "kexec-tools", "keyutils", "tpm2-tools",
    # What diskseal links, and what it loads.
    "libargon2-1", "libcryptsetup12", "libinih1", "libjson-c5", "libp11-kit0", "libqrencode4",
    "libtss2-esys-3.0.2-0", "libtss2-rc0", "libtss2-tctildr0", "libtss2-tcti-device0"]
# What update-initramfs would do here is done later, with the package: this keeps it away till then.
UPDATE = "/usr/sbin/update-initramfs"
DIVERT = "chroot \"$1\" dpkg-divert --quiet --local --rename "
OPTIONS = [
    "--mode=root", "--variant=minbase", "--format=directory", "--dpkgopt=force-unsafe-io",
    "--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\"",
    *("--dpkgopt=path-exclude=/usr/share/%s/*" % name for name in ("doc", "man", "locale")),
    "--essential-hook=%s --add %s && ln -s /bin/true \"$1%s\"" % (DIVERT, UPDATE, UPDATE),
    "--customize-hook=rm \"$1%s\" && %s --remove %s" % (UPDATE, DIVERT, UPDATE)]
# apt's words where no mirror answers.
UNREACHED = ["Could not connect", "Temporary failure resolving", "Could not resolve", "Failed to fetch",
             "Cannot initiate the connection", "Unable to connect"]

PASSPHRASE = "a passphrase for tests"
ROOT_UUID = "6d1b6e2f-5a0c-4a3e-9c55-0f2f6a1d7e10"  # of LUKS, as in installed and plain
# A starved guest may not see its timer in time, and the kernel would panic.
CMDLINE = ("console=ttyS0 quiet panic=-1 no_timer_check root=/dev/mapper/root rw "
           "diskseal.timeout=15")
ROOM = 160 << 20  # bytes that are free in the root, about
ESP_ROOM = 256 << 20
MASKED = ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
          "e2scrub_reap.service", "fstrim.timer", "getty@tty1.service", "kexec-load.service",
          "systemd-networkd.service", "systemd-timesyncd.service"]

# {variant: (what makes its initrd, the folder of the cache or here with what only that initrd gets)}.
# In "installed" Debian's cryptsetup has the passphrase in a file, and in "plain" systemd's asks for it,
# until a test adds a slot that the TPM opens: both have nothing of diskseal.
ENROLLED = "enrolled/state"
MKINITRAMFS = "mkinitramfs -o \"$1\" \"$2\""
DRACUT = "dracut --quiet --force \"$1\" \"$2\""
WITHOUT = "rm /usr/share/initramfs-tools/hooks/diskseal /usr/share/initramfs-tools/scripts/*/diskseal; "
VARIANTS = {"initramfs-tools": (MKINITRAMFS, ENROLLED),
            "dracut": (DRACUT, ENROLLED),
            "plain": (DRACUT, "plain"),
            "installed": (WITHOUT + MKINITRAMFS, "installed")}
DATA = ["data1", "data2"]  # disks that are enrolled beside root: see enroll


class Image:
    """What a guest of a @variant begins with. @folder is in the cache, and nobody's to change."""

    def __init__(self, folder, variant, program):
        self._folder, self.variant, self.program = folder, variant, program
        self.disks = {"esp": folder / ("esp." + variant), "root": folder / "root"}
        self.tpm = self.vars = None
        if VARIANTS[variant][1] == ENROLLED:
            self.disks |= {name: folder / "enrolled" / name for name in ["root", *DATA]}
            self.tpm, self.vars = folder / "enrolled/tpm", folder / "enrolled/vars"
        self.linux = folder / "linux"
        self.initrd = folder / ("initrd." + variant)
        self.cmdline = CMDLINE
        self.signer = boot.Signer(program, folder / "key")

    def sections(self):
        """What signs the UKI that it begins with."""
        return self.signer.sections(self.linux.read_bytes(), self.initrd.read_bytes(), self.cmdline)

    def make_initrd(self, state):
        """As update-initramfs makes it in a guest that has this state: a tar of both folders."""
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            more, initrd = pathlib.Path(scratch) / "more", pathlib.Path(scratch) / "initrd"
            unpack(state, more)
            make_initrd(self._folder, self.variant, more, initrd)
            return initrd.read_bytes()

    def other(self, variant):
        """What another guest begins with: "installed" is there wherever diskseal's variants are."""
        return Image(self._folder, variant, self.program)


def get(build, variant):
    """The image with the package as it's in the folder @build, which meson made."""
    rig.need(*PROGRAMS)
    if os.geteuid() != 0:
        rig.skip("only root can make the image of a guest")
    check(build)
    program = pathlib.Path(build).absolute() / "diskseal"
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / "lock", "w") as lock, tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ours = pathlib.Path(scratch) / "ours"
        install(build, ours)
        base, base_key = make_base()
        key = digest(base_key, ours, pathlib.Path(__file__), HERE / "boot.py",
                     HERE / "enroll", HERE / "installed", HERE / "plain")
        folder = CACHE / ("image-" + key)
        with made(folder) as new:
            if new:
                make_root(base, ours, new)
        made_esp(folder, variant, program)
        return Image(folder, variant, program)


def made_esp(folder, variant, program):
    """The ESP of a variant, and what that needs before."""
    if VARIANTS[variant][1] == ENROLLED:
        made_esp(folder, "installed", program)
        with made(folder / "enrolled") as new:
            if new:
                make_enrolled(Image(folder, "installed", program), new)
    with made(folder / ("esp." + variant)) as new:
        if new:
            make_esp(folder, variant, new)
            sign_esp(Image(folder, variant, program), new)


def check(build):
    """A build that this image can hold."""
    release = dict(line.split("=", 1) for line in
                   pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if release.get("VERSION_CODENAME") != DEBIAN:
        rig.skip("the image is of Debian %s, and what's built here isn't for that" % DEBIAN)
    options = json.loads(run("meson", "introspect", "--buildoptions", build))
    options = {option["name"]: option["value"] for option in options}
    if options["prefix"] != "/usr":
        rig.skip("an image has the package in /usr, as Debian does: meson configure -Dprefix=/usr %s"
                 % build)


def install(build, to):
    """All that our layer has: the package, then guest/tree."""
    run("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", to.absolute())
    shutil.copytree(HERE / "tree", to, symlinks=True, dirs_exist_ok=True)


@contextlib.contextmanager
def made(path):
    """Where to make what's to be at @path, or None where it's there. What was used last a day ago goes."""
    if path.exists():
        os.utime(path)
        yield None
        return
    new = path.with_name(path.name + ".new")
    remove(new)
    yield new
    new.rename(path)
    for old in CACHE.glob("*-" + "?" * 16):
        if old.stat().st_mtime < time.time() - 86400:
            remove(old)


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def digest(*parts):
    """A name for what these strings, files and folders hold."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode() + b"\0")
            continue
        for path in sorted(part.rglob("*")) if part.is_dir() else [part]:
            total.update(b"%s\0%o\0" % (str(path.relative_to(part)).encode(), path.lstat().st_mode))
            if path.is_symlink():
                total.update(os.readlink(path).encode())
            elif path.is_file():
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


def run(*command, **options):
    """What the command wrote; or all that it said, where it fails."""
    result = subprocess.run(machine.TIED + [str(word) for word in command], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="replace",
                            **{"stdin": subprocess.DEVNULL, **options})
    if result.returncode:
        raise RuntimeError("%s: %d\n%s" % (command[0], result.returncode, result.stdout))
    return result.stdout


def sources():
    """This machine's own sources of Debian's packages, for apt."""
    targets = ["apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
               "Created-By: Packages", "Origin: Debian"]
    if not run(*targets):
        try:
            run("apt-get", "--quiet", "update")
        except RuntimeError as error:
            rig.skip("apt reaches no mirror: " + str(error).splitlines()[-1])
    lines = sorted({line for line in run(*targets).splitlines() if " " + DEBIAN in line})
    if not lines:
        rig.skip("apt has no source of Debian %s here" % DEBIAN)
    return "\n".join(lines) + "\n"


def make_base():
    """Debian's tree, and its key."""
    mirrors = sources()
    key = digest(*PACKAGES, *OPTIONS, mirrors)
    with made(CACHE / ("base-" + key)) as new:
        if new:
            said("a tree of Debian's packages")
            with tempfile.NamedTemporaryFile("w", suffix=".list") as file:
                file.write(mirrors)
                file.flush()
                try:
                    run(*APART, "mmdebstrap", *OPTIONS, "--include=" + ",".join(PACKAGES), DEBIAN,
                        new, file.name)
                except RuntimeError as error:
                    remove(new)
                    if any(words in str(error) for words in UNREACHED):
                        rig.skip("apt reaches no mirror: " + str(error).splitlines()[-1])
                    raise
    return CACHE / ("base-" + key), key


def make_root(base, ours, folder):
    """The root disk, and what lies over @base, in the new @folder."""
    said("a root disk")
    folder.mkdir()
    (folder / "base").symlink_to(base.resolve())
    shutil.copytree(ours, folder / "ours", symlinks=True)
    (folder / "ours/boot/efi").mkdir(parents=True)
    inside([base], folder / "ours", """
        chroot "$tree" sh -euc 'systemctl --quiet mask "$@"' - """ + " ".join(MASKED) + """
        chroot "$tree" sh -euc 'cd /usr/lib/systemd/system
                systemctl --quiet preset diskseal-*[!@].service diskseal-*.timer guest-agent.service'
        chroot "$tree" passwd --quiet --delete root
        umount "$tree/proc"
        cp -L "$tree/vmlinuz" "$1/linux"
        size=$(du -s --block-size=1M "$tree" | cut -f 1)
        mke2fs -q -t ext4 -m 0 -J size=16 -L root -d "$tree" "$1/root" "$((size + size / 20 + $2))M"
        """, folder, ROOM >> 20)
    os.truncate(folder / "root", (folder / "root").stat().st_size + (32 << 20))
    # Meanwhile it keeps a header of its own where it runs.
    with tempfile.TemporaryDirectory() as scratch:
        run("cryptsetup", "reencrypt", "--encrypt", "--type", "luks2", "--reduce-device-size", "32M",
            "--force-offline-reencrypt", "--resilience", "none", "--pbkdf", "pbkdf2",
            "--pbkdf-force-iterations", "1000", "--uuid", ROOT_UUID, "--key-file", "-",
            "--batch-mode", (folder / "root").absolute(), input=PASSPHRASE, stdin=None, cwd=scratch)


def make_initrd(folder, variant, more, initrd):
    """By programs of the guest's own, from its own files, and what's in the folder @more."""
    inside([(folder / "base").resolve(), folder / "ours", more], None, """
        set -- "$1" "$(basename "$tree"/lib/modules/*)"
        chroot "$tree" sh -euc '""" + VARIANTS[variant][0] + """' - /boot/initrd.new "$2"
        cp "$tree/boot/initrd.new" "$1"
        """, initrd)


def make_esp(folder, variant, esp):
    """The initrd, and an ESP for it."""
    said("an initrd by " + variant)
    name = VARIANTS[variant][1]
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        more = pathlib.Path(scratch) / "more"
        shutil.copytree(HERE / name if (HERE / name).exists() else folder / name, more)
        if variant == "installed":
            key = more / "etc/guest-key"
            key.touch(0o600)
            key.write_text(PASSPHRASE)
        make_initrd(folder, variant, more, folder / ("initrd." + variant))
    if (folder / "enrolled/esp").exists():
        guests.copy(folder / "enrolled/esp", esp)
    else:
        boot.esp({boot.DEFAULT: b""}, esp, ESP_ROOM)


def sign_esp(image, esp):
    """The UKI of an @image, onto the file system @esp."""
    boot.put(esp, boot.DEFAULT, boot.uki(image.linux.read_bytes(), image.initrd.read_bytes(), image.cmdline,
                                         image.sections()))


def make_enrolled(image, folder):
    """As the owner would do it: boots what's installed, and has diskseal take its root disk over and
    make others, under the policy uki."""
    said("disks of diskseal's")
    guest = guests.Guest(folder, image)
    for name in DATA:
        guest.add_disk(name, 32 << 20)
    try:
        guest.boot()
        guest.signatures()
        guest.expect(0, "", "set -- '%s' %s %s\n" % (PASSPHRASE, boot.ESP_ID, " ".join(DATA)) +
                     (HERE / "enroll").read_text())
        unpack(guest.state(), folder / "state")
        guest.power_off()
    finally:
        guest.power_cut()


def unpack(tar, folder):
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder], check=True, input=tar)


def inside(lower, upper, script, *arguments):
    """Runs a shell script as root of a mount and a process namespace where "$tree" is the folders
    @lower, the last one on top, with what's written in @upper, or nowhere."""
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        words = ":".join(str(folder) for folder in reversed(lower))
        run(*APART, "sh", "-euc", """
            unset TMPDIR # of the outside
            lower=$1 upper=$2 scratch=$3
            shift 3
            mount -t tmpfs none "$scratch"
            mkdir "$scratch/upper" "$scratch/tree"
            work=$scratch/work
            [ "$upper" ] && work=$upper.work || upper=$scratch/upper
            mkdir "$work"
            tree=$scratch/tree
            mount -t overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" none "$tree"
            mount -t proc proc "$tree/proc"
            """ + script, "sh", words, upper or "", scratch, *arguments)
    if upper:
        shutil.rmtree(str(upper) + ".work")


def said(what):
    print("image: making %s" % what, flush=True)
