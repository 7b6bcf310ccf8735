"""Small phrases that several views share: counts, sizes, and where a fit puts vCPUs and emulator threads."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.text import Text

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import PLACE_CODES
from pinfold.core.fit.answer import EmulatorPlacement, Fit
from pinfold.core.overhead import ThreadClass
from pinfold.core.overhead.table import PLACES
from pinfold.core.pools import Pools
from pinfold.core.printable import shown
from pinfold.core.request.model import EmulatorPolicy
from pinfold.drivers.port import HostGuest
from pinfold.host.claims import places_of
from pinfold.host.places import Places, places
from pinfold.host.survey import Survey
from pinfold.host.verify import Verdict


def mib_of(free: int, total: int) -> str:
    """A part of an amount of memory, both exact and in the same unit.

    >>> mib_of(15872, 16384), mib_of(15360, 16384), mib_of(16192, 16384), mib_of(64, 512)
    ('15.5 of 16 GiB', '15 of 16 GiB', '16,192 of 16,384 MiB', '64 of 512 MiB')
    """
    if total < 1024 or free % 256 or total % 256:
        return f"{free:,} of {total:,} MiB"
    return f"{_decimal(free / 1024)} of {_decimal(total / 1024)} GiB"


def _decimal(amount: float) -> str:
    return f"{amount:,.2f}".rstrip("0").rstrip(".")


def moment(seconds: float) -> str:
    """A time for people.

    >>> moment(1.8e9)
    '2027-01-15 08:00:00 UTC'
    """
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"


def vcpu_words(fit: Fit) -> str:
    """Where the vCPUs of a fit run: pinned pCPUs, and how many others float over shared ones."""
    if not fit.floating_count:
        return str(fit.pinned)
    floating = f"{fit.floating_count} float"
    return f"{fit.pinned}, {floating}" if fit.pinned else floating


def guest_words(guest: HostGuest) -> str:
    """A guest's name, preceded by the name of its server if there is one."""
    return f"{guest.server} ({guest.name})" if guest.server else guest.name


def guest_cell(guest: HostGuest) -> RenderableType:
    """A guest's name for a table cell; for the guest of a server, the hypervisor's name is below the server's."""
    if not guest.server:
        return Text(guest.name)
    return Group(shown(guest.server), Text(shown(guest.name), style="dim"))


def foreign_words(seen: Survey | None, guest: HostGuest) -> tuple[str, str]:
    """Where the vCPUs, and the emulator threads, of a guest that is not ours belong, and where its live pins put them if elsewhere.

    `seen` is the host's survey, None if its pools are unknown: then the pins alone count.
    """
    if seen is None:
        return place_words(places(guest, None), None)
    pools, home = seen.state.pools, places_of(seen, guest)
    there = place_words(home, pools)
    if not guest.active:
        return there
    now = places(guest, pools)
    same = home.same(now, seen.state.topology.online)
    vcpus, emulator = (
        word if is_home else f"{word}, now {here}" for word, here, is_home in zip(there, place_words(now, pools), same, strict=True)
    )
    return vcpus, emulator


def recorded_words(fit: Fit, verdict: Verdict | None) -> tuple[str, str]:
    """Where the vCPUs, and the emulator threads, of a guest of ours belong, and where those may run that are elsewhere.

    `verdict` is None if the threads were not read.
    """
    there = vcpu_words(fit), short_emulator_words(fit)
    if verdict is None or verdict.observation is None:
        return there
    astray = {tid for finding in verdict.drift if finding.code in PLACE_CODES for tid in finding.tids}
    now = [0, 0]
    for thread in verdict.observation.threads:
        if thread.tid in astray:
            now[thread.thread_class is not ThreadClass.VCPU] |= thread.allowed.mask
    vcpus, emulator = (f"{word}, now {CpuSet.from_mask(mask)}" if mask else word for word, mask in zip(there, now, strict=True))
    return vcpus, emulator


def policy_words(policy: EmulatorPolicy | None, *, inferred: bool = False) -> str:
    """The emulator policy of a guest, '' if it has none, and that it is told from the guest's pins if nobody wrote it down."""
    return "" if policy is None else policy.value + (", told from its pins" if inferred else "")


def place_words(found: Places, pools: Pools | None) -> tuple[str, str]:
    """Where the vCPUs, and the emulator threads, of a guest that is not ours run."""
    parts = [str(found.pinned)] if found.pinned else []
    if found.floats:
        where = "everywhere" if found.floating is None else f"over {found.floating}"
        parts.append(f"{found.floats} float {where}")
    if found.unknown:
        parts.append(f"{found.unknown} unknown")
    return ", ".join(parts), _foreign_emulator_words(found, pools)


def _foreign_emulator_words(found: Places, pools: Pools | None) -> str:
    if found.emulator is None:
        return "everywhere"
    if not found.emulator:
        return "unknown"
    if found.emulator_alone:
        return f"{found.emulator}, its own"
    if found.pinned and found.emulator == found.pinned:
        return PLACES[EmulatorPlacement.FLOAT]
    if pools is not None and found.pinned and found.emulator == pools.overhead:
        return PLACES[EmulatorPlacement.POOL]
    return "the shared pool" if pools is not None and found.emulator == pools.shared else str(found.emulator)


def emulator_words(fit: Fit) -> str:
    """The pCPUs of the emulator threads of a fit."""
    if fit.emulator_placement is EmulatorPlacement.FLOAT:
        return f"over {PLACES[fit.emulator_placement]}" if fit.cells else "the shared pool"
    cells = CpuSet(cell for cell, _ in fit.overhead_cells)
    local = f" on {'cell' if len(cells) == 1 else 'cells'} {cells}" if cells else ""
    return PLACES[fit.emulator_placement] + local


def short_emulator_words(fit: Fit) -> str:
    """The same for a narrow column, with the pCPU if it is only one."""
    return f"{fit.emulator_pcpu}, its own" if fit.emulator_pcpu is not None else emulator_words(fit).removeprefix("over ")


def plain(cpus: CpuSet | None) -> str:
    """A CPU set as text; `-` for none."""
    return str(cpus) if cpus else "-"
