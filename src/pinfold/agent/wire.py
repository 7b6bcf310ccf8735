"""What agents and the service say to one another, as values. The service writes and reads them with `store.codec`, an agent reads what
it is sent with `agent.answers`; both check the types, and the agent the bounds that stand here too.

How they travel does not belong here (`agent.client`, `api.agent`).

| message | from | means |
|---|---|---|
| `Hello` | agent | this is my host as I see it; also the heartbeat |
| `Welcome` | service | your lease, and the count of orders that you will hear of |
| `Orders` | service | everything that your host should run, whole each time |
| `GuestReport` | agent | what one of your guests is doing |
| `Absence` | agent | neither domain nor process of it remains |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

from msgspec import Meta

from pinfold.core.bounds import Name, Revision, Uuid
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.model import Fit
from pinfold.core.request.model import GuestRequest
from pinfold.store.model import Desired, HostReport, Observed, Tombstone

FAILURE_TOLD: Final = 2_000
"""So many characters of a failure an agent tells; a hypervisor's own text may be of any length, and what it says first matters most."""
FAILURE_MOST: Final = 8_000
"""So many characters of a failure the service takes, of whatever agent."""


ImageName = Annotated[str, Meta(pattern=r"\A([A-Za-z0-9][A-Za-z0-9._ @+-]{0,127})?\Z")]
"""The name of an image, without its suffix; '' for none. It is a part of a file's name and of an address, and never leaves its folder."""


def told_failure(sentence: str) -> str:
    """A failure as it is told: whole, or its beginning and an ellipsis, `FAILURE_TOLD` characters together.

    >>> told_failure("no such image"), len(told_failure("x" * 3000)), told_failure("x" * 3000)[-2:]
    ('no such image', 2000, 'x…')
    """
    return sentence if len(sentence) <= FAILURE_TOLD else sentence[: FAILURE_TOLD - 1] + "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The agent's host. The name must be the one that its token was made for."""

    name: str
    report: HostReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The service's answer: the host's id, its revision, and for how many seconds it counts as up from now.

    `report` is the digest of the report that the service keeps of the host. A report may be heard late, after a newer one: its agent had
    given up waiting for the answer. Then the digest is not the one of the answer to the newer report any more.
    """

    host: Uuid
    revision: Revision
    report: Annotated[str, Meta(max_length=255)]
    orders: Revision
    lease_seconds: Annotated[float, Meta(ge=0.1, le=86_400.0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestOrder:
    """One guest with the claim that it holds on the agent's host. `image` is an image's name, '' for none.

    `boot` is the one that is wanted, `booted` the last that the agent has reported, 0 for none; a `hard` one does not ask the guest.
    """

    guest: Uuid
    name: Name
    claim: Uuid
    revision: Revision
    desired: Desired
    boot: Revision
    flavor: Name
    request: GuestRequest
    fit: Fit
    image: ImageName = ""
    booted: Revision = 0
    hard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """All orders, by guest, at one count; `tombstones` are guests that must not be there any more."""

    count: int
    orders: tuple[GuestOrder, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenThread:
    """One thread of a guest: where it may run and where it was recorded to."""

    tid: int
    name: str
    thread_class: str
    allowed: CpuSet
    recorded: CpuSet
    vcpu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadReport:
    """The proof of one guest's placement: every thread, the witness, and the drift in words; `hangs` says why the guest does not answer, ''
    when it does.

    `reported` is when the service heard of it, in seconds since the epoch by the service's clock; an agent leaves it 0.
    """

    witness: str
    threads: tuple[SeenThread, ...] = ()
    drift: tuple[str, ...] = ()
    reported: float = 0.0
    hangs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestReport:
    """What a guest is doing. `boot` is the last one that the agent carried out, None when it does not know.

    `failure` says why that boot led to nothing, '' when it did; the guest keeps its claim and its disk. Raises `InvalidRequest` when it is
    longer than `FAILURE_MOST`.
    """

    revision: int
    observed: Observed
    boot: int | None = None
    threads: ThreadReport | None = None
    failure: str = field(default="", metadata={"maxLength": FAILURE_MOST})

    def __post_init__(self) -> None:
        _bounded(self.failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """A guest of the claim of that revision is gone; `failure` says why its first start failed, '' when it was removed as ordered.

    Raises `InvalidRequest` when that is longer than `FAILURE_MOST`.
    """

    revision: int
    failure: str = field(default="", metadata={"maxLength": FAILURE_MOST})

    def __post_init__(self) -> None:
        _bounded(self.failure)


def _bounded(failure: str) -> None:
    if len(failure) > FAILURE_MOST:
        raise InvalidRequest(f"failure has {len(failure)} characters, at most {FAILURE_MOST} are allowed", key="failure")
