"""Thread contexts: they are never drift, and tell on which host cell a memory was made."""

from __future__ import annotations

import pytest
from tests.build.hosts import cpus
from tests.build.threads import MAIN, MASKS, ONLINE, REALTIME, RIGHT, VCPU0, WEB, compare, thread

from pinfold.core.drift import expected
from pinfold.core.fit.answer import Fit, FitCell
from pinfold.core.overhead import ObservedThread, ThreadClass, memory_cell
from pinfold.drivers.kvm import thread_moves
from pinfold.drivers.port import Observation


def context(name: str, kind: ThreadClass = ThreadClass.THREAD_CONTEXT) -> ObservedThread:
    return thread(kind, "8-15", tid=104, name=name)


CONTEXT = context("TC tc-ram-node0")


@pytest.mark.parametrize("allowed", ["8-15", "0-1", "4", "0-15"])
def test_a_thread_context_is_never_drift_wherever_libvirt_bound_it(allowed: str) -> None:
    maker = thread(ThreadClass.THREAD_CONTEXT, allowed, tid=104, name="TC tc-ram-node0", sched="fifo")
    assert expected(MASKS, maker) is None
    assert compare(WEB, REALTIME, (MAIN, VCPU0, thread(ThreadClass.VCPU, "5", vcpu=1, sched="fifo"), maker), ONLINE) == ()


def test_a_thread_context_is_never_moved() -> None:
    assert thread_moves.misplaced(Observation(threads=(*RIGHT, CONTEXT), witness="procfs"), MASKS) == ()


def test_a_thread_context_tells_the_host_cell_whose_memory_it_made() -> None:
    cells = tuple(FitCell(guest_cell=guest, host_cell=host, pins=((guest, 4 + guest),)) for guest, host in ((0, 3), (1, 2)))
    fit = Fit(vcpus=2, memory_mib=64, cells=cells, emulator=cpus("0"))
    assert memory_cell(CONTEXT, fit) == 3
    assert memory_cell(context("TC tc-ram-node1"), fit) == 2
    assert memory_cell(context("TC tc-pc.ram"), fit) is None
    assert memory_cell(context("TC tc-ram-node0", ThreadClass.EMULATOR), fit) is None


def test_a_name_that_the_kernel_cut_tells_no_host_cell() -> None:
    cells = tuple(FitCell(guest_cell=index, host_cell=index, pins=((index, index),)) for index in range(11))
    fit = Fit(vcpus=11, memory_mib=64, cells=cells, emulator=cpus("0"))
    assert memory_cell(context("TC tc-ram-node1"), fit) is None
