"""Options of a host change, and `pinfold server rebook` books its servers anew: the command itself, over HTTP, with the real Placement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs
from tests.build.hosts import report
from tests.rig.in_process import ADMIN, Fleet
from tests.rig.promises import at_rest
from tests.rig.served_fleet import served_fleet

from pinfold.cli.app import run
from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.session import Parts
from pinfold.config.clouds import clouds_yaml
from pinfold.core.host import Booking, Limits, OverheadRates
from pinfold.wiring.host import open_driver

RATES = OverheadRates(guest=100, vcpu=0, disk=0, nic=0)
OPTIONS = Limits(reserved_memory_mib=0, shared_fraction=0.1, rates=RATES)
"""An overhead pool of 200 millicpu, and 100 for each guest."""


@pytest.fixture
def served(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """The fleet behind a real socket, and a clouds.yaml that leads commands there."""
    clouds = tmp_path / "clouds.yaml"
    (tmp_path / "pinfold.conf").write_text("")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    monkeypatch.setenv("OS_CLOUD", "pinfold")
    monkeypatch.setenv("PINFOLD_CONFIG", str(tmp_path / "pinfold.conf"))
    with served_fleet(fleet) as url:
        clouds.write_text(clouds_yaml("pinfold", url, *ADMIN))
        yield fleet


def test_servers_are_booked_anew_by_command(served: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    agent = served.host("c1", report(limits=OPTIONS))
    served.flavor("share", vcpus=2, hw_cpu_policy="dedicated", hw_emulator_threads_policy="share")
    first, second = served.create("vm1", "share"), served.create("vm2", "share")
    assert served.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == 200

    agent.hello(report(limits=structs.replace(OPTIONS, rates=structs.replace(RATES, guest=30))))
    assert served.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == 200, "changed options apply to new claims alone"
    assert run(("server", "rebook", "vm1"), Parts(open_driver=open_driver)) == ExitStatus.OK
    assert capsys.readouterr().out == "vm1: books 30 millicpu of the overhead pool\n"
    assert served.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == 130
    assert run(("server", "rebook", "--all", "--json"), Parts(open_driver=open_driver)) == ExitStatus.OK
    told = json.loads(capsys.readouterr().out)["servers"]
    assert {one["server"]: one["overhead_millicpu"] for one in told} == {first: 30, second: 30}
    assert served.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == 60

    agent.hello(report(limits=structs.replace(OPTIONS, rates=structs.replace(RATES, guest=150))))
    assert run(("server", "rebook", "vm1", "vm2"), Parts(open_driver=open_driver)) == ExitStatus.REFUSED
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "vm1: books 150 millicpu of the overhead pool"
    assert lines[1].startswith("vm2: books 30 millicpu of the overhead pool, as before: ")
    assert "overhead pool has 50 of 150 millicpu free" in " ".join(" ".join(lines[1:]).split())

    agent.hello(report(limits=structs.replace(agent.reported.limits, booking=Booking.REPORT)))
    assert run(("server", "rebook", "vm2"), Parts(open_driver=open_driver)) == ExitStatus.OK
    assert served.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == 300
    capsys.readouterr()
    assert run(("server", "show", "vm2"), Parts(open_driver=open_driver)) == ExitStatus.OK
    assert "warning: overhead pool has 50 of 150 millicpu free" in " ".join(capsys.readouterr().out.split())
    at_rest(served.database, served.services.placement)


def test_rebook_wants_servers_or_all_of_them(served: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("vm1", "--all")):
        assert run(("server", "rebook", *arguments), Parts(open_driver=open_driver)) == ExitStatus.BAD_INPUT
        assert "or all of them with --all" in capsys.readouterr().err
    assert run(("server", "rebook", "--all"), Parts(open_driver=open_driver)) == ExitStatus.OK
