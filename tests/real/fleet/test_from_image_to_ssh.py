"""The tutorial "from image to ssh", typed as it stands there, in a network namespace: a Debian image, a bridge, a server, a login over ssh.

Its first block, which sets up the clone, is left out, and the network has a name server, which the page speaks of. Where this machine's KVM
boots no ordinary kernel, set `$PINFOLD_TEST_EMULATED`: the lab is then made as the page says for such a machine, with `--tcg`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.real.patience import until
from tests.rig.name_server import name_server
from tests.rig.network_namespace import network_namespace

pytestmark = [pytest.mark.slow, pytest.mark.real_clients, pytest.mark.real_libvirt, pytest.mark.timeout(5400)]

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/tutorial/from-image-to-ssh.md"
BOOT_SECONDS = 2400.0
"""An emulated guest takes minutes, on a busy machine many."""


GATEWAY = "192.0.2.1"
NAME, ADDRESS = "door.example.org", "192.0.2.77"
"""What the name server of the network knows."""
INSIDE = f"sudo hostname 2>&1; ls -A /etc | grep resolv; getent ahostsv4 {NAME}"
"""Prints the name of the server alone, since sudo finds it in /etc/hosts; the file of the resolver, and none of the machine that built the
image; and what the resolver finds.
"""


def blocks() -> list[str]:
    """The page's blocks, in order."""
    return re.findall(r"^```\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PINFOLD", "PYTEST"))}
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    image = os.environ.get("PINFOLD_DEBIAN_IMAGE") or str(cache / "pinfold-debian-image")
    return kept | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "PINFOLD_DEBIAN_IMAGE": image,
        "COLUMNS": "200",
    }


def shell(script: str, *, seconds: float = 1200) -> str:
    """What a script prints; every command of it has to succeed."""
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=seconds
    )
    assert done.returncode == 0, f"{script}\n{done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def exports_of(block: str) -> str:
    """What a block exports, which holds in its shell from then on."""
    return "".join(line + "\n" for line in block.splitlines() if line.startswith("export"))


@contextmanager
def running(script: str, log: Path) -> Iterator[None]:
    """A first shell that goes on in the foreground, until the block ends with the Ctrl-C of the page."""
    with log.open("w") as out:
        process = subprocess.Popen(["bash", "-e", "-c", script], cwd=ROOT, env=environment(), stdout=out, stderr=out)
    try:
        until(lambda: "pinfold is up at" in log.read_text() or process.poll() is not None, "pinfold is up")
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(120)


def test_a_fresh_user_goes_from_an_image_to_ssh(lab_possible: None, tmp_path: Path) -> None:
    lacking = [program for program in ("debootstrap", "mke2fs", "qemu-img", "ssh") if not shutil.which(program, path=environment()["PATH"])]
    if lacking:
        pytest.skip(f"the tutorial needs {', '.join(lacking)}")
    _, image, route, bridge, lab, up, server, console, login, printed, end, _, delete, leave = blocks()
    if os.environ.get("PINFOLD_TEST_EMULATED"):
        lab = lab.replace("pinfold lab up ssh", "pinfold lab up ssh --tcg")
    gateway = f'gateway = "{GATEWAY}"\n'
    assert gateway in lab
    lab = lab.replace(gateway, f'{gateway}dns = ["{GATEWAY}"]\n')
    times = {"image": _timed(lambda: shell(image))}
    with network_namespace() as namespace, namespace.inside():
        try:
            assert shell(route) == "", "the namespace has no such network"
            times["lab"] = _timed(lambda: shell(bridge + lab))
            assert "192.0.2.0/24" in shell(route)
            with running(f"{exports_of(lab)}exec {up}", tmp_path / "up.log"), name_server(GATEWAY, NAME, ADDRESS):
                exports = exports_of(server)
                times["server"] = _timed(lambda: shell(server))
                times["boot"] = _timed(lambda: _await_login(exports + console))
                assert shell(exports + login) == printed
                times["cloud-init"] = _timed(lambda: _finished(exports + end))
                hostname, file, found, *_ = shell(exports + login.replace("'hostname; cat /etc/motd'", f"'{INSIDE}'")).splitlines()
                assert (hostname, file, found.split()[0]) == ("vm1", "resolv.conf", ADDRESS)
                shell(exports + delete)
        finally:
            shell(exports_of(lab) + leave)
    print({what: round(seconds) for what, seconds in times.items()})


def _await_login(script: str) -> None:
    """Look at the console, as the page says, until the guest asks for a login."""
    until(lambda: re.search(r"login:\s*$", shell(script), re.MULTILINE), "the guest boots", seconds=BOOT_SECONDS, pause=5.0)


def _finished(script: str) -> None:
    """Wait for cloud-init, as the page says; it fails where one of its modules failed."""
    assert "status: done" in shell(script)


def _timed(step: Callable[[], object]) -> float:
    began = time.monotonic()
    step()
    return time.monotonic() - began
