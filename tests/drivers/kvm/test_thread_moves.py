"""Where threads can run while pCPUs of their places are offline."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import InferredMasks, iothread_place
from pinfold.core.errors import InvalidRequest
from pinfold.core.overhead import Masks
from pinfold.drivers.kvm.thread_moves import online_part

SETS = st.sets(st.integers(0, 5)).map(CpuSet)


@given(kind=st.sampled_from([Masks, InferredMasks]), vcpus=st.lists(SETS).map(tuple), overhead=SETS, realtime=SETS, online=SETS)
def test_threads_get_the_online_part_of_each_set_and_a_set_that_is_wholly_offline_is_refused(
    kind: type[Masks | InferredMasks], vcpus: tuple[CpuSet, ...], overhead: CpuSet, realtime: CpuSet, online: CpuSet
) -> None:
    masks = kind(vcpus=vcpus, overhead=overhead, realtime=realtime)
    lost = [cpus for cpus in (*vcpus, overhead) if cpus and not cpus & online]
    if lost:
        with pytest.raises(InvalidRequest, match=f"pCPU {CpuSet.union(lost)} is not online on this host"):
            online_part(masks, online)
        return
    found = online_part(masks, online)
    assert type(found) is kind and found.realtime == realtime
    assert (found.vcpus, found.overhead) == (tuple(cpus & online for cpus in vcpus), overhead & online)


@given(own=SETS, overhead=SETS, online=SETS)
def test_an_iothread_with_a_place_of_its_own_gets_the_online_part_of_that(own: CpuSet, overhead: CpuSet, online: CpuSet) -> None:
    masks = InferredMasks(vcpus=(), overhead=overhead, iothreads=((1, own),))
    assert iothread_place(masks, 1) == own and iothread_place(masks, 2) == iothread_place(masks, None) == overhead
    if any(cpus and not cpus & online for cpus in (own, overhead)):
        with pytest.raises(InvalidRequest, match="is not online on this host"):
            online_part(masks, online)
        return
    found = online_part(masks, online)
    assert (iothread_place(found, 1), iothread_place(found, 2)) == (own & online, overhead & online)
