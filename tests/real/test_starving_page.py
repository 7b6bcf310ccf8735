"""The page about a starving emulator, its commands typed on a real libvirt with guests that `virsh` made.

Only what a lab has elsewhere is put in its place: folders of the machine, systemd, the time between two looks, and on a small machine the
pCPUs. `tests/packaging` types the page as it stands, with the package and systemd.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import starving_page
from tests.real.conftest import HAS_KVM, KINDS, Kind

from pinfold.lab.daemon import LabHost

SYSTEMCTL = """#!/bin/bash
# Stands for systemd: it runs the command of the page's drop-in, with more frequent looks.
cd "$(dirname "$0")"
case "$*" in
daemon-reload) ;;
"enable --now pinfold-watch")
    $(grep '^ExecStart=.' units/pinfold-watch.service.d/pools.conf | cut -d= -f2-) --interval 1 >watch.log 2>&1 </dev/null &
    echo $! >watch.pid
    until curl -s --unix-socket run/metrics.sock http://localhost/metrics | grep -q '^pinfold_guest_info'; do kill -0 $!; sleep 0.2; done ;;
"reload pinfold-watch") kill -HUP "$(cat watch.pid)" ;;
"disable --now pinfold-watch") kill "$(cat watch.pid)" ;;
*) exit 1 ;;
esac
"""
KINDS_OF_GUESTS = [
    pytest.param(kind, marks=() if kind.kvm == HAS_KVM else pytest.mark.slow, id=str(kind)) for kind in KINDS if kind.kvm == kind.cgroups
]
"""Guests as the page has them where there is KVM, emulated ones where there is none; the others are the long form."""


@pytest.fixture(params=KINDS_OF_GUESTS)
def host(request: pytest.FixtureRequest, lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    kind: Kind = request.param
    if kind.kvm and not HAS_KVM:
        pytest.skip("this machine has no /dev/kvm")
    with LabHost(f"{lab_name}-hungry-{'kvm' if kind.kvm else 'tcg'}", kvm=kind.kvm, cgroups=kind.cgroups) as lab:
        yield lab


def test_a_new_user_sees_an_emulator_starve_and_its_threads_move(host: LabHost, tmp_path: Path) -> None:
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("the example is about pCPUs 0 and 1")
    page = starving_page.page(pcpus=os.cpu_count() or 1, kvm=host.kvm)
    tmp_path.chmod(0o711)
    for name in ("etc", "run", "units"):
        (tmp_path / name).mkdir()
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    (tmp_path / "web.xml").write_text(page.definition)
    own = tmp_path / "etc/pinfold.conf"
    own.write_text(
        f"[DEFAULT]\nreserved_host_memory_mb = 0\n[libvirt]\nconnection_uri = {host.uri}\n[pinfold]\nstate_dir = {tmp_path}/state\n"
    )
    script = f"{page.part('Have a guest')}\n{page.script(after='Have a guest')}\n"
    places = (
        ("/etc/pinfold/", f"{tmp_path}/etc/"),
        ("/run/pinfold-watch/", f"{tmp_path}/run/"),
        ("/etc/systemd/system/", f"{tmp_path}/units/"),
        ("/usr/bin/pinfold", str(Path(sys.executable).with_name("pinfold"))),
        ("sleep 20", "sleep 5"),
    )
    for before, after in places:
        assert before in script, before
        script = script.replace(before, after)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PINFOLD", "PYTEST"))}
    kept |= {"PINFOLD_CONFIG": str(own), "LIBVIRT_DEFAULT_URI": host.uri, "COLUMNS": "120"}
    kept["PATH"] = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    printed = tmp_path / "printed"
    ending = "trap 'kill $(jobs -p) $(cat watch.pid) 2>/dev/null' EXIT\n"
    with printed.open("w") as out:  # no pipe, which the programs in the background would keep open
        done = subprocess.run(
            ["bash", "-c", ending + script], cwd=tmp_path, env=kept, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
        )
    text = printed.read_text()
    assert done.returncode == 0 and "Traceback" not in text, text
    starving_page.check(text)
    assert "Traceback" not in (tmp_path / "watch.log").read_text()
