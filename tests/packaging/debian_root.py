"""A Debian root of this machine's release, made once by debootstrap, and machines that start from it, with or without systemd."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SCRIPT: Final = Path(__file__).with_suffix(".sh")
PACKAGES: Final = (
    "python3,libvirt0,man-db,bash-completion,zsh,fish,systemd,systemd-sysv,libpam-systemd,dbus,libvirt-daemon-system,libvirt-clients,"
    "qemu-system-x86,curl,procps,iproute2"
)
"""What a host has before pinfold comes, and the shells. All that the package depends on is in it: nothing is downloaded later."""

_PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def lacking() -> list[str]:
    """What this machine lacks to make and enter a root."""
    found = [program for program in ("debootstrap", "apt-get", "unshare", "nsenter", "ip") if shutil.which(program, path=_PATH) is None]
    return found + ["root"] * (os.geteuid() != 0)


def base() -> Path:
    """The root: in `$PINFOLD_DEBIAN_ROOT`, else below the user's cache folder. Minutes the first time, then nothing."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("PINFOLD_DEBIAN_ROOT") or cache / "pinfold-debian-root") / release
    made, done = folder / "root", folder / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != PACKAGES:
            shutil.rmtree(made, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, str(made), _mirror(release)]
            subprocess.run(command, check=True, env={**os.environ, "PATH": _PATH}, stdout=subprocess.DEVNULL)
            (made / "usr/sbin/policy-rc.d").unlink(missing_ok=True)  # debootstrap's own keeps services from starting
            done.write_text(PACKAGES)
    return made


def _mirror(release: str) -> str:
    """Where this machine's apt gets that release."""
    script = Path(__file__).parents[2] / "bin/debian-mirror"
    return subprocess.run([str(script), release], check=True, capture_output=True, text=True).stdout.strip()


class Machine:
    """A machine that runs: commands are run in it as root."""

    def __init__(self, pid: int) -> None:
        """`pid` is its first process, as this machine sees it."""
        self._pid = pid

    def run(self, script: str) -> str:
        """What a shell script prints, errors included; it has to succeed."""
        status, said = self.ask(script)
        assert status == 0, f"{script}: {status}\n{said}"
        return said

    def ask(self, script: str) -> tuple[int, str]:
        """The exit status of a shell script, and what it prints."""
        command = ["nsenter", "-t", str(self._pid), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        command += ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/srv", "TERM=dumb", "LC_ALL=C.UTF-8", "COLUMNS=200"]
        command += ["DEBIAN_FRONTEND=noninteractive", "bash", "-c", script]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, stdin=subprocess.DEVNULL)
        return ended.returncode, ended.stdout

    def until(self, script: str, seconds: float = 120) -> str:
        """What a script prints once it succeeds; within the time it has to."""
        end = time.monotonic() + seconds
        while (answer := self.ask(script))[0] != 0 and time.monotonic() < end:
            time.sleep(0.5)
        assert answer[0] == 0, f"{script}: {answer[0]}\n{answer[1]}"
        return answer[1]


@contextlib.contextmanager
def machine(changes: Path, *files: Path, systemd: bool = False) -> Iterator[Machine]:
    """A machine that starts from the root and has those files in /srv. Without systemd it is a plain chroot."""
    into = changes / "upper/srv"
    into.mkdir(parents=True)
    for file in files:
        shutil.copy(file, into)
    first = ["/sbin/init", "systemd.unit=multi-user.target"] if systemd else ["sleep", "infinity"]
    command = ["unshare", "--mount", "--propagation", "private", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--kill-child"]
    keeper = subprocess.Popen([*command, str(SCRIPT), str(base()), str(changes), *first], stdin=subprocess.DEVNULL, env={"PATH": _PATH})
    try:
        made = Machine(_child(keeper))
        made.until("systemctl is-system-running | grep -E 'running|degraded'" if systemd else "test -e /proc/1/status -a -d /dev/pts")
        yield made
    finally:
        keeper.kill()  # the kernel ends everything in its namespace of processes
        keeper.wait()


def _child(keeper: subprocess.Popen[bytes]) -> int:
    """The first process in the namespaces, once it is in its new root."""
    children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children")
    for _ in range(600):
        pids = children.read_text().split() if keeper.poll() is None else []
        with contextlib.suppress(OSError):
            if pids and Path(f"/proc/{pids[0]}/root").readlink() != Path("/"):
                return int(pids[0])
        time.sleep(0.05)
    raise AssertionError(f"the machine did not start; its keeper ended with {keeper.poll()}")
