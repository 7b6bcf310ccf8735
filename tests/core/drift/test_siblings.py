"""Siblings that thread policy isolate keeps idle."""

from __future__ import annotations

from tests.build.hosts import cpus

from pinfold.core.drift import Holder, Subject, busy_siblings
from pinfold.core.hosttext import host

CORES = host("core:4 pu:2").siblings
NOVAS = Subject(name="instance-1")


def test_a_sibling_that_somebody_is_pinned_to_is_busy() -> None:
    others = [
        Holder(name="guest web", cpus=cpus("3")),
        Holder(name="foreign guest x", cpus=cpus("5-7"), alone=False),
        Holder(name="guest off", cpus=cpus("3"), runs=False),
    ]
    (finding,) = busy_siblings(NOVAS, cpus("2,4"), CORES, others)
    assert finding.sentence() == (
        "guest instance-1: thread policy isolate keeps the siblings of its pCPUs idle, but pCPUs 3,5 have foreign guest x, guest web"
    )
    assert finding.advice.startswith("migrate one of them")


def test_idle_siblings_and_those_that_are_its_own_are_no_finding() -> None:
    assert busy_siblings(NOVAS, cpus("2-3"), CORES, [Holder(name="guest web", cpus=cpus("4-7"))]) == ()
    assert busy_siblings(NOVAS, cpus("2"), CORES, [Holder(name="guest web", cpus=cpus("3"))], kept=cpus("2-3")) == (), "two owners"


def test_a_guest_of_ours_is_given_other_cores() -> None:
    (finding,) = busy_siblings(Subject(name="web", owner="pinfold"), cpus("2"), CORES, [Holder(name="foreign guest x", cpus=cpus("3"))])
    assert "pinfold guest replace web" in finding.advice
