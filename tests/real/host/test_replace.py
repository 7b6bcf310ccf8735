"""A stopped guest whose place is not in the pools any more is given another one, and its disk stays byte by byte."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from msgspec import structs
from tests.real.host.bench import DEDICATED, Bench
from tests.real.host.domains import define, virsh

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, FindingCode, Severity
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import NoFit
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import Flavor
from pinfold.drivers.port import Boot
from pinfold.host import disk
from pinfold.host.audit import audit
from pinfold.host.lock import owning
from pinfold.host.replace import ReplaceResult
from pinfold.host.replace import replace as replace_guest
from pinfold.host.start import NotPlaced, restart
from pinfold.host.stop import stop

SHARE = DEDICATED | {"hw:emulator_threads_policy": "share"}
WORDS = b"what the guest wrote"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty disk image."""
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    path.chmod(0o644)
    return path


def _stopped(bench: Bench, name: str, image: Path | None = None, *, vcpus: int = 1) -> Path:
    """A guest that ran, wrote to its disk, and was stopped; where its disk is."""
    boot = Boot(rom=str(bench.rom), disk=str(image)) if image else None
    guest = bench.start(bench.order(name, SHARE, vcpus=vcpus, boot=boot)).guest.id
    stop(bench.driver, bench.settings, name)
    overlay = disk.overlay_path(bench.settings, guest)
    if image:
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 0x2a 4096 512", str(overlay)], check=True, capture_output=True)
    return overlay


def findings(bench: Bench) -> list[Finding]:
    """What an audit finds, less the guests of other labs: other tests run beside this one on the same pCPUs."""
    return [one for one in audit(bench.driver, bench.settings).findings if one.code is not FindingCode.FOREIGN_PROCESS]


def drift(bench: Bench) -> list[Finding]:
    """Those of them that break a promise."""
    return [one for one in findings(bench) if one.severity is Severity.DRIFT]


def _bytes(overlay: Path) -> str:
    return hashlib.sha256(overlay.read_bytes()).hexdigest()


def _replaced(bench: Bench, name: str, flavor: Flavor | None = None) -> ReplaceResult:
    done = replace_guest(bench.driver, bench.settings, name, flavor=flavor)
    assert not isinstance(done, NoFit), done.sentence()
    return done


def test_a_guest_that_could_not_start_after_the_pools_changed_starts_in_its_new_place_on_its_old_disk(
    synthetic_bench: Bench, image: Path
) -> None:
    bench = synthetic_bench.with_pools(shared="0-1", dedicated="2-7")
    overlay = _stopped(bench, "web", image, vcpus=2)
    before, identity = _bytes(overlay), bench.guest("web").id
    bench = bench.with_pools(shared="16-17", dedicated="20-27")
    with pytest.raises(NotPlaced, match=r"outside the pool of today \(20-27\).*`pinfold guest replace web`"):
        restart(bench.driver, bench.settings, "web")
    done = _replaced(bench, "web")
    assert [finding.subject for finding in done.because] == ["its pins", "its overhead threads"]
    assert done.before is not None
    assert done.before.taken <= CpuSet.parse("2-7")
    assert done.after.taken <= CpuSet.parse("20-27")
    assert done.after.emulator == CpuSet.parse("16-17")
    assert (bench.guest("web").id, bench.guest("web").active, _bytes(overlay)) == (identity, False, before)
    assert not findings(bench)
    running = restart(bench.driver, bench.settings, "web")
    assert running.fit == done.after
    assert not drift(bench)
    stop(bench.driver, bench.settings, "web")
    assert _bytes(overlay) == before
    subprocess.run(["qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0x2a 4096 512", str(overlay)], check=True, capture_output=True)


def test_a_real_guest_moves_to_the_pcpu_that_is_dedicated_now(bench: Bench, image: Path) -> None:
    overlay = _stopped(bench, "web", image)
    before = _bytes(overlay)
    turned = bench.with_pools(shared="1", dedicated="0")
    with pytest.raises(NotPlaced):
        restart(turned.driver, turned.settings, "web")
    assert _replaced(turned, "web").after.taken == CpuSet.of(0)
    assert restart(turned.driver, turned.settings, "web").fit.emulator == CpuSet.of(1)
    assert not drift(turned)
    stop(turned.driver, turned.settings, "web")
    assert _bytes(overlay) == before


def test_the_rest_of_a_definition_of_ones_own_survives(synthetic_bench: Bench) -> None:
    bench = synthetic_bench.with_pools(shared="0-1", dedicated="2-7")
    template = f"""<domain type='qemu'><description>kept</description><memory>1</memory>
      <os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>{bench.rom}</loader></os>
      <cputune><shares>2048</shares></cputune><on_crash>preserve</on_crash>
      <devices><serial type='null'/></devices></domain>"""
    bench.start(structs.replace(bench.order("web", SHARE, boot=Boot()), template=template))
    stop(bench.driver, bench.settings, "web")
    bench = bench.with_pools(shared="16-17", dedicated="20-27")
    _replaced(bench, "web")
    text = virsh(bench, "dumpxml", "--inactive", "web")
    for kept in ("<description>kept</description>", "<shares>2048</shares>", "<on_crash>preserve</on_crash>"):
        assert kept in text
    restart(bench.driver, bench.settings, "web")


