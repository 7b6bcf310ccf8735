"""What libvirt 9.0 and QEMU 7.2 did with huge-page guests on a real two-cell kernel with cgroup v2, as the small machine recorded it.

`recorded/huge_pages.json` is written by `tests/machine/small/inside/huge_pages.py`. These tests hold pinfold's reading against it; that the
recording is still true is what `tests/machine/small` tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Subject, compare
from pinfold.core.overhead import Masks, ThreadClass
from pinfold.drivers.kvm.thread_class import classified
from pinfold.drivers.libvirt import pins, template
from pinfold.linux.cgroup import leaf_of_path
from pinfold.linux.procfs import Thread

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded/huge_pages.json").read_text())
V2, PLAIN = RECORDED["cgroup v2"], RECORDED["cgroup none"]
REFUSED = "Setting CPU affinity failed: Invalid argument"
ONLINE = CpuSet.parse("0-7")


def observed(threads: list[dict[str, str]]) -> tuple[Any, ...]:
    """The recorded threads, classified."""
    seen = [Thread(tid=tid, comm=row["name"], allowed=CpuSet.parse(row["allowed"])) for tid, row in enumerate(threads, 100)]
    leaves = {tid: leaf for tid, row in enumerate(threads, 100) if (leaf := leaf_of_path(f"/{row['cgroup']}")) is not None}
    vcpus = {thread.tid: 0 for thread in seen if thread.comm.startswith("CPU 0/")}
    return classified(seen, vcpus=vcpus, iothreads={}, leaves=leaves)


def asked(case: dict[str, Any]) -> Masks:
    """The pins of a recorded definition; `pin` is what was set later."""
    found = pins.asked_pins(ElementTree.fromstring(case["xml"]))
    emulator = CpuSet.parse(case["pin"]) if "pin" in case else found.emulator
    return Masks(vcpus=(dict(found.vcpus).get(0, found.placement or ONLINE),), overhead=emulator or found.placement or ONLINE)


def test_qemu_refuses_huge_pages_of_a_cell_that_its_cpuset_has_no_pcpu_of() -> None:
    refused = {name for name, case in V2.items() if not case["started"]}
    assert "emulator-elsewhere" in refused
    assert all(REFUSED in V2[name]["error"] for name in refused)


def test_without_a_cpuset_cgroup_every_one_of_them_starts() -> None:
    assert {name for name, case in PLAIN.items() if not case["started"]} == set()


def test_a_guest_of_ours_is_started_as_the_one_that_started_and_pinned_as_that_was_later() -> None:
    """`Driver.start` adds the memory's pCPUs to the emulator pin of the one that is refused, and pins it back before the guest runs."""
    started = template.with_emulator_on(V2["emulator-elsewhere"]["xml"], CpuSet.parse("0-1,4"))
    assert asked({"xml": started}) == asked({"xml": V2["emulator-on-both-then-elsewhere"]["xml"]})
    assert V2["emulator-on-both-then-elsewhere"]["started"]
    assert V2["emulator-on-both-then-elsewhere"]["pinned"]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in ("cgroup v2", "cgroup none") for name in V2])
def test_each_recorded_guest_has_one_thread_context_and_it_is_no_drift(kind: str, name: str) -> None:
    case = RECORDED[kind][name]
    for threads in (case.get(key) for key in ("threads", "threads_after")):
        if threads is not None:
            found = observed(threads)
            assert [thread.name[:6] for thread in found if thread.thread_class is ThreadClass.THREAD_CONTEXT] == ["TC tc-"]
    found = observed(case.get("threads_after") or case.get("threads") or [])
    contexts = {thread.tid for thread in found if thread.thread_class is ThreadClass.THREAD_CONTEXT}
    drift = compare(Subject(name=name), asked(case), found, ONLINE) if found else ()
    assert contexts.isdisjoint({finding.tid for finding in drift})
