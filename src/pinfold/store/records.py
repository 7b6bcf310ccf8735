"""The values that the store takes and returns: one record per noun.

Times are seconds since the epoch by the database's clock. Pairs are ordered by key, with each key once.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from pinfold.core.adoption import Takeover
from pinfold.core.bounds import ClaimUuid, Count, GuestUuid, Number, Revision
from pinfold.core.config_drive import GuestConfig
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.written import FindingCount, WrittenFinding
from pinfold.core.fit.answer import Fit, Strategy
from pinfold.core.fit.written import Refusal, written
from pinfold.core.host import Foreign, HostState, Limits
from pinfold.core.host_features import Features
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.core.networks import HostNetworks, StaticRange
from pinfold.core.pools import Pools
from pinfold.core.processor_traits import TraitNames
from pinfold.core.repin.progress import Progress
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.core.topology import Topology

Pairs = tuple[tuple[str, str], ...]

POOLS_REFUSED: Final = "pools_refused"
"""The fact of a host that says why its agent does not use the pools that the service orders."""
PROCESSOR_REFUSED: Final = "processor_refused"
"""The fact of a host that says why it cannot give new guests the processor that is configured."""
REPAIRS: Final = "repairs"
"""The fact of a host that says how many repairs its agent has done, in the form of `core.repairs.counts_text`."""
PROTOCOL_FACT: Final = "protocol"
"""The fact of a host that says which protocol its agent speaks. An agent without it cannot pause guests."""
Amounts = tuple[tuple[str, int], ...]


class Desired(Enum):
    """What the user wants of a guest."""

    RUNNING = "running"
    STOPPED = "stopped"
    ABSENT = "absent"


class Pause(Enum):
    """How the user wants a running guest paused: in memory, where its process stays, or on disk, where its memory is saved and its process
    ends.
    """

    NONE = ""
    IN_MEMORY = "memory"
    ON_DISK = "disk"


class Observed(Enum):
    """What the guest's agent reported last; UNSEEN before its first report."""

    UNSEEN = "unseen"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    CRASHED = "crashed"
    ABSENT = "absent"


class ClaimRole(Enum):
    """What a claim is for: the guest runs there, comes there, or leaves there. A guest has at most one live claim of each role."""

    RUNS = "runs"
    INCOMING = "incoming"
    OUTGOING = "outgoing"


class ClaimState(Enum):
    """The stages of a claim. Only HELD claims are in the ledger; every state but ABANDONED excludes another claim of the same
    guest in the same role.
    """

    INTENDED = "intended"
    HELD = "held"
    RELEASING = "releasing"
    ABANDONED = "abandoned"


class HostReport(Struct, frozen=True, kw_only=True):
    """What an agent reports of its host: everything in a `HostState` except the claims and the traits.

    `facts` is for people and the Compute API: hypervisor type and version, CPU model, agent version, and when the machine was `booted`.
    `any_cell`: the operator has set no preference among host cells, so that the scheduler's may decide before `strategy`. `features` are
    those of `core.host_features`. `processor_traits` are those of the processor that new guests get there, not written where they are not
    known, as by an agent of an earlier pinfold.
    """

    topology: Topology
    pools: Pools
    limits: Limits = Limits()
    foreign: tuple[Foreign, ...] = ()
    strategy: Strategy = Strategy.PACK
    any_cell: bool = False
    disk_gib: Number | None = None
    facts: Pairs = ()
    networks: HostNetworks = ()
    features: Features = ()
    processor_traits: TraitNames | UnsetType = UNSET

    @property
    def processor_refused(self) -> str:
        """Why the host cannot give new guests the configured processor, '' if it can."""
        return dict(self.facts).get(PROCESSOR_REFUSED, "")

    @property
    def protocol(self) -> int:
        """The protocol that the agent speaks, 0 if it does not say: then it is of an earlier pinfold."""
        told = dict(self.facts).get(PROTOCOL_FACT, "")
        return int(told) if told.isascii() and told.isdecimal() and len(told) < 4 else 0


NOTHING: Final = HostReport(topology=Topology(cells=()), pools=Pools(shared=CpuSet(), dedicated=CpuSet()))
"""The report of a host whose agent has sent none yet, or none that can be read: no guest fits there."""


class HostRecord(Struct, frozen=True, kw_only=True):
    """One host in the store. `up` says whether its lease ran by the database's clock at the time of reading. `repin` is the last re-pin of
    its guests, None for none.
    """

    id: HostId
    name: str
    revision: int
    orders: int
    report: HostReport
    up: bool
    lease_until: float
    disabled: bool
    disabled_reason: str
    fenced: bool
    created: float
    updated: float
    repin: Progress | None = None


class HostLedger(Struct, frozen=True, kw_only=True):
    """A host with its claims, read at one instant. `state.traits` is empty, because traits are in Placement."""

    record: HostRecord
    state: HostState


class HostMark(Struct, frozen=True, kw_only=True):
    """Shows whether a host changed since it was read. `marked` is when this last changed, apart from a lease that ended by itself."""

    id: HostId
    revision: int
    up: bool
    disabled: bool
    disabled_reason: str
    fenced: bool
    marked: float


