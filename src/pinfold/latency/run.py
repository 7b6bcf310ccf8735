"""Run trials in turns: each load under each policy, so many runs, in a lab of their own that is gone afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.lab.daemon import LabHost
from pinfold.latency.guest import Rig, StartError
from pinfold.latency.model import NotStarted, Pcpus, Sample, Trial
from pinfold.latency.threads import pinned_here
from pinfold.linux.schedstat import machine_threads

Notice = Callable[[Trial, int], None]
"""Hears of each trial before it begins, and its run, counted from 0."""


def own_pcpus() -> Pcpus:
    """The highest pCPU of this process for the vCPU, and the lowest for overhead threads. Raises `InvalidRequest` if it has only one."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise InvalidRequest("a trial needs two pCPUs, and this process may use one", key="--vcpu-on")
    return Pcpus(vcpu=allowed[-1], overhead=allowed[0])


def check_pcpus(pcpus: Pcpus, *, beside_guests: bool = False) -> None:
    """Raises `InvalidRequest` if the two are one, if this process may not use them, or if a guest's vCPU is pinned there.

    With `beside_guests` the last one is allowed.
    """
    if pcpus.vcpu == pcpus.overhead:
        raise InvalidRequest(f"--vcpu-on and --overhead-on are both pCPU {pcpus.vcpu}; two pCPUs are needed", key="--overhead-on")
    allowed = os.sched_getaffinity(0)
    for option, pcpu in (("--vcpu-on", pcpus.vcpu), ("--overhead-on", pcpus.overhead)):
        if pcpu not in allowed:
            raise InvalidRequest(f"{option} is {pcpu}; this process may use the pCPUs {_listed(allowed)}", key=option)
    if beside_guests:
        return
    owners = pinned_here(frozenset((pcpus.vcpu, pcpus.overhead)), machine_threads())
    for option, pcpu in (("--vcpu-on", pcpus.vcpu), ("--overhead-on", pcpus.overhead)):
        if pcpu in owners:
            raise InvalidRequest(
                f"{option} is {pcpu}, and a vCPU of process {owners[pcpu]} is pinned there; take another pCPU, or add --beside-guests",
                key=option,
            )


def run(pcpus: Pcpus, trials: Sequence[Sequence[Trial]], runs: int, notice: Notice | None = None) -> Iterator[Sample | NotStarted]:
    """Each group of trials takes turns: forwards in the first run, backwards in the second, and so on.

    Raises `Unavailable` if a lab cannot be had here.
    """
    with _on(pcpus.overhead), tempfile.TemporaryDirectory(prefix="pf-latency-") as folder:
        Path(folder).chmod(0o711)
        with LabHost(f"latency{os.getpid()}", cgroups=False) as lab:
            rig = Rig(lab, Path(folder), pcpus)
            try:
                for group in trials:
                    yield from _turns(rig, group, runs, notice)
            finally:
                rig.close()


def _turns(rig: Rig, trials: Sequence[Trial], runs: int, notice: Notice | None) -> Iterator[Sample | NotStarted]:
    for number in range(runs):
        for trial in trials if number % 2 == 0 else trials[::-1]:
            if notice is not None:
                notice(trial, number)
            try:
                yield replace(rig.measure(trial), run=number)
            except StartError as error:
                yield NotStarted(
                    accelerator=trial.accelerator, load=trial.load, policy=trial.policy, run=number, refused=" ".join(str(error).split())
                )


@contextmanager
def _on(pcpu: int) -> Iterator[None]:
    """This process, and what it starts, runs on that pCPU; afterwards where it ran before."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {pcpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _listed(pcpus: set[int]) -> str:
    return str(CpuSet(pcpus))
