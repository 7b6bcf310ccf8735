"""Made-up sweeps: snapshots and samples of a small host, and a script that feeds them to `step`."""

from __future__ import annotations

from dataclasses import dataclass, field

from pinfold.core.cpuset import CpuSet
from pinfold.core.settings import HostSettings
from pinfold.core.usage import Sample
from pinfold.host.loop_events import Log, Moment
from pinfold.watch.messages import Action, Event, Sweep, Swept
from pinfold.watch.snapshot import SeenGuest, SeenOwner, SeenPcpu, SeenPool, Snapshot
from pinfold.watch.state import State
from pinfold.watch.step import step

HOUR = 3600.0
TUESDAY = 1_795_000_000.0
SETTINGS = HostSettings(host="c01", uri="qemu:///system")


def guest(number: int, name: str = "", **fields: object) -> SeenGuest:
    """A running guest of Nova's with that number in its id."""
    values = {"origin": "nova", "state": "running", "vcpus": 1, "policy": "share"} | fields
    return SeenGuest(id=f"0000-{number}", name=name or f"web{number}", **values)  # type: ignore[arg-type]


def owner(of: SeenGuest, role: str = "vcpu") -> SeenOwner:
    """The guest as an owner of a pCPU."""
    return SeenOwner(guest=of.name, id=of.id, role=role)


def snapshot(*guests: SeenGuest, owners: dict[int, tuple[SeenOwner, ...]] | None = None, **fields: object) -> Snapshot:
    """A host with pCPUs 0-1 shared and 2-3 dedicated, of which these have owners."""
    held = owners or {}
    pcpus = tuple(
        SeenPcpu(
            pcpu=pcpu,
            pool="shared" if pcpu < 2 else "dedicated",
            overhead=pcpu < 2,
            cell=0,
            core=pcpu,
            socket=0,
            owners=held.get(pcpu, ()),
            contested=len(held.get(pcpu, ())) > 1,
        )
        for pcpu in range(4)
    )
    pools = (
        SeenPool(name="dedicated", cpus=CpuSet.parse("2-3"), booked=float(len(held)), capacity=2.0, guests=len(held)),
        SeenPool(name="shared", cpus=CpuSet.parse("0-1"), booked=0.0, capacity=1.0, guests=0),
        SeenPool(name="overhead", cpus=CpuSet.parse("0-1"), booked=0.032, capacity=1.0, guests=len(guests)),
    )
    return Snapshot(**({"host": "c01", "uri": "qemu:///system", "guests": guests, "pcpus": pcpus, "pools": pools} | fields))  # type: ignore[arg-type]


@dataclass
class Script:
    """A watch told one event after another, by a clock that the script moves."""

    state: State = field(default_factory=lambda: State(settings=SETTINGS, interval=10.0))
    at: float = 0.0

    @property
    def when(self) -> Moment:
        """Now."""
        return Moment(at=self.at, time=TUESDAY + self.at)

    def told(self, event: Event) -> list[Action]:
        """What the watch asks for after an event."""
        self.state, actions = step(self.state, event)
        return list(actions)

    def swept(self, seen: Snapshot | None = None, *, sample: Sample | None = None, seconds: float = 0.05, **fields: object) -> list[Action]:
        """The end of a sweep."""
        fields.setdefault("running", frozenset(guest.id for guest in (seen or snapshot()).guests if guest.runs))
        event = Swept(when=self.when, snapshot=seen or snapshot(), sample=sample or Sample(), seconds=seconds, **fields)  # type: ignore[arg-type]
        return self.told(event)


def sweeps(actions: list[Action]) -> bool:
    """Whether a sweep begins."""
    return any(isinstance(action, Sweep) for action in actions)


def logged(actions: list[Action]) -> list[str]:
    """The lines for the log."""
    return [action.sentence for action in actions if isinstance(action, Log)]
