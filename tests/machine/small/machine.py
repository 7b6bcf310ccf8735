"""An emulated Debian 12 with two cells, cgroup v2, huge pages and libvirt: it does one job and ends. What jobs do is theirs.

It has what a sandbox's kernel lacks: 8 pCPUs in 2 cells with 2 threads a core, huge pages in each cell, SCHED_FIFO beside cgroups. It is
always emulated (TCG), so it is the same everywhere. It has no network.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
REPOSITORY: Final = HERE.parents[2]
PROGRAMS: Final = {"mke2fs": "e2fsprogs", "wget": "wget", "ar": "binutils", "qemu-system-x86_64": "qemu-system-x86"}
PACKAGES: Final = ("defusedxml", "msgspec", "oslo.config", "rich", "typer", "pytest", "pytest-timeout", "hypothesis")
"""What pinfold on one host needs, and what its tests there need. libvirt-python is Debian's own."""

_OUT_MIB: Final = 64
_KERNEL_WORDS: Final = "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on"
_PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_SITE_PYTHON: Final = (3, 11)  # Debian 12's


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What one job left: its exit `status` (None where the machine never said), all that was printed, and the folder of its files."""

    status: int | None
    console: str
    out: Path


def folder() -> Path:
    """Where the machine is kept between runs: `PINFOLD_SMALL_MACHINE`, else below the user's cache folder."""
    kept = os.environ.get("PINFOLD_SMALL_MACHINE")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(kept) if kept else cache / "pinfold-small-machine"


def lacking() -> tuple[str, ...]:
    """What this machine lacks to build and run it, one phrase each; empty when it can be had."""
    found = [f"{name} (package {package})" for name, package in PROGRAMS.items() if shutil.which(name, path=_PATH) is None]
    if os.geteuid() != 0:
        found.append("root")
    if shutil.which("apt-get") is None:
        found.append("apt")
    return tuple(found)


def build() -> Path:
    """The folder with the disk, the kernel and the initramfs, made where they are not there yet: minutes the first time, then nothing."""
    where = folder()
    subprocess.run([str(HERE / "build.sh"), str(where)], check=True, stdout=sys.stderr)
    return where


def run(job: str, out: Path, *, seconds: float = 900, intel: bool = True, words: str = "", log: Path | None = None) -> Done:
    """Boot the machine, let it run the shell text `job`, and return what that left in `/out`, unpacked into `out`.

    The source tree is at `/pinfold/tree` there and `$PYTHON` runs it. With `intel` the pCPUs have siblings; without, they are AMD's, which
    emulate KVM (`/dev/kvm`) and have none. `words` are more options for the kernel. `log` is where the console can be followed. A machine
    that takes longer than `seconds` is ended.
    """
    made = build()
    with tempfile.TemporaryDirectory(prefix="pinfold-small-") as work_name:
        work = Path(work_name)
        _share(work, job)
        console = log or work / "console.log"
        with (work / "out.tar").open("wb") as file:
            file.truncate(_OUT_MIB << 20)
        _boot(made, work, console, seconds, vendor="GenuineIntel" if intel else "AuthenticAMD", words=words)
        out.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(tarfile.ReadError), tarfile.open(work / "out.tar") as archive:
            archive.extractall(out, filter="data")
        said = console.read_text(errors="replace")
    return Done(status=_status(said), console=said, out=out)


def _boot(made: Path, work: Path, console: Path, seconds: float, *, vendor: str, words: str) -> None:
    half = 768
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", f"max,vendor={vendor}", "-machine", "q35"]
    command += ["-display", "none", "-no-user-config", "-nodefaults", "-no-reboot", "-m", f"{2 * half}M"]
    command += ["-smp", "8,sockets=2,cores=2,threads=2"]
    for cell, cpus in enumerate(("0-3", "4-7")):
        command += ["-object", f"memory-backend-ram,id=m{cell},size={half}M", "-numa", f"node,nodeid={cell},memdev=m{cell},cpus={cpus}"]
    command += ["-numa", "dist,src=0,dst=1,val=20"]
    command += ["-kernel", str(made / "vmlinux"), "-initrd", str(made / "initramfs"), "-append", f"{_KERNEL_WORDS} {words}"]
    command += ["-serial", f"file:{console}"]
    drives = (("disk.ext4", made, "snapshot=on"), ("share.ext4", work, "readonly=on"), ("out.tar", work, "cache=unsafe"))
    for name, where, option in drives:
        command += ["-drive", f"file={where / name},if=virtio,format=raw,{option}"]
    with subprocess.Popen(command, env={**os.environ, "PATH": _PATH}) as machine:
        until = time.monotonic() + seconds
        while machine.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        machine.kill()


def _share(work: Path, job: str) -> None:
    """Make the disk with the source tree, its packages and the job."""
    share = work / "share"
    share.mkdir()
    _tree(share / "tree")
    _site(share / "site")
    if sys.version_info[:2] == _SITE_PYTHON:
        # An emulated processor takes a minute to compile all of this.
        command = [sys.executable, "-I", "-m", "compileall", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash", str(share)]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    environment = "export PYTHONPATH=/pinfold/tree/src:/pinfold/tree:/pinfold/site PYTHON=python3 COLUMNS=140\n"
    (share / "job").write_text(f"{environment}cd /pinfold/tree\n{job}\n")
    mib = sum(-(-path.stat().st_size // 4096) * 4 + 4 for path in share.rglob("*")) // 1024
    command = ["mke2fs", "-q", "-t", "ext4", "-d", str(share), str(work / "share.ext4"), f"{mib * 12 // 10 + 16}M"]
    subprocess.run(command, check=True, env={"PATH": _PATH}, stdout=subprocess.DEVNULL)


def _tree(target: Path) -> None:
    """The files of the working tree that git knows or would add: those of this commit, and what is being worked on."""
    git = ["git", "-c", "safe.directory=*", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run([*git, "src", "tests", "pyproject.toml"], check=True, capture_output=True, text=True)
    for name in listed.stdout.split("\0"):
        source = REPOSITORY / name
        if name and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)


def _site(target: Path) -> None:
    """The Python packages: this environment's own where its Python is the machine's, else pip's for that Python."""
    target.mkdir()
    if sys.version_info[:2] != _SITE_PYTHON:
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary=:all:"]
        command += ["--python-version", ".".join(map(str, _SITE_PYTHON)), "--target", str(target), *PACKAGES]
        subprocess.run(command, check=True)
        return
    for distribution in _distributions(PACKAGES):
        for file in distribution.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(str(file.locate())), target / file)


def _distributions(names: tuple[str, ...]) -> Iterator[importlib.metadata.Distribution]:
    """Those packages and all that they need, each once."""
    from packaging.requirements import Requirement

    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name not in seen:
            seen.add(name)
            found = importlib.metadata.distribution(name)
            yield found
            needed = [Requirement(text) for text in found.requires or ()]
            waiting += [need.name for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]


def _status(console: str) -> int | None:
    _, said, rest = console.rpartition("small: the job ended with ")
    return int(rest.split()[0]) if said else None


def main() -> None:
    """`python -m tests.machine.small.machine JOB OUT`: run the shell file JOB in the machine; its console is shown, its files go to OUT."""
    if len(sys.argv) != 3:
        sys.exit(main.__doc__)
    if lacking():
        sys.exit(f"small machine: this machine lacks {', '.join(lacking())}")
    done = run(Path(sys.argv[1]).read_text(), Path(sys.argv[2]), intel="AMD" not in os.environ)
    print(done.console)
    sys.exit(1 if done.status is None else done.status)


if __name__ == "__main__":
    main()
