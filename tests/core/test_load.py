"""How a host worked lately: means of the last minute, who starves, and who runs instead."""

from __future__ import annotations

from msgspec.structs import replace
from tests.build.fits import holding
from tests.build.hosts import cpus

from pinfold.core.fit.answer import Fit
from pinfold.core.history import GuestHistory, HostHistory, PcpuHistory, PoolHistory
from pinfold.core.host import Claim
from pinfold.core.hosttext import host
from pinfold.core.identity import GuestId
from pinfold.core.load import Load, Runner, lately, starving
from pinfold.core.overhead import ThreadClass

CELL_OF = host("core:4 pu:2").cell_of


def fit(vcpus: str, emulator: str) -> Fit:
    """A guest whose vCPUs are pinned and whose emulator threads run elsewhere."""
    return replace(holding(CELL_OF, cpus(vcpus)), emulator=cpus(emulator))


def row(guest: str, kind: ThreadClass, work: int, wait: int, samples: int = 12) -> GuestHistory:
    return GuestHistory(guest=guest, name=f"{guest}!", thread_class=kind, work_millicpu=(work,) * samples, wait_millicpu=(wait,) * samples)


def history(*guests: GuestHistory, samples: int = 12) -> HostHistory:
    """Two minutes: pCPU 0 works 100 in the first, and 400 in the last; somebody else runs on pCPU 1."""
    half = samples // 2
    return HostHistory(
        host="c1",
        step_seconds=10.0,
        ends=tuple(1000.0 + 10.0 * place for place in range(samples)),
        seconds=(10.0,) * samples,
        guests=guests,
        pcpus=(
            PcpuHistory(pcpu=0, work_millicpu=(100,) * half + (400,) * half, wait_millicpu=(None,) * samples),
            PcpuHistory(pcpu=1, work_millicpu=(0,) * samples, wait_millicpu=(5,) * samples, others_millicpu=(30,) * samples),
        ),
        pools=(PoolHistory(pool="overhead", work_millicpu=(7,) * samples, wait_millicpu=(8,) * samples),),
    )


def test_the_last_minute_is_the_mean_of_its_samples_and_a_gap_is_not_known() -> None:
    found = lately(history())
    assert found is not None
    assert found.ended == 1110.0
    assert found.pcpus == {0: Load(work=400, wait=None), 1: Load(work=0, wait=5, others=30)}
    assert found.pools == {"overhead": Load(work=7, wait=8)}


def test_nothing_is_known_without_samples() -> None:
    assert lately(HostHistory(host="c1", step_seconds=10.0)) is None


def test_all_classes_of_overhead_threads_count_together() -> None:
    found = lately(history(row("a", ThreadClass.EMULATOR, 1, 2), row("a", ThreadClass.IOTHREAD, 10, 20), row("a", ThreadClass.VCPU, 5, 0)))
    assert found is not None
    assert found.guests["a"] == (Load(work=5, wait=0), Load(work=11, wait=22))


def test_who_waits_longer_than_a_tenth_starves_and_the_others_of_its_pcpus_run_instead() -> None:
    found = lately(
        history(
            row("a", ThreadClass.EMULATOR, 50, 600),
            row("b", ThreadClass.EMULATOR, 900, 100),
            row("c", ThreadClass.EMULATOR, 100, 90),
            row("d", ThreadClass.EMULATOR, 999, 0),
            row("b", ThreadClass.VCPU, 999, 0),
        )
    )
    assert found is not None
    claims = [
        Claim(guest=GuestId(name), fit=fit(vcpus, pool))
        for name, vcpus, pool in (("a", "2", "0-1"), ("b", "3", "0-1"), ("c", "4", "1"), ("d", "5", "6"))
    ]
    (one,) = starving(found, claims)
    assert (one.guest, one.vcpus, str(one.where), one.wait) == ("a", False, "0-1", 600)
    assert one.runners == (Runner("b!", False, 900), Runner("c!", False, 100)), "not d, which runs elsewhere, and not b's vCPU"


def test_a_starving_vcpu_names_what_is_no_guests() -> None:
    starved = replace(row("a", ThreadClass.VCPU, 400, 500), others_millicpu=(480,) * 12)
    found = lately(history(starved))
    assert found is not None
    (one,) = starving(found, [Claim(guest=GuestId("a"), fit=fit("2", "0"))])
    assert (
        one.sentence()
        == "its vCPUs waited for pCPU 2 for 50 % of the last minute; processes of no guest (48 % of one pCPU) ran there instead"
    )
