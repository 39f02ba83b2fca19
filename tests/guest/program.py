# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of this machine for a guest's initrd, with all that they load."""
import pathlib
import re
import subprocess
import tempfile

# Loaded by name when a thread ends.
BY_NAME = [pathlib.Path("/lib/x86_64-linux-gnu/libgcc_s.so.1")]


def files(name, path):
    """The program at @path as bin/@name, and its libraries at their places: {path: content}. Without
    what is for debuggers: a firmware measures each byte, and a guest is slow."""
    table = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
    libraries = [pathlib.Path(found) for found in re.findall(r"(/\S+) \(0x", table)]
    tree = {str(library)[1:]: library.read_bytes() for library in libraries + BY_NAME}
    with tempfile.NamedTemporaryFile() as stripped:
        subprocess.run(["strip", "-o", stripped.name, path], check=True)
        tree["bin/" + name] = pathlib.Path(stripped.name).read_bytes()
    return tree
