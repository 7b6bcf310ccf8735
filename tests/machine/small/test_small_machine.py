"""The small machine runs what is in `inside/`, and the audit's printed commands under cgroup v2. Marked `slow`: all of it is emulated."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.machine.small import machine

pytestmark = [pytest.mark.slow, pytest.mark.real_libvirt, pytest.mark.timeout(7200)]

RECORDED = machine.REPOSITORY / "tests/drivers/libvirt/recorded/huge_pages.json"


@pytest.fixture(scope="module", autouse=True)
def _possible() -> None:
    if machine.lacking():
        pytest.skip(f"the small machine needs {', '.join(machine.lacking())}")


def outcomes(out: Path, *arguments: str, intel: bool = True, kernel: str = "") -> dict[str, str]:
    """Each test that pytest runs in the machine with those arguments, by name: `passed`, or the reason why it did not."""
    words = "-p no:cacheprovider -p tests.machine.small.inside.slow --timeout 1200 --junit-xml=/out/junit.xml"
    done = machine.run(f"$PYTHON -m pytest {words} {shlex.join(arguments)}", out, intel=intel, words=kernel, seconds=7000)
    assert (out / "junit.xml").is_file(), done.console[-5000:]
    return {case.get("name", ""): _ended(case) for case in ElementTree.parse(out / "junit.xml").iter("testcase")}


def _ended(case: ElementTree.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        found = case.find(kind)
        if found is not None:
            return f"{kind}: {found.get('message')}\n{(found.text or '')[-3000:]}"
    return "passed"


def test_policies_hold_on_huge_pages_and_realtime_under_cgroup_v2(tmp_path: Path) -> None:
    found = outcomes(tmp_path, "tests/machine/small/inside/policies.py")
    assert {name: ended for name, ended in found.items() if ended != "passed"} == {}
    assert len(found) >= 4


def test_doctor_sees_how_the_kernel_was_booted_and_its_commands_work(tmp_path: Path) -> None:
    kernel = "isolcpus=managed_irq,domain,4-5 nohz_full=4-5 rcu_nocbs=4-5"
    found = outcomes(tmp_path, "tests/machine/small/inside/checkups.py", kernel=kernel)
    assert {name: ended for name, ended in found.items() if ended != "passed"} == {}
    assert len(found) >= 6


@pytest.mark.parametrize("intel", [True, False], ids=["TCG", "nested KVM"])
def test_memory_on_the_wrong_cell_is_found_and_a_new_start_helps(tmp_path: Path, intel: bool) -> None:
    found = outcomes(tmp_path, "tests/machine/small/inside/memory.py", intel=intel)
    assert {name: ended for name, ended in found.items() if ended != "passed"} == {}
    assert len(found) == 3


@pytest.mark.parametrize("intel", [True, False], ids=["TCG", "nested KVM"])
def test_every_printed_command_undoes_its_fault_under_cgroup_v2(tmp_path: Path, intel: bool) -> None:
    """The column `v2` of the table of `tests/real/host/faults.py`: each cell is run, or cannot occur. AMD's processors emulate KVM."""
    kind = "tcg-cgroups" if intel else "kvm-cgroups"
    found = outcomes(tmp_path, "tests/real/host/test_printed_commands.py", "-k", kind, intel=intel)
    for name, ended in sorted(found.items()):
        print(f"{name}: {ended.splitlines()[0]}")
    assert {name: ended for name, ended in found.items() if ended != "passed" and "cannot occur: " not in ended} == {}
    assert "passed" in found.values()


def test_libvirt_does_with_huge_pages_what_was_recorded(tmp_path: Path) -> None:
    done = machine.run("$PYTHON -m tests.machine.small.inside.huge_pages /out/huge_pages.json", tmp_path, seconds=1800)
    assert done.status == 0, done.console[-5000:]
    assert _outcome(json.loads((tmp_path / "huge_pages.json").read_text())) == _outcome(json.loads(RECORDED.read_text()))


def _outcome(recorded: dict[str, Any]) -> dict[str, Any]:
    """What must not differ from run to run: which domain starts, and where its thread context may run."""
    found = {}
    for kind, cases in recorded.items():
        for name, case in cases.items() if isinstance(cases, dict) else ():
            threads = [*case.get("threads", ()), *case.get("threads_after", ())]
            found[f"{kind}, {name}"] = (case["started"], [t["allowed"] for t in threads if t["name"].startswith("TC ")])
    return found