class Fault(Struct, frozen=True, kw_only=True):
    """Why a guest is in error, and the refusals of the hosts, by name, those on which its start failed among them."""

    code: int
    message: str
    created: float = 0.0
    refusals: tuple[Refusal, ...] = ()


class FailedStart(Struct, frozen=True, kw_only=True):
    """A host (id and name) on which a guest's start failed, and why."""

    host: HostId
    name: str
    sentence: str


class Move(Struct, frozen=True, kw_only=True):
    """A stopped guest's claim that moved on its host (by name), at the revision that the move made: the place before and after, in words,
    and why the old one was lost.
    """

    host: str
    revision: int
    before: str
    after: str
    because: tuple[str, ...] = ()


TAGS: Final = "tags"
"""The detail of a guest that has its tags, separated by commas."""
LOCKED: Final = "locked"
"""The detail of a guest that is locked against changes: who locked it, `admin` or `owner`."""
LOCKED_REASON: Final = "locked_reason"
"""The detail of a locked guest that says why."""
RESET: Final = "reset"
"""The detail of a guest that an admin has set to `error`."""
ADOPTED: Final = "adopted"
"""The detail of a guest whose domain was there before pinfold: the domain's name."""
ADOPTING: Final = "adopting"
"""The task of a guest whose domain an agent is to take over."""
RELEASING: Final = "releasing"
"""The task of a guest whose domain an agent is to give back."""
DELETING: Final = "deleting"
"""The task of a guest that a user deletes."""
SCHEDULING: Final = "scheduling"
"""The task of a guest for which a host is to be found."""
REBUILDING: Final = "rebuilding"
"""The task of a guest whose disk is made anew."""
REBUILD: Final = "rebuild"
"""The detail of a guest whose disk is to be made anew, until its agent has done so: the number of the boot that was asked for with it."""
CONFIG_DRIVE: Final = ("config_drive", "True")
"""The detail of a guest that has a config drive."""


class WantedPort(Struct, frozen=True, kw_only=True):
    """A port to make for a new guest. With `static` it gets an address of that range: `address`, or the lowest free one if that is ''."""

    network: str
    mtu: int = 0
    address: str = ""
    static: StaticRange | None = None


class PortState(Enum):
    """What is under way with a port's interface. The interface of a DETACHED port is gone; its address and its booking are still taken."""

    ATTACHED = ""
    ATTACHING = "attaching"
    DETACHING = "detaching"
    DETACHED = "detached"


class Requester(Struct, frozen=True, kw_only=True):
    """Who asks for something: the id of the request, the account, and its project."""

    request: str
    account: str
    project: str


class EventRecord(Struct, frozen=True, kw_only=True):
    """Something that was asked of a guest, in Nova's word. `host` is the name of the host that it was on, '' for none.

    `ended` is None while it is under way; `failure` says why it failed, '' if it did not.
    """

    number: int
    guest: GuestId
    request: str
    action: str
    account: str
    project: str
    host: str
    began: float
    ended: float | None
    failure: str


class NewGuest(Struct, frozen=True, kw_only=True):
    """A guest to store. `details` come from the API, `metadata` from the user; `task` starts as `scheduling`.

    `config` is what its config drive holds, None for no drive. `ports` are its interfaces; `request.nics` counts them.

    `only_on` is the only allowed host id, '' for any; `member_of` are Placement aggregates, in one of which the host must be.

    `seen_flavor` is the flavor as it was read some time ago. If it has changed since, the guest is not stored; None to store it anyway.
    """

    id: GuestId
    name: str
    flavor: Flavor
    request: GuestRequest
    image: str = ""
    project: str = ""
    owner: str = ""
    description: str = ""
    metadata: Pairs = ()
    details: Pairs = ()
    config: GuestConfig | None = None
    ports: tuple[WantedPort, ...] = ()
    only_on: str = ""
    member_of: frozenset[str] = frozenset()
    by: Requester | None = None
    seen_flavor: FlavorRecord | None = None


class Rebuild(Struct, frozen=True, kw_only=True):
    """What a guest becomes with a new disk. `name`, `description` and `metadata` are None where they stay; in `details`, None removes one.
    `config` is what its new config drive holds, None for no drive.
    """

    image: str
    request: GuestRequest
    name: str | None = None
    description: str | None = None
    metadata: Pairs | None = None
    details: tuple[tuple[str, str | None], ...] = ()
    config: GuestConfig | None = None