def test_a_place_that_holds_is_kept_and_the_definition_follows_the_record_again(bench: Bench) -> None:
    _stopped(bench, "web")
    recorded = bench.guest("web").record
    assert recorded is not None
    virsh(bench, "vcpupin", "web", "0", "0", "--config")
    assert [finding.code.value for finding in drift(bench)] == ["definition-pins"]
    done = _replaced(bench, "web")
    assert (done.before, done.because, bench.guest("web").record) == (done.after, (), recorded)
    assert not findings(bench)


def test_what_does_not_fit_says_so_with_the_reasons_of_fit_and_the_old_definition_stays(bench: Bench) -> None:
    _stopped(bench, "web")
    before = virsh(bench, "dumpxml", "--inactive", "web")
    full = bench.with_pools(shared="0-1")
    refused = replace_guest(full.driver, full.settings, "web")
    assert isinstance(refused, NoFit)
    assert [reason.code for reason in refused.reasons] == [ReasonCode.NO_DEDICATED_POOL]
    assert virsh(bench, "dumpxml", "--inactive", "web") == before


def test_a_pcpu_of_somebody_elses_is_never_given(synthetic_bench: Bench) -> None:
    bench = synthetic_bench.with_pools(shared="0-1", dedicated="2-7")
    _stopped(bench, "web")
    bench = bench.with_pools(shared="0-1", dedicated="20-21")
    first = bench.start(bench.order("db", DEDICATED))
    assert _replaced(bench, "web").after.taken == CpuSet.parse("20-21") - first.fit.taken


def test_a_running_guest_a_saved_one_a_strangers_and_one_of_an_agents_are_left(bench: Bench) -> None:
    bench.start(bench.order("web", SHARE))
    with pytest.raises(InvalidRequest, match=r"guest web is running.*`pinfold guest stop web`"):
        replace_guest(bench.driver, bench.settings, "web")
    with pytest.raises(InvalidRequest, match="no guest 'nobody'"):
        replace_guest(bench.driver, bench.settings, "nobody")
    with owning(bench.settings, "the agent of c01"), pytest.raises(InvalidRequest, match="owned by the agent of c01"):
        replace_guest(bench.driver, bench.settings, "web")
    virsh(bench, "managedsave", "web")
    before = virsh(bench, "dumpxml", "--inactive", "web")
    with pytest.raises(InvalidRequest, match="saved state"):
        replace_guest(bench.driver, bench.settings, "web")
    assert virsh(bench, "dumpxml", "--inactive", "web") == before


def test_a_running_guest_of_somebody_elses_is_refused_because_it_is_not_ours(bench: Bench) -> None:
    define(bench, "vm", cputune="<vcpupin vcpu='0' cpuset='1'/>", nova=True)
    with pytest.raises(InvalidRequest, match="guest vm is not ours: pinfold did not start it"):
        replace_guest(bench.driver, bench.settings, "vm")


def test_a_record_that_was_damaged_is_written_again_by_the_flavor(bench: Bench) -> None:
    _stopped(bench, "web")
    virsh(bench, "metadata", "web", "urn:pinfold:guest:2", "--config", "--key", "pinfold", "--set", "<guest/>")
    assert bench.guest("web").record is None
    with pytest.raises(InvalidRequest, match="--flavor"):
        replace_guest(bench.driver, bench.settings, "web")
    flavor = Flavor(vcpus=1, memory_mib=16, extra_specs=tuple(sorted(SHARE.items())), name="small")
    with pytest.raises(InvalidRequest, match=r"1 vCPU and 16 MiB.*2 vCPUs"):
        replace_guest(bench.driver, bench.settings, "web", flavor=structs.replace(flavor, vcpus=2))
    assert _replaced(bench, "web", flavor).before is None
    assert restart(bench.driver, bench.settings, "web").fit.taken == CpuSet.of(1)
    assert not drift(bench)


def test_a_guest_of_an_earlier_pinfold_is_placed_again_by_its_flavor(bench: Bench) -> None:
    order = bench.order("old", SHARE)
    bench.start(order)
    stop(bench.driver, bench.settings, "old")
    guest = bench.guest("old")
    assert guest.record is not None
    bench.driver.redefine(guest.id, structs.replace(guest.record, request=None), order.request)
    turned = bench.with_pools(shared="1", dedicated="0")
    flavor = Flavor(vcpus=1, memory_mib=16, extra_specs=tuple(sorted(SHARE.items())), name="small")
    with pytest.raises(InvalidRequest, match=r"earlier pinfold.*--flavor"):
        replace_guest(turned.driver, turned.settings, "old")
    with pytest.raises(InvalidRequest, match="emulator policy share"):
        replace_guest(turned.driver, turned.settings, "old", flavor=structs.replace(flavor, extra_specs=tuple(DEDICATED.items())))
    assert _replaced(turned, "old", flavor).after.taken == CpuSet.of(0)
    with pytest.raises(InvalidRequest, match="says what was asked for"):
        replace_guest(turned.driver, turned.settings, "old", flavor=flavor)
