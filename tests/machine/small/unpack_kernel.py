#!/usr/bin/python3
"""Cut the kernel proper (`vmlinux`) out of a `bzImage`. Booting it does not belong here.

Usage: unpack_kernel.py VMLINUZ VMLINUX

Linux's `Documentation/arch/x86/boot.rst` has the fields: `setup_sects` at 0x1f1, `payload_offset` at 0x248, `payload_length` at 0x24c.
Debian 12 packs its kernels with LZ4 or XZ; which is told by the payload's first bytes. The last four bytes are the unpacked size.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACKERS = {
    b"\x02\x21\x4c\x18": ("lz4", "-dc"),
    b"\xfd7zXZ\x00": ("xz", "-dc"),
    b"\x28\xb5\x2f\xfd": ("zstd", "-dc"),
    b"\x1f\x8b": ("gzip", "-dc"),
}


def main(packed: str, unpacked: str) -> None:
    """Write the kernel proper of the file `packed` to the file `unpacked`."""
    image = Path(packed).read_bytes()
    setup_sectors = image[0x1F1] or 4
    begin = (setup_sectors + 1) * 512 + int.from_bytes(image[0x248:0x24C], "little")
    payload = image[begin : begin + int.from_bytes(image[0x24C:0x250], "little")]
    command = next((words for magic, words in PACKERS.items() if payload.startswith(magic)), None)
    if command is None:
        sys.exit(f"{packed}: its payload begins with {payload[:6].hex()}, which is none of lz4, xz, zstd and gzip")
    # The packers complain of the four bytes of size that follow; what they wrote until then is whole.
    done = subprocess.run(command, input=payload[:-4], capture_output=True, check=False)
    if not done.stdout.startswith(b"\x7fELF"):
        sys.exit(f"{packed}: {command[0]} gave no ELF file: {done.stderr.decode(errors='replace').strip()}")
    Path(unpacked).write_bytes(done.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