class GuestRecord(Struct, frozen=True, kw_only=True):
    """One guest in the store.

    `task` is what is under way, in Nova's words (`scheduling`, `spawning`, `powering-off`, `powering-on`, `rebooting`, `rebooting_hard`,
    `pausing`, `unpausing`, `suspending`, `resuming`, `rebuilding`, `deleting`) or ours (`adopting`, `releasing`), '' for nothing. `report`
    is what the agent last saw of the guest's threads, as JSON text in the agent's form, '' for nothing yet. `details` are for the Compute
    API. For the scheduler: `only_on` and `member_of` say which hosts are allowed (see `NewGuest`), `failed_on` on which the start failed,
    ordered by host id, `refusals` which refused before one took the guest, and `moved` is the last move.
    """

    id: GuestId
    name: str
    project: str
    owner: str
    description: str
    revision: int
    desired: Desired
    observed: Observed
    task: str
    boots: int
    booted: int
    host: HostId | None
    flavor: Flavor
    request: GuestRequest
    image: str
    metadata: Pairs
    details: Pairs
    only_on: str
    member_of: frozenset[str]
    failed_on: tuple[FailedStart, ...]
    refusals: tuple[Refusal, ...]
    moved: Move | None
    report: str
    fault: Fault | None
    created: float
    updated: float
    launched: float | None
    deleted: float | None
    pause: Pause = Pause.NONE

    @property
    def config_drive(self) -> bool:
        """Whether the guest has a config drive."""
        return CONFIG_DRIVE in self.details

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags, ascending."""
        return tuple(tag for tag in dict(self.details).get(TAGS, "").split(",") if tag)

    @property
    def takeover(self) -> Takeover:
        """What its agent is to do with a domain that it did not make. An unwanted one ends only if its user deletes the guest; without any
        task it is given back, since an agent can do that again and cannot bring back what it has ended.
        """
        if not self.adopted:
            return Takeover.NONE
        if self.desired is Desired.ABSENT:
            return Takeover.ADOPTED if self.task == DELETING else Takeover.RELEASE
        return Takeover.ADOPT if self.task == ADOPTING else Takeover.ADOPTED

    @property
    def adopted(self) -> bool:
        """Whether its domain was there before pinfold."""
        return any(key == ADOPTED for key, _ in self.details)

    @property
    def locked(self) -> bool:
        """Whether it is locked against changes by others than admins."""
        return any(key == LOCKED for key, _ in self.details)

    @property
    def rebuild(self) -> int:
        """The number of the boot with which its disk is to be made anew; 0 for none, and once that is done."""
        return int(dict(self.details).get(REBUILD, "0"))

    @property
    def reset(self) -> bool:
        """Whether an admin has set it to `error`."""
        return any(key == RESET for key, _ in self.details)


class ClaimRecord(Struct, frozen=True, kw_only=True):
    """One claim. `amounts` are what it consumes in Placement. `revision` is the host's revision that its last change made, 0 before it is
    held; `held` is the revision at which it was held, or moved to another place. Agents that know no claim ids know it by that.
    """

    id: ClaimId
    guest: GuestId
    host: HostId
    state: ClaimState
    deadline: float
    amounts: Amounts
    fit: Fit
    revision: int
    created: float
    updated: float
    role: ClaimRole = ClaimRole.RUNS
    held: int = 0
    shapes: int = 0
    """The version of the common shapes by which the host was chosen; 0 for none."""


class WrittenClaim(Struct, frozen=True, kw_only=True):
    """The form of a claim in `/v1`. `amounts` is what it consumes in Placement, by resource class."""

    id: ClaimUuid
    state: ClaimState
    role: ClaimRole
    revision: Revision
    held: Revision
    amounts: dict[str, Count]
    fit: Fit


def written_claim(claim: ClaimRecord) -> WrittenClaim:
    """The form of a claim."""
    return WrittenClaim(
        id=claim.id,
        state=claim.state,
        role=claim.role,
        revision=claim.revision,
        held=claim.held,
        amounts=dict(claim.amounts),
        fit=written(claim.fit),
    )


class Tombstone(Struct, frozen=True, kw_only=True):
    """A claim that is over on a host: whatever of its guest is found there for that claim must be removed.

    `revision` is the claim's last one. What names no claim (`claim` is None in a tombstone of an earlier pinfold, and so is a record's) is
    compared by it.
    """

    guest: GuestUuid
    revision: Revision
    claim: ClaimUuid | None = None


class HostFinding(Struct, frozen=True, kw_only=True):
    """What an agent's audit found on a host (by name), and its place in the agent's report. `finding` is None if it cannot be read.

    `since` is when it was first reported, None if that is not known.
    """

    host: str
    number: int
    finding: WrittenFinding | None
    since: float | None = None


class HostCount(Struct, frozen=True, kw_only=True):
    """How many findings of one code and severity a host (by name) has."""

    host: str
    count: FindingCount


class FlavorRecord(Struct, frozen=True, kw_only=True):
    """A flavor. `id` is the user's or a UUID. `details` are fields of the Compute API that do not affect placement."""

    id: str
    flavor: Flavor
    public: bool = True
    description: str | None = None
    details: Pairs = ()
    created: float = 0.0


class KeyPairRecord(Struct, frozen=True, kw_only=True):
    """A public key of an account. `fingerprint` is the MD5 of the key as OpenStack shows it: `1f:2e:…`."""

    id: int
    account: str
    name: str
    public_key: str
    fingerprint: str
    created: float


class AggregateRecord(Struct, frozen=True, kw_only=True):
    """A named set of hosts (ids, ascending). `uuid` identifies it in Placement."""

    id: int
    uuid: str
    name: str
    hosts: tuple[HostId, ...]
    metadata: Pairs
    created: float
    updated: float
