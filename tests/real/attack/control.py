"""`python -m tests.real.attack.control FOLDER`: what the machine itself needs for a line in, a small durable write and a line out.

Other suites share the disk with the API that is attacked. What this process needs for so little, at the same time, is what they cost.
"""

from __future__ import annotations

import os
import sys


def main(folder: str) -> None:
    """Answer each line of standard input after a write that the disk has confirmed."""
    file = os.open(os.path.join(folder, "control"), os.O_WRONLY | os.O_CREAT, 0o600)
    for line in sys.stdin:
        os.pwrite(file, b"x" * 4096, 0)
        os.fsync(file)
        print(line, end="", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
