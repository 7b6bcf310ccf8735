"""A host's pools change, and `pinfold server start` says that a stopped server starts in another place: the command, over HTTP."""

from __future__ import annotations

import json

import pytest
from tests.build.hosts import report
from tests.rig.in_process import Fleet
from tests.rig.promises import at_rest
from tests.stories.test_rebook import served

from pinfold.cli.app import run
from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.session import Parts
from pinfold.wiring.host import open_driver

__all__ = ["served"]


def _pinfold(*words: str) -> int:
    return run(words, Parts(open_driver=open_driver))


def test_a_server_that_starts_in_another_place_says_so_and_keeps_saying_it(served: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    agent = served.host("c1")
    served.flavor("share", vcpus=2, hw_cpu_policy="dedicated", hw_emulator_threads_policy="share")
    first, second = served.create("vm1", "share"), served.create("vm2", "share")
    served.obey()
    for server in (first, second):
        served.ask("POST", f"/servers/{server}/action", {"os-stop": None}, status=202)
    served.obey()
    agent.hello(report(shared="0-13"))

    assert _pinfold("server", "start", "vm1") == ExitStatus.OK
    out = " ".join(capsys.readouterr().out.split())
    assert "vm1 starts in another place on c1: vCPUs on 2-3, emulator threads on 0-1 -> vCPUs on 14-15, emulator threads on 0-13" in out
    assert "its pins lie on 2-3, outside the pool of today (14-15)" in out
    served.obey()
    assert served.status(first) == "ACTIVE"
    assert _pinfold("server", "show", "vm1") == ExitStatus.OK
    assert "moved on c1 at revision" in capsys.readouterr().out

    assert _pinfold("server", "start", "vm2") == ExitStatus.CONFLICT
    refused = capsys.readouterr().err
    assert "its place on host c1 is lost (its pins lie on 4-5, outside the pool of today (14-15)" in refused
    assert "cell 1 has 0 free dedicated pCPUs, 2 needed" in refused
    assert served.status(second) == "SHUTOFF"

    agent.hello(report(shared="0-11"))
    assert _pinfold("server", "reboot", "--hard", "vm2", "--json") == ExitStatus.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["moved"]["host"], told["moved"]["after"]) == ("c1", "vCPUs on 12-13, emulator threads on 0-11")
    served.obey()
    assert _pinfold("server", "stop", "vm2", "--json") == ExitStatus.OK
    assert json.loads(capsys.readouterr().out)["moved"] is None, "it was not moved by that"
    at_rest(served.database, served.services.placement)
